"""The moving average: half-lives in observations, and buffers that are copied."""

import torch

from genzoo.core.training.average import Average


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_no_half_life_is_the_source_buffers_included(normed):
    average = Average(normed, half_life=1e-12)
    assert not average.model.training
    for p in normed.parameters():
        p.data.add_(randn(*p.shape))
    normed.mean(randn(16, 2, seed=8))
    moved = [(a - b).abs().max() for a, b in zip(normed.buffers(), average.model.buffers(), strict=True)]
    assert max(moved) > 0.01
    average.update(seen=16, batch=16)
    for name, value in normed.state_dict().items():
        assert torch.equal(average.model.state_dict()[name], value), name
    assert not any(p.requires_grad for p in average.model.parameters())


def test_after_a_half_life_half_is_left(normed):
    average = Average(normed, half_life=128)
    start = [p.clone() for p in average.model.parameters()]
    for p in normed.parameters():
        p.data.add_(1)
    for _ in range(8):  # 8 batches of 16 observations, far from the start
        average.update(seen=10**6, batch=16)
    for p, s in zip(average.model.parameters(), start, strict=True):
        torch.testing.assert_close(p, s + 0.5)
    # At the start it is at most a twentieth of what was seen: the first step forgets all but 2^-20.
    average.update(seen=16, batch=16)
    for p, s in zip(average.model.parameters(), start, strict=True):
        torch.testing.assert_close(p, s + 1)
    for p in normed.parameters():
        p.data.sub_(1)
    average.update(seen=1600, batch=40)  # half-life 80
    for p, s in zip(average.model.parameters(), start, strict=True):
        torch.testing.assert_close(p, s + 0.5**0.5, atol=1e-5, rtol=1e-5)

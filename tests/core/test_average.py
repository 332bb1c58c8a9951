"""The moving average: half-lives in observations, and buffers that are copied."""

import pytest
import torch

from genzoo.core.training.optimizers import Average


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


class Codebook(torch.nn.Module):
    """Two buffers, of which one follows what was learned."""

    averaged = ("codes",)

    def __init__(self):
        super().__init__()
        self.register_buffer("codes", torch.zeros(3, 2))
        self.register_buffer("counts", torch.zeros(3))


def test_buffers_that_are_named_are_averaged_like_parameters_and_others_copied(normed):
    normed.codebook = Codebook()
    average = Average(normed, half_life=128)
    p = next(normed.parameters())
    before = p.detach().clone()
    for step in range(8):  # 8 batches of 16: a half-life
        p.data.copy_(before + step + 1)
        normed.codebook.codes.fill_(step + 1)
        normed.codebook.counts.fill_(step + 1)
        average.update(seen=10**6, batch=16)
    decay = 0.5 ** (16 / 128)
    expected = sum((1 - decay) * decay ** (7 - step) * (step + 1) for step in range(8))
    torch.testing.assert_close(average.model.codebook.codes, torch.full((3, 2), expected))
    torch.testing.assert_close(next(average.model.parameters()) - before, torch.full_like(before, expected))
    assert average.model.codebook.counts.tolist() == [8, 8, 8]


def test_a_name_that_is_no_buffer_is_refused(normed):
    normed.codebook = Codebook()
    normed.codebook.averaged = ("code",)
    with pytest.raises(AttributeError, match="'code', which is no buffer"):
        Average(normed, half_life=128)

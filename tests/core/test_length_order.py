"""Texts of like length beside each other: each once in an epoch, cut to the longest, and of the same loss."""

from __future__ import annotations

import pytest
import torch

import genzoo
from genzoo.core.data.imbalance import LengthOrder, order_of
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.noise import Order

BATCH, N = 16, 1003
LENGTHS = torch.randint(1, 160, (N,), generator=torch.Generator().manual_seed(0))


def widths(order: Order, batches: int = 150) -> float:
    """Mean of the longest of each batch."""
    return sum(int(LENGTHS[order.take(i * BATCH, BATCH)].max()) for i in range(batches)) / batches


def test_each_is_visited_once_in_an_epoch_and_batches_are_of_like_length() -> None:
    order = LengthOrder(LENGTHS, BATCH, 3)
    for epoch in range(4):
        assert sorted(order.take(epoch * N, N).tolist()) == list(range(N))
    mean = LENGTHS.float().mean().item()
    assert widths(order) < 1.15 * mean
    assert widths(Order(N, 3)) > 1.7 * mean
    firsts = torch.stack([LENGTHS[order.take(i * BATCH, 1)] for i in range(120)]).flatten().float()
    assert abs(torch.corrcoef(torch.stack([firsts[:-1], firsts[1:]]))[0, 1]) < 0.3  # short ones do not come first


def test_it_is_a_function_of_seed_and_epoch() -> None:
    one, two = LengthOrder(LENGTHS, BATCH, 3), LengthOrder(LENGTHS, BATCH, 3)
    one.take(0, BATCH)
    assert torch.equal(one.take(2 * N + 7, 300), two.take(2 * N + 7, 300))
    assert not torch.equal(one.take(0, N), LengthOrder(LENGTHS, BATCH, 4).take(0, N))


@pytest.mark.parametrize(("n", "batch"), [(3, 16), (16, 16), (17, 16), (40, 1)])
def test_few_observations_are_each_visited_too(n: int, batch: int) -> None:
    order = LengthOrder(LENGTHS[:n], batch, 0)
    for epoch in range(5):
        assert sorted(order.take(epoch * n, n).tolist()) == list(range(n))


def test_what_has_no_lengths_is_refused() -> None:
    data = genzoo.load_data("ring8")
    with pytest.raises(UsageError, match="is for texts"):
        order_of("length", data, 8, 0, False, torch.device("cpu"))


@pytest.mark.parametrize("likelihood", ["ar-gru", "ar-transformer", "ar-conv"])
def test_what_is_cut_to_the_longest_costs_less_and_says_the_same(likelihood: str, monkeypatch) -> None:
    texts = ["ab", "abab", ""] * 3 + ["ab" * 30]
    data = genzoo.load_data(texts)
    assert of(data.spec).lengths(data.spec, data.rows).tolist() == [len(t) + 1 for t in texts]
    options = {"likelihood.hidden": 8, "encoder.hidden": 4} | ({"likelihood.heads": 2} if "tr" in likelihood else {})
    model = genzoo.create("text-vae", data.spec, options={"likelihood": likelihood, **options})
    seen: list[int] = []
    whole = model.likelihood.logits
    monkeypatch.setattr(model.likelihood, "logits", lambda p, x: seen.append(x.shape[1]) or whole(p, x))
    x, params = data.batch(torch.arange(10))[0], torch.randn(10, *model.likelihood.input_shape)
    with torch.no_grad():
        short, long = model.likelihood.log_prob(params[:9], x[:9]), model.likelihood.log_prob(params, x)
        assert seen == [5, 61]
        torch.testing.assert_close(short, long[:9], atol=1e-5, rtol=1e-5)
        assert model.likelihood.token_log_prob(params[:9], x[:9]).shape == (9, 61)
        codes = [model.encoder(x[:9]), model.encoder(x)[:9]]
    torch.testing.assert_close(*codes, atol=1e-5, rtol=1e-5)

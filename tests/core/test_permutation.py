"""Orders of data that are computed: each observation once in an epoch, nothing that grows, nothing that repeats."""

from __future__ import annotations

import math

import pytest
import torch

from genzoo.core import noise
from genzoo.core.math.permutation import permuted
from genzoo.core.noise import Order


@pytest.mark.parametrize("n", [*range(1, 40), 64, 65, 1000, 4097])
def test_it_is_a_permutation(n: int) -> None:
    for seed in (0, 1, 2**62):
        assert permuted(torch.arange(n), n, seed).sort().values.equal(torch.arange(n))


def test_every_place_is_as_likely() -> None:
    """Where a number goes, and where two neighbours go, by χ² over seeds."""
    n, seeds = 12, 3000
    found = torch.stack([permuted(torch.arange(n), n, seed) for seed in range(seeds)])
    for column in (0, 5, 11):
        counts = torch.bincount(found[:, column], minlength=n).double()
        assert ((counts - seeds / n).square() / (seeds / n)).sum() < 35  # of 11 degrees: p = 2e-4
    pairs = torch.bincount(found[:, 0] * n + found[:, 1], minlength=n * n).double().view(n, n)
    assert pairs.diagonal().sum() == 0
    apart = pairs[~torch.eye(n, dtype=torch.bool)]
    assert ((apart - apart.mean()).square() / apart.mean()).sum() < 200  # of 131


def test_a_long_order_is_like_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "LARGEST", 100)
    monkeypatch.setattr(noise, "AHEAD", 64)
    n, order = 1000, Order(1000, 3)
    whole = order.take(0, 3 * n)
    for epoch in whole.split(n):
        assert epoch.sort().values.equal(torch.arange(n))
    assert len({tuple(e.tolist()) for e in whole.split(n)}) == 3
    assert torch.cat([Order(n, 3).take(i, 7) for i in range(0, 2100, 7)]).equal(whole[:2100])  # as a resumed run does
    assert not Order(n, 4).take(0, n).equal(whole[:n])


def test_a_billion_observations_take_no_memory() -> None:
    n, order = 10**9, Order(10**9, 0)
    for start in (0, 5 * 10**8, n - 100, 7 * n + 123_456_789):
        found = order.take(start, 256)
        assert len(found.unique()) == 256 or start == n - 100  # which goes into the next epoch
        assert int(found.min()) >= 0
        assert int(found.max()) < n
        assert order._permutation.numel() <= noise.AHEAD
    part = order.take(0, 2**16).double() / n
    assert abs(part.mean().item() - 0.5) < 5 / math.sqrt(12 * len(part))
    assert abs(torch.corrcoef(torch.stack([part[:-1], part[1:]]))[0, 1].item()) < 5 / math.sqrt(len(part))

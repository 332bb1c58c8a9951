"""Randomness is a pure function of its path: no collisions, no memory, parts of one draw for all."""

import itertools

import pytest
import torch
from scipy import stats

from genzoo.core.noise import Draws, Order, generator, stream_seed


def collisions(paths):
    """Among the low 32 bits, which are what torch's CPU generator keeps."""
    low = [stream_seed(*p) & 0xFFFFFFFF for p in paths]
    assert len(set(paths)) == len(paths)
    return len(low) - len(set(low))


@pytest.mark.parametrize(
    "paths",
    [
        list(itertools.product(range(10), range(1000), range(10))),
        [(s,) for s in range(100_000)],
        [(0, s) for s in range(-50_000, 50_000)],
        [(0, s << 32, 1) for s in range(100_000)],
        [(1 << 40, 7, s, t) for s in range(1000) for t in range(0, 800, 8)],
        [p for n in range(1, 5) for p in itertools.product(range(17), repeat=n)],
    ],
    ids=["seed-step-stream", "one", "signs", "high-bits", "four", "lengths"],
)
def test_nearby_paths_do_not_collide(paths):
    expected = len(paths) ** 2 / 2**33  # of random numbers: about 1 for 100,000
    assert collisions(paths) <= stats.poisson(expected).ppf(0.99999)


def test_seeds_have_63_bits_that_all_move():
    seeds = [stream_seed(0, i) for i in range(4000)]
    assert all(0 <= s < 2**63 for s in seeds)
    for bit in range(63):
        ones = sum(s >> bit & 1 for s in seeds)
        assert abs(ones - 2000) < 5 * (4000**0.5) / 2, bit
    assert stream_seed(0, 1) != stream_seed(1, 0)
    assert stream_seed(0) != stream_seed(0, 0) != stream_seed(0, 0, 0)
    assert stream_seed(3, 1, 4) == stream_seed(3, 1, 4)


def test_streams_are_independent_of_each_other():
    x = torch.stack([torch.randn(2000, generator=generator(0, step, 1)) for step in range(30)])
    correlation = torch.corrcoef(x) - torch.eye(30)
    assert correlation.abs().max() < 5 / 2000**0.5
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3


def test_a_draw_depends_on_nothing_drawn_before():
    draws = Draws(6, "cpu")
    first = draws.at(1, 5, 2).normal(3)
    draws.at(1, 6, 2).uniform(50)
    again = draws.at(1, 5, 2)
    assert torch.equal(again.normal(3), first)
    assert torch.equal(Draws(6, "cpu").at(1, 5, 2).normal(3), first)
    for other in ((2, 5, 2), (1, 6, 2), (1, 5, 3)):
        assert not torch.equal(draws.at(*other).normal(3), first)


@pytest.mark.parametrize("cuts", [(0, 10), (0, 3, 10), (0, 1, 4, 5, 10)])
def test_processes_draw_together_what_one_would(cuts):
    whole = Draws(10, "cpu").at(0, 3, 1)
    expected = [whole.normal(2, 3), whole.uniform(1), whole.normal(4)]
    parts = []
    for start, end in itertools.pairwise(cuts):
        draws = Draws(10, "cpu", start=start, count=end - start).at(0, 3, 1)
        parts.append([draws.normal(2, 3), draws.uniform(1), draws.normal(4)])
    for i, value in enumerate(expected):
        assert torch.equal(torch.cat([p[i] for p in parts]), value)


def test_progress_and_numbers():
    draws = Draws(2, "cpu", steps=8)
    assert [draws.at(0, s, 1).progress for s in (0, 2, 8)] == [0, 0.25, 1]
    assert draws.number(0.3).shape == ()


# The order of observations


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (10, 10), (7, 3), (3, 8), (1, 5)])
def test_every_observation_comes_once_per_epoch(n, batch):
    order = Order(n, seed=4)
    taken = torch.cat([order.take(i * batch, batch) for i in range(3 * n)])
    assert len(taken) == 3 * n * batch
    for epoch in range(3 * batch):
        assert sorted(taken[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))


def test_the_order_is_a_function_of_the_position():
    order, n = Order(50, seed=1), 50
    sequence = order.take(0, 4 * n)
    for start, count in ((130, 7), (0, 5), (49, 2), (99, 60), (3, 150)):
        assert torch.equal(order.take(start, count), sequence[start : start + count])
        assert torch.equal(Order(n, seed=1).take(start, count), sequence[start : start + count])
    epochs = sequence.view(4, n)
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(epochs, 2))
    assert not torch.equal(Order(n, seed=2).take(0, n), epochs[0])

"""Precision, recall, density, coverage: by hand, by brute force, and as prdc computes them."""

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.core.math.neighbours import nearest
from genzoo.plugins.metrics.fidelity import fidelity


def four(found):
    return [getattr(found, name).value for name in ("precision", "recall", "density", "coverage")]


def test_by_hand():
    data = torch.tensor([[0.0], [1.0], [2.5], [10.0]])  # radii for k = 1: 1, 1, 1.5, 7.5
    samples = torch.tensor([[0.5], [1.75], [100.0], [101.0]])  # radii 1.25, 1.25, 1, 1
    # .5 is in the balls of 0 and 1, 1.75 in those of 1 and 2.5; the data 0, 1 and 2.5 are in the samples' balls.
    assert four(fidelity(samples, data, k=1)) == [0.5, 0.75, 1.0, 0.75]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_by_brute_force(normal, monkeypatch, k):
    monkeypatch.setattr("genzoo.core.math.neighbours._CELLS", 500)  # several slabs
    x, y = normal(0, 80, 6) * 0.8 + 0.3, normal(1, 60, 6)
    xx, yy, xy = torch.cdist(x, x), torch.cdist(y, y), torch.cdist(y, x)
    rx, ry = xx.sort(1).values[:, k], yy.sort(1).values[:, k]
    inside = xy < ry[:, None]
    truth = [
        inside.any(0).double().mean(),
        (xy < rx).any(1).double().mean(),
        inside.sum(0).double().mean() / k,
        inside.any(1).double().mean(),
    ]
    assert four(fidelity(x, y, k=k)) == pytest.approx([t.item() for t in truth], abs=1e-12)
    assert 0.1 < truth[3] < 1


@pytest.mark.parametrize("d", [8, 200])
def test_as_prdc(normal, capsys, d):
    prdc = pytest.importorskip("prdc")
    data, samples = normal(0, 1200, d, dtype=torch.float32), normal(1, 900, d, dtype=torch.float32) * 0.95 + 3 / d
    theirs = prdc.compute_prdc(data.numpy(), samples.numpy(), nearest_k=5)
    truth = [theirs[name] for name in ("precision", "recall", "density", "coverage")]
    assert four(fidelity(samples, data)) == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize("shift", [0, 1000])
def test_copied_data_are_exactly_at_one(normal, shift):
    x = normal(0, 700, 20, dtype=torch.float32) + shift
    # A point lies in its own ball and strictly inside those of which it is one of the k - 1 nearest: k in the mean.
    assert four(fidelity(x, x)) == [1, 1, 1, 1]


def test_equal_distributions_have_density_one(normal):
    found = fidelity(normal(0, 3000, 4), normal(1, 3000, 4))
    assert found.density.value == pytest.approx(1, abs=0.05)
    # An interval of N samples around a ball's k: coverage is 1 - 2^-k for equal counts (arXiv:2002.09797, lemma 2).
    assert found.coverage.value == pytest.approx(1 - 2**-5, abs=0.015)
    assert found.precision.low < found.precision.value < found.precision.high
    assert found.recall.samples == (3000, 3000)


def test_neighbours_are_exact_far_from_the_origin(normal):
    y = normal(0, 500, 30, dtype=torch.float32) + 50
    x = y[:20] + 1e-4
    distance, index = nearest(x, y, 3)
    assert torch.equal(index[:, 0], torch.arange(20))
    truth = torch.cdist(x.double(), y.double()).sort(1).values[:, :3]
    torch.testing.assert_close(distance.double(), truth, rtol=1e-4, atol=1e-6)
    own, other = nearest(y, y, itself=True)
    assert (other[:, 0] != torch.arange(500)).all()
    assert (own > 1).all()


def test_too_few(normal):
    with pytest.raises(UsageError, match="at least 6"):
        fidelity(normal(0, 5, 2), normal(0, 9, 2))

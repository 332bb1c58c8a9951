"""Procedural factors: drawn as they say, the same every time, each visible in the picture."""

from __future__ import annotations

import pytest
import torch

import genzoo
from genzoo.plugins.datasets.toys import COLOURS, NAMES, VALUES, draw


def one(**changes):
    """A picture of a large red square in the middle, but for what is changed."""
    base = dict(zip(("shape", "size", "rotation", "x", "y", "colour"), (0, 5, 0, 3, 3, 0), strict=True)) | changes
    return draw(torch.tensor([list(base.values())]), 64)[0].double()


def test_splits_are_whole_independent_and_the_same_every_time():
    options = {"samples": 400}
    train, test = (genzoo.load_data("factors", split=s, options=options) for s in ("train", "test"))
    assert (train.x.shape, test.x.shape) == ((400, 3, 32, 32), (100, 3, 32, 32))
    again = genzoo.load_data("factors", options=options)
    assert again.fingerprint() == train.fingerprint() != test.fingerprint()
    assert torch.equal(again.factors, train.factors)
    assert torch.equal(train.y, train.factors[:, 0])
    assert train.factor_names == NAMES
    other = genzoo.load_data("factors", options={**options, "seed": 1})
    assert other.fingerprint() != train.fingerprint()


def test_factors_are_uniform_and_independent():
    factors = genzoo.load_data("factors", options={"samples": 4000, "size": 16}).factors
    for j, values in enumerate(VALUES):
        counts = factors[:, j].bincount(minlength=values).double()
        assert len(counts) == values
        assert ((counts / 4000 - 1 / values).abs() < 5 * (1 / values / 4000) ** 0.5).all()
    correlation = torch.corrcoef(factors.T.double()) - torch.eye(6)
    assert correlation.abs().max() < 5 / 4000**0.5


def test_factors_travel_with_their_pictures():
    data = genzoo.load_data("factors", options={"samples": 40})
    some = data.take([7, 3, 3])
    assert torch.equal(some.factors, data.factors[[7, 3, 3]])
    rest, held = data.hold_out(10, seed=0)
    for part in (rest, held):
        assert torch.equal(draw(part.factors, 32), part.x)


def test_an_upright_square_has_its_area_place_and_colour():
    picture = one()
    side = 2 * 0.8 * (0.15 + 0.02 * 5) * 64
    assert picture[0].sum() / (255 * COLOURS[0][0]) == pytest.approx(side**2, rel=0.01)
    at = torch.arange(64) + 0.5
    mass = picture.sum(0)
    middle = 0.34 * 64 + 3 * 0.32 / 7 * 64
    assert ((mass.sum(0) * at).sum() / mass.sum()).item() == pytest.approx(middle, abs=0.05)
    assert picture.amax((1, 2)).tolist() == [round(255 * c) for c in COLOURS[0]]


def test_each_factor_does_what_it_says():
    at = torch.arange(64) + 0.5

    def centre(picture):
        mass = picture.sum(0)
        return [((mass.sum(d) * at).sum() / mass.sum()).item() for d in (0, 1)]

    x, y = centre(one())
    assert centre(one(x=4)) == pytest.approx([x + 0.32 / 7 * 64, y], abs=0.05)
    assert centre(one(y=2)) == pytest.approx([x, y - 0.32 / 7 * 64], abs=0.05)
    assert one(rotation=4).sum() == pytest.approx(one().sum().item(), rel=0.02)
    assert (one(rotation=4) - one()).abs().sum() > 0.1 * one().sum()
    areas = [one(size=s)[0].sum().item() for s in range(6)]
    assert areas == sorted(areas)
    ellipse = one(shape=1)[0].sum() / (255 * COLOURS[0][0])
    assert ellipse == pytest.approx(torch.pi * 0.6 * (0.25 * 64) ** 2, rel=0.02)


def test_no_two_factors_give_the_same_picture():
    every = torch.cartesian_prod(*[torch.arange(v) for v in (3, 6, 8)])
    factors = torch.cat([every, torch.full((len(every), 3), 3)], 1)
    pictures = draw(factors, 32).flatten(1)
    assert len(torch.unique(pictures, dim=0)) == len(factors)


def test_nothing_leaves_the_picture():
    corners = torch.tensor([[s, 5, r, x, y, 0] for s in range(3) for r in range(8) for x in (0, 7) for y in (0, 7)])
    for size in (32, 128):
        x = draw(corners, size)
        edge = torch.cat([x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]], -1)
        assert edge.max() == 0

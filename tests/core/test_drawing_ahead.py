"""Samples are a pure function of seed and number, however codes are drawn and results written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genzoo
import genzoo.registry.verbs.sample
from genzoo.core import joint
from genzoo.core.likelihood import Implicit
from genzoo.core.model import Model
from genzoo.core.networks import Generator, Ports
from genzoo.core.prior import NormalPrior
from genzoo.core.spec import DataSpec, Latent


@pytest.fixture(scope="module")
def model() -> Any:
    parts = {"generator": "mlp", "critic": "mlp", "latent.size": 5}
    return genzoo.create("gan", DataSpec.image(1, 9, 8), options=parts)


@pytest.mark.parametrize("truncation", [None, 0.5, 2.0])
def test_codes_are_quantiles_to_the_last_bit(truncation: float | None) -> None:
    """Of the normal distribution at the middle of each step of uniform float32: by ndtri, as they were always drawn."""
    g = torch.Generator().manual_seed(0)
    steps = torch.cat(
        [torch.arange(5000), 2**24 - 1 - torch.arange(5000), torch.randint(2**24, (90_000,), generator=g)]
    )
    uniform = (steps.double() / 2**24).float().view(-1, 1)
    middle = uniform.double() + 2**-25
    if truncation is not None:
        low = 0.5 * math.erfc(truncation / math.sqrt(2))
        middle = low + middle * (1 - 2 * low)
    before = uniform.clone()
    assert NormalPrior(Latent(1)).sample(uniform, truncation=truncation).equal(torch.special.ndtri(middle).float())
    assert uniform.equal(before)


@pytest.mark.parametrize("ahead", [1, 64 * 5, 10**6])
@pytest.mark.parametrize("share", [(0, 1), (0, 3), (2, 3)])
def test_how_far_ahead_codes_are_drawn_changes_nothing(
    model: Any, monkeypatch: pytest.MonkeyPatch, ahead: int, share: tuple[int, int]
) -> None:
    n, size = 1000, 64
    whole = model.sample(n, seed=3, batch_size=1024)
    monkeypatch.setattr(joint, "_AHEAD", ahead)
    found = [x for x, _ in model.sample_batches(n, seed=3, batch_size=size, share=share)]
    expected = list(torch.split(whole, size))[share[0] :: share[1]]
    assert len(found) == len(expected)
    # A forward pass over another number of rows may round otherwise, as it always could.
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))
    codes = list(model._codes_of(range(share[0] * size, n, share[1] * size), size, n, 3, None))
    exact = list(torch.split(model.codes(0, n, seed=3), size))[share[0] :: share[1]]
    assert all(a.equal(b) for a, b in zip(codes, exact, strict=True))
    assert not list(model.sample_batches(0))


def test_what_is_on_its_way_to_the_disk_is_all_of_it(model: Any, tmp_path: Path) -> None:
    path = genzoo.sample(model, tmp_path / "x.npz", 1000, batch_size=64)
    again = [x for x, _ in model.sample_batches(1000, batch_size=64)]
    assert (np.load(path)["samples"] == (torch.cat(again) * 255).round().to(torch.uint8).numpy()).all()


def test_a_model_without_parameters_samples() -> None:
    class Zeros(Generator):
        def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
            return torch.zeros(len(z), 1, 9, 8)

    spec = DataSpec.image(1, 9, 8)
    model = Model(spec, Latent(2), Zeros(Ports((2,), spec.shape)), Implicit(spec))
    assert model.sample(3).eq(0.5).all()

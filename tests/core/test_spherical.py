"""Paths on the sphere: their norm, their ends, and codes that have no direction between them."""

import numpy as np
import pytest
import torch

from genzoo.core.math.estimates import spherical


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spherical_paths_keep_the_norm_and_end_exactly(dtype):
    a, b = randn(50, 16, dtype=dtype), randn(50, 16, seed=1, dtype=dtype)
    path = spherical(a, b, torch.linspace(0, 1, 9, dtype=dtype))
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)
    length = torch.lerp(a.norm(dim=1)[:, None], b.norm(dim=1)[:, None], torch.linspace(0, 1, 9, dtype=dtype)[None])
    torch.testing.assert_close(path.norm(dim=2), length)
    unit = path / path.norm(dim=2, keepdim=True)
    turn = torch.acos((unit[:, 1:] * unit[:, :-1]).sum(2))
    torch.testing.assert_close(turn, turn.mean(1, keepdim=True).expand_as(turn), atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("off", [1e-1, 1e-2, 1e-3, 3e-4])
def test_spherical_paths_between_almost_opposite_codes(off):
    a = torch.tensor([[1.0, 0.0, 0.0]])
    b = torch.tensor([[-np.cos(off), np.sin(off), 0.0]], dtype=torch.float32)
    path = spherical(a, b, torch.linspace(0, 1, 5))
    torch.testing.assert_close(path.norm(dim=2), torch.ones(1, 5), atol=0.01, rtol=0)


def test_paths_between_special_codes_are_finite():
    zero, one = torch.zeros(1, 4), torch.ones(1, 4)
    t = torch.linspace(0, 1, 5)
    for a, b in ((one, one), (one, -one), (zero, one), (one, zero), (zero, zero), (one, 3 * one), (1e-30 * one, one)):
        path = spherical(a, b, t)
        assert path.isfinite().all()
        torch.testing.assert_close(path[:, 0], a)
        torch.testing.assert_close(path[:, -1], b)
    torch.testing.assert_close(spherical(one, 3 * one, t)[0, 2], 2 * one[0])

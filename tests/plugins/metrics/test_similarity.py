"""SSIM, MS-SSIM and PSNR: numbers of scikit-image and pytorch-msssim on the same images, and closed forms."""

import math

import numpy as np
import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.core.math.intervals import student
from genzoo.plugins.metrics.similarity import ms_ssim, over_pairs, pairs_mean, psnr, scales_of, ssim


@pytest.fixture(scope="module")
def waves():
    """Two grey images of 192 × 192 that anybody can make again."""
    i, j = np.mgrid[0:192, 0:192]
    x = 0.5 + 0.25 * np.sin(i / 5) + 0.2 * np.cos(j / 7 + i / 11)
    y = np.clip(x + 0.15 * np.sin(i * j / 97) + 0.05, 0, 1)
    return tuple(torch.tensor(v, dtype=torch.float32)[None, None] for v in (x, y))


def test_ssim_as_scikit_image(waves):
    x, y = waves
    # structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1), 0.26.0
    assert ssim(x, y).item() == pytest.approx(0.4126475285837337, abs=1e-5)
    assert ssim(x[..., :28, :28], y[..., :28, :28]).item() == pytest.approx(0.8075529396853506, abs=1e-5)


def test_ms_ssim_as_pytorch_msssim(waves):
    assert ms_ssim(*waves).item() == pytest.approx(0.8963726758956909, abs=1e-5)  # 1.0.0


def test_of_flat_images():
    x, y = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    truth = (2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4)
    assert ssim(x, y).item() == pytest.approx(truth, rel=1e-3)
    assert psnr(x, y).item() == pytest.approx(-10 * math.log10(0.16), rel=1e-6)


def test_equal_images_and_batches(waves):
    x, y = waves
    assert psnr(x, x).item() == math.inf
    assert ssim(x, x).item() == pytest.approx(1)
    both = torch.cat([x, y]), torch.cat([y, y])
    assert ssim(*both).tolist() == pytest.approx([ssim(x, y).item(), 1], abs=1e-6)
    colour = x.repeat(1, 3, 1, 1), torch.cat([x, x, y], 1)
    assert ssim(*colour).item() == pytest.approx((2 + ssim(x, y).item()) / 3, abs=1e-6)


def test_scales_that_fit(waves):
    assert [scales_of(s, 300) for s in (11, 21, 22, 28, 44, 176, 300)] == [1, 1, 2, 2, 3, 5, 5]
    x, y = (v[..., :28, :28] for v in waves)
    one = [v[..., :21, :21] for v in (x, y)]
    assert ms_ssim(*one).item() == pytest.approx(ssim(*one).item(), abs=1e-6)
    with pytest.raises(UsageError, match="at least 11"):
        ssim(x[..., :8], y[..., :8])
    with pytest.raises(UsageError, match="of one shape"):
        ssim(x, y[..., :27])


def test_likeness_is_within_labels(normal):
    g = torch.Generator().manual_seed(0)
    kinds = torch.rand(2, 1, 28, 28, generator=g)
    y = torch.arange(40) % 2
    assert over_pairs(ms_ssim, kinds[y], y).value == pytest.approx(1)  # each label has collapsed to one picture
    mixed = over_pairs(ms_ssim, kinds[y]).value
    assert mixed == pytest.approx((19 + 20 * ms_ssim(kinds[:1], kinds[1:]).item()) / 39, abs=0.05)
    found = over_pairs(ms_ssim, torch.rand(40, 1, 28, 28, generator=g), y)
    assert found.low < found.value < found.high < 0.3
    with pytest.raises(UsageError, match="no label has two"):
        over_pairs(ms_ssim, kinds, torch.tensor([0, 1]))


def test_pairs_that_share_members_err_together(normal):
    first = torch.arange(40) % 7
    second = (first + 1 + torch.arange(40) % 5) % 7
    values = normal(0, 40) + 4.0 * ((first == 3) + (second == 3).float())  # pairs of one member go together
    rest, variance = values - values.mean(), 0.0
    for p in range(40):
        for q in range(40):
            shared = {int(first[p]), int(second[p])} & {int(first[q]), int(second[q])}
            variance += (rest[p] * rest[q]).item() * (len(shared) if p != q else 1)
    found = pairs_mean(values, first, second)
    assert variance > 1.5 * rest.square().sum().item()
    variance /= 40**2
    members = len(set(first.tolist()) | set(second.tolist()))
    assert found.high - found.value == pytest.approx(student(0.95, members - 1) * variance**0.5, rel=1e-9)

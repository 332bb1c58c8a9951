"""The distance of spectra: against its definition in plain numbers, by clip, whatever front, and no density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.plugins.likelihoods.spectral import Spectral
from genzoo.plugins.modalities.fronts import FLOOR, mdct
from genzoo.plugins.modalities.sound_shapes import shape_of

SPEC = of("audio").examples()[0]  # 64 samples


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_distance_of_its_definition() -> None:
    p = Spectral(SPEC, Spectral.Options(weight=3.0, windows=(32, 16)))
    x, y = noise(1, 1, 64), noise(1, 1, 64, seed=1)
    total = 0.0
    for n in (32, 16):
        window = scipy.signal.get_window("hann", n)
        padded = [np.pad(v[0, 0].numpy(), n // 2, mode="reflect") for v in (x, y)]
        frames = [np.lib.stride_tricks.sliding_window_view(v, n)[:: n // 4] for v in padded]
        a, b = (np.abs(np.fft.rfft(f * window)) / np.sqrt((window**2).sum()) for f in frames)
        total += np.abs(np.log(a + FLOOR) - np.log(b + FLOOR)).mean() + np.linalg.norm(a - b) / np.linalg.norm(a)
    assert float(-p.log_prob(y, x)) == pytest.approx(3 * total / 2, rel=1e-3)


def test_it_is_by_clip_and_the_same_through_bands() -> None:
    p = Spectral(SPEC, Spectral.Options(windows=(32, 16)))
    x, y = noise(3, 1, 64), noise(3, 1, 64, seed=1)
    one = p.log_prob(y, x)
    assert torch.allclose(p.log_prob(torch.cat([y, y]), torch.cat([x, x])), torch.cat([one, one]))
    assert torch.allclose(p.log_prob(y[:1], x[:1]), one[:1])  # over the batch it would not be
    facts = {**SPEC.facts, "front": "mdct"}
    bands = Spectral(replace(SPEC, facts=facts, shape=shape_of(facts)), p.options)
    seen = [mdct(v, facts["bands"]).flatten(1, 2) for v in (y, x)]
    assert torch.allclose(bands.log_prob(*seen), one, rtol=1e-3)


def test_silence_has_a_slope_that_is_a_number() -> None:
    p, y = Spectral(SPEC, Spectral.Options(windows=(32,))), torch.zeros(2, 1, 64, requires_grad=True)
    p.log_prob(y, torch.zeros(2, 1, 64)).sum().backward()
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()


def test_what_is_trained_by_it_has_no_likelihood_and_says_so() -> None:
    model = genzoo.create("rave", SPEC)
    with pytest.raises(UsageError, match="distance, not a density"):
        model.log_likelihood(np.zeros((1, 1, 64), np.int16))
    with pytest.raises(UsageError, match="of waveforms"):
        Spectral(genzoo.DataSpec.image(1, 8, 8))

"""Pitch accuracy: of tones whose frequency is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.plugins.metrics.pitch import fundamental, hertz_of


@pytest.mark.parametrize(("name", "hertz"), [
    ("A4", 440), ("69", 440), ("c4", 261.626), ("C#4", 277.183), ("Db4", 277.183), ("B3", 246.942), ("C-1", 8.1758),
    ("zero", None), ("7", None), ("H4", None), ("200", None), ("", None),
])  # fmt: skip
def test_notes_are_what_they_are_called(name: str, hertz: float | None) -> None:
    assert hertz_of(name) == (None if hertz is None else pytest.approx(hertz, rel=1e-4))


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_the_fundamental_is_found_where_it_is_weak_and_fades(rate: int) -> None:
    t, f = torch.arange(rate // 2) / rate, torch.tensor([55.0, 110, 261.6, 440, 880, 1300])[:, None]
    parts = (0.2, 1.0, 0.6)  # of the fundamental, and of what is above it
    x = sum(w * torch.sin(2 * math.pi * f * (k + 1) * t) for k, w in enumerate(parts)) * torch.exp(-3 * t)
    assert torch.allclose(fundamental(x[:, None], rate).float(), f[:, 0], rtol=5e-3)
    assert torch.allclose(fundamental(1e-3 * x[:, None], rate).float(), f[:, 0], rtol=5e-3)


def test_noise_and_silence_have_none() -> None:
    noise = torch.randn(20, 1, 4000, generator=torch.Generator().manual_seed(0))
    assert (fundamental(noise, 8000) == 0).double().mean() > 0.9
    assert fundamental(torch.zeros(2, 1, 4000), 8000).tolist() == [0, 0]


def test_a_share_of_notes_is_right_and_octaves_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, names = 8000, ("A3", "A4", "E4")
    wave = torch.stack([0.3 * torch.sin(2 * math.pi * hertz_of(n) * torch.arange(2048) / rate) for n in names])[:, None]
    x = (wave * 32768).to(torch.int16).repeat(4, 1, 1)
    data = genzoo.load_data((x.numpy(), np.arange(12) % 3), options={"modality": "audio"})
    data = replace(data, spec=replace(data.spec, class_names=names))
    model = genzoo.create("wavegan", data.spec, options={"conditional": True, "generator.width": 4})
    said = torch.tensor([1, 1, 2])  # A3 is said an octave too high
    monkeypatch.setattr(model.generator, "forward", lambda z, y: wave[said[y]] / data.spec.scale[0])
    found = genzoo.evaluate(model, data, metrics="pitch-accuracy", n=30, extractor="log-mel")["pitch-accuracy"]
    assert found.value == pytest.approx(2 / 3)
    assert found.details["right but for the octave"] == 1
    other = replace(data, spec=replace(data.spec, class_names=("zero", "one", "two")))
    words = genzoo.create("wavegan", other.spec, options={"conditional": True})
    with pytest.raises(UsageError, match="no notes like A4 or 69: zero"):
        genzoo.evaluate(words, other, metrics="pitch-accuracy", n=30, extractor="log-mel")

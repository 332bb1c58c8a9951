"""Sound of any length through models of clips: the same in parts as whole, and as a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.plugins.modalities.long_sounds import hears, reconstruct

SPEC = genzoo.DataSpec("audio", (1, 1024), scale=(0.1,), classes=0,
                       facts={"rate": 8000, "channels": 1, "samples": 1024, "level": 0.1})  # fmt: skip
LOCAL = {f"{part}.{k}": v for part in ("generator", "encoder")
         for k, v in {"stride": 2, "strides": 3, "width": 8, "blocks": 1, "per_frame": 4}.items()}  # fmt: skip


def model_of(recipe: str, spec: genzoo.DataSpec = SPEC, **options: object) -> Model:
    torch.manual_seed(0)
    model = genzoo.create(recipe, spec, options={**LOCAL, **options})
    with torch.no_grad():  # residual layers add nothing at first, and would not be seen
        for p in model.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    return model


def codec() -> Model:
    return model_of("audio-codec", **{"posterior.dim": 4, "posterior.codes": 16})


def frames() -> Model:
    return model_of("rave", **{"generator.code": "frames", "encoder.code": "frames"})


def bands() -> Model:
    spec = replace(SPEC, shape=(16, 64), facts={**SPEC.facts, "front": "mdct", "bands": 16})
    few = {"generator.strides": 2, "encoder.strides": 2}
    return model_of("rave", spec, **{"generator.code": "frames", "encoder.code": "frames", **few})


@pytest.mark.parametrize("make", [codec, frames, bands])
def test_parts_are_the_whole(make) -> None:
    model = make()
    _, hop = hears(model)
    x = 0.1 * torch.randn(2, 1, 20 * hop + 37, generator=torch.Generator().manual_seed(2))
    whole = reconstruct(model, x)
    assert whole.shape == x.shape
    assert float(whole.std()) > 1e-3
    parts = reconstruct(model, x, part=3 * hop)
    assert torch.allclose(parts, whole, atol=1e-5)


def test_with_less_around_each_part_its_seams_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    model = frames()
    x = 0.1 * torch.randn(1, 1, 2560, generator=torch.Generator().manual_seed(2))
    whole = reconstruct(model, x)
    monkeypatch.setattr("genzoo.plugins.modalities.long_sounds.hears", lambda model: (128, 128))
    assert (reconstruct(model, x, part=384) - whole).abs().max() > 1e-4


def test_codes_of_whole_clips_take_no_longer_ones() -> None:
    with pytest.raises(UsageError, match="codes of whole clips of 1,024 samples"):
        reconstruct(genzoo.create("rave", SPEC), torch.zeros(1, 1, 4096))


def test_a_file_is_written_back_in_its_own_length(tmp_path: Path) -> None:
    codec().save(tmp_path / "w")
    t = np.arange(12_345) / 8000
    soundfile.write(tmp_path / "long.wav", 0.2 * np.sin(2 * np.pi * 300 * t), 8000)
    genzoo.reconstruct(str(tmp_path / "w"), tmp_path / "long.wav", tmp_path / "again.wav")
    x, rate = soundfile.read(tmp_path / "again.wav")
    assert (rate, len(x)) == (8000, 12_345)

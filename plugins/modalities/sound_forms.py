"""Stored clips as networks see them, and back: waveforms, and what fronts show of them, standardized by band."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.data import Data
from genzoo.core.data.rows import chunks
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities import fronts
from genzoo.plugins.modalities.sound_shapes import FRONTS, shape_of


def seen(spec: DataSpec, rows: Tensor) -> Tensor:
    """Stored int16, or data units, ``(B, C, T)`` as networks see them, ``(B, *spec.shape)``."""
    f = spec.facts
    wave: Tensor = rows.to(torch.float32) / ((32768.0 if rows.dtype == torch.int16 else 1.0) * f["level"])
    if f["front"] == "waveform":
        return wave
    found = fronts.analyse(wave, f["front"], f["n_fft"], f["hop"], f["bands"], f["rate"])
    return found if not f["mean"] else (found - _bands(f, "mean", found)) / _bands(f, "deviation", found)


def heard(spec: DataSpec, x: Tensor) -> Tensor:
    """What networks see or make as waveforms ``(B, C, T)`` in [-1, 1]."""
    f, x = spec.facts, x.float()
    if f["front"] != "waveform":
        x = x if not f["mean"] else x * _bands(f, "deviation", x) + _bands(f, "mean", x)
        x = fronts.synthesize(x, f["front"], f["n_fft"], f["hop"], f["bands"], f["rate"], f["samples"])
    x = x * float(f["level"])
    return x.clamp(-1, 1)


def seen_as(data: Data, front: str, n_fft: int = 0, hop: int = 0, bands: int = 0) -> Data:
    """Waveforms under another front, whose bands are standardized by all of the data.

    Where nothing is said, frames are 256 samples with three quarters in common, or longer ones where a clip would
    have more than 128 of them; there are 16 bands of an MDCT and 64 on the mel scale.
    """
    f = dict(data.spec.facts)
    hop = hop or max(64, 2 ** math.ceil(math.log2(f["samples"] / 128)))
    f |= {"front": front, "hop": hop, "n_fft": n_fft or (256 if front != "mel" else 4 * hop)}
    f |= {"bands": bands or (64 if front == "mel" else 16), "mean": (), "deviation": ()}
    if FRONTS[front] != "audio" and f["samples"] < f["n_fft"]:
        raise UsageError(f"a clip of {f['samples']} samples is shorter than a frame of {f['n_fft']}: data.n_fft=…")
    kind = FRONTS[front]
    spec = replace(
        data.spec, modality=kind, shape=shape_of(f), facts=f, scale=(f["level"],) if kind == "audio" else (1.0,)
    )
    if kind == "audio":
        return replace(data, spec=spec)
    first, square, count = torch.zeros(spec.shape[1]).double(), torch.zeros(spec.shape[1]).double(), 0
    for rows in chunks(data.rows):
        for part in torch.split(rows, 256):
            logs = seen(spec, part)[:, : f["channels"]].double().transpose(1, 2)  # not phases
            first, square = first + logs.sum((0, 2, 3)), square + logs.square().sum((0, 2, 3))
            count += logs.shape[0] * logs.shape[2] * logs.shape[3]
    mean = first / count
    deviation = (square / count - mean.square()).clamp(min=0).sqrt().clamp(min=1e-3)
    f |= {"mean": tuple(mean.tolist()), "deviation": tuple(deviation.tolist())}
    return replace(data, spec=replace(spec, facts=f))


def _bands(f: Mapping[str, Any], which: str, like: Tensor) -> Tensor:
    """A number of each band, that broadcasts over what a front shows; turns of phases stay as they are."""
    numbers = torch.tensor(f[which], dtype=torch.float32, device=like.device)[None, :, None]
    if f["front"] != "instantaneous-frequency":
        return numbers
    plain = torch.zeros_like(numbers) if which == "mean" else torch.ones_like(numbers)
    return torch.cat([numbers.expand(f["channels"], -1, 1), plain.expand(f["channels"], -1, 1)])


def noisy(x: Tensor, degree: str, random: torch.Generator) -> Tensor:
    """With white noise so far below each clip's own level."""
    rms = x.float().square().mean((1, 2), keepdim=True).sqrt()
    noise = torch.randn(x.shape, generator=random) * rms * 10 ** (-(30 if degree == "slight" else 10) / 20)
    return (x.float() + noise).round().clamp(-32768, 32767).to(torch.int16)


def muffled(x: Tensor, degree: str, random: torch.Generator) -> Tensor:
    """Through a moving mean."""
    width = 4 if degree == "slight" else 16
    padded = F.pad(x.float(), (width // 2, width - 1 - width // 2))
    return F.avg_pool1d(padded, width, 1).round().to(torch.int16)

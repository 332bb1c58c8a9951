"""Which fronts there are for sound, and what shape they give clips. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genzoo.core.spec import DataSpec

FRONTS = {"waveform": "audio", "mdct": "audio", "log-spectrogram": "spectrogram", "mel": "spectrogram",
          "instantaneous-frequency": "spectrogram"}  # fmt: skip


def example(classes: int, front: str, samples: int) -> DataSpec:
    """Short clips at 800 samples a second."""
    facts = {"rate": 800, "channels": 1, "samples": samples, "front": front, "n_fft": 16, "hop": 4, "bands": 8}
    return DataSpec(FRONTS[front], shape_of(facts), classes=classes, facts=facts,
                    scale=(0.1,) if FRONTS[front] == "audio" else (1.0,))  # fmt: skip


def gap(samples: int) -> int:
    """Samples of silence between clips in one file."""
    return samples // 8


def shape_of(f: Mapping[str, Any]) -> tuple[int, ...]:
    """What networks see of one clip."""
    channels, samples, frames = f["channels"], f["samples"], f["samples"] // f["hop"]
    shapes: dict[str, tuple[int, ...]] = {
        "waveform": (channels, samples),
        "mdct": (channels * f["bands"], samples // f["bands"]),
        "log-spectrogram": (channels, f["n_fft"] // 2, frames),
        "mel": (channels, f["bands"], frames),
        "instantaneous-frequency": (2 * channels, f["n_fft"] // 2, frames),
    }
    return shapes[f["front"]]

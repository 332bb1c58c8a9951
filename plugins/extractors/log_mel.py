"""Features of sound that no training shaped: loudness by pitch and time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Extractor, Features
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.fronts import log_magnitude, mel_bank, stft
from genzoo.registry import declare

BANDS, TIMES = 24, 8


@declare.extractor("log-mel", modalities=("audio", "spectrogram"))
class LogMel(Extractor):
    """Mean and standard deviation of 24 mel bands' log magnitudes in each of 8 parts of a clip: 384 features.

    No network and no training: it hears loudness by pitch and time, and no words. Models of one data set are compared
    by it; two that say the wrong words in the right voice look alike.
    """

    name = "log-mel"

    def __init__(self, spec: DataSpec) -> None:
        if "rate" not in spec.facts:
            raise UsageError(f"log-mel is of sound, and this is {of(spec).many}")
        self.rate, self.samples = spec.facts["rate"], spec.facts["samples"]
        self.level = spec.facts["level"]
        self.n_fft = 2 ** max(4, (min(self.rate // 32, self.samples // 4)).bit_length() - 1)

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> LogMel:
        return cls(spec)

    def extract(self, x: Tensor) -> Features:
        """Of waveforms ``(B, C, T)`` in [-1, 1], whose channels are heard as one."""
        x = x.float().mean(1, keepdim=True) / self.level
        magnitude = stft(x, self.n_fft, self.n_fft // 4).abs()[:, 0]
        bank = mel_bank(self.rate, self.n_fft, BANDS).to(x.device)
        logs = log_magnitude(bank @ magnitude * (self.rate / self.n_fft))
        mean = F.adaptive_avg_pool1d(logs, TIMES)
        spread = (F.adaptive_avg_pool1d(logs.square(), TIMES) - mean.square()).clamp(min=0).sqrt()
        return Features(torch.cat([mean, spread], 1).flatten(1))

    def sha256(self) -> str:
        about = f"log-mel {self.version} {BANDS} {TIMES} {self.rate} {self.n_fft} {self.level}"
        return hashlib.sha256(about.encode()).hexdigest()

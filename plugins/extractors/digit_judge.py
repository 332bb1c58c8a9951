"""A classifier of spoken digits; its weights ship beside this file.

``tests/bench/genzoo_bench/classifiers.py spoken-digits`` in a clone trains them anew.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Extractor, Features, hash_of
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.fronts import log_magnitude, stft
from genzoo.registry import declare

RATE, CHANNELS = 8000, (1, 16, 32, 64, 96)
FILE = Path(__file__).with_name("digit_judge.safetensors")


@declare.extractor(
    "digit-judge", modalities=("audio", "spectrogram"), default_for=("spoken-digits", "spoken-digits-mini")
)
class DigitJudge(nn.Module, Extractor):
    """Classifies digits that eSpeak NG says, and knows them by 96 features.

    Four convolutions on the log-spectrogram of a clip at 8,000 samples a second, brought to one level, trained on the
    training split of ``spoken-digits`` at other places, speeds and pitches and with noise. It judges synthetic speech,
    and was never told a person's.
    """

    name = "digit-judge"
    class_names = tuple("0123456789")

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise(CHANNELS):
            layers += [nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU()]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(CHANNELS[-1], len(self.class_names))

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Self:
        if spec.facts.get("rate") != RATE or spec.facts["samples"] < 512:
            raise UsageError(f"the digit judge hears clips at {RATE} samples a second, and this is {of(spec).many}"
                             + (f" at {spec.facts['rate']}" if "rate" in spec.facts else ""))  # fmt: skip
        model = cls()
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(FILE).items()})
        return model.requires_grad_(False).eval()

    def features(self, x: Tensor) -> Tensor:
        """``(B, 96)`` of waveforms ``(B, C, T)``."""
        x = x.float().mean(1, keepdim=True)
        level = x.square().mean(2, keepdim=True).sqrt().clamp(min=1e-3)  # silence stays what it is
        found: Tensor = self.body(log_magnitude(stft(x / level, 256, 64).abs()) / 2)
        return found.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, 10)``."""
        logits: Tensor = self.head(self.features(x))
        return logits

    def extract(self, x: Tensor) -> Features:
        """Features before the last layer, and logits."""
        found = self.features(x)
        return Features(found, self.head(found))

    def sha256(self) -> str:
        return hash_of(self, self.version)

    @torch.no_grad()
    def accuracy(self, x: Tensor, y: Tensor) -> float:
        """Share of clips, int16 or in [-1, 1], that are taken for what they are."""
        scale = 32768 if x.dtype == torch.int16 else 1
        found = torch.cat([self(part.float() / scale).argmax(1) for part in torch.split(x, 200)])
        return (found == y).double().mean().item()

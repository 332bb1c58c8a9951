"""Extractors that need nothing more: raw numbers, averages of wavelet moduli, and small classifiers of grey pictures.

The classifiers' weights ship beside this file; ``tests/bench/genzoo_bench/classifiers.py`` in a clone trains them anew.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.data import Data, to_model
from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Extractor, Features, hash_of
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.datasets.bundled import Digits
from genzoo.plugins.datasets.fashion_mnist import CLASSES
from genzoo.registry import declare

SCALES, ANGLES = 3, 6
_OFFSET = 0.01  # below it a modulus is noise of 8 bits


@declare.extractor("raw")
class Raw(Extractor):
    """No network: observations in model space, flattened.

    Images in [-1, 1], vectors standardized as the data say: right for vectors, and a humble baseline for images.
    """

    name = "raw"

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Raw:
        return cls(spec)

    def extract(self, x: Tensor) -> Features:
        return Features(to_model(self.spec, x).flatten(1))

    def sha256(self) -> str:
        return hashlib.sha256(f"raw {self.version} {self.spec.scale} {self.spec.shift}".encode()).hexdigest()


@declare.extractor("scattering", paper="arXiv:1203.1513", modalities=("image",))
class Scattering(nn.Module, Extractor):
    """Wavelet scattering of images of any size and colour: needs no trained network and no download.

    Means of |x ⋆ ψ₁| and ||x ⋆ ψ₁| ⋆ ψ₂| over the picture, for Morlet wavelets of 3 scales and 6 angles. Pictures are
    brought to 32×32, or 64×64 if they are larger than 48, antialiased, and grey values parted from colour differences.
    A blurred picture goes in 4×4, first-order moduli in 2×2 and, of grey only, second-order ones whole; moduli as
    logarithms. That makes 196 features of a grey picture and 372 of a colour one. They see edges, textures, colours and
    layout, and know nothing of objects: two models that draw the right textures in the wrong shapes look alike.
    """

    name = "scattering"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        bank = [morlet(size, 2.0**j, math.pi * k / ANGLES) for j in range(SCALES) for k in range(ANGLES)]
        self.filters: Tensor
        self.register_buffer("filters", torch.stack(bank).view(SCALES, ANGLES, size, size))

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Scattering:
        if not of(spec).pixels:
            raise UsageError(f"scattering is of images, and this is {spec.modality} data")
        return cls(64 if max(spec.shape[1:]) > 48 else 32)

    def extract(self, x: Tensor) -> Features:
        """196 features of grey images ``(B, 1, H, W)`` in [0, 1], 372 of those with three channels."""
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        x = opponent(x)
        blurred = 4 * F.adaptive_avg_pool2d(x, 4).flatten(1)
        found, spectrum = [blurred], torch.fft.fft2(x)
        for j in range(SCALES):
            modulus = torch.fft.ifft2(spectrum[:, :, None] * self.filters[j]).abs()  # (B, C, ANGLES, S, S)
            found.append(_pooled(modulus.flatten(0, 1), 2).view(len(x), -1))
            if j + 1 < SCALES:
                again = torch.fft.fft2(modulus[:, 0])[:, :, None]
                for k in range(j + 1, SCALES):
                    second = torch.fft.ifft2(again * self.filters[k]).abs()
                    found.append(_pooled(second.flatten(0, 1), 1).view(len(x), -1))
        return Features(torch.cat(found, 1))

    def sha256(self) -> str:
        return hash_of(self, self.version)


def morlet(size: int, scale: float, angle: float) -> Tensor:
    """Fourier transform ``(size, size)`` of a Morlet wavelet: real, of zero mean, frequency 3π/4 over the scale."""
    k = 2 * math.pi * torch.fft.fftfreq(size, dtype=torch.float64)
    total = torch.zeros(size, size, dtype=torch.float64)
    low = torch.zeros_like(total)
    sigma, slant, xi = 0.8 * scale, 0.5, 0.75 * math.pi / scale
    for shift_y in range(-2, 3):  # frequencies repeat every 2π: a wide bump reaches over the border
        for shift_x in range(-2, 3):
            ky, kx = (k + 2 * math.pi * shift_y)[:, None], (k + 2 * math.pi * shift_x)[None]
            along = kx * math.cos(angle) + ky * math.sin(angle)
            across = ky * math.cos(angle) - kx * math.sin(angle)
            total += torch.exp(-(sigma**2) / 2 * ((along - xi) ** 2 + (across / slant) ** 2))
            low += torch.exp(-(sigma**2) / 2 * (along**2 + (across / slant) ** 2))
    return (total - total[0, 0] / low[0, 0] * low).float()


def opponent(x: Tensor) -> Tensor:
    """Grey values, then blue–yellow and red–cyan differences, of three channels; the mean of any other number."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    red, green, blue = x.unbind(1)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([grey, blue - grey, red - grey], 1)


def _pooled(modulus: Tensor, cells: int) -> Tensor:
    return torch.log(F.adaptive_avg_pool2d(modulus, cells) + _OFFSET)


class GreyClassifier(nn.Module, Extractor):
    """Three convolutions and two linear layers on images in [0, 1]."""

    classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(96 * 9, 128), nn.ReLU()),
        )
        self.head = nn.Linear(128, self.classes)

    @classmethod
    def file(cls) -> Path:
        """The weights that ship: ``digit_classifier.safetensors``."""
        return Path(__file__).with_name(f"{cls.name.replace('-', '_')}.safetensors")

    @classmethod
    def pretrained(cls) -> Self:
        """The classifier with the weights that ship with genzoo, in eval mode."""
        model, found = cls(), load_file(cls.file())
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in found.items()}, assign=True)
        return model.requires_grad_(False).eval()

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Self:
        if not of(spec).pixels or spec.shape != (1, 28, 28):
            what = f"{of(spec).many} of {'×'.join(map(str, spec.shape))}"
            raise UsageError(f"the extractor {cls.name!r} takes grey images of 28×28, not {what}")
        return cls.pretrained()

    def extract(self, x: Tensor) -> Features:
        """Features before the last layer ``(B, 128)``, and logits ``(B, 10)``."""
        features = self.features(x)
        return Features(features, self.head(features))

    def sha256(self) -> str:
        return hash_of(self, self.version)

    def features(self, x: Tensor) -> Tensor:
        """Features before the last layer, ``(B, 128)``."""
        features: Tensor = self.body(x * 2 - 1)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, 10)`` of images ``(B, 1, 28, 28)`` in [0, 1]."""
        logits: Tensor = self.head(self.features(x))
        return logits

    @torch.no_grad()
    def predict(self, x: Tensor, batch_size: int = 100) -> Tensor:
        """The most likely class of each image, ``(N,)``; small batches, channels last, are three times as fast here."""
        parts = (part.contiguous(memory_format=torch.channels_last) for part in torch.split(x, batch_size))
        return torch.cat([self(part).argmax(1) for part in parts])

    def shares(self, x: Tensor) -> Tensor:
        """Share of images that fall into each class, ``(10,)``."""
        return torch.bincount(self.predict(x), minlength=self.classes).double() / len(x)

    def accuracy(self, data: Data) -> float:
        """Share of 8-bit images that are classified right."""
        assert data.y is not None
        return (self.predict(data.x.float() / 255) == data.y).float().mean().item()


@declare.extractor("digit-classifier", modalities=("image",), default_for=("digits",))
class DigitClassifier(GreyClassifier):
    """Classifies 28×28 grey handwritten digits.

    Three convolutions and two linear layers, trained on the 9,000 digits for training with shifts; 99 % of the 1,000
    for testing are classified right.
    """

    name = "digit-classifier"
    class_names = Digits.classes


@declare.extractor("fashion-classifier", modalities=("image",))
class FashionClassifier(GreyClassifier):
    """Classifies 28×28 grey clothes into Fashion-MNIST's ten classes.

    Three convolutions and two linear layers, trained on Fashion-MNIST with shifts and mirroring; 92 % of the test set
    are classified right.
    """

    name = "fashion-classifier"
    class_names = CLASSES

"""Features without a trained network: the numbers themselves, and averages of wavelet moduli of pictures."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.data import to_model
from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Extractor, Features, hash_of
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
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

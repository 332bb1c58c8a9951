"""Compression in data units: what is given is checked, what is coded is decoded before it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genzoo.core import arguments
from genzoo.core.coding.codec import scheme_of
from genzoo.core.coding.container import packed, unpacked
from genzoo.core.conditions import given
from genzoo.core.data import to_model, to_units
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of

if TYPE_CHECKING:
    from genzoo.core.model import Model


@dataclass(frozen=True)
class Compressed:
    """A compressed file, and what it came to."""

    content: bytes
    scheme: str  # ``bits-back``, ``direct``, or ``tokens``, which alone is lossy
    count: int
    numbers: int  # of one observation
    distortion: float = 0.0  # mean squared error in data units; 0 where everything comes back

    @property
    def bits_per_dim(self) -> float:
        """Of the whole file, header included."""
        return 8 * len(self.content) / (self.count * self.numbers)


def compressed(
    model: Model, x: Any, labels: Any, *, portable: bool = True, verify: bool = True, name: str = ""
) -> Compressed:
    """See `Model.compress`."""
    scheme = scheme_of(model)
    x = arguments.array(x, "observations")
    if x.dim() == 0 or x.shape[1:] != model.spec.shape or len(x) == 0:
        shape = ", ".join(map(str, model.spec.shape))
        raise UsageError(f"{model.called} compresses data of shape (N, {shape}), not {tuple(x.shape)}")
    kind = of(model.spec)
    x = kind.checked(model.spec, x, model.called)
    y = given(model, labels, None, len(x))
    y = None if y is None else y.cpu()
    inside = to_model(model.spec, x.cpu())
    content, codec, symbols = packed(model, inside, y, portable=portable, name=name)
    back = codec.observed(symbols, y)
    if scheme == "tokens":
        lost = to_units(model.spec, back) - to_units(model.spec, inside)
        return Compressed(content, scheme, len(x), model.spec.size, lost.square().mean().item())
    if not torch.allclose(back, inside, rtol=0, atol=1e-3 / max(model.spec.levels or 1, 1)):
        raise UsageError(f"{model.called} compresses values of {model.spec.levels} levels, and these lie between them: "
                         "round them first")  # fmt: skip
    if verify and not torch.equal(unpacked(model, content)[0], back):
        raise GenzooError("the compressed file did not decode to what was coded, and was thrown away")
    return Compressed(content, scheme, len(x), model.spec.size)


def stored(model: Model, x: Tensor) -> Tensor:
    """Observations in model space as data hold them: levels of images, data units of anything else."""
    levels = model.spec.levels
    if not levels or levels > 256 or not of(model.spec).pixels:
        return to_units(model.spec, x)
    return ((x + 1) / 2 * (levels - 1)).round().clamp(0, levels - 1).to(torch.uint8)


def psnr(mse: float) -> float:
    """Peak signal to noise ratio in dB, of numbers in [0, 1]."""
    return -10 * math.log10(mse) if mse > 0 else math.inf

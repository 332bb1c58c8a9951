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
from genzoo.core.coding.whole import Whole
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
    count: int  # rows that the model coded
    units: int  # of all that was given
    unit: str  # ``dimension`` of pictures, ``character`` of texts, ``row`` of tables
    distortion: float = 0.0  # mean squared error in data units; 0 where everything comes back

    @property
    def bits(self) -> float:
        """Of the whole file, header included, for a unit."""
        return 8 * len(self.content) / self.units


def compressed(
    model: Model, x: Any, labels: Any, *, portable: bool = True, verify: bool = True, name: str = "",
    number: int | None = None,
) -> Compressed:  # fmt: skip
    """See `Model.compress`."""
    scheme, kind, spec = scheme_of(model), of(model.spec), model.spec
    held = None if scheme == "tokens" else kind.lossless(spec, x)
    if held is None:
        rows = arguments.array(kind.given(spec, x), "observations")
        if rows.dim() == 0 or rows.shape[1:] != spec.shape or len(rows) == 0:
            shape = ", ".join(map(str, spec.shape))
            raise UsageError(f"{model.called} compresses data of shape (N, {shape}), not {tuple(rows.shape)}")
        rows = kind.checked(spec, rows, model.called)
        held = Whole(rows, b"", len(rows) * spec.size, "dimension")
    y = given(model, labels, None, len(held.rows) if held.owner is None else int(held.owner[-1]) + 1)
    y = None if y is None else y.cpu() if held.owner is None else y.cpu()[held.owner]
    inside = to_model(spec, held.rows.cpu())
    content, codec, symbols = packed(model, inside, y, portable=portable, name=name, number=number, rest=held.rest)
    back = codec.observed(symbols, y)
    if scheme == "tokens":
        lost = to_units(spec, back) - to_units(spec, inside)
        return Compressed(content, scheme, len(inside), held.units, held.unit, lost.square().mean().item())
    if not torch.allclose(back, inside, rtol=0, atol=1e-3 / max(spec.levels or 1, 1)):
        raise UsageError(f"{model.called} compresses values of {spec.levels} levels, and these lie between them: "
                         "round them first")  # fmt: skip
    if verify and not torch.equal(unpacked(model, content)[0], back):
        raise GenzooError("the compressed file did not decode to what was coded, and was thrown away")
    return Compressed(content, scheme, len(inside), held.units, held.unit)


def decompressed(model: Model, content: bytes) -> tuple[Whole, Tensor | None]:
    """What a file holds, rows in data units or as stored, and labels of rows where the model is told them."""
    x, y, rest = unpacked(model, content)
    return Whole(_stored(model, x), rest, len(x), ""), y


def _stored(model: Model, x: Tensor) -> Tensor:
    """Observations in model space as data hold them: levels of images, data units of anything else."""
    levels = model.spec.levels
    if not levels or levels > 256 or not of(model.spec).pixels:
        return to_units(model.spec, x)
    return ((x + 1) / 2 * (levels - 1)).round().clamp(0, levels - 1).to(torch.uint8)


def opened(model: Model, held: Whole) -> Any:
    """What was compressed, as `Model.decompress` gives it."""
    return of(model.spec).restored(model.spec, held) if keeps(model) else held.rows


def keeps(model: Model) -> bool:
    """Whether a model's files hold what their kind of data loses in rows."""
    from genzoo.core.modality import Modality

    return scheme_of(model) != "tokens" and type(of(model.spec)).lossless is not Modality.lossless


def psnr(mse: float) -> float:
    """Peak signal to noise ratio in dB, of numbers in [0, 1]."""
    return -10 * math.log10(mse) if mse > 0 else math.inf

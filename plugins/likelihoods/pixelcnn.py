"""PixelCNN: every pixel given those before it, by masked convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Autoregressive
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

declare.recipe(
    "pixel-vae",
    summary="VAE that decodes pixel after pixel, each given its neighbours before it and the code",
    paper="arXiv:1611.05013",
    tags=("vae", "autoregressive"),
    modalities=("image",),
    like="vae",
    likelihood="pixelcnn",
    options={"likelihood.layers": 0, "objective.kl_warmup": 0.3},
)


class MaskedConv(nn.Conv2d):
    """A convolution that sees what comes before its place: rows above, columns to the left, and channels before.

    Channels are in equal groups, one for each channel of the image. A group sees the groups before it at its own
    place, and with ``own`` itself.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int, own: bool) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        mask, middle = torch.zeros(outputs, inputs, kernel, kernel), kernel // 2
        mask[:, :, :middle] = 1
        mask[:, :, middle, :middle] = 1
        of, seen = (torch.arange(n) * groups // n for n in (outputs, inputs))
        mask[:, :, middle, middle] = (of[:, None] >= seen if own else of[:, None] > seen).float()
        self.register_buffer("mask", mask, persistent=False)
        with torch.no_grad():
            self.weight.mul_((inputs * kernel**2 / mask[-1].sum().clamp(min=1)).sqrt() * mask)  # as wide as is seen

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self._conv_forward(x, self.weight * self.mask, self.bias)
        return found


@declare.likelihood("pixelcnn", paper="arXiv:1606.05328", modalities=("image",), tags=("autoregressive",))
class PixelCNN(Autoregressive):
    """log p(x|h) = Σ log p(x_i | x_<i, h), pixels in raster order, a categorical distribution over levels each.

    The generator puts out features h, one vector for each pixel, that every layer is told. A small receptive field
    (``kernel``, ``layers``) leaves what is far apart to the code, which a strong decoder would ignore (PixelVAE,
    arXiv:1611.05013).

    Cost: a pass over a picture for each training step, and one for each of its pixels to draw one.
    """

    @dataclass(frozen=True)
    class Options(Autoregressive.Options):
        hidden: int = option(16, "features of each layer, for each channel of the image", low=1, high=4096)
        layers: int = option(3, "residual layers", low=0, high=64)
        kernel: int = option(5, "pixels a side that a layer sees, odd", low=1, high=31)
        features: int = option(8, "numbers that the generator gives for each pixel", low=1, high=1024)

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        o, c = self.options, spec.shape[0]
        if o.kernel % 2 == 0:
            raise UsageError(f"likelihood.kernel must be odd, so that it has a middle, not {o.kernel}")
        width = c * o.hidden
        self.first = MaskedConv(c, width, o.kernel, c, own=False)
        self.told = nn.ModuleList(nn.Conv2d(o.features, width, 1) for _ in range(o.layers + 1))
        self.layers = nn.ModuleList(MaskedConv(width, width, o.kernel, c, own=True) for _ in range(o.layers))
        self.last = MaskedConv(width, c * self.levels, 1, c, own=True)

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if not of(spec).pixels or not spec.levels or spec.levels > 256:
            raise UsageError(
                "the pixelcnn likelihood is for images of 2 to 256 levels, and this is not: use --likelihood gaussian"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.features, *self.spec.shape[1:])

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """``(B, C, H, W, levels)`` for features ``(B, features, H, W)`` and images ``(B, C, H, W)``."""
        params = params.to(self.first.weight.dtype)
        h = self.first(x) + self.told[0](params)
        for layer, told in zip(self.layers, self.told[1:], strict=True):
            h = h + layer(F.silu(h)) + told(params)
        b, _, height, width = h.shape
        logits: Tensor = self.last(F.silu(h)).view(b, -1, self.levels, height, width)
        return logits.movedim(2, -1)

    def places(self) -> list[tuple[int, ...]]:
        c, h, w = self.spec.shape
        return [(k, i, j) for i in range(h) for j in range(w) for k in range(c)]

    def next_logits(self, params: Tensor, x: Tensor, place: tuple[int, ...], state: dict[str, Any]) -> Tensor:
        """``(B, levels)`` at a place, every layer computed there alone, from what it kept of the places before."""
        (k, i, j), p = place, self.options.kernel // 2
        b, (_, height, width) = len(x), self.spec.shape
        if not state:
            layers: list[MaskedConv] = [self.first, *self.layers, self.last]
            state["weights"] = [(layer.weight * layer.mask).flatten(1) for layer in layers]
            state["told"] = [told(params.to(self.first.weight.dtype)) for told in self.told]
            state["kept"] = [x.new_zeros(b, c.in_channels, height + 2 * p, width + 2 * p) for c in layers[:-1]]
            state["biases"] = [layer.bias for layer in layers]
        kept, weights, biases, told = (state[name] for name in ("kept", "weights", "biases", "told"))
        rows = slice(max(i - 1, 0), i + 1)
        kept[0][:, :, p + rows.start : p + rows.stop, p : p + width] = x[:, :, rows]
        h = x.new_zeros(b, weights[-1].shape[1])
        for n, (seen, weight, bias) in enumerate(zip(kept, weights, biases, strict=False)):
            if n:
                seen[:, :, p + i, p + j] = F.silu(h)
            h = (
                h
                + F.linear(seen[:, :, i : i + 2 * p + 1, j : j + 2 * p + 1].flatten(1), weight, bias)
                + told[n][:, :, i, j]
            )
        logits: Tensor = F.linear(F.silu(h), weights[-1], biases[-1]).view(b, -1, self.levels)
        return logits[:, k]

"""Multi-scale likelihood: pixels group by group, from a coarse grid to finer ones, each group at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Autoregressive
from genzoo.core.math.tables import Steps, from_levels, inverted, shares, to_levels, wide
from genzoo.core.mixed_precision import in_bfloat16
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

declare.recipe(
    "multiscale",
    summary="Pixels from a coarse grid to finer ones, an exact likelihood, without a code: the one to compress with",
    paper="arXiv:1703.03664",
    tags=("autoregressive", "exact"),
    modalities=("image",),
    objective="maximum-likelihood",
    generator="constant",
    likelihood="multiscale",
    options={
        "latent.size": 0,
        "train.validation": 0.05,
        "train.batch_size": 64,
        "train.lr": 0.002,
        "train.schedule": "cosine",
        "train.clip": 100.0,
    },
)

Offset = tuple[int, int]


@dataclass(frozen=True)
class Group:
    """Pixels that are said at once: those at an offset from a grid of some stride, given those at other offsets."""

    at: Offset
    given: tuple[Offset, ...]
    stride: int
    scale: int  # 0 is the finest

    def of(self, x: Tensor, offset: Offset) -> Tensor:
        """The numbers ``(B, C, h, w)`` at an offset from the grid."""
        return x[..., offset[0] :: self.stride, offset[1] :: self.stride]


class GroupNetwork(nn.Module):
    """Features of a group's pixels from those before it, and the logits of each channel given those before it."""

    def __init__(self, planes: int, channels: int, levels: int, hidden: int, layers: int, told: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(planes + 1, hidden, 3, padding=1)  # and one of ones, which shows where the picture ends
        self.told = nn.Conv2d(told, hidden, 1)
        self.layers = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(layers))
        self.beside = nn.ModuleList(nn.Conv2d(max(c, 1), hidden, 1) for c in range(channels))
        self.last = nn.ModuleList(nn.Conv2d(hidden, levels, 1) for _ in range(channels))

    @in_bfloat16
    def features(self, x: Tensor, told: Tensor) -> Tensor:
        """``(B, hidden, h, w)``."""
        h = self.first(torch.cat([x, torch.ones_like(told[:, :1])], 1)) + self.told(told)
        for layer in self.layers:
            h = h + layer(F.silu(h))
        return torch.as_tensor(h)

    @in_bfloat16
    def logits(self, h: Tensor, before: Tensor, c: int) -> Tensor:
        """``(B, levels, h, w)`` of channel c, given those before it at the same pixels."""
        found: Tensor = self.last[c](F.silu(h + self.beside[c](before) if c else h))
        return found


@declare.likelihood("multiscale", paper="arXiv:1703.03664", modalities=("image",), tags=("autoregressive", "exact"))
class MultiScale(Autoregressive):
    """log p(x|h) = Σ_g log p(x_g | x_groups before it, h): a pixel, its diagonal neighbours, then the rest, and so on.

    A picture of every second row and column is followed by the pixels between four of its own on the diagonal, then by
    those to the right, then by those below; that picture came about in the same way from a smaller one, down to one
    pixel. Pixels of a group are independent given those before it, so that a picture is drawn, or decoded, in three
    passes for each doubling, which cost what one evaluation costs. The generator gives ``features`` numbers for every
    pixel, which are told.

    When: exact likelihoods of pictures that must be drawn or decompressed quickly; `pixelcnn` makes a pass for every
    pixel.

    Cost: about 9 · layers · hidden² + hidden · levels multiply-adds for each pixel.
    """

    @dataclass(frozen=True)
    class Options(Autoregressive.Options):
        hidden: int = option(64, "features of each layer", low=1, high=4096)
        layers: int = option(3, "residual layers of each network", low=0, high=64)
        scales: int = option(3, "scales that have networks of their own; coarser ones share the last", low=1, high=16)
        features: int = option(8, "numbers that the generator gives for each pixel", low=1, high=1024)

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        o, (c, height, width) = self.options, spec.shape
        self.groups, stride = list[Group](), 1
        while stride < max(height, width):
            offsets = ((0, 0), (stride, stride), (0, stride), (stride, 0))
            made = [Group(offsets[k], offsets[:k], 2 * stride, len(self.groups) // 3) for k in (3, 2, 1)]
            self.groups += made
            stride *= 2
        self.groups = [Group((0, 0), (), stride, 0), *self.groups[::-1]]
        own = min(o.scales, (len(self.groups) - 1) // 3)
        sizes = [0, *(k * c for _ in range(own) for k in (1, 2, 3))]
        self.networks = nn.ModuleList(GroupNetwork(n, c, self.levels, o.hidden, o.layers, o.features) for n in sizes)

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if not of(spec).pixels or not spec.levels or spec.levels > 256:
            raise UsageError(
                "the multiscale likelihood is for images of 2 to 256 levels, and this is not: use --likelihood gaussian"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.features, *self.spec.shape[1:])

    def network(self, group: Group) -> GroupNetwork:
        """Of a group: each has its own, but those of the coarsest scales."""
        own = min(group.scale, (len(self.networks) - 2) // 3)
        found: Any = self.networks[3 * own + len(group.given) if group.given else 0]
        return found  # type: ignore[no-any-return]  # what a ModuleList holds

    def _features(self, group: Group, params: Tensor, x: Tensor) -> Tensor:
        """Of a group's pixels, ``(B, hidden, h, w)``, on a grid with those given, which has a row or column more."""
        told = group.of(params, group.at)
        h, w = told.shape[2:]
        grid = [group.of(x, o) for o in group.given]
        height, width = grid[0].shape[2:] if grid else (h, w)
        planes = [F.pad(p, (0, width - p.shape[3], 0, height - p.shape[2])) for p in grid]
        told = F.pad(told, (0, width - w, 0, height - h))
        seen = torch.cat(planes, 1) if planes else told[:, :0]
        found: Tensor = self.network(group).features(seen, told)[:, :, :h, :w]
        return found

    def _there(self) -> Iterator[Group]:
        """Groups that have a pixel: one row has none below."""
        height, width = self.spec.shape[1:]
        return (g for g in self.groups if g.at[0] < height and g.at[1] < width)

    def _said(self, params: Tensor, x: Tensor) -> Iterator[tuple[Group, int, Tensor]]:
        """Logits ``(B, levels, h, w)`` of every group and channel, by teacher forcing."""
        params = params.to(self.networks[0].first.weight.dtype)  # type: ignore[union-attr, arg-type]
        for group in self._there():
            h, own = self._features(group, params, x), group.of(x, group.at)
            for c in range(self.spec.shape[0]):
                yield group, c, self.network(group).logits(h, own[:, :c], c)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        found = params.new_zeros(*x.shape, self.levels)
        for group, c, logits in self._said(params, x):
            found[:, c, group.at[0] :: group.stride, group.at[1] :: group.stride] = logits.movedim(1, -1)
        return found

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        index, total = to_levels(x, self.levels), torch.zeros((), device=x.device)
        for group, c, logits in self._said(params, x):
            each = F.cross_entropy(wide(logits), group.of(index[:, c], group.at), reduction="none")
            total = total - each.flatten(1).sum(1)
        return total

    def places(self) -> list[tuple[int, ...]]:
        return [(int(k) // self.spec.shape[2] // self.spec.shape[1], int(k) // self.spec.shape[2] % self.spec.shape[1],
                 int(k) % self.spec.shape[2]) for g in self._there() for p in self._flat(g) for k in p]  # fmt: skip

    def _flat(self, group: Group) -> Tensor:
        """Flat places ``(C, pixels)`` of a group."""
        return group.of(torch.arange(self.spec.size).view(self.spec.shape), group.at).flatten(1)

    def steps(self, params: Tensor) -> Steps:
        params = params.to(self.networks[0].first.weight.dtype)  # type: ignore[union-attr, arg-type]
        x = params.new_zeros(len(params), *self.spec.shape)
        for group in self._there():
            h = self._features(group, params, x)
            own = group.of(x, group.at)
            for c, places in enumerate(self._flat(group)):
                logits = self.network(group).logits(h, own[:, :c], c)
                symbols = yield places, shares(logits.flatten(2).transpose(1, 2))
                own[:, c] = from_levels(symbols, self.levels).view_as(own[:, c]).to(own)

    def sample(
        self, params: Tensor, generator: torch.Generator | None = None, *, uniform: Tensor | None = None
    ) -> Tensor:
        """Draw group by group, inverting the distribution function at ``uniform`` numbers ``(B, *spec.shape)``."""
        if uniform is None:
            uniform = torch.rand((len(params), *self.spec.shape), generator=generator, device=params.device)
        return from_levels(inverted(self.steps(params), uniform.flatten(1)), self.levels).view(uniform.shape)

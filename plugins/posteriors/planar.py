"""Planar and radial flows whose parameters the encoder gives: few numbers that bend a normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal, Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.bends import Layer, planar, planar_back, radial, radial_back
from genzoo.registry import declare

declare.recipe(
    "vae-planar",
    summary="VAE whose posterior is a normal, bent by planar flows",
    paper="arXiv:1505.05770",
    tags=("vae", "flow"),
    like="vae",
    posterior="planar",
)

ROOM = 1e-3  # that volumes keep at least, where softplus is 0 in float32


class Bent(Posterior):
    """z ← z + û tanh(wᵀz + b), or z ← z + β̂ (z - c) / (α + ‖z - c‖), layer after layer.

    Both are made invertible as in the paper's appendix: û = u + (softplus(wᵀu) - 1 - wᵀu) w / ‖w‖², and
    β̂ = softplus(β) - α, where volumes keep a thousandth at least.
    """

    def __init__(self, base: DiagonalNormal, layers: list[Layer], by_radius: bool) -> None:
        self.base, self.layers = base, layers
        self.step, self.back = (radial, radial_back) if by_radius else (planar, planar_back)

    @property
    def mean(self) -> Tensor:
        """Where the base's mean goes: one code for each observation, near the mean."""
        z = self.base.mean
        for layer in self.layers:
            z = self.step(z, layer)[0]
        return z

    def sample(self, eps: Tensor) -> Tensor:
        return self.sample_with_log_prob(eps)[0]

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        z = self.base.sample(eps)
        log_q = self.base.log_prob(z)
        for layer in self.layers:
            z, volume = self.step(z, layer)
            log_q = log_q - volume
        return z, log_q

    def log_prob(self, z: Tensor) -> Tensor:
        volume = torch.zeros_like(z[..., 0])
        for layer in reversed(self.layers):
            z = self.back(z, layer)
            volume = volume + self.step(z, layer)[1]
        return self.base.log_prob(z) - volume


@declare.posterior("planar", paper="arXiv:1505.05770", tags=("vae", "flow"))
class Planar(PosteriorHead):
    """Planar or radial flow posterior: the encoder gives a normal, and every layer that bends it."""

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        depth: int = option(10, "layers", low=1, high=1000)
        kind: Literal["planar", "radial"] = option("planar", "of layer: along a direction, or around a point")

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid:
            raise UsageError("the planar posterior is of flat codes: --set latent.grid=0")

    @property
    def _each(self) -> tuple[int, ...]:
        """Numbers of a layer: u, w, b, or center, α, β."""
        d = self.latent.size
        return (d, d, 1) if self.options.kind == "planar" else (d, 1, 1)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (2 * self.latent.size + self.options.depth * sum(self._each),)

    def forward(self, numbers: Tensor) -> Posterior:
        d, numbers = self.latent.size, numbers.float()
        base = DiagonalNormal(numbers[:, :d], numbers[:, d : 2 * d])
        parts = torch.split(numbers[:, 2 * d :], list(self._each * self.options.depth), 1)
        layers = [self._layer(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
        return Bent(base, layers, self.options.kind == "radial")

    def _layer(self, a: Tensor, b: Tensor, c: Tensor) -> Layer:
        if self.options.kind == "radial":
            alpha = softplus(b[:, 0])
            return a, alpha, softplus(c[:, 0]) - (1 - ROOM) * alpha
        wu = (a * b).sum(-1, keepdim=True)
        u = a + (softplus(wu) - (1 - ROOM) - wu) * b / b.square().sum(-1, keepdim=True).clamp(min=1e-8)
        return u, b, c[:, 0]

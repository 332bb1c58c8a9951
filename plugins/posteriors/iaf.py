"""Inverse autoregressive flow: a normal posterior sent through gates, so that codes may depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal, Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.registry import declare

declare.recipe(
    "vae-iaf",
    summary="VAE whose posterior is an inverse autoregressive flow",
    paper="arXiv:1606.04934",
    tags=("vae", "flow"),
    like="vae",
    posterior="iaf",
)


class Gate(nn.Module):
    """Log σ and m, whose number i goes by the context and the numbers of z before i (masks: arXiv:1502.03509)."""

    reads: Tensor
    gives: Tensor

    def __init__(self, size: int, width: int, context: int) -> None:
        super().__init__()
        order, unit = torch.arange(size), torch.arange(width) % max(size - 1, 1)
        self.first, self.context = nn.Linear(size, width), nn.Linear(context, width)
        self.last = nn.Linear(width, 2 * size)
        self.register_buffer("reads", (unit[:, None] >= order).float(), persistent=False)
        self.register_buffer("gives", (order.repeat(2)[:, None] > unit).float(), persistent=False)

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """``(..., B, size)`` each."""
        hidden = torch.relu(linear(z, self.first.weight * self.reads, self.first.bias) + self.context(context))
        gate, m = linear(hidden, self.last.weight * self.gives, self.last.bias).float().chunk(2, -1)
        return logsigmoid(gate + 1.5), m


class Flowed(Posterior):
    """z ← σ z + (1 - σ) m, gate after gate, with the order of the numbers reversed between them."""

    def __init__(self, base: DiagonalNormal, context: Tensor, gates: nn.ModuleList) -> None:
        self.base, self.context, self.gates = base, context, gates

    def _through(self, z: Tensor) -> tuple[Tensor, Tensor]:
        volume = torch.zeros_like(z[..., 0])
        for gate in self.gates:
            log_s, m = gate(z, self.context)
            z, volume = torch.lerp(m, z, log_s.exp()).flip(-1), volume + log_s.sum(-1)
        return z, volume

    @property
    def mean(self) -> Tensor:
        """Where the base's mean goes: one code for each observation, near the mean."""
        return self._through(self.base.mean)[0]

    def sample(self, eps: Tensor) -> Tensor:
        return self._through(self.base.sample(eps))[0]

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        base = self.base.sample(eps)
        z, volume = self._through(base)
        return z, self.base.log_prob(base) - volume

    def log_prob(self, z: Tensor) -> Tensor:
        volume = torch.zeros_like(z[..., 0])
        for gate in reversed(self.gates):
            z, x = z.flip(-1), torch.zeros_like(z)
            for _ in range(z.shape[-1]):
                log_s, m = gate(x, self.context)
                x = (z - m) * (-log_s).exp() + m
            z, volume = x, volume + log_s.sum(-1)
        return self.base.log_prob(z) - volume


@declare.posterior("iaf", paper="arXiv:1606.04934", tags=("vae", "flow"))
class IAF(PosteriorHead):
    """Inverse autoregressive flow posterior: as quick to draw from as a normal, and not diagonal."""

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        depth: int = option(2, "gates, one after the other", low=1)
        width: int = option(128, "units in each gate's hidden layer", low=1)
        context: int = option(32, "numbers that the encoder tells every gate", low=1)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid:
            raise UsageError("the iaf posterior is of flat codes: --set latent.grid=0")
        o = self.options
        self.gates = nn.ModuleList(Gate(latent.size, o.width, o.context) for _ in range(o.depth))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Mean and log variance of the base, and the context."""
        return (2 * self.latent.size + self.options.context,)

    def forward(self, numbers: Tensor) -> Posterior:
        d, numbers = self.latent.size, numbers.float()
        return Flowed(DiagonalNormal(numbers[:, :d], numbers[:, d : 2 * d]), numbers[:, 2 * d :], self.gates)

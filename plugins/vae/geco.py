"""GECO: the KL is minimized where the error of reconstructions keeps to a limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genzoo.core.math.estimates import running_mean
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import Variational, bound_of
from genzoo.registry import declare


@declare.objective("geco", paper="arXiv:1810.00597", tags=("vae",), recipe={"like": "vae"})
class GECO(Variational):
    """GECO: minimize KL(q(z|x) ‖ p(z)) under the constraint that the mean squared error be at most κ².

    The loss is KL + λ ½ D (E[error]/κ² - 1), D the numbers of an observation: at λ = 1 that of a VAE whose Gaussian has
    σ = κ. It starts at κ², where σ is 1. After each step log λ moves by ``rate`` times the running mean of the
    constraint, cut off at ± 1.

    When: one knows how exact reconstructions must be, and not what weight of the KL brings that about.

    Cost: that of `vae`.
    """

    watched = ("constraint",)
    log_strength: Tensor
    constraint: Tensor
    turns: Tensor

    @dataclass(frozen=True)
    class Options(Variational.Options):
        error: float = option(0.1, "κ, root mean squared error of a number to keep to, in model space", low=1e-6)
        rate: float = option(0.01, "most that log λ moves in a step", low=0)
        decay: float = option(0.99, "of the constraint's running mean, per step", low=0, high=1)

    options: Options

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("log_strength", torch.tensor(2 * math.log(self.options.error)))
        for name in ("constraint", "turns"):
            self.register_buffer(name, torch.zeros(()))

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), means=True)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """The posterior's noise, and λ."""
        return {**super().draw(player, draws, model), "strength": self.log_strength.exp()}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model = nets.model
        q = model.posterior(batch.x, batch.y)
        z, kl = model.code(q, noise["eps"], batch.y)
        params = model.params(q, z, batch.y)
        error = (model.likelihood.mean(params) - batch.x).square().flatten(1).mean(1)
        constraint = error / self.options.error**2 - 1
        found = bound_of(model, batch, q, params.detach(), kl)
        terms = {**found.terms, "constraint": constraint}
        weights = {**found.weights, "constraint": noise["strength"] * (model.spec.size / 2)}
        return replace(found, terms=terms, weights=weights, shown={"λ": noise["strength"]})

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        super().after_step(player, nets, seen)
        o = self.options
        self.turns += 1
        self.constraint.lerp_(seen["constraint"], 1 - o.decay)
        mean = running_mean(self.constraint, o.decay, self.turns)
        self.log_strength.add_(o.rate * mean.clamp(-1, 1)).clamp_(-14, 14)

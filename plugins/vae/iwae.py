"""Bounds from several codes of each observation, and the importance-weighted one, IWAE."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import Variational, coupled_terms
from genzoo.registry import declare


def mean_weight(log_w: Tensor, dim: int = 0) -> Tensor:
    """Log of the mean weight, log 1/K Σ_k w_k, in nats."""
    return torch.logsumexp(log_w, dim) - math.log(log_w.shape[dim])


class Weighted(Variational):
    """Base of bounds that are made of the weights w = p(x, z) / q(z|x) of several codes of an observation."""

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(posterior="normal", likelihood=True, several=True)

    @property
    @abstractmethod
    def codes(self) -> int:
        """How many codes are drawn for each observation."""

    @abstractmethod
    def bound(self, log_w: Tensor, player: str) -> Tensor:
        """A bound ``(B,)`` on log p(x), from log weights ``(codes, B)``."""

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None
        return {"eps": draws.normal(self.codes, *model.head.noise_shape)}

    def weights(self, model: Model, batch: Batch, noise: Mapping[str, Tensor]) -> tuple[Tensor, Loss]:
        """Log weights ``(codes, B)``, and what else the posterior asks for, as a loss without the bound."""
        q = model.posterior(batch.x, batch.y)
        log_w = model.weigh(q, batch.x, batch.y, noise["eps"].transpose(0, 1))
        return log_w, Loss(q.cost, coupled=dict.fromkeys(q.coupled, True), sums=q.sums)

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """The negative bound in nats."""
        name, model = "negative bound", nets.model
        log_w, more = self.weights(model, batch, noise)
        coupled = {**coupled_terms(model, name), **more.coupled}
        return Loss({name: -self.bound(log_w, player), **more.terms}, {}, coupled, sums=more.sums)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """The negative bound itself."""
        log_w = nets.model.log_weights(batch.x, batch.y, noise["eps"].transpose(0, 1))
        return -self.bound(log_w, self.players()[-1].name)


@declare.objective("iwae", paper="arXiv:1509.00519", tags=("vae", "importance-weighted"), recipe={"like": "vae"})
class IWAE(Weighted):
    """Importance-weighted autoencoder: maximize E[log 1/K Σ_k w_k], w = p(x, z) / q(z|x), which K = 1 makes the bound.

    ``gradient`` is that of the encoder: ``plain``; ``dreg`` (arXiv:1810.04152), Σ w̃² ∂z log w with normalized weights
    w̃ and log q at parameters that stand still, the same in expectation and of less variance; or ``stl``
    (arXiv:1703.09194), which leaves out the score of q, without bias for K = 1 only. Both vanish where q is the true
    posterior.

    When: log p(x) matters, and a tighter bound is worth its price; a learned prior (`vamp-vae`) often gives more nats.

    Cost: K passes of the decoder for each observation.
    """

    @dataclass(frozen=True)
    class Options(Weighted.Options):
        samples: int = option(5, "K, codes for each observation", low=1, high=100_000)
        gradient: Literal["plain", "stl", "dreg"] = option("plain", "estimator of the encoder's gradient")

    options: Options

    @property
    def codes(self) -> int:
        return self.options.samples

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        families = () if self.options.gradient == "plain" else ("normal",)
        return Plan(posterior="normal", likelihood=True, posteriors=families, several=True)

    def bound(self, log_w: Tensor, player: str) -> Tensor:
        return mean_weight(log_w)

    def weights(self, model: Model, batch: Batch, noise: Mapping[str, Tensor]) -> tuple[Tensor, Loss]:
        if self.options.gradient == "plain":
            return super().weights(model, batch, noise)
        q = model.posterior(batch.x, batch.y)
        assert isinstance(q, DiagonalNormal)  # as planned
        z = q.sample(noise["eps"].transpose(0, 1))
        still = DiagonalNormal(q.mean.detach(), q.log_var.detach())
        log_w = model.weights_of(q, batch.x, batch.y, z, still.log_prob(z))
        if self.options.gradient == "dreg" and z.requires_grad:
            share = torch.softmax(log_w.detach(), 0).view(*log_w.shape, *[1] * (z.dim() - 2))
            # On its way to the encoder: from w̃ to w̃².
            z.register_hook(lambda slope: slope * share)  # type: ignore[no-untyped-call]
        return log_w, Loss({})

"""A second stage: fit a prior to the codes of a model that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Objective, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare


@declare.objective("fit-prior", paper="arXiv:1711.00937", tags=("vae", "second stage"))
class FitPrior(Objective):
    """Second stage: maximize E_q[log p(z)] over the prior alone; every other part of the model stays as it is.

    ``genzoo prior fit`` calls it, and it starts from weights, those of ``sha256`` where that is said. It is the part of
    the evidence lower bound that a prior has a say in, so the model with its new prior has a better bound by as many
    nats as this loss falls.
    """

    fresh = ("prior",)
    needs_start = True

    @dataclass(frozen=True)
    class Options(Objective.Options):
        first: str = option("", "recipe of the first stage")
        sha256: str = option("", "of the first stage's model.safetensors")

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(posterior="normal", likelihood=True, prior="real-nvp", points=True)

    def players(self) -> tuple[Player, ...]:
        return (Player("prior", ("prior",)),)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None
        return {"eps": draws.normal(*model.head.noise_shape), "bound": draws.normal(*model.prior.bound_noise)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """-log p(z) of codes from the posterior, in nats."""
        model = nets.model
        for name, part in model.named_children():  # batch norms of what does not move must not move either
            part.train(model.training and name == "prior")
        with torch.no_grad():
            q = model.posterior(batch.x, batch.y)
            z = q.sample(noise["eps"])
        if model.prior.bound_noise:
            log_p = model.prior.bound(z, batch.y, noise["bound"])
        else:
            log_p = model.log_prior(q, z, batch.y)
        return Loss({"nll of codes": -log_p}, sums=model.prior.sums(z, batch.y) if model.training else {})

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        nets.model.prior.after_step(seen)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        return self.loss("prior", nets, batch, noise).terms["nll of codes"]

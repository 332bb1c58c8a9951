"""BEGAN: an autoencoder that judges, and a balance that follows both energies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.objective import Batch, Loss, Networks
from genzoo.core.options import option
from genzoo.plugins.gan.energy import Energy
from genzoo.registry import declare


@declare.objective(
    "began",
    paper="arXiv:1703.10717",
    tags=("gan", "energy"),
    recipe={
        "options": {"latent.size": 64, "train.lr": 2e-4, "train.betas": (0.5, 0.999), "train.average": 10_000},
        "presets": {
            "image": {"generator": "conv", "generator.norm": "none", "encoder": "conv", "encoder.norm": "none"},
            "vector": {
                "generator": "mlp",
                "encoder": "mlp",
                "latent.size": 2,
                "objective.hidden": 1,
                "train.lr": 1e-3,
                "train.batch_size": 256,
                "train.schedule": "cosine",
                "train.average": 0,
            },
        },
    },
)
class BEGAN(Energy):
    """Boundary equilibrium GAN: E is the error of an autoencoder, k keeps E[E(G(z))] = γ E[E(x)].

    The critic minimizes E(x) - k E(G(z)), the generator E(G(z)), and after each turn of the critic
    k moves by rate · (γ E[E(x)] - E[E(G(z))]), within [0, 1].

    When: smooth pictures of one kind, such as faces, where sharpness may be traded for diversity by γ. In the plane it
    ends in few modes: `r3gan` is for those.

    Cost: a critic of two networks, without second derivatives.
    """

    watched = ("real", "fake")

    @dataclass(frozen=True)
    class Options(Energy.Options):
        gamma: float = option(
            0.75, "energy of samples over energy of data: less is sharper, more is more diverse", low=0
        )
        rate: float = option(0.001, "of k, per turn of the critic", low=0)

    options: Options
    k: Tensor

    def __init__(self, options: Energy.Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("k", torch.zeros(()))

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        with torch.set_grad_enabled(player == "generator" and torch.is_grad_enabled()):
            made = nets.model.mean(noise["z"], batch.y)
        fake = self.energy(nets, made, batch.y)[0]
        if player == "generator":
            return Loss({"adversarial": fake})
        real = self.energy(nets, batch.x, batch.y)[0]
        return Loss({"real": real, "fake": fake}, {"fake": -self.k}, shown={"k": self.k.clone()})

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "critic":
            self.k.add_(self.options.rate * (self.options.gamma * seen["real"] - seen["fake"])).clamp_(0, 1)

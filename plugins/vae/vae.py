"""The variational autoencoder, and its conditional form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.posterior import Posterior
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.layers import balanced, spared
from genzoo.plugins.vae.variational import Variational, plain_bound
from genzoo.registry import declare

declare.recipe(
    "cvae",
    summary="Conditional variational autoencoder: encoder and decoder are told the class",
    paper="arXiv:1406.5298",
    tags=("vae", "conditional"),
    like="vae",
    conditional=True,
)


@declare.objective(
    "vae",
    paper="arXiv:1312.6114",
    tags=("vae",),
    recipe={
        "options": {"train.validation": 0.05},
        "presets": {
            "image": {"generator": "conv", "encoder": "conv"},
            "vector": {"generator": "mlp", "encoder": "mlp", "latent.size": 2},
            "table": {
                "likelihood": "table", "generator": "mlp", "encoder": "mlp", "encoder.taper": 1.0,
                "generator.width": 256, "generator.depth": 3, "encoder.width": 256, "encoder.depth": 3,
                "generator.residual": True, "generator.norm": "layer", "generator.activation": "silu",
                "encoder.residual": True, "encoder.norm": "layer", "encoder.activation": "silu",
                "train.batch_size": 256, "train.optimizer": "adamw", "train.weight_decay": 1e-4, "train.lr": 2e-3,
                "train.betas": (0.9, 0.99), "train.schedule": "cosine", "train.warmup": 100, "train.clip": 5.0,
                "train.average": 200_000,
            },
        },
    },
)  # fmt: skip
class VAE(Variational):
    """Variational autoencoder: maximize E_q[log p(x|z)] - KL(q(z|x) ‖ p(z)), the evidence lower bound.

    It is the bound for every posterior, prior and likelihood: ``--posterior iaf --prior vamp`` make other models.

    Both terms are sums over dimensions and means over the batch, in nats, so that their weights mean what
    they say. ``free_bits`` follows Kingma et al. (arXiv:1606.04934): a dimension's KL, averaged over the
    batch, costs nothing below it. ``kl_warmup`` raises the KL's weight over a share of training, ``kl_cycles``
    again and again (Fu et al., arXiv:1903.10145: four cycles, a warm-up of .5). ``encoder_turns`` keeps the encoder
    from lagging behind, so that the code is used (arXiv:1901.05534). ``kl_balance`` keeps layers of a
    hierarchy in use while the KL's weight rises, as NVAE does (arXiv:2007.03898).

    When: codes, reconstructions or a bound on the likelihood are wanted, or every mode must be covered. Samples of
    pictures are smoother than a GAN's.

    Cost: one pass of encoder and decoder for each step, and one player: the cheapest and the most stable to train.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        kl_warmup: float = option(
            0.0, "share of training over which the KL's weight rises to its full value", low=0, high=1
        )
        kl_cycles: int = option(1, "how many times it does so; its rise is then a share of each cycle", low=1)
        free_bits: float = option(0.0, "nats of KL per latent dimension that cost nothing", low=0)
        free_by: Literal["number", "channel", "layer", "code"] = option(
            "number", "whose KL is free together, at so much for each of its numbers"
        )
        encoder_turns: int = option(
            0, "turns in which the encoder learns alone, before each one in which all do (arXiv:1901.05534)", low=0
        )
        kl_balance: bool = option(False, "during the warm-up, layers of a hierarchy weigh by how much they say already")

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        if self.options.kl_balance and self.options.free_bits:
            raise UsageError("objective.kl_balance and objective.free_bits both keep layers in use: leave one out")
        if self.options.kl_balance and not self.options.kl_warmup:
            raise UsageError(
                "objective.kl_balance weighs layers while the KL's weight rises, which it does not: "
                "--set objective.kl_warmup=0.3"
            )
        return super().plan(spec, classes)

    def players(self) -> tuple[Player, ...]:
        turns = self.options.encoder_turns
        return (*[Player("encoder", ("encoder", "head"), turns=turns)] * (turns > 0), *super().players())

    @property
    def beta(self) -> float:
        """Weight of the KL after its warm-up."""
        return 1.0

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        noise = super().draw(player, draws, model)
        if self.options.kl_warmup:
            at = draws.progress * self.options.kl_cycles % 1 if draws.progress < 1 else 1.0
            noise["beta"] = draws.number(self.beta * min(at / self.options.kl_warmup, 1.0))
        return noise

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        q = nets.model.posterior(batch.x, batch.y)
        return self.bound(nets.model, batch, noise, q, *nets.model.code(q, noise["eps"], batch.y))

    def bound(
        self, model: Model, batch: Batch, noise: Mapping[str, Tensor], q: Posterior, z: Tensor, kl: Tensor
    ) -> Loss:
        """The same, of codes ``(B, *latent.shape)`` that were drawn from the posterior, and their KL ``(B,)``."""
        found = plain_bound(model, batch, q, z, kl, noise.get("beta", self.beta))
        free = self.options.free_bits
        if self.options.kl_balance and "beta" in noise:
            found = balanced(found, model, q, noise["beta"] < self.beta)
        return spared(found, model, q, kl, free, self.options.free_by) if free else found

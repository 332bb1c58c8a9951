"""VAE-GAN: what a critic sees of an observation is reconstructed, in place of its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.vae.variational import ENCODER
from genzoo.registry import declare


@declare.objective(
    "vae-gan",
    paper="arXiv:1512.09300",
    tags=("vae", "gan", "encoder"),
    recipe={
        "like": "gan",
        "presets": {"image": {"encoder": "conv"}, "vector": {"encoder": "mlp", "regularizer": ["r1=0.05"]}},
    },
)
class VAEGAN(GAN):
    """VAE-GAN: three players, of whom each has a loss of its own, with φ the last features of the critic D.

    The encoder minimizes β KL(q(z|x) ‖ p(z)) + ½ ‖φ(x) - φ(G(z))‖², z ~ q(z|x); the generator γ ½ ‖φ(x) - φ(G(z))‖²
    and the loss of `gan` for G(z) and for G(z_p), z_p ~ p(z); the critic tells x from both. No player's loss moves
    another's network.

    β and γ are for features of a critic under spectral norm, which are small: by the paper's β of 1 codes hold little.

    When: samples as sharp as a GAN's of a model that also encodes. Reconstructions keep what the critic looks at,
    texture and outline, and not each pixel. There is no likelihood, and no bound on one.

    Cost: three turns a step, each with passes of the critic: about twice that of `gan`.
    """

    generator_terms = False

    @dataclass(frozen=True)
    class Options(GAN.Options):
        beta: float = option(0.05, "β, weight of the encoder's KL against the distance of features", low=0)
        gamma: float = option(0.1, "γ, weight of the distance of features in the generator's loss", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(posterior="normal", critics=(self.critic_plan(spec),), draws_prior=True)

    def players(self) -> tuple[Player, ...]:
        critic, generator = super().players()
        return critic, Player("encoder", ENCODER), generator

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None  # the plan asks for a posterior
        return super().draw(player, draws, model) | {"eps": draws.normal(*model.head.noise_shape)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model, critic = nets.model, nets.critic
        with torch.set_grad_enabled(player == "encoder" and torch.is_grad_enabled()):
            q = model.posterior(batch.x, batch.y)
            z, kl = model.code(q, noise["eps"], batch.y)
        with torch.set_grad_enabled(player != "critic" and torch.is_grad_enabled()):
            again = model.mean(z, batch.y)
        if player == "encoder":
            terms = {"kl": kl, "features": self.distance(nets, batch, again, noise), **q.cost}
            loss = self._loss(critic, terms)
            coupled = {**loss.coupled, **dict.fromkeys(q.coupled, True)}
            return replace(loss, weights={"kl": self.options.beta}, coupled=coupled, sums=q.sums)
        scores = self._outputs(critic, again, batch.y, noise, "fake")
        if player == "critic":
            with torch.no_grad():
                made = model.mean(noise["z"], batch.y)
            judged, name = self.judge(critic, batch, made, noise, nets), "reconstructions"
            coupled = {**judged.coupled, **({name: True} if critic.mixes else {})}
            terms = {**judged.terms, name: softplus(scores)}
            return replace(judged, terms=terms, coupled=coupled)
        made = self._outputs(critic, model.mean(noise["z"], batch.y), batch.y, noise, "fake")
        terms = {"features": self.distance(nets, batch, again, noise), "samples": self.generator_loss(made, None),
                 "reconstructions": self.generator_loss(scores, None)}  # fmt: skip
        return replace(self._loss(critic, terms), weights={"features": self.options.gamma})

    def distance(self, nets: Networks, batch: Batch, again: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """-log N(φ(x̂); φ(x), 1) but for its constant, ``(B,)``."""
        return 0.5 * self.feature_distance(nets.critic, batch, again, noise)

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "encoder" and nets.model.head is not None:
            nets.model.head.after_step(seen)

"""ALI, or BiGAN: a critic of observations with their codes, and an encoder that learns with the generator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan, Player
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


@declare.objective(
    "ali",
    paper="arXiv:1606.00704",
    tags=("gan", "encoder"),
    recipe={
        "like": "gan",
        "presets": {"image": {"encoder": "conv"}, "vector": {"encoder": "mlp", "regularizer": ["r1=0.05"]}},
    },
)
class ALI(Adversarial):
    """Adversarially learned inference: a critic tells pairs (x, z ~ q(z|x)) from pairs (G(z), z ~ p(z)).

    It minimizes E[softplus(-D(x, z))] + E[softplus(D(G(z), z))], generator and encoder the same with signs changed.
    Where no critic can tell the pairs apart the encoder inverts the generator.

    When: a GAN is wanted that also encodes. Reconstructions keep what an observation is about, and not its pixels; a
    `vae` is closer in those. Unregularized it is unstable in the plane, where the recipe adds R1.

    Cost: an encoder beside the two networks of `gan`.
    """

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(posterior="normal", critics=(self.critic_plan(spec, beside="codes"),))

    def players(self) -> tuple[Player, ...]:
        return super().players()[0], Player("model", ("model",))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None  # the plan asks for a posterior
        return super().draw(player, draws, model) | {"eps": draws.normal(*model.head.noise_shape)}

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real) + softplus(fake)

    def beside(self, noise: Mapping[str, Tensor], side: str) -> Tensor | None:
        codes = {"real": noise["code"], "fake": noise["z"]}
        return (codes[side] if side in codes else torch.cat([*codes.values()])).flatten(1)

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            made = nets.model.mean(noise["z"], batch.y)
            noise = {**noise, "code": nets.model.posterior(batch.x, batch.y).sample(noise["eps"])}
        if player == "critic":
            return self.judge(nets.critic, batch, made, noise, nets)
        real = self._outputs(nets.critic, batch.x, batch.y, noise, "real")
        fake = self._outputs(nets.critic, made, batch.y, noise, "fake")
        return self.made(nets, batch, made, fake, noise, {"adversarial": self.critic_loss(-real, -fake)})

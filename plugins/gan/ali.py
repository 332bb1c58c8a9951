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


@declare.objective("ali", paper="arXiv:1606.00704", tags=("gan", "encoder"), recipe={"like": "gan"})
class ALI(Adversarial):
    """Adversarially learned inference: a critic tells pairs (x, z ~ q(z|x)) from pairs (G(z), z ~ p(z)).

    It minimizes E[softplus(-D(x, z))] + E[softplus(D(G(z), z))], generator and encoder the same with signs changed.
    Where no critic can tell the pairs apart the encoder inverts the generator.
    """

    takes = frozenset({"augmentation"})

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        """An encoder, and a critic that is given codes too."""
        return Plan(posterior="normal", critics=(self.critic_plan(spec, beside="codes"),))

    def players(self) -> tuple[Player, ...]:
        """The critic, then the whole model."""
        return super().players()[0], Player("model", ("model",))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Codes, and the posterior's noise."""
        assert model.head is not None  # the plan asks for a posterior
        return super().draw(player, draws, model) | {"eps": draws.normal(*model.head.noise_shape)}

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Cross-entropy of both decisions, from logits."""
        return softplus(-real) + softplus(fake)

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """Both kinds of pairs, in both turns."""
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            made, y = nets.model.mean(noise["z"], batch.y), batch.y
            code = nets.model.posterior(batch.x, y).sample(noise["eps"])
        real, fake = (
            nets.critic(self.view(x, noise, side), y, z.flatten(1)).squeeze(1).float()
            for x, z, side in ((batch.x, code, "real"), (made, noise["z"], "fake"))
        )
        sign = 1 if player == "critic" else -1
        terms = {"adversarial": self.critic_loss(sign * real, sign * fake)}
        return self._loss(nets.critic, terms, {"real": real, "fake": fake} if player == "critic" else None)

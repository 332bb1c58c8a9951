"""Critics of observations with their codes, and an encoder beside the generator: ALI, BiGAN, VEEGAN."""

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
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare

CODES = {"real": ("code",), "fake": ("z",), "both": ("code", "z")}  # the noise that is told with a side

declare.recipe(
    "bigan",
    objective="ali",
    paper="arXiv:1605.09782",
    tags=("gan", "encoder"),
    like="ali",
    posterior="point",
    summary="BiGAN: ALI whose codes are points, without noise",
)


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
        return Plan(posterior="normal", points=True, critics=(self.critic_plan(spec, beside="codes"),))

    def players(self) -> tuple[Player, ...]:
        return super().players()[0], Player("model", ("model",))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None  # the plan asks for a posterior
        return super().draw(player, draws, model) | {"eps": draws.normal(*model.head.noise_shape)}

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real) + softplus(fake)

    def beside(self, noise: Mapping[str, Tensor], side: str) -> Tensor | None:
        return torch.cat([noise[name] for name in CODES[side]]).flatten(1)

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            made = nets.model.mean(noise["z"], batch.y)
            noise = {**noise, "code": nets.model.posterior(batch.x, batch.y).sample(noise["eps"])}
        if player == "critic":
            return self.judge(nets.critic, batch, made, noise, nets)
        real, fake = (self._outputs(nets.critic, x, batch.y, noise, s) for x, s in ((batch.x, "real"), (made, "fake")))
        return self.made(nets, batch, made, fake, noise, {"adversarial": self.critic_loss(-real, -fake)})


@declare.objective(
    "veegan",
    paper="arXiv:1705.07761",
    tags=("gan", "encoder"),
    recipe={"like": "ali", "posterior": "point", "presets": {"vector": {"regularizer": []}}},
)
class VEEGAN(ALI):
    """VEEGAN: an encoder that learns from samples alone to give their codes back, and a critic of pairs.

    The critic is that of `ali`: it tells (x, F(x)) from (G(z), z). The generator minimizes -E[D(G(z), z)] + λ E[‖z -
    F(G(z))‖²], the encoder F the second term only. Where the generator drops a mode, F maps the data of that mode to
    codes that are unlike the prior's, which the critic sees.

    When: codes of samples, and to compare with; `r3gan` loses fewer modes at a lower price. Without R1, which leaves
    slopes in the code free: in the plane the critic then told pairs by their codes, and samples fell together.

    Cost: that of `ali`, and a third player's turn.
    """

    @dataclass(frozen=True)
    class Options(ALI.Options):
        weight: float = option(1.0, "weight λ of the error of a sample's code, summed over its numbers", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), posterior="point")

    def players(self) -> tuple[Player, ...]:
        return *Adversarial.players(self), Player("encoder", ("encoder",))

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        if player == "critic":
            return super().loss(player, nets, batch, noise)
        with torch.set_grad_enabled(player == "generator" and torch.is_grad_enabled()):
            fake = nets.model.mean(noise["z"], batch.y)
        terms = {"code": self.options.weight * code_error(nets.model, noise["z"], fake, batch.y)}
        if player == "encoder":
            return Loss(terms)
        # For regularizers that look at real observations too.
        noise = {**noise, "code": nets.model.posterior(batch.x, batch.y).mean.detach()}
        outputs = self._outputs(nets.critic, fake, batch.y, noise, "fake")
        return self.made(nets, batch, fake, outputs, noise, {"adversarial": -outputs, **terms})


def code_error(model: Model, z: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
    """‖z - F(x)‖² of codes and their samples, ``(B,)``."""
    return (z - model.posterior(x, y).mean).flatten(1).square().sum(1)

"""VQ-GAN: a quantizing autoencoder whose reconstructions a critic judges, by a weight that keeps the two in balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.networks import Generator
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.hinge import Hinge
from genzoo.plugins.vae.variational import coupled_terms
from genzoo.registry import declare


@declare.objective(
    "vq-gan",
    paper="arXiv:2012.09841",
    tags=("vae", "gan", "quantizer"),
    modalities=(
        "image",
        "vector",
        "audio",
        "spectrogram",
        "table",
    ),  # numbers, of which a reconstruction is near or far
    recipe={
        "like": "vq-vae",
        "likelihood": "laplace",
        "options": {"train.betas": (0.5, 0.9)},
        "presets": {
            "image": {"critic": "conv", "critic.spectral_norm": True},
            "vector": {"critic": "mlp", "regularizer": ["r1=0.05"]},
        },
    },
)
class VQGAN(Hinge):
    """VQ-GAN: the model minimizes nll + κ ‖φ(x) - φ(x̂)‖² + commitment - λ w D(x̂); the critic D the loss of `hinge`.

    λ = ‖∇ (nll + κ …)‖ / (‖∇ D(x̂)‖ + 1e-4), slopes of the generator's last weight, makes w the adversarial share of
    its gradient whatever the units of the rest. φ are the critic's features in place of the paper's VGG, and the critic
    comes in after a share of the training, when there is something to judge.

    When: codes that are short and discrete, whose reconstructions should be sharp; then ``genzoo prior fit`` for a
    transformer that samples them. Other posteriors will do as well, with a small weight on their KL.

    Cost: that of `vq-vae` and a critic, and two further passes back through the generator's last layer.
    """

    generator_terms = False

    @dataclass(frozen=True)
    class Options(Hinge.Options):
        weight: float = option(0.8, "w, the adversarial share", low=0)
        features: float = option(1.0, "κ, weight of the distance of the critic's features", low=0)
        kl: float = option(1e-6, "weight of the KL, of posteriors that have one", low=0)
        start: float = option(0.25, "share of training after which the critic comes in", low=0, high=1)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        critics = (self.critic_plan(spec),)
        return Plan(
            posterior="vq",
            prior="uniform-codes",
            likelihood=True,
            critics=critics,
            points=True,
            moves_prior=False,
            means=True,
        )

    def players(self) -> tuple[Player, ...]:
        return Player("model", ("model",)), super().players()[0]

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None  # the plan asks for a posterior
        noise = super().draw(player, draws, model) | {"eps": draws.normal(*model.head.noise_shape)}
        return noise | {"on": draws.number(float(draws.progress >= self.options.start))}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model, critic, y = nets.model, nets.critic, batch.y
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            q = model.posterior(batch.x, y)
            z, kl = model.code(q, noise["eps"], y)
            params = model.params(q, z, y)
            again = model.likelihood.mean(params)
        if player == "critic":
            judged = self.judge(critic, batch, again, noise)
            return replace(judged, weights=dict.fromkeys(judged.terms, noise["on"]))
        nll = -model.likelihood.log_prob(params, batch.x)
        terms = {"nll": nll, "features": self.feature_distance(critic, batch, again, noise)}
        wanted = {"adversarial": self.generator_loss(self._outputs(critic, again, y, noise, "fake"), None)}
        kappa, share = self.options.features * noise["on"], self.options.weight * noise["on"]
        if torch.is_grad_enabled():
            rest = (nll + kappa * terms["features"]).mean()
            share = share * balance(model.generator, rest, wanted["adversarial"].mean())
        weights: dict[str, float | Tensor] = {"kl": self.options.kl, "features": kappa, "adversarial": share}
        coupled = {"adversarial": True, **coupled_terms(model, "nll", q=q)}
        terms |= {**wanted, "kl": kl, **q.cost}
        return Loss(terms, weights, coupled, {"balance": share}, q.sums)

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "model" and nets.model.head is not None:
            nets.model.head.after_step(seen)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """The negative log-likelihood of reconstructions, in nats."""
        model = nets.model
        q = model.posterior(batch.x, batch.y)
        params = model.params(q, q.sample(noise["eps"]), batch.y)
        return -model.likelihood.log_prob(params, batch.x)


def balance(generator: Generator, rest: Tensor, adversarial: Tensor) -> Tensor:
    """‖∂ rest‖ / (‖∂ adversarial‖ + 1e-4) at a generator's last weight, 0-d, as a constant."""
    slopes = [torch.autograd.grad(loss, generator.last_weight, retain_graph=True)[0] for loss in (rest, adversarial)]
    # The slopes of a whole batch are the means of its parts'.
    norms = [torch.linalg.vector_norm(all_gather(slope.detach()[None]).mean(0).float()) for slope in slopes]
    found: Tensor = norms[0] / (norms[1] + 1e-4)
    return found

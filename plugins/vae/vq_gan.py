"""VQ-GAN: a quantizing autoencoder whose reconstructions a critic judges, by a weight that keeps the two in balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

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
    # Numbers, of which a reconstruction is near or far.
    modalities=("image", "vector", "audio", "spectrogram", "table"),
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
    comes in after a share of the training, when there is something to judge; until then it costs nothing. With
    ``moves=generator`` the code stays as it is and the generator alone learns from its critic, RAVE's second stage
    (arXiv:2111.05011), which begins with the weights of the first (``--init``).

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
        moves: Literal["model", "generator"] = option("model", "what is trained beside the critic")

    options: Options

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self.needs_start = self.options.moves == "generator"

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        # Of a second stage the prior stays as all of the code does.
        found = Plan("vq", True, (self.critic_plan(spec),), prior="uniform-codes", points=True, means=True)
        return replace(found, moves_prior=self.needs_start)

    def players(self) -> tuple[Player, ...]:
        return Player("model", (self.options.moves,)), super().players()[0]

    def draw_codes(self, draws: Draws, model: Model) -> Tensor:
        """Of a prior that goes by labels, which are not known yet, any: the critic judges reconstructions."""
        return draws.normal(*model.latent.shape) if any(model.prior.told) else super().draw_codes(draws, model)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None  # the plan asks for a posterior
        noise = super().draw(player, draws, model) | {"eps": draws.normal(*model.head.noise_shape)}
        # What stands here tells the turn that there is a critic.
        return noise | ({"on": draws.number(1.0)} if draws.progress >= self.options.start else {})

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model, critic, y, on = nets.model, nets.critic, batch.y, "on" in noise
        if player == "critic" and not on:
            still = 0 * torch.stack([p.sum() for p in critic.parameters()]).sum()
            return Loss({"adversarial": still.expand(len(batch.x))})
        moves = player == "model" and torch.is_grad_enabled()
        with torch.set_grad_enabled(moves and not self.needs_start):
            q = model.posterior(batch.x, y)
            z, kl = model.code(q, noise["eps"], y)
        with torch.set_grad_enabled(moves):
            params = model.params(q, z, y)
            again = model.likelihood.mean(params)
        if player == "critic":
            return self.judge(critic, batch, again, noise)
        nll = -model.likelihood.log_prob(params, batch.x)
        terms, weights = {"nll": nll, "kl": kl, **q.cost}, dict[str, float | Tensor](kl=self.options.kl)
        coupled, shown = coupled_terms(model, "nll", q=q), dict[str, Tensor]()
        if on:
            wanted = self.generator_loss(self._outputs(critic, again, y, noise, "fake"), None)
            judged = {"features": self.feature_distance(critic, batch, again, noise), "adversarial": wanted}
            share = noise["on"] * self.options.weight
            if torch.is_grad_enabled():
                rest = (nll + self.options.features * judged["features"]).mean()
                share = share * balance(model.generator, rest, wanted.mean())
            terms, weights = {**judged, **terms}, {**weights, "features": self.options.features, "adversarial": share}
            coupled, shown = {"adversarial": True, **coupled}, {"balance": share}
        return Loss(terms, weights, coupled, shown, {} if self.needs_start else q.sums)

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "model" and not self.needs_start and nets.model.head is not None:
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

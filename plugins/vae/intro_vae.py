"""Introspective VAEs: the encoder judges by its own KL, or bound, what the generator makes; there is no critic."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import DECODER, ENCODER, Variational, coupled_terms
from genzoo.registry import declare

Weighted = dict[str, tuple[float, Tensor]]  # terms by name, with their weights


class Introspective(Variational):
    """An encoder that wants short codes of data and long ones of what is made, and a generator that wants the opposite.

    What is made is G(z) of the data's codes, and G(z_p) of z_p ~ p(z); each has a KL and an NLL of its own. To the
    encoder it is data, and the generator's loss does not reach its codes but through what it makes.
    """

    @abstractmethod
    def made(self, player: str, name: str, nll: Tensor, kl: Tensor, scale: float) -> Weighted:
        """The terms of what is made, called ``again`` or ``made``, in a player's turn; ``scale`` is 1/D."""

    @abstractmethod
    def known(self, nll: Tensor, kl: Tensor, scale: float) -> Weighted:
        """The terms of data, ``nll`` and ``kl``, of which the generator has the first."""

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), moves_prior=False)

    def players(self) -> tuple[Player, ...]:
        return Player("encoder", ENCODER), Player("generator", DECODER)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None
        codes = {name: draws.normal(*model.head.noise_shape) for name in ("again", "made")}
        return super().draw(player, draws, model) | codes | {"prior": model.prior.draw(draws)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model, y, grads = nets.model, batch.y, torch.is_grad_enabled()
        encodes, scale = player == "encoder", 1 / nets.model.spec.size
        with torch.set_grad_enabled(encodes and grads):
            q = model.posterior(batch.x, y)
            z, kl = model.code(q, noise["eps"], y)
        params = model.generator(z, y)
        found = self.known(-model.likelihood.log_prob(params, batch.x), kl, scale)
        with torch.set_grad_enabled(not encodes and grads):
            seen = params.detach() if encodes else params  # a likelihood's mean may be its parameters as they are
            made = {"again": model.likelihood.mean(seen), "made": model.mean(noise["prior"], y)}
        for name, x in made.items():
            z, kl = model.code(model.posterior(x, y), noise[name], y)
            nll = -model.likelihood.log_prob(model.generator(z if encodes else z.detach(), y), x.detach())
            found |= self.made(player, name, nll, kl, scale)
        if encodes:
            found |= {name: (found["nll"][0], cost) for name, cost in q.cost.items()}
        else:
            del found["kl"]
        terms, weights = {k: v for k, (_, v) in found.items()}, {k: w for k, (w, _) in found.items()}
        coupled = coupled_terms(model, *terms, q=q if encodes else None)
        return Loss(terms, weights, coupled, sums=q.sums if encodes else {})

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "encoder":
            super().after_step(player, nets, seen)


@declare.objective(
    "soft-intro-vae",
    paper="arXiv:2012.13253",
    tags=("vae", "gan"),
    recipe={
        "like": "vae",
        "likelihood": "gaussian",
        "options": {"likelihood.sigma": "fixed", "likelihood.value": 0.7071068},
        "presets": {"image": {"likelihood.value": 1.4142136}},
    },
)
class SoftIntroVAE(Introspective):
    """Soft-IntroVAE: the encoder raises the evidence bound of data and lowers exp of that of what is made.

    With s = 1/D the encoder minimizes s (nll + β KL) + ¼ Σ exp(-2 s (nll_f + β_neg KL_f)) over both kinds of what is
    made, the generator s (nll + ½ β Σ KL_f + ½ γ Σ nll_f).

    When: a VAE with sharper samples is wanted, without a critic. The recipe's Gaussian has σ² = ½ in data units,
    whose NLL is the squared error of the authors' code; β_neg and γ are theirs for MNIST and Fashion-MNIST. Long
    trainings may want their learning rate, 2e-4; in short ones it comes to little.

    Cost: two turns, with three passes of both networks each: about six times that of `vae`.
    """

    @dataclass(frozen=True)
    class Options(Introspective.Options):
        beta: float = option(1.0, "β, weight of the KL", low=0)
        beta_neg: float = option(256.0, "β_neg, weight of the KL of what is made, in the encoder's exponent", low=0)
        gamma: float = option(1e-8, "γ, weight of the generator's NLL of what it made", low=0)

    options: Options

    def known(self, nll: Tensor, kl: Tensor, scale: float) -> Weighted:
        return {"nll": (scale, nll), "kl": (scale * self.options.beta, kl)}

    def made(self, player: str, name: str, nll: Tensor, kl: Tensor, scale: float) -> Weighted:
        o = self.options
        if player == "encoder":
            return {f"exp bound {name}": (0.25, torch.exp(-2 * scale * (nll + o.beta_neg * kl)))}
        return {f"kl {name}": (0.5 * scale * o.beta, kl), f"nll {name}": (0.5 * scale * o.gamma, nll)}


@declare.objective("intro-vae", paper="arXiv:1807.06358", tags=("vae", "gan"), recipe={"like": "soft-intro-vae"})
class IntroVAE(Introspective):
    """IntroVAE: the encoder gives what is made a KL of at least a margin m, the generator makes it short.

    The encoder minimizes β nll + KL + α Σ relu(m - KL_f) over both kinds of what is made, the generator
    β nll + α Σ KL_f. The margin has to lie above the KL of data, which the log shows.

    When: to compare with `soft-intro-vae`, which has no margin to find.

    Cost: that of `soft-intro-vae`.
    """

    @dataclass(frozen=True)
    class Options(Introspective.Options):
        margin: float = option(50.0, "m, in nats of KL", low=0)
        alpha: float = option(0.25, "α, weight of the KL of what is made", low=0)
        beta: float = option(1.0, "β, weight of the NLL", low=0)

    options: Options

    def known(self, nll: Tensor, kl: Tensor, scale: float) -> Weighted:
        return {"nll": (self.options.beta, nll), "kl": (1.0, kl)}

    def made(self, player: str, name: str, nll: Tensor, kl: Tensor, scale: float) -> Weighted:
        pull = (self.options.margin - kl).relu() if player == "encoder" else kl
        return {f"kl {name}": (self.options.alpha, pull)}

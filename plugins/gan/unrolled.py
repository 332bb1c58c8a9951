"""Unrolled GAN: the generator looks ahead at how the critic will answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from genzoo.core.distributed.gather import all_gather
from genzoo.core.networks import Critic
from genzoo.core.objective import Batch, Loss, Networks
from genzoo.core.options import option
from genzoo.plugins.gan.gan import GAN
from genzoo.registry import declare


class Ahead:
    """A critic with other weights than its own."""

    def __init__(self, critic: Critic, weights: Mapping[str, Tensor]) -> None:
        self.critic, self.weights, self.ports, self.mixes = critic, dict(weights), critic.ports, critic.mixes

    def __call__(self, *told: Tensor | None) -> Any:
        return functional_call(self.critic, self.weights, told)


@declare.objective(
    "unrolled",
    paper="arXiv:1611.02163",
    tags=("gan",),
    recipe={"like": "gan"},
)
class Unrolled(GAN):
    """Unrolled GAN: the generator is judged by the critic as it will be after K steps, and learns through them.

    The steps are plain gradient descent on the critic's loss of the turn's batch, without its regularizers, from the
    critic's weights, which stay. The generator's gradient goes through the steps: what it gains by moving to where the
    critic is not yet, the critic takes back, so that hopping from mode to mode does not pay.

    When: to compare with. `r3gan` costs less and covers more.

    Cost: each step ahead is a turn of the critic with second derivatives: with K = 5 about ten times `gan`. Parts of a
    batch are refused (``train.accumulate``), and so is `gn`, whose derivatives of derivatives pile up.
    """

    @dataclass(frozen=True)
    class Options(GAN.Options):
        steps: int = option(5, "steps K that the generator looks ahead; 0 is the plain GAN", low=0, high=100)
        rate: float = option(0.1, "learning rate of these steps", low=0)

    options: Options
    takes_slopes = True

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        if player == "critic" or not self.options.steps:
            return super().loss(player, nets, batch, noise)
        x = {"real": batch.x, "fake": nets.model.mean(noise["z"], batch.y)}

        def said(weights: Mapping[str, Tensor], side: str) -> Tensor:
            return self._outputs(_ahead(nets.critic, weights), x[side], batch.y, noise, side)

        def wanted(weights: Mapping[str, Tensor]) -> Tensor:
            return self._by_packs(self.critic_loss, said(weights, "real"), said(weights, "fake")).mean()

        after = _descended(wanted, nets.critic, self.options.steps, self.options.rate)
        outputs, real = said(after, "fake"), said(after, "real") if self.paired else None
        terms = {"adversarial": self._by_packs(self.generator_loss, outputs, real)}
        found = self.made(nets, batch, x["fake"], outputs, noise, terms)
        return replace(found, coupled=dict.fromkeys(found.terms, True))


def _ahead(critic: Critic, weights: Mapping[str, Tensor]) -> Any:
    return Ahead(critic, weights)


def _descended(
    loss: Callable[[Mapping[str, Tensor]], Tensor], critic: Critic, steps: int, rate: float
) -> dict[str, Tensor]:
    """A critic's weights after steps of gradient descent on a loss, differentiable."""
    weights = {k: p.detach() for k, p in critic.named_parameters()}
    for _ in range(steps):
        slopes = _slopes(loss, weights)
        # Of the whole batch, where processes share it: each has its own part's.
        weights = {k: w - rate * all_gather(slopes[k][None]).mean(0) for k, w in weights.items()}
    return weights


def _slopes(loss: Callable[[Mapping[str, Tensor]], Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of a loss with respect to weights, by name, differentiable once more."""
    if torch.compiler.is_compiling():
        found: dict[str, Tensor] = torch.func.grad(loss)(weights)
        return found
    weights = {k: w if w.requires_grad else w.requires_grad_() for k, w in weights.items()}
    return dict(
        zip(weights, torch.autograd.grad(loss(weights), list(weights.values()), create_graph=True), strict=True)
    )

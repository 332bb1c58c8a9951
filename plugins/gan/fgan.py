"""f-GAN: a bound on any of eight f-divergences, tightened by the critic and descended by the generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare

Numbers = Callable[[Tensor], Tensor]


def exp(v: Tensor, most: float = 10) -> Tensor:
    """eᵛ up to ``most`` and its tangent beyond, so that no score of a critic overflows or loses its gradient."""
    low = v.clamp(max=most)
    return low.exp() * (1 + v - low)


# Divergence to (g, f* ∘ g): the score v is mapped by g to where the conjugate f* of f is finite.
FORMS: dict[str, tuple[Numbers, Numbers]] = {
    "kl": (lambda v: v, lambda v: exp(v - 1)),
    "reverse-kl": (lambda v: -exp(-v), lambda v: v - 1),
    "pearson": (lambda v: v, lambda v: v.square() / 4 + v),
    "neyman": (lambda v: 1 - exp(-v), lambda v: 2 - 2 * exp(-v / 2, 5)),
    "hellinger": (lambda v: 1 - exp(-v), lambda v: exp(v) - 1),
    "jensen-shannon": (lambda v: math.log(2) - softplus(-v), lambda v: softplus(v) - math.log(2)),
    "gan": (lambda v: -softplus(-v), softplus),
    "total-variation": (lambda v: torch.tanh(v) / 2, lambda v: torch.tanh(v) / 2),
}


@declare.objective(
    "fgan",
    paper="arXiv:1606.00709",
    tags=("gan",),
    recipe={"like": "gan", "presets": {"vector": {"regularizer": ["r1=0.05", "r2=0.05"], "train.betas": (0.0, 0.99)}}},
)
class FGAN(Adversarial):
    """f-GAN: the critic's least loss is minus the divergence Σ q φ(p/q) of data p and samples q.

    With scores v the critic minimizes f*(g(v(G(z)))) - g(v(x)); the generator minimizes -f*(g(v(G(z)))) (``minimax``)
    or -g(v(G(z))) (``alternative``, which descends another divergence and starts faster). ``jensen-shannon`` is twice
    the divergence of that name. Exponentials of scores beyond 10 go on as their tangents.

    When: to choose what is traded: reverse KL gives up modes for good samples, KL the other way round; the choice
    matters less than the penalty.

    Cost: that of `gan`.
    """

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        divergence: Literal[
            "kl", "reverse-kl", "pearson", "neyman", "hellinger", "jensen-shannon", "gan", "total-variation"
        ] = option("jensen-shannon", "of data from samples")
        loss: Literal["alternative", "minimax"] = option("alternative", "what the generator minimizes")

    options: Options

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        g, conjugate = FORMS[self.options.divergence]
        return conjugate(fake) - g(real)

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        g, conjugate = FORMS[self.options.divergence]
        return -conjugate(fake) if self.options.loss == "minimax" else -g(fake)

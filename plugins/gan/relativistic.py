"""Relativistic GANs: a score counts against those of the other side, of one observation or of their average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.distributed.gather import all_gather
from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


@declare.objective(
    "rpgan",
    paper="arXiv:1807.00734",
    tags=("gan", "relativistic"),
    recipe={"like": "gan", "presets": {"vector": {"regularizer": ["r1=0.05"]}}},
)
class RpGAN(Adversarial):
    """Relativistic pairing GAN: every fake is judged against a real observation.

    The critic minimizes E[softplus(-(D(x) - D(G(z))))], the generator E[softplus(-(D(G(z)) - D(x)))].

    When: to choose the penalty oneself; `r3gan` is this loss with R1 and R2, without which it need not converge.

    Cost: that of `gan`, and the critic's scores of real observations in the generator's turn.
    """

    paired = True
    shift_invariant = True

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real)

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None  # paired
        return softplus(real - fake)


@declare.objective(
    "ragan",
    paper="arXiv:1807.00734",
    tags=("gan", "relativistic"),
    recipe={"like": "gan", "presets": {"vector": {"regularizer": ["r1=0.05", "r2=0.05"], "train.betas": (0.0, 0.99)}}},
)
class RaGAN(Adversarial):
    """Relativistic average GAN: a score counts against the mean score r̄ or f̄ of the other side.

    With r = D(x), f = D(G(z)) the critic minimizes ½ E[ℓ(r - f̄) + ℓ(r̄ - f)], the generator the same with r and f
    exchanged. ℓ(u) is softplus(-u) (``standard``), (u - 1)² (``least-squares``) or relu(1 - u) (``hinge``).

    When: a steadier signal than pairs give, with large batches. `r3gan` is the better studied of the two.

    Cost: that of `rpgan`. Parts of a batch are refused (``train.accumulate``).
    """

    paired = True
    coupled = True
    shift_invariant = True

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        loss: Literal["standard", "least-squares", "hinge"] = option("standard", "what ℓ is")

    options: Options

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return (self._wanted(real - all_gather(fake).mean()) + self._wanted(all_gather(real).mean() - fake)) / 2

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None  # paired
        return self.critic_loss(fake, real)

    def _wanted(self, u: Tensor) -> Tensor:
        """ℓ(u), which wants u to be large."""
        if self.options.loss == "standard":
            return softplus(-u)
        return (u - 1).square() if self.options.loss == "least-squares" else (1 - u).relu()


declare.recipe(
    "ralsgan",
    summary="Relativistic average GAN with least squares",
    paper="arXiv:1807.00734",
    tags=("gan", "relativistic"),
    like="ragan",
    options={"objective.loss": "least-squares"},
)
declare.recipe(
    "rahingegan",
    summary="Relativistic average GAN with hinges",
    paper="arXiv:1807.00734",
    tags=("gan", "relativistic"),
    like="ragan",
    options={"objective.loss": "hinge"},
)

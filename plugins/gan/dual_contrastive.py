"""Dual contrastive loss: every observation is told from the whole batch of the other side."""

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
    "dual-contrastive",
    paper="arXiv:2103.16748",
    tags=("gan", "relativistic"),
    recipe={"like": "gan", "presets": {"vector": {"regularizer": ["r1=0.05", "r2=0.05"], "train.betas": (0.0, 0.99)}}},
)
class DualContrastive(Adversarial):
    """Dual contrastive GAN: a real observation is told from all fakes of the batch, a fake from all real ones.

    With r = D(x), f = D(G(z)) the critic minimizes softplus(lse(f) - r) + softplus(lse(-r) + f), lse the logsumexp over
    the other side's batch. The generator minimizes the negative of it (``minimax``), or the same with r and f exchanged
    (``mirrored``), which in the plane does not converge at the same settings.

    When: large batches, of which the hardest fakes should count most.

    Cost: that of `rpgan`. Parts of a batch are refused (``train.accumulate``).
    """

    paired = True
    coupled = True
    shift_invariant = True

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        loss: Literal["minimax", "mirrored"] = option("minimax", "what the generator minimizes")

    options: Options

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(all_gather(fake).logsumexp(0) - real) + softplus(all_gather(-real).logsumexp(0) + fake)

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None  # paired
        return -self.critic_loss(real, fake) if self.options.loss == "minimax" else self.critic_loss(fake, real)

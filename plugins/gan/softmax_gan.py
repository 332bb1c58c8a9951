"""Softmax GAN: one softmax over a whole batch of real and generated observations."""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


@declare.objective(
    "softmax-gan",
    paper="arXiv:1704.06191",
    tags=("gan",),
    recipe={"like": "gan", "presets": {"vector": {"regularizer": ["r1=0.05", "r2=0.05"], "train.betas": (0.0, 0.99)}}},
)
class SoftmaxGAN(Adversarial):
    """Softmax GAN: the critic gives real observations all of a softmax's mass, the generator wants it shared.

    Over the B real and B generated observations of a batch L = logsumexp(D(x), D(G(z))). The critic minimizes
    L - E[D(x)], whose target is 1/B at each real one; the generator L - ½ (E[D(x)] + E[D(G(z))]), whose target is 1/2B
    at each.

    When: to compare; its two targets follow from the batch, so that small batches mean another game.

    Cost: that of `rpgan`. Parts of a batch are refused (``train.accumulate``).
    """

    paired = True
    coupled = True
    shift_invariant = True

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return all_gather(torch.stack([real, fake], 1)).flatten().logsumexp(0) - real

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        assert real is not None  # paired
        return self.critic_loss(real, fake) + (real - fake) / 2

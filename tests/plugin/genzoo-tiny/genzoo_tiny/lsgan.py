"""The least-squares GAN."""

from __future__ import annotations

from torch import Tensor

from genzoo.plugins.gan.adversarial import Adversarial


class LSGAN(Adversarial):
    """Least-squares GAN: scores are regressed on 1 for real and 0 for fake, so that none saturates.

    The critic minimizes ½ (D(x) - 1)² + ½ D(G(z))², the generator ½ (D(G(z)) - 1)²; at the critic's optimum
    the generator minimizes a Pearson χ² divergence (Mao et al., arXiv:1611.04076).
    """

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Distance from the targets."""
        return ((real - 1).square() + fake.square()) / 2

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Distance from the target of real data."""
        return (fake - 1).square() / 2

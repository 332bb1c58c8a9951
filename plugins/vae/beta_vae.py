"""A VAE whose KL weighs more or less, for codes that come apart or for sharper reconstructions."""

from __future__ import annotations

from dataclasses import dataclass

from genzoo.core.options import option
from genzoo.plugins.vae.vae import VAE
from genzoo.registry import declare


@declare.objective(
    "beta-vae", paper="Higgins et al., ICLR 2017", tags=("vae", "disentanglement"), recipe={"like": "vae"}
)
class BetaVAE(VAE):
    """VAE with the KL weighted by β: E_q[log p(x|z)] - β KL(q(z|x) ‖ p(z)).

    β > 1 trades likelihood for a simpler, more disentangled code; β < 1 for sharper reconstructions.

    When: each number of the code should stand for one thing (β > 1), or reconstructions should be sharper (β < 1).
    The loss is then no bound on the likelihood; the held-out loss still is.

    Cost: that of `vae`.
    """

    @dataclass(frozen=True)
    class Options(VAE.Options):
        beta: float = option(4.0, "weight of the KL", low=0)

    options: Options

    @property
    def beta(self) -> float:
        return self.options.beta

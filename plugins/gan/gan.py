"""The original GAN, as the founding article has it, with logits in place of its double sigmoid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


@declare.objective(
    "gan",
    paper="arXiv:1406.2661",
    tags=("gan",),
    recipe={
        "options": {"latent.size": 64, "train.lr": 2e-4, "train.betas": (0.5, 0.999), "train.average": 10_000},
        "presets": {
            "image": {"generator": "conv", "critic": "conv", "critic.spectral_norm": True},
            "vector": {
                "generator": "mlp",
                "generator.depth": 3,
                "generator.activation": "relu",
                "critic": "mlp",
                "critic.depth": 3,
                "critic.activation": "relu",
                "latent.size": 2,
                "train.lr": 1e-3,
                "train.betas": (0.5, 0.9),
                "train.batch_size": 256,
                "train.schedule": "cosine",
                "train.average": 0,
            },
            "table": {
                "generator": "table-mlp",
                "generator.norm": "batch",
                "generator.residual": True,
                "generator.depth": 3,
                "generator.activation": "relu",
                "critic": "mlp",
                "critic.width": 256,
                "train.lr": 1e-3,
                "train.batch_size": 500,
                "train.schedule": "cosine",
                "train.average": 350_000,
            },
        },
    },
)
class GAN(Adversarial):
    """Generative adversarial network: min over G, max over D of E[log D(x)] + E[log(1 - D(G(z)))].

    With logits d the critic minimizes softplus(-d(x)) + softplus(d(G(z))). The generator minimizes
    -softplus(d(G(z))) (``minimax``, whose gradient vanishes where the critic is sure) or softplus(-d(G(z)))
    (``non-saturating``). One-sided label smoothing s adds s d(x): the target of real observations is 1 - s
    (arXiv:1606.03498).

    When: to begin with, and to compare with. Non-saturating, with spectral norm, it trains on most data; on data with
    many modes it drops some, and `r3gan` drops fewer.

    Cost: one turn of the critic for one of the generator, without second derivatives: the cheapest of the GANs.
    """

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        loss: Literal["non-saturating", "minimax"] = option("non-saturating", "what the generator minimizes")
        smoothing: float = option(0.0, "share s of the critic's target that real observations lack", low=0, high=0.5)

    options: Options

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        certain = softplus(-real) + softplus(fake)
        return certain + self.options.smoothing * real if self.options.smoothing else certain

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return softplus(-fake) if self.options.loss == "non-saturating" else -softplus(fake)

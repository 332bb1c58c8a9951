"""Posteriors of levels that are merged with the prior by precision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.plugins.posteriors.hierarchical import TopDownHead
from genzoo.registry import declare

declare.recipe(
    "ladder-vae",
    summary="VAE of five levels whose posterior weighs what data say of a level against what is above, by precision",
    paper="arXiv:1602.02282",
    tags=("vae", "hierarchy"),
    like="two-level-vae",
    posterior="ladder",
    options={"generator.sizes": (4, 8, 16, 32, 64), "objective.kl_warmup": 0.3},
    presets={"vector": {"generator.sizes": (2, 2, 4)}},
)


@declare.posterior("ladder", paper="arXiv:1602.02282", tags=("vae", "hierarchy"))
class Ladder(TopDownHead):
    """Ladder posterior: data alone say N(μ̂, σ̂²) of a level, and it is merged with the prior N(μ, σ²) by precision.

    σ_q⁻² = σ̂⁻² + σ⁻² and μ_q = σ_q² (μ̂ σ̂⁻² + μ σ⁻²): a level of which data say nothing is the prior's.
    """

    above = False

    def ask(self, layer: int, features: Tensor, h: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
        said, log_var = self.layers[layer](features).float().chunk(2, 1)
        # Of the standardized noise, whose prior is N(0, 1): a precision of 1 beside that of the data.
        said, log_var = (said - mean) * torch.exp(-log_std), log_var - 2 * log_std
        return said * torch.sigmoid(-log_var), F.logsigmoid(log_var)

"""Residual codes that are drawn, level by level."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.options import option
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.gumbel import GumbelVQ
from genzoo.plugins.posteriors.quantizer import distances, levels_kept
from genzoo.registry import declare

declare.recipe(
    "hrq-vae",
    summary="VAE whose vectors are sums of codes that are drawn level by level, from the outline to the detail",
    paper="Hosking et al., ACL 2022",
    tags=("vae", "quantizer"),
    like="vq-vae",
    posterior="hrq",
)


@declare.posterior("hrq", paper="Hosking et al., ACL 2022", tags=("vae", "quantizer"))
class HRQ(GumbelVQ):
    """Hierarchical residual quantizer: at each level a code e is drawn by exp(-‖r - e‖²), r what is left of the vector.

    Observations are trained on their first levels too (``dropout``), and a book whose codes are longer than γ⁻¹ times
    those above it pays for it (``norm``), so that the first levels say most. With nothing left to chance it is a
    residual quantizer.
    """

    @dataclass(frozen=True)
    class Options(GumbelVQ.Options):
        codes: int = option(64, "K, vectors in a book", low=2, high=65_536)
        depth: int = option(4, "levels", low=1, high=64)
        temperature: tuple[float, ...] = option((1.0, 0.5), "τ at first, and at last", low=1e-4)
        anneal: float = option(1000.0, "steps in which the first level's τ falls to 1/e of itself", low=1)
        decay: float = option(0.5, "length of a level's codes at the start, beside those above", low=1e-3, high=1)
        dropout: float = option(0.1, "share of observations that train on fewer levels", low=0, high=1)
        norm: float = option(1.0, "weight of Σ (max(γ ‖e_l‖ / ‖e_above‖, 1) - 1)²", low=0)
        ratio: float = option(1.5, "γ of it", low=0)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        o = options or self.Options()
        super().__init__(latent, o, o.depth, o.decay)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.latent.shape

    def logits(self, book: Tensor, left: Tensor) -> Tensor:
        return -distances(left, book)  # but for ‖r‖², which is the same for all

    def kept(self, u: Tensor) -> Tensor | None:
        share = self.options.dropout if self.training else 0.0
        return levels_kept(u, share, self.levels) if share else None

    def costs(self) -> dict[str, Tensor]:
        length = torch.stack([book.norm(dim=-1).mean() for book in self.books])
        over = (self.options.ratio * length[1:] / length[:-1]).clamp(min=1) - 1
        return {"norm": self.options.norm * over.square().sum()}

"""Books of codes that are learned by gradients: the original quantizer's, and a frozen one seen through a matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.quantizer import Quantized, Quantizer, distances, through
from genzoo.registry import declare

declare.recipe(
    "simvq-vae",
    summary="VQ-VAE that learns a map of its book instead of the codes, so that all of them move together",
    paper="arXiv:2411.02038",
    tags=("vae", "quantizer"),
    like="vq-vae",
    posterior="simvq",
)


@declare.posterior("vq-gradient", paper="arXiv:1711.00937", tags=("vae", "quantizer"))
class GradientVQ(Quantizer):
    """The original vector quantizer: the nearest code e; cost ‖sg z - e‖² + β ‖z - sg e‖² moves book and encoder.

    Codes that nothing falls to never move: `vq` keeps more of them in use.
    """

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        codes: int = option(512, "K, vectors in the book", low=2, high=1_048_576)
        dim: int = option(0, "numbers in a vector of a flat code, 0 for all; on a grid it is latent.size", low=0)
        commitment: float = option(0.25, "β, weight of the squared distance that moves the encoder", low=0)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        o = options or self.Options()
        super().__init__(latent, o, dim=o.dim)
        self.codes = o.codes
        self.make_book()

    def make_book(self) -> None:
        self.vectors_of_book = nn.Parameter(torch.randn(self.codes, self.dim))

    @property
    def codebook(self) -> Tensor:
        """The codes ``(K, dim)``, with gradients."""
        return self.vectors_of_book

    def quantized(self, raw: Tensor) -> Posterior:
        book = self.codebook
        with torch.no_grad():
            tokens = distances(raw, book).argmin(-1)
        chosen = F.embedding(tokens, book)
        cost = {
            "codebook": (raw.detach() - chosen).square().flatten(1).sum(1),
            "commitment": self.options.commitment * (raw - chosen.detach()).square().flatten(1).sum(1),
        }
        return Quantized(tokens, self.shaped(through(chosen, raw)), cost)

    def nearest(self, raw: Tensor) -> Tensor:
        return distances(raw, self.codebook).argmin(-1, keepdim=True)

    def look_up(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens.squeeze(-1), self.codebook)


@declare.posterior("simvq", paper="arXiv:2411.02038", tags=("vae", "quantizer"))
class SimVQ(GradientVQ):
    """SimVQ: as `vq-gradient`, of a book that is C W, C frozen and W learned, so that every step moves all codes."""

    frozen: Tensor

    def make_book(self) -> None:
        self.register_buffer("frozen", torch.randn(self.codes, self.dim) / self.dim**0.5)
        self.map = nn.Linear(self.dim, self.dim, bias=False)

    @property
    def codebook(self) -> Tensor:
        book: Tensor = self.map(self.frozen)
        return book

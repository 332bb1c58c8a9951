"""The evidence lower bound and an importance-weighted one, mixed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.options import option
from genzoo.plugins.vae.iwae import Weighted, mean_weight
from genzoo.registry import declare


@declare.objective("ciwae", paper="arXiv:1802.04537", tags=("vae", "importance-weighted"), recipe={"like": "vae"})
class CIWAE(Weighted):
    """Combined importance-weighted autoencoder: β times the evidence lower bound, and 1 - β times `iwae`'s.

    Cost: that of `iwae`.
    """

    @dataclass(frozen=True)
    class Options(Weighted.Options):
        samples: int = option(16, "K, codes for each observation; the paper takes 64", low=1, high=100_000)
        beta: float = option(0.05, "β, share of the evidence lower bound", low=0, high=1)

    options: Options

    @property
    def codes(self) -> int:
        return self.options.samples

    def bound(self, log_w: Tensor, player: str) -> Tensor:
        return self.options.beta * log_w.mean(0) + (1 - self.options.beta) * mean_weight(log_w)

"""Means of importance-weighted bounds: MIWAE, and PIWAE, whose encoder alone follows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.objective import Networks, Player
from genzoo.core.options import option
from genzoo.plugins.vae.iwae import Weighted, mean_weight
from genzoo.registry import declare


@declare.objective("miwae", paper="arXiv:1802.04537", tags=("vae", "importance-weighted"), recipe={"like": "vae"})
class MIWAE(Weighted):
    """Multiply importance-weighted autoencoder: the mean of M importance-weighted bounds of K codes each.

    K = 1 makes it the evidence lower bound and M = 1 that of `iwae`; a larger M lowers the noise of the encoder's
    gradient, which a larger K drowns.

    Cost: M · K passes of the decoder for each observation.
    """

    @dataclass(frozen=True)
    class Options(Weighted.Options):
        bounds: int = option(8, "M, bounds of which the mean is taken", low=1, high=100_000)
        samples: int = option(8, "K, codes in each", low=1, high=100_000)

    options: Options

    @property
    def codes(self) -> int:
        return self.options.bounds * self.options.samples

    def bound(self, log_w: Tensor, player: str) -> Tensor:
        return mean_weight(torch.unflatten(log_w, 0, (self.options.bounds, self.options.samples)), 1).mean(0)


@declare.objective("piwae", paper="arXiv:1802.04537", tags=("vae", "importance-weighted"), recipe={"like": "vae"})
class PIWAE(MIWAE):
    """Partially importance-weighted autoencoder: the encoder maximizes `miwae`'s bound, the decoder `iwae`'s of M · K.

    Cost: twice that of `miwae`: two players, of one batch.
    """

    def players(self) -> tuple[Player, ...]:
        return Player("encoder", ("encoder", "head")), Player("decoder", ("generator", "likelihood", "prior"))

    def bound(self, log_w: Tensor, player: str) -> Tensor:
        return super().bound(log_w, player) if player == "encoder" else mean_weight(log_w)

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "encoder":
            super().after_step(player, nets, seen)

"""EBGAN: an autoencoder that judges up to a margin, and samples that are pulled apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from genzoo.core.distributed.gather import all_gather
from genzoo.core.objective import Batch, Loss, Networks
from genzoo.core.options import option
from genzoo.plugins.gan.energy import Energy
from genzoo.registry import declare


def pulling_away(codes: Tensor) -> Tensor:
    """Mean squared cosine of different codes ``(B, d)``, 0-d: 0 where all are orthogonal, 1 where all are parallel."""
    with torch.autocast(codes.device.type, enabled=False):
        s, n = normalize(codes, dim=1), len(codes)
        return ((s @ s.T).square().sum() - s.square().sum(1).square().sum()) / max(n * (n - 1), 1)


@declare.objective(
    "ebgan",
    paper="arXiv:1609.03126",
    tags=("gan", "energy"),
    recipe={"like": "began"},
)
class EBGAN(Energy):
    """Energy-based GAN with pulling away: E is the error of an autoencoder, fakes count up to a margin m.

    The critic minimizes E(x) + relu(m - E(G(z))), the generator E(G(z)) + pull · PT, where PT is the mean squared
    cosine between the codes of different samples of a batch.

    When: to compare with `began`; the margin needs a look at the data's energies (``real`` in the log), above which it
    should lie.

    Cost: a critic of two networks, without second derivatives. Parts of a batch are refused (``train.accumulate``).
    """

    @dataclass(frozen=True)
    class Options(Energy.Options):
        margin: float = option(1.0, "energy m above which samples are ignored, a mean per dimension", low=0)
        pull: float = option(0.1, "weight of the pulling-away term", low=0)

    options: Options

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        with torch.set_grad_enabled(player == "generator" and torch.is_grad_enabled()):
            made = nets.model.mean(noise["z"], batch.y)
        fake, code = self.energy(nets, made, batch.y)
        if player == "critic":
            real = self.energy(nets, batch.x, batch.y)[0]
            terms = {"real": real, "fake": (self.options.margin - fake).relu()}
            return Loss(terms, shown={"energy": fake})
        pull = pulling_away(all_gather(code)).expand(len(fake))
        coupled = ("pull",)
        return Loss({"adversarial": fake, "pull": pull}, {"pull": self.options.pull}, coupled, gathered=coupled)

"""Codes of bits: the sign of every number, with an entropy that keeps each sure and all of them in use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.distributed.gather import all_gather
from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.quantizer import Quantized, Quantizer, per_vector, through
from genzoo.registry import declare

declare.recipe(
    "lfq-vae",
    summary="VAE whose code is a grid of bits, the signs of numbers",
    paper="arXiv:2310.05737",
    tags=("vae", "quantizer"),
    like="vq-vae",
    posterior="lfq",
    options={"latent.size": 10},
    presets={"vector": {"latent.size": 8}},
)
declare.recipe(
    "bsq-vae",
    summary="VAE whose code is a grid of bits, the signs of numbers on a sphere",
    paper="arXiv:2406.07548",
    tags=("vae", "quantizer"),
    like="lfq-vae",
    posterior="bsq",
)


def bit_entropy(logit: Tensor) -> Tensor:
    """Entropy in nats of bits of so many logits, elementwise: softplus(|l|) - |l| σ(|l|), which cannot overflow."""
    sure = logit.abs()
    return F.softplus(-sure) + sure * torch.sigmoid(-sure)


def joint_entropy(p: Tensor) -> Tensor:
    """Entropy in nats of the mean over ``N`` of the distributions of d independent bits, of chances ``p (N, ..., d)``.

    All 2^d words are enumerated.
    """
    words = p.new_ones(*p.shape[:-1], 1)
    for one in torch.split(p, 1, -1):
        words = torch.cat([words * (1 - one), words * one], -1)
    mean = words.mean(0)
    # The slope of p log p has no bound at zero, and times the slope of a chance that rounds to zero it is nan.
    entropy: Tensor = torch.special.entr(mean.clamp(min=1e-30)).sum(-1)
    return entropy


@declare.posterior("lfq", paper="arXiv:2310.05737", tags=("vae", "quantizer"))
class LFQ(Quantizer):
    """Look-up free quantizer: a code is the signs of d numbers; w Σ [mean H(p) - γ H(mean p)] with p(1|z) = σ(4 z / τ).

    The first entropy makes every bit sure, the second one, over the batch, keeps all words of bits in use. It is
    enumerated for so many bits at a time as ``joint`` says: for all of them up to about ten; a sum over smaller groups
    is an upper bound.
    """

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        dim: int = option(0, "bits in a word of a flat code, 0 for all; on a grid it is latent.size", low=0)
        entropy: float = option(0.1, "weight of the entropies, per word", low=0)
        diversity: float = option(1.0, "γ, weight of the entropy over the batch among them", low=0)
        temperature: float = option(1.0, "τ of the chances that entropies are of", low=1e-4)
        joint: int = option(10, "bits whose joint entropy is enumerated", low=1, high=16)
        commitment: float = option(0.25, "weight of the squared distance from encoder to code", low=0)

    options: Options
    powers: Tensor

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        o = options or self.Options()
        super().__init__(latent, o, dim=o.dim)
        if self.dim > 20:
            raise UsageError(f"a word has at most 20 bits, not {self.dim}: --set "
                             + ("latent.size=20" if latent.grid else "posterior.dim=8"))  # fmt: skip
        self.codes = per_vector(latent, "posterior.dim", self.dim, 2**self.dim)
        self.register_buffer("powers", 2 ** torch.arange(self.dim), persistent=False)

    @property
    def scale(self) -> float:
        """What a bit is as a number, ±."""
        return 1.0

    def before(self, raw: Tensor) -> Tensor:
        """What signs are taken of."""
        return raw

    def quantized(self, raw: Tensor) -> Posterior:
        o, z = self.options, self.before(raw)
        value = torch.where(z > 0, self.scale, -self.scale)
        logit, n = 4 * self.scale * z / o.temperature, z.shape[1]
        own = bit_entropy(logit).flatten(1).sum(1)
        p = all_gather(torch.sigmoid(logit)).flatten(0, 1)
        over = torch.stack([joint_entropy(part) for part in torch.split(p, o.joint, -1)]).sum()
        cost = {
            "entropy": o.entropy * (own - o.diversity * n * over),
            "commitment": o.commitment * (z - value).square().flatten(1).sum(1),
        }
        tokens = self.nearest(value).flatten(1)
        return Quantized(tokens, self.shaped(through(value, z)), cost, coupled=("entropy",))

    def nearest(self, raw: Tensor) -> Tensor:
        return ((raw > 0) * self.powers).sum(-1, keepdim=True)

    def look_up(self, tokens: Tensor) -> Tensor:
        return ((tokens // self.powers % 2) * 2 - 1) * self.scale


@declare.posterior("bsq", paper="arXiv:2406.07548", tags=("vae", "quantizer"))
class BSQ(LFQ):
    """Binary spherical quantizer: as `lfq`, of numbers on the unit sphere, so that no code is far; bits are ± 1/√d.

    The entropy over the batch is a sum over bits (``joint`` 1), whose cost does not grow with the number of codes.
    """

    @dataclass(frozen=True)
    class Options(LFQ.Options):
        joint: int = option(1, "bits whose joint entropy is enumerated", low=1, high=16)
        temperature: float = option(0.1, "τ of the chances that entropies are of", low=1e-4)

    options: Options

    @property
    def scale(self) -> float:
        return 1 / math.sqrt(self.dim)

    def before(self, raw: Tensor) -> Tensor:
        return F.normalize(raw, dim=-1)

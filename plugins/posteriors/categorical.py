"""Categorical codes, relaxed while training: several variables of a few classes each, as one-hot numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead, TokenHead
from genzoo.core.spec import Latent
from genzoo.registry import declare

declare.recipe(
    "categorical-vae",
    summary="VAE whose codes are categories, drawn by the Gumbel trick",
    paper="arXiv:1611.01144",
    tags=("vae", "discrete"),
    like="vae",
    posterior="categorical",
    prior="uniform-codes",
    options={"latent.size": 200, "posterior.codes": 10},
    presets={"vector": {"latent.size": 30, "posterior.codes": 10}},
)


class Categorical(Posterior):
    """y = softmax((l + g) / τ) while training and its largest number alone afterwards, g Gumbel noise.

    Log probabilities are those of the hard choice, so bounds on held-out data are bounds.
    """

    closed = "uniform-codes"

    def __init__(self, log_p: Tensor, temperature: Tensor | None) -> None:
        self.log_p, self.temperature = log_p, temperature  # (B, variables, K); None is hard
        self.tokens = log_p.argmax(-1)

    @property
    def mean(self) -> Tensor:
        """The probabilities."""
        return self.log_p.exp().flatten(1)

    def sample(self, eps: Tensor) -> Tensor:
        """Gumbel noise - log(- log Φ(ε)) of normal noise."""
        gumbel = -torch.log(-torch.special.log_ndtr(torch.unflatten(eps, -1, self.log_p.shape[1:])))
        noisy = self.log_p + gumbel
        self.drawn = noisy.argmax(-1)
        if self.temperature is None:
            return one_hot(self.drawn, noisy.shape[-1]).to(noisy.dtype).flatten(-2)
        return (noisy / self.temperature).softmax(-1).flatten(-2)

    def log_prob(self, z: Tensor) -> Tensor:
        chosen = torch.unflatten(z, -1, self.log_p.shape[1:]).argmax(-1, keepdim=True)
        own = chosen == torch.arange(self.log_p.shape[-1], device=z.device)
        return torch.where(own, self.log_p, 0.0).sum((-1, -2))

    def kl(self) -> Tensor:
        """Σ q log(q K), number by number."""
        return (self.log_p.exp() * (self.log_p + math.log(self.log_p.shape[-1]))).flatten(1)


@declare.posterior("categorical", paper="arXiv:1611.01144", tags=("vae", "discrete"))
class CategoricalHead(TokenHead):
    """Categorical posterior: latent.size / K variables of K classes, relaxed while training, hard afterwards."""

    certain, relaxed = False, True
    steps: Tensor

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        codes: int = option(10, "K, classes of each variable, which divide latent.size", low=2, high=65536)
        temperature: tuple[float, float] = option((1.0, 0.5), "of the relaxation, from START down to END", low=0.01)
        cooling: float = option(3e-5, "share by which it falls in a step", low=0, high=1)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        self.codes = self.options.codes
        if latent.grid or latent.size % self.codes:
            raise UsageError(
                "the categorical posterior is of flat codes of posterior.codes numbers for each variable: "
                f"--set latent.grid=0 --set latent.size={max(latent.size // self.codes, 1) * self.codes}"
            )
        self.places = latent.size // self.codes
        self.register_buffer("steps", torch.zeros(()))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.latent.size,)

    def embed(self, tokens: Tensor) -> Tensor:
        return one_hot(tokens.to(self.steps.device), self.codes).float().flatten(1)

    def tokens_of(self, z: Tensor) -> Tensor:
        return torch.unflatten(z, -1, (self.places, self.codes)).argmax(-1)

    def forward(self, numbers: Tensor) -> Posterior:
        start, end = self.options.temperature
        heat = (start * torch.exp(-self.options.cooling * self.steps)).clamp(min=end)
        log_p = torch.unflatten(numbers.float(), 1, (self.places, self.codes)).log_softmax(-1)
        return Categorical(log_p, heat if self.training else None)

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        self.steps.add_(1)

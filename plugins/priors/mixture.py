"""The standard normal prior, and mixtures for codes that are not normal: of normals, or of posteriors."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.model import Model
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, normal_log_prob
from genzoo.core.prior import NormalPrior, Prior, normal_quantiles
from genzoo.core.spec import Latent
from genzoo.registry import declare

declare.recipe(
    "vamp-vae",
    summary="VAE whose prior is a mixture of posteriors of learned pseudo-inputs",
    paper="arXiv:1705.07120",
    tags=("vae",),
    like="vae",
    prior="vamp",
)


@declare.prior("normal", paper="arXiv:1312.6114", tags=("vae",))
class Normal(NormalPrior):
    """Standard normal prior: every number of the code N(0, 1), independent of the others."""


class Components(Prior):
    """Σ_k π_k p_k(z): a uniform number picks a component, normal ones, cut off at a truncation, make its code."""

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (1 + self.latent.numbers,)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        like = next(self.parameters())
        normal = normal_quantiles(uniform[:, 1:], truncation).view(-1, *self.latent.shape)
        return self.pick(uniform[:, 0].to(like), normal.to(like))

    @abstractmethod
    def pick(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Codes ``(B, *latent.shape)`` of components chosen by ``(B,)`` uniform numbers."""


@declare.prior("mixture", paper="arXiv:1903.12436", tags=("vae",))
class Mixture(Components):
    """Mixture prior: Σ_k π_k N(z; μ_k, σ_k²) with learned shares, means and diagonal variances."""

    @dataclass(frozen=True)
    class Options(Prior.Options):
        components: int = option(10, "K, normals in the mixture", low=1)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        k = self.options.components
        self.logits, self.mean = nn.Parameter(torch.zeros(k)), nn.Parameter(torch.randn(k, *latent.shape))
        self.log_var = nn.Parameter(torch.zeros(k, *latent.shape))

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        dims = tuple(range(-len(self.latent.shape), 0))
        each = normal_log_prob(z.unsqueeze(dims[0] - 1), self.mean, self.log_var).sum(dims)  # (..., B, K)
        return torch.logsumexp(each + self.logits.log_softmax(0), -1)

    def pick(self, uniform: Tensor, normal: Tensor) -> Tensor:
        share = self.logits.softmax(0).cumsum(0)
        k = torch.searchsorted(share, uniform.contiguous(), right=True).clamp(max=len(share) - 1)
        return self.mean[k] + torch.exp(0.5 * self.log_var[k]) * normal


@declare.prior("vamp", paper="arXiv:1705.07120", tags=("vae",))
class Vamp(Components):
    """VampPrior: p(z) = 1/K Σ q(z|u_k) with learned pseudo-inputs u_k, of one class after the other if conditional."""

    @dataclass(frozen=True)
    class Options(Prior.Options):
        components: int = option(100, "K, pseudo-inputs", low=1)

    options: Options

    def attach(self, model: Model) -> None:
        super().attach(model)
        try:
            if model.head is None:
                raise GenzooError("there is none")
            if model.head.point:
                raise GenzooError("its codes are points")
            model.head(torch.zeros(1, *model.head.input_shape)).log_prob(torch.zeros(1, *self.latent.shape))
        except GenzooError as e:
            raise UsageError(f"the vamp prior is a mixture of posteriors, and needs their density: {e}") from e
        if model.conditions:
            raise UsageError(
                "the vamp prior has pseudo-inputs of classes, not of numbers as conditions: "
                "use another, such as --prior normal"
            )
        self.inputs = nn.Parameter(torch.randn(self.options.components, *model.spec.shape))

    def _posterior(self, k: Tensor | None = None) -> Posterior:
        """Of the pseudo-inputs ``k``, or of all."""
        (model,) = self.of
        assert model.encoder is not None
        assert model.head is not None  # checked when attached
        classes = torch.arange(len(self.inputs), device=self.inputs.device) % model.classes if model.classes else None
        numbers = model.encoder(torch.tanh(self.inputs) if model.spec.levels else self.inputs, classes)
        q: Posterior = model.head(numbers if k is None else numbers[k])
        return q.start

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        each = self._posterior().log_prob(z.unsqueeze(-1 - len(self.latent.shape)))  # (..., B, K)
        return torch.logsumexp(each, -1) - math.log(len(self.inputs))

    def pick(self, uniform: Tensor, normal: Tensor) -> Tensor:
        return self._posterior((uniform * len(self.inputs)).long().clamp(max=len(self.inputs) - 1)).sample(normal)

"""The standard normal prior, and mixtures: what they share, and the one of posteriors."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.joint import evaluating
from genzoo.core.model import Model
from genzoo.core.options import option
from genzoo.core.posterior import Posterior
from genzoo.core.prior import NormalPrior, Prior, normal_quantiles
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
    def normal_shape(self) -> tuple[int, ...]:
        """Of the normal numbers that a component makes a code of."""
        return self.latent.shape

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (1 + math.prod(self.normal_shape),)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        like = next(self.parameters())
        normal = normal_quantiles(uniform[:, 1:], truncation).view(-1, *self.normal_shape)
        return self.pick(uniform[:, 0].to(like), normal.to(like))

    @abstractmethod
    def pick(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Codes ``(B, *latent.shape)`` of components chosen by ``(B,)`` uniform numbers."""


@declare.prior("vamp", paper="arXiv:1705.07120", tags=("vae",))
class Vamp(Components):
    """VampPrior: p(z) = 1/K Σ q(z|u_k) with learned pseudo-inputs u_k, of one class after the other if conditional."""

    @dataclass(frozen=True)
    class Options(Prior.Options):
        components: int = option(100, "K, pseudo-inputs", low=1)

    options: Options

    def attach(self, model: Model) -> None:
        super().attach(model)
        if model.conditions:
            raise UsageError(
                "the vamp prior has pseudo-inputs of classes, not of numbers as conditions: "
                "use another, such as --prior normal"
            )
        try:
            if model.head is None:
                raise GenzooError("there is none")
            if model.head.point:
                raise GenzooError("its codes are points")
            with evaluating(model.head):  # nothing is to be learned of it
                q = model.head(torch.zeros(1, *model.head.input_shape))
            q.y = torch.zeros(1, dtype=torch.int64) if model.classes else None
            self._start = q.start is not q  # of one that is refined, the mixture is of the normals where it starts
            self.space, self._shape = model.head.space, model.head.noise_shape
            q.start.log_prob(torch.zeros(1, *self.latent.shape))
        except GenzooError as e:
            raise UsageError(f"the vamp prior is a mixture of posteriors, and needs their density: {e}") from e
        self.inputs = nn.Parameter(torch.randn(self.options.components, *model.spec.shape))

    @property
    def normal_shape(self) -> tuple[int, ...]:
        return self.latent.shape if self._start else self._shape

    def _posterior(self, k: Tensor | None = None) -> Posterior:
        """Of the pseudo-inputs ``k``, or of all."""
        (model,) = self.of
        assert model.encoder is not None
        assert model.head is not None  # checked when attached
        classes = torch.arange(len(self.inputs), device=self.inputs.device) % model.classes if model.classes else None
        numbers = model.encoder(torch.tanh(self.inputs) if model.spec.levels else self.inputs, classes)
        q: Posterior = model.head(numbers if k is None else numbers[k])
        q.y = classes if classes is None or k is None else classes[k]  # a hierarchy's layers go by them too
        return q.start

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        each = self._posterior().log_prob(z.unsqueeze(-1 - len(self.latent.shape)))  # (..., B, K)
        return torch.logsumexp(each, -1) - math.log(len(self.inputs))

    def pick(self, uniform: Tensor, normal: Tensor) -> Tensor:
        return self._posterior((uniform * len(self.inputs)).long().clamp(max=len(self.inputs) - 1)).sample(normal)

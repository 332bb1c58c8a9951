"""VampPrior: a mixture of the posteriors of learned pseudo-inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.model import Model
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.registry import declare

declare.recipe(
    "vamp-vae",
    summary="VAE whose prior is a mixture of posteriors of learned pseudo-inputs",
    paper="arXiv:1705.07120",
    tags=("vae",),
    like="vae",
    prior="vamp",
)


@declare.prior("vamp", paper="arXiv:1705.07120", tags=("vae",))
class Vamp(Prior):
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
            model.head(torch.zeros(1, *model.head.input_shape)).log_prob(torch.zeros(1, *self.latent.shape))
        except GenzooError as e:
            raise UsageError(f"the vamp prior is a mixture of posteriors, and needs their density: {e}") from e
        if model.conditions:
            raise UsageError(
                "the vamp prior has pseudo-inputs of classes, not of numbers as conditions: use another prior"
            )
        self.inputs = nn.Parameter(torch.randn(self.options.components, *model.spec.shape))

    def _numbers(self) -> Tensor:
        """What the encoder makes of the pseudo-inputs, ``(K, …)``."""
        (model,) = self.of
        assert model.encoder is not None
        classes = torch.arange(len(self.inputs), device=self.inputs.device) % model.classes if model.classes else None
        x = torch.tanh(self.inputs) if model.spec.levels else self.inputs
        numbers: Tensor = model.encoder(x, classes)
        return numbers

    def _posterior(self, numbers: Tensor) -> Posterior:
        q: Posterior = self._head(numbers)
        return q.start

    @property
    def _head(self) -> PosteriorHead:
        head = self.of[0].head
        assert head is not None  # checked when attached
        return head

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        each = self._posterior(self._numbers()).log_prob(z.unsqueeze(-1 - len(self.latent.shape)))  # (..., B, K)
        return torch.logsumexp(each, -1) - math.log(len(self.inputs))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (1 + self.latent.numbers,)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Pick a pseudo-input and draw from its posterior, whose normal numbers are cut off at the truncation."""
        normal = normal_quantiles(uniform[:, 1:], truncation).view(-1, *self.latent.shape).to(self.inputs)
        k = (uniform[:, 0].to(self.inputs) * len(self.inputs)).long().clamp(max=len(self.inputs) - 1)
        return self._posterior(self._numbers()[k]).sample(normal)

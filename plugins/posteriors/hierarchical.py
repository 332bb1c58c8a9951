"""The posteriors of a generator of several layers: they go down with it, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.conditions import repeated
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.networks import Generator
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.plugins.nets.hierarchy import Descent, Hierarchy
from genzoo.registry import declare


class TopDownPosterior(Posterior):
    """q(ε|x) = Π q(ε_l|ε above, x): relative to a prior of N(0, 1), so that ε_l = 0, σ = 1 says nothing of x.

    `kl` is exact layer by layer given the latest sample's layers above: its mean over samples is the KL.
    """

    closed = "normal"

    def __init__(self, numbers: Tensor, head: TopDownHead) -> None:
        self.head, self.features, self.n = head, head.generator.by_layer(numbers), len(numbers)

    def _descend(self, eps: Tensor, given: bool = False) -> Descent:
        flat = eps.flatten(0, -2)
        k = len(flat) // self.n
        y = None if self.y is None else repeated(self.y, k)
        found = self.head.generator.descend(flat, y, partial(self._ask, k), given)
        self.params, self._kl = found.params, found.kl
        return found

    def _ask(self, k: int, layer: int, h: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features[layer]
        if k > 1:  # several codes for each observation
            features = features.repeat(k, *[1] * (features.dim() - 1))
        return self.head.ask(layer, features, h, mean, log_std)

    @property
    def mean(self) -> Tensor:
        return self._descend(self.features[0].new_zeros(self.n, self.head.latent.size)).code

    def sample(self, eps: Tensor) -> Tensor:
        return self._descend(eps).code.view(eps.shape)

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        found = self._descend(eps)
        return found.code.view(eps.shape), found.log_q.view(eps.shape[:-1])

    def log_prob(self, z: Tensor) -> Tensor:
        if z.shape[-2] == 1:  # one code for all observations, as a mixture of their posteriors asks
            z = z.expand(*z.shape[:-2], self.n, z.shape[-1])
        return self._descend(z, given=True).log_q.view(z.shape[:-1])

    def kl(self) -> Tensor:
        """Of the latest sample's layers, or of the means' if there is none."""
        if not hasattr(self, "_kl"):
            _ = self.mean
        return self._kl

    @property
    def cost(self) -> dict[str, Tensor]:
        if not self.head.options.spectral:
            return {}
        return {"spectral": self.head.options.spectral * self.head.largest().expand(self.n)}


@declare.posterior("top-down", paper="arXiv:2007.03898", tags=("vae", "hierarchy"))
class TopDownHead(PosteriorHead):
    """Top-down posterior: every layer's mean and variance go by the data and by the layers above, as NVAE's do.

    ``spectral`` weighs the sum of the largest singular values of all convolutions and linear maps, which keeps what
    encoder and generator make from jumping (arXiv:2007.03898, section 3.2).
    """

    above = True  # its layers are told what comes from above, beside the data

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        spectral: float = option(0.0, "weight of the sum of all weights' largest singular values", low=0)

    options: Options

    @property
    def generator(self) -> Hierarchy:
        """The generator that it goes down with."""
        return self._generator[0]

    def prepare(self, generator: Generator) -> None:
        if not isinstance(generator, Hierarchy):
            raise UsageError(
                "it is of a generator of several layers, which this is not: use --generator top-down, or levels"
            )
        self._generator = (generator,)
        self.layers = nn.ModuleList(generator.reader(i, above=self.above) for i in range(len(generator.shapes)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.generator.feature_shape

    def attach(self, model: Model) -> None:
        super().attach(model)
        for i, weight in enumerate(self._convolutions() if self.options.spectral else []):
            self.register_buffer(f"direction{i}", F.normalize(torch.randn(len(weight)), dim=0))

    def _convolutions(self) -> list[Tensor]:
        """Weights of all of the model's convolutions and linear maps, as matrices."""
        return [m.weight.flatten(1) for m in self.of[0].modules() if isinstance(m, (nn.Conv2d, nn.Linear))]

    def largest(self) -> Tensor:
        """Σ ‖Wᵀ u‖, u a unit vector that follows the left singular vector of the largest value."""
        terms = [(w.T @ self.get_buffer(f"direction{i}")).norm() for i, w in enumerate(self._convolutions())]
        return torch.stack(terms).sum()

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """One turn of power iteration."""
        for i, w in enumerate(self._convolutions() if self.options.spectral else []):
            direction = self.get_buffer(f"direction{i}")
            direction.copy_(F.normalize(w @ F.normalize(w.T @ direction, dim=0), dim=0))

    def ask(self, layer: int, features: Tensor, h: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of a layer's standardized noise, by data, by what is above, and by the prior."""
        shift, log_var = self.layers[layer](torch.cat([h, features], 1)).float().chunk(2, 1)
        return shift, log_var

    def forward(self, numbers: Tensor) -> Posterior:
        return TopDownPosterior(numbers, self)

"""The posterior of a top-down generator: it goes down with it, layer by layer."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.conditions import repeated
from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.plugins.nets.top_down import Descent, TopDown, block, start_at
from genzoo.registry import declare

declare.recipe(
    "top-down-vae",
    summary="VAE of ten stochastic layers, each given those above it",
    paper="arXiv:2011.10650",
    tags=("vae", "hierarchy"),
    modalities=("image",),
    like="vae",
    generator="top-down",
    posterior="top-down",
    options={"train.clip": 200.0},
)


class TopDownPosterior(Posterior):
    """q(ε|x) = Π q(ε_l|ε above, x): relative to a prior of N(0, 1), so that ε_l = 0, σ = 1 says nothing of x.

    `kl` is exact layer by layer given the latest sample's layers above: its mean over samples is the KL.
    """

    closed = "normal"

    def __init__(self, features: Tensor, head: TopDownHead) -> None:
        self.head, self.features = head, [F.adaptive_avg_pool2d(features, size) for size in head.generator.sizes]

    def _descend(self, eps: Tensor, given: bool = False) -> Descent:
        flat = eps.flatten(0, -2)
        k = flat.shape[0] // self.features[0].shape[0]
        y = None if self.y is None else repeated(self.y, k)
        found = self.head.generator.descend(flat, y, partial(self._ask, k), given)
        self.params, self._kl = found.params, found.kl
        return found

    def _ask(self, k: int, layer: int, h: Tensor) -> Tensor:
        features = self.features[layer].repeat(k, 1, 1, 1)
        numbers: Tensor = self.head.layers[layer](torch.cat([h, features], 1))
        return numbers

    @property
    def mean(self) -> Tensor:
        return self._descend(self.features[0].new_zeros(self.features[0].shape[0], self.head.latent.size)).code

    def sample(self, eps: Tensor) -> Tensor:
        return self._descend(eps).code.view(eps.shape)

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        found = self._descend(eps)
        return found.code.view(eps.shape), found.log_q.view(eps.shape[:-1])

    def log_prob(self, z: Tensor) -> Tensor:
        return self._descend(z, given=True).log_q.view(z.shape[:-1])

    def kl(self) -> Tensor:
        """Of the latest sample's layers, or of the means' if there is none."""
        if not hasattr(self, "_kl"):
            _ = self.mean
        return self._kl


@declare.posterior("top-down", paper="arXiv:2007.03898", tags=("vae", "hierarchy"))
class TopDownHead(PosteriorHead):
    """Top-down posterior: every layer's mean and variance go by the data and by the layers above, as NVAE's do."""

    @property
    def generator(self) -> TopDown:
        """The generator that it goes down with."""
        return self._generator[0]

    def prepare(self, generator: Generator) -> None:
        if not isinstance(generator, TopDown):
            raise UsageError("the top-down posterior goes with a generator of many layers: use --generator top-down")
        self._generator, width, z = (generator,), generator.options.width, generator.options.z
        self.layers = nn.ModuleList(block(2 * width, 2 * z, width) for _ in generator.sizes)
        for layer in self.layers:
            assert isinstance(layer, nn.Sequential)
            start_at(layer[-1], 0)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.generator.options.width, *max(self.generator.sizes, key=math.prod))

    def forward(self, numbers: Tensor) -> Posterior:
        return TopDownPosterior(numbers, self)

"""A posterior that is drawn from and has no density: a network of the encoder's numbers and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.nets.blocks import sequence
from genzoo.registry import declare


class ImplicitPosterior(Posterior):
    """z = f(h, ε). Its density is not known: log q is left out, as 0."""

    def __init__(self, numbers: Tensor, head: Implicit) -> None:
        self.numbers, self.head = numbers, head

    @property
    def mean(self) -> Tensor:
        """The code without noise, f(h, 0)."""
        return self.sample(self.numbers.new_zeros(len(self.numbers), *self.head.noise_shape))

    def sample(self, eps: Tensor) -> Tensor:
        h = self.numbers.expand(*eps.shape[:-1], -1)
        z: Tensor = self.head.net(torch.cat([h, eps], -1))
        return z.view(*z.shape[:-1], *self.head.latent.shape)

    def log_prob(self, z: Tensor) -> Tensor:
        return z.new_zeros(z.shape[: -len(self.head.latent.shape)])


@declare.posterior("implicit", paper="arXiv:1701.04722", tags=("vae", "gan"))
class Implicit(PosteriorHead):
    """Implicit posterior: codes f(h, ε) of the encoder's numbers h and normal noise ε, of any shape; for `avb`."""

    point = True  # as far as densities go

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        features: int = option(64, "numbers h that the encoder gives", low=1, high=65536)
        noise: int = option(16, "numbers ε", low=1, high=4096)
        hidden: int = option(128, "units in each of two hidden layers", low=1, high=65536)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        o = self.options
        first, second = nn.Linear(o.features + o.noise, o.hidden), nn.Linear(o.hidden, o.hidden)
        self.net = sequence([first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), nn.Linear(o.hidden, latent.numbers)])

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.features,)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.options.noise,)

    def forward(self, numbers: Tensor) -> Posterior:
        return ImplicitPosterior(numbers.float(), self)

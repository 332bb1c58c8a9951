"""A posterior without uncertainty: the encoder's numbers are the code."""

from __future__ import annotations

from torch import Tensor

from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.registry import declare


class Point(Posterior):
    """One code for each observation. It has no density: log q is left out, as 0."""

    def __init__(self, z: Tensor) -> None:
        self._z = z

    @property
    def mean(self) -> Tensor:
        return self._z

    def sample(self, eps: Tensor) -> Tensor:
        return self._z.expand(*eps.shape[:-1], *self._z.shape[1:])

    def log_prob(self, z: Tensor) -> Tensor:
        return z.new_zeros(z.shape[: 1 - self._z.dim()])


@declare.posterior("point", paper="arXiv:1711.01558", tags=("vae", "autoencoder"))
class PointHead(PosteriorHead):
    """Point posterior: a code without noise, for objectives that need no density, such as those of `ae` and `wae`."""

    point = True

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.latent.shape

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (0,)

    def forward(self, numbers: Tensor) -> Posterior:
        return Point(numbers.float())

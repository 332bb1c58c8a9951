"""What a generator's numbers mean: p(x|z), its mean, and samples of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import GenzooError
from genzoo.core.spec import DataSpec


class Likelihood(nn.Module, ABC):
    """p(x|z) given a generator's output.

    Inputs ``x`` are observations in model space; log-probabilities are in nats per observation. For
    continuous likelihoods they are densities in people's units (pixels in [0, 1]), so that numbers
    compare across model spaces; for discrete ones they are probabilities.

    Attributes:
        discrete: whether `log_prob` gives a probability (True) or a density (False).
        coupled: whether one observation's term depends on the rest of the batch.
        gathered: whether it then goes by the whole batch of all processes (`genzoo.core.distributed.gather.whole`).
    """

    discrete: bool = True
    gathered: bool = False

    @dataclass(frozen=True)
    class Options:
        """No options."""

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.options = options if options is not None else type(self).Options()
        self.check(spec)

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        """Raise `UsageError` if this likelihood does not fit the data; the message says what does."""

    @property
    def coupled(self) -> bool:
        """Whether one observation's term depends on the rest of the batch."""
        return False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the generator must put out for one observation: by default one number per number."""
        return self.spec.shape

    @abstractmethod
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-probability of observations in nats, ``(B,)``, summed over the dimensions of the data."""

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Expected observation in model space."""

    @abstractmethod
    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw observations in model space."""

    @property
    def log_volume(self) -> float:
        """Log |d people's units / d model space| of one observation: what a model-space density loses."""
        scale = self.spec.scale
        per_row = self.spec.size / len(scale)
        return per_row * sum(math.log(s) for s in scale)


class Implicit(Likelihood):
    """No likelihood: the generator's output, squashed to the data's range, is the sample (GANs)."""

    discrete = False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Refuse: an implicit model has no density."""
        raise GenzooError("this model has no likelihood: its generator puts out samples, not a distribution")

    def mean(self, params: Tensor) -> Tensor:
        """Images through tanh to [-1, 1]; real vectors as they are."""
        params = params.float()
        return torch.tanh(params) if self.spec.modality == "image" else params

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The output itself."""
        return self.mean(params)

"""What a generator's numbers mean: p(x|z), its mean, and samples of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.math.tables import Logistic, Steps, from_levels, nucleus, shares, to_levels
from genzoo.core.modality import of
from genzoo.core.options import Configured
from genzoo.core.spec import DataSpec


class Likelihood(Configured, nn.Module, ABC):
    """p(x|z) given a generator's output.

    Inputs ``x`` are observations in model space; log-probabilities are in nats per observation. For
    continuous likelihoods they are densities in data units (pixels in [0, 1]), so that numbers
    compare across model spaces; for discrete ones they are probabilities.
    """

    discrete: bool = True  # `log_prob` gives a probability, not a density
    gathered: bool = False  # where it is coupled, it goes by all processes' batch (`distributed.gather.all_gather`)
    normalized: bool = True  # `log_prob` is that of a distribution; a distance's is not, and is no likelihood's value
    noise_size: int = 0  # uniform numbers for each observation, where training goes by `log_prob_by`
    heavy: int = 1  # as many codes fewer are decoded at a time, of what takes so much more memory than a picture's do
    sampled: bool = False  # `genzoo.core.model.Model.sample` draws from it by default instead of showing its mean

    def __init__(self, spec: DataSpec, options: Any = None) -> None:
        super().__init__(options)
        self.spec = spec
        self.check(spec)

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        """Raise `UsageError` if this likelihood does not fit the data; the message says what does."""

    @property
    def levels(self) -> int:
        """Values that a number can take, of data that have levels."""
        assert self.spec.levels is not None  # checked when built
        return self.spec.levels

    @property
    def coupled(self) -> bool:
        """Whether one observation's term depends on the rest of the batch."""
        return False

    @property
    def coded(self) -> bool:
        """Whether `steps` says probabilities, so that compression can go by them."""
        return self.discrete and self.normalized

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the generator must put out for one observation: by default one number per number."""
        return self.spec.shape

    @abstractmethod
    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-probability of observations in nats, ``(B,)``, summed over the dimensions of the data."""

    def log_prob_by(self, params: Tensor, x: Tensor, uniform: Tensor) -> Tensor:
        """What training maximizes by uniform numbers ``(B, noise_size)``: an unbiased look at a harder task."""
        return self.log_prob(params, x)

    def sums(self, x: Tensor, uniform: Tensor) -> Mapping[str, Tensor]:
        """Of observations and the same numbers, what `after_step` follows, added up over the batch: see `Loss.sums`."""
        return {}

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move what is found by counting, and not by slopes, after a turn of training."""

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Expected observation in model space."""

    @abstractmethod
    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw observations in model space."""

    def within(
        self, params: Tensor, allowed: Sequence[Tensor | None], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, float] | None:
        """Draw observations that have what is ``allowed`` in each place (booleans by value, None for all).

        They are what is left of draws of which the others are thrown away as soon as it shows: observations in model
        space, the index of each among ``params``, and the chance of what was met without a throw. None where this
        likelihood cannot, and whole draws are looked at.
        """
        return None

    fill_noise: int = 0  # uniform numbers of each draw of `filled`; 0 for what cannot fill anything

    def filled(self, params: Tensor, x: Tensor, given: Tensor, uniform: Tensor) -> Tensor:
        """Observations in model space of which places stay as ``given``, ``(S,)`` booleans, and others are drawn.

        They are drawn given all that stays, by uniform numbers ``(B, K, fill_noise)`` of K draws for each.
        """
        raise UsageError("this model's likelihood fills no gaps: train table-ar, whose does")

    def steps(self, params: Tensor) -> Steps:
        """Say the distribution of an observation's `symbols`, a few places at a time, each given those before.

        It is all that compression asks of a likelihood. Parameters are on a grid there (`tables.snapped`).
        """
        raise UsageError(
            "this model's likelihood says no probabilities of single values, which compression goes by: "
            "train with --likelihood discretized-logistic, or another discrete one"
        )

    def intervals(self, params: Tensor, parts: int) -> list[tuple[slice, Logistic]]:
        """The same by whole numbers, in ``parts`` pieces of places; nothing where there is no quick way.

        Only where symbols are independent of each other given the parameters: it makes coding as quick as the networks.
        """
        return []

    def symbols(self, x: Tensor) -> Tensor:
        """What is coded of observations in model space: levels, int64 ``(B, places)``."""
        return to_levels(x, self.levels).flatten(1)

    def observed(self, symbols: Tensor) -> Tensor:
        """Observations in model space that have these symbols, float32 ``(B, *spec.shape)``."""
        return from_levels(symbols, self.levels).view(len(symbols), *self.spec.shape)

    @property
    def log_volume(self) -> float:
        """Log |d data units / d model space| of one observation: what a model-space density loses."""
        return self.spec.size / len(self.spec.scale) * sum(map(math.log, self.spec.scale))


class Implicit(Likelihood):
    """No likelihood: the generator's output, squashed to the data's range, is the sample (GANs)."""

    discrete = False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        raise GenzooError("this model has no likelihood: its generator puts out samples, not a distribution")

    def mean(self, params: Tensor) -> Tensor:
        return of(self.spec).squash(self.spec, params.float())

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.mean(params)


class Autoregressive(Likelihood):
    """p(x|h) = Π p(x_i | x_<i, h), one categorical number of an observation after another.

    A subclass gives `logits` with teacher forcing and the order of the `places`. Values of model space [-1, 1] are
    the ``spec.levels`` evenly spaced ones.
    """

    sampled = True
    temperature: float = 1.0  # of draws: logits are divided by it (see `drawing`)
    top_p: float = 1.0  # of draws: the likeliest values that have this share of the probability

    @property
    def heavy(self) -> int:  # type: ignore[override]
        """One more for every 4,096 logits: about what features of a 28×28 picture hold."""
        return 1 + self.spec.size * self.levels // 2**12

    @abstractmethod
    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Logits ``(B, *spec.shape, levels)`` in which those of a place depend on x at the places before it only."""

    @abstractmethod
    def places(self) -> list[tuple[int, ...]]:
        """Indices into ``spec.shape``, in the order in which numbers are drawn."""

    def next_logits(self, params: Tensor, x: Tensor, place: tuple[int, ...], state: dict[str, Any]) -> Tensor:
        """`logits` at one place, ``(B, levels)``; places come in order, and what saves work goes to ``state``."""
        at: Any = (slice(None), *place)
        return self.logits(params, x)[at]

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Exact log-probability in nats, ``(B,)``, by teacher forcing."""
        index = to_levels(x, self.levels)
        logits = self.logits(params, x).float()
        if self.levels == 2:  # the same in fewer passes
            below, above = logits.unbind(-1)
            return logsigmoid((above - below) * (2 * index - 1)).flatten(1).sum(1)
        log_p = torch.log_softmax(logits, -1)
        return log_p.gather(-1, index[..., None]).flatten(1).sum(1)

    def sample(
        self, params: Tensor, generator: torch.Generator | None = None, *, uniform: Tensor | None = None
    ) -> Tensor:
        """Draw place by place, inverting the distribution function at ``uniform`` numbers ``(B, *spec.shape)``."""
        if uniform is None:
            uniform = torch.rand((len(params), *self.spec.shape), generator=generator, device=params.device)
        x, state = torch.full_like(uniform, -1), dict[str, Any]()
        for place in self.places():
            at: Any = (slice(None), *place)
            logits = self.next_logits(params, x, place, state).float()
            logits = logits if self.temperature == 1 else logits / self.temperature
            logits = logits if self.top_p == 1 else nucleus(logits, self.top_p)
            cumulative = torch.softmax(logits, -1).cumsum(-1)
            index = (uniform[at][:, None] >= cumulative[:, :-1]).sum(-1)
            x[at] = from_levels(index, self.levels)
            if self.over(index):
                break
        return x

    def over(self, index: Tensor) -> bool:
        """Whether after these values ``(B,)`` all that follow are the least level for certain."""
        return False

    def steps(self, params: Tensor) -> Steps:
        x, state = params.new_zeros(len(params), *self.spec.shape), dict[str, Any]()
        flat = torch.arange(self.spec.size).view(self.spec.shape)
        for place in self.places():
            at: Any = (slice(None), *place)
            symbols = yield flat[None][at], shares(self.next_logits(params, x, place, state))[:, None]
            x[at] = from_levels(symbols[:, 0], self.levels).to(x)

    def mean(self, params: Tensor) -> Tensor:
        """A draw by the same uniform numbers for every observation: means of discrete sequences show nothing."""
        numbers = torch.rand(self.spec.shape, generator=torch.Generator().manual_seed(0)).to(params.device)
        return self.sample(params, uniform=numbers.expand(len(params), *self.spec.shape))


@contextmanager
def drawing(likelihood: Likelihood, temperature: float | None, top_p: float | None) -> Iterator[None]:
    """Let a likelihood draw with a temperature, or from the likeliest values only; raises `UsageError` where it can't.

    What it says of probabilities stays as it is.
    """
    asked = {"temperature": temperature, "top_p": top_p}
    given = {name: value for name, value in asked.items() if value is not None}
    if temperature is not None and not 0.01 <= temperature <= 100:
        raise UsageError(f"the temperature is from 0.01 to 100, not {temperature}")
    if top_p is not None and not 0 < top_p <= 1:
        raise UsageError(f"top-p is a share of the probability, above 0 and at most 1, not {top_p}")
    if given and not isinstance(likelihood, Autoregressive):
        raise UsageError(
            f"this model's samples have no {' and no '.join(given).replace('top_p', 'top-p')}: that is for models that "
            "draw value after value, such as lm; codes have a truncation"
        )
    for name, value in given.items():
        setattr(likelihood, name, value)
    try:
        yield
    finally:
        for name in given:
            delattr(likelihood, name)  # the class says 1

"""Randomness as a pure function of (seed, step, stream): nothing depends on what was drawn before.

A resumed run draws what the run that never stopped would have drawn, and two processes draw together
what one process would: each draws the global batch and keeps its own part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.math.permutation import permuted

_MASK = (1 << 64) - 1
LARGEST, AHEAD = 2**24, 2**16  # observations whose permutation is kept, and positions of a longer one that are


def stream_seed(*path: int) -> int:
    """Mix whole numbers into one 63-bit seed (the finalizer of SplitMix64 after each number).

    >>> stream_seed(0, 1) != stream_seed(1, 0)
    True
    """
    h = 0x9E3779B97F4A7C15
    for value in path:
        h = (h + (value & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & _MASK
        h ^= h >> 31
    # torch's CPU generator keeps the low 32 bits only, which are well mixed by now.
    return h >> 1


def generator(*path: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on ``device`` whose stream is named by ``path``."""
    return torch.Generator(device).manual_seed(stream_seed(*path))


def scheduled(value: float | tuple[float, float], course: float | None) -> float:
    """A number, or the point between (start, end) where so much of the way, from 1 to 0, is left; None is no way."""
    if not isinstance(value, tuple):
        return value
    if course is None:
        pair = ",".join(f"{v:g}" for v in value)
        raise UsageError(f"an option of {pair} follows train.schedule, which is constant: --set train.schedule=cosine")
    return value[1] + (value[0] - value[1]) * course


class Draws:
    """What an objective draws from, for one turn of one player.

    Every method returns this process's part of a draw for the whole global batch. ``step`` is the index of the training
    step, from 0, of ``steps``; ``population`` is the observations in the training data, 0 where nothing is trained;
    ``course`` is how much of the way along ``train.schedule`` is left, from 1 to 0, None where it is constant.
    """

    def __init__(
        self,
        batch: int,
        device: torch.device | str,
        *,
        start: int = 0,
        count: int | None = None,
        steps: int = 1,
        population: int = 0,
    ) -> None:
        self.batch, self.steps, self.step, self.population = batch, steps, 0, population
        self.course: float | None = 1.0
        self._part = None if count is None or count == batch else slice(start, start + count)
        self._device = torch.device(device)
        self._generator = torch.Generator(self._device)

    def at(self, seed: int, step: int, stream: int) -> Draws:
        """Move to the start of a stream; returns itself."""
        self._generator.manual_seed(stream_seed(seed, step, stream))
        self.step = step
        return self

    @property
    def progress(self) -> float:
        """How far the run has come, 0 at the first step and 1 after the last."""
        return self.step / max(self.steps, 1)

    def scheduled(self, value: float | tuple[float, float]) -> float:
        """An option's value at this step: a number stays, (start, end) follows ``train.schedule``."""
        return scheduled(value, self.course)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, ``(B, *shape)``."""
        x = torch.randn((self.batch, *shape), generator=self._generator, device=self._device)
        return x if self._part is None else x[self._part]

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), ``(B, *shape)``."""
        x = torch.rand((self.batch, *shape), generator=self._generator, device=self._device)
        return x if self._part is None else x[self._part]

    def number(self, value: float) -> Tensor:
        """A number that changes from step to step (a warm-up's weight), as a 0-d tensor that compiles once."""
        return torch.full((), value, device=self._device)  # unlike torch.tensor, this does not wait for the device


class Order:
    """In which order observations are visited: a new permutation per epoch, computed from (seed, epoch).

    Position ``p`` of the endless sequence is element ``p mod N`` of the permutation of epoch ``p div N``,
    so a batch has the same size at every step and resuming needs one number. Beyond `LARGEST` observations a
    permutation is not kept but computed where it is asked for, `AHEAD` positions at a time: memory and time stay.
    """

    def __init__(self, n: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.n, self.seed, self.device = n, seed, device
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.int64)
        self._part = (-1, -1)
        self._computed = n > LARGEST and type(self)._draw is Order._draw

    def _of(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, self._draw(epoch).to(self.device)
        return self._permutation

    def _draw(self, epoch: int) -> Tensor:
        """The ``n`` indices of an epoch, drawn on the CPU, so that the order is the same on every device."""
        return torch.randperm(self.n, generator=generator(self.seed, epoch, 0x0DE2))

    def take(self, start: int, count: int) -> Tensor:
        """Indices of ``count`` observations from position ``start``, int64 ``(count,)``."""
        epoch, offset = divmod(start, self.n)
        if self._computed:
            return self._computed_at(epoch, offset, count)
        if offset + count <= self.n:
            return self._of(epoch)[offset : offset + count]
        parts = []
        while count:
            part = self._of(epoch)[offset : offset + count]
            parts.append(part)
            epoch, offset, count = epoch + 1, 0, count - len(part)
        return torch.cat(parts)

    def _computed_at(self, epoch: int, offset: int, count: int) -> Tensor:
        parts = []
        while count:
            number, within = divmod(offset, AHEAD)
            if self._part != (epoch, number):
                index = torch.arange(number * AHEAD, min((number + 1) * AHEAD, self.n))
                self._permutation = permuted(index, self.n, stream_seed(self.seed, epoch, 0x0DE2)).to(self.device)
                self._part = (epoch, number)
            part = self._permutation[within : within + count]
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
            if offset == self.n:
                epoch, offset = epoch + 1, 0
        return torch.cat(parts)

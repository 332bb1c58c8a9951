"""A stack of coded symbols: asymmetric numeral systems (Duda et al., PCS 2015), by the package constriction."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.math.tables import LEAST, ONE, Logistic, Steps

Words = np.ndarray[Any, np.dtype[np.uint32]]
# A place in an interval of n counts is chosen by a number below n · `SPARE` or more, and the quotient goes back: the
# coder's uniform distributions have 24 bits, and are even over a power of two or few numbers, and not over large n.
SPARE = 2**12
COUNTED = 36  # bits that a stack must hold for each symbol that is pushed by counts
CELLS, REACH = 16, 8  # a real number of a code is coded as a multiple of 1/16, within ± 8


def _constriction() -> Any:
    try:
        return import_module("constriction").stream
    except ImportError as e:
        raise UsageError("compression needs the package constriction: pip install 'genzoo[compress]'") from e


class Stack:
    """What was pushed last is popped first. Popping what was never pushed is a draw from the distribution."""

    def __init__(self, words: Words | None = None) -> None:
        stream = _constriction()
        self._coder = stream.stack.AnsCoder() if words is None else stream.stack.AnsCoder(words)
        self._table, self._uniform = stream.model.Categorical(perfect=False), stream.model.Uniform
        self._normal = stream.model.QuantizedGaussian(-CELLS * REACH, CELLS * REACH)

    @property
    def bits(self) -> int:
        """How much it holds."""
        return int(self._coder.num_valid_bits())

    @property
    def words(self) -> Words:
        """All that it holds, as it is stored."""
        found: Words = self._coder.get_compressed()
        return found

    def copy(self) -> Stack:
        """Another stack that holds the same."""
        other = Stack()
        other._coder = self._coder.clone()
        return other

    def push(self, symbols: Tensor, table: Tensor) -> None:
        """Push symbols ``(…,)`` by probabilities ``(…, K)`` from `rounded`."""
        flat = symbols.reshape(-1).numpy().astype(np.int32)
        self._coder.encode_reverse(flat, self._table, table.reshape(-1, table.shape[-1]).numpy())

    def pop(self, table: Tensor) -> Tensor:
        """Pop symbols, int64 ``(…,)``."""
        found = self._coder.decode(self._table, table.reshape(-1, table.shape[-1]).numpy())
        return torch.from_numpy(found.astype(np.int64)).view(table.shape[:-1])

    def push_cells(self, cells: Tensor, mean: Tensor, scale: Tensor) -> None:
        """Push numbers of codes, int64 multiples of 1/`CELLS`, by normal distributions of that shape."""
        self._coder.encode_reverse(cells.flatten().numpy().astype(np.int32), self._normal, *_cells(mean, scale))

    def pop_cells(self, mean: Tensor, scale: Tensor) -> Tensor:
        """Pop them."""
        found = self._coder.decode(self._normal, *_cells(mean, scale))
        return torch.from_numpy(found.astype(np.int64)).view(mean.shape)

    def push_counts(self, symbols: Tensor, table: Logistic) -> None:
        """Push symbols ``(B, places)`` by whole numbers: what the stack holds says where in its interval each is.

        It must hold `COUNTED` bits for each.
        """
        flat = symbols.flatten()
        first = table.below(flat)
        sizes = table.below(flat + 1) - first + LEAST
        powers = _powers(sizes)
        held = self._popped(powers) * SPARE + self._popped(SPARE, len(flat))
        quotient = torch.floor(held / sizes)
        self._pushed(quotient, _rests(sizes, powers))
        self._pushed(table.counts(flat, first, held - quotient * sizes), ONE)

    def pop_counts(self, table: Logistic) -> Tensor:
        """Pop them, int64 ``(B, places)``."""
        symbols, within, sizes = table.find(self._popped(ONE, table.shape.numel()))
        powers = _powers(sizes)
        held = self._popped(_rests(sizes, powers)).mul_(sizes).add_(within)
        high = torch.floor(held / SPARE)
        self._pushed(held - high * SPARE, SPARE)
        self._pushed(torch.minimum(high, powers - 1), powers)
        return symbols.view(table.shape)

    def _pushed(self, numbers: Tensor, sizes: Tensor | int) -> None:
        if isinstance(sizes, int):
            self._coder.encode_reverse(_int32(numbers), self._uniform(sizes))
        else:
            self._coder.encode_reverse(_int32(numbers), self._uniform(), _int32(sizes))

    def _popped(self, sizes: Tensor | int, n: int = 0) -> Tensor:
        """Numbers below sizes, or n of them below one size; whole ones in float64."""
        if isinstance(sizes, int):
            found = self._coder.decode(self._uniform(sizes), n)
        else:
            found = self._coder.decode(self._uniform(), _int32(sizes))
        return torch.from_numpy(found).double()

    def push_uniform(self, symbols: Tensor, k: int) -> None:
        """Push symbols that are each of ``k`` as likely."""
        self._coder.encode_reverse(symbols.numpy().astype(np.int32), self._uniform(k))

    def pop_uniform(self, n: int, k: int) -> Tensor:
        """Pop ``n`` of them."""
        return torch.from_numpy(self._coder.decode(self._uniform(k), n).astype(np.int64))


def _int32(x: Tensor) -> Any:
    return x.to(torch.int32).numpy()


def _powers(sizes: Tensor) -> Tensor:
    """The least powers of two that are larger, of at most 2^24 counts."""
    return torch.exp2(torch.frexp(sizes).exponent.double())


def _rests(sizes: Tensor, powers: Tensor) -> Tensor:
    """How many quotients there are of a power of two, times `SPARE`, by each size."""
    return powers.mul(SPARE).sub_(1).div_(sizes).floor_().add_(1)


def _cells(mean: Tensor, scale: Tensor) -> tuple[Any, Any]:
    return tuple((v.double().flatten() * CELLS).numpy() for v in (mean, scale))  # type: ignore[return-value]


def rounded(p: Tensor) -> Tensor:
    """Probabilities as whole numbers in float64, none of them 0, whose sums are exact in any order."""
    return p.double().mul(ONE).round_().clamp_(min=LEAST)


def follow(steps: Steps, take: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Go through a block's distributions; ``take`` gets places and tables, and gives their symbols."""
    try:
        where, p = next(steps)
        while True:
            where, p = steps.send(take(where, rounded(p)))
    except StopIteration:
        return


def push_all(stack: Stack, steps: Steps, symbols: Tensor) -> None:
    """Push a block's symbols ``(rows, places)``, last step first, so that they are popped in the order of the steps."""
    kept: list[tuple[Tensor, Tensor]] = []

    def take(where: Tensor, table: Tensor) -> Tensor:
        kept.append((symbols[:, where], table))
        return kept[-1][0]

    follow(steps, take)
    for found, table in reversed(kept):
        stack.push(found, table)


def pop_all(stack: Stack, steps: Steps, rows: int, places: int) -> Tensor:
    """Pop them, int64 ``(rows, places)``."""
    symbols = torch.zeros(rows, places, dtype=torch.long)

    def take(where: Tensor, table: Tensor) -> Tensor:
        symbols[:, where] = stack.pop(table)
        return symbols[:, where]

    follow(steps, take)
    return symbols

"""Observations to a stack of coded symbols and back, by what a model says of them.

Three schemes, by what the model has: ``direct`` codes by an exact likelihood; ``bits-back`` (Townsend et al.,
arXiv:1901.04866) pops a code by q(z|x), pushes x by p(x|z) and z by p(z), so that its net length is the evidence lower
bound; ``tokens`` codes what a quantizer chose by the prior, and gives back the reconstruction.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genzoo.core.coding.stack import CELLS, COUNTED, REACH, Stack, pop_all, push_all
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.joint import evaluating
from genzoo.core.likelihood import Likelihood
from genzoo.core.math.tables import Steps, snapped
from genzoo.core.posterior import DiagonalNormal, TokenHead
from genzoo.core.prior import NormalPrior, TokenPrior

if TYPE_CHECKING:
    from genzoo.core.model import Model

BLOCK, MEMORY = 64, 2**24  # observations that networks see at a time, and numbers of their tables
_PARTS = (0, 1, 2, 4, 8, 16)  # pieces in which places are coded by counts, the fewest that a stack affords; 0 for none
_START = (1, 1, 2, 4, 8, 16, 32)  # observations in the first blocks of bits back, which find few bits to pop


_PLAIN = (
    "{} cannot compress: bits back needs a normal posterior and the normal prior, whose numbers are coded one by one "
    "(--posterior normal --prior normal)"
)


def scheme_of(model: Model) -> str:
    """How a model compresses; raises `UsageError` if it cannot, with the reason."""
    head, prior, likelihood = model.head, model.prior, model.likelihood
    if model.conditions:
        raise UsageError(f"{model.called} is told numbers as conditions, which a compressed file does not hold")
    if isinstance(head, TokenHead) and isinstance(prior, TokenPrior):
        if prior.unfitted:
            raise UsageError(f"{model.called} cannot compress yet: {prior.unfitted}")
        return "tokens"
    if not likelihood.coded:
        raise UsageError(
            f"{model.called} cannot compress: its likelihood is a density of real numbers, or none, "
            "and only probabilities of single values make bits"
        )
    if model.exact:
        return "direct"
    if model.encoder is None or head is None:
        raise UsageError(f"{model.called} cannot compress: it has no encoder, and no exact likelihood")
    if type(prior) is not NormalPrior:
        raise UsageError(_PLAIN.format(model.called))
    return "bits-back"


@contextmanager
def _float64(model: Model) -> Iterator[None]:
    """Say what is wrong where a network cannot run in float64."""
    try:
        yield
    except RuntimeError as e:
        if "dtype" not in str(e) and "scalar type" not in str(e):
            raise
        raise GenzooError(f"{model.called} has networks that do not run in float64: compress with --fast") from e


class Codec:
    """A model on the CPU that codes blocks of observations, each computed in the same way on both sides.

    Networks run in float64 where the file is to be read on other machines (``portable``), and what they put out is
    rounded to a grid before it becomes probabilities: a last bit that differs changes nothing.
    """

    def __init__(self, model: Model, portable: bool = True) -> None:
        self.scheme = scheme_of(model)
        own = model.device.type == "cpu" and {p.dtype for p in model.parameters()} <= {torch.float32}
        # Makes tokens and reconstructions, which nobody has to agree on.
        self.plain = model if own else copy.deepcopy(model).cpu().float()
        self.dtype = torch.float64 if portable else torch.float32
        self.model = copy.deepcopy(self.plain).to(self.dtype) if portable else self.plain
        likelihood, spec = self.model.likelihood, model.spec
        self._counted = type(likelihood).intervals is not Likelihood.intervals
        if self.scheme == "tokens":
            assert isinstance(self.model.head, TokenHead)
            self.places, kinds = self.model.head.places, self.model.head.codes
        else:
            self.places = likelihood.symbols(torch.zeros(1, *spec.shape)).shape[1]
            kinds = spec.levels or 256
        self.block = max(min(BLOCK, MEMORY // (self.places * kinds)), 1)

    def spans(self, n: int) -> Iterator[tuple[int, int]]:
        """Where blocks of n observations start and end."""
        at = 0
        for size in _START if self.scheme == "bits-back" else ():
            if at < n:
                yield at, (at := min(at + min(size, self.block), n))
        while at < n:
            yield at, (at := min(at + self.block, n))

    @torch.no_grad()
    def symbols(self, x: Tensor, y: Tensor | None) -> Tensor:
        """What is coded of observations in model space: int64 ``(N, places)``."""
        if self.scheme != "tokens":
            return self.model.likelihood.symbols(x)
        found = []
        with evaluating(self.plain):
            for a, b in self.spans(len(x)):
                tokens = self.plain.posterior(x[a:b], self._told(y, a, b)).tokens
                assert tokens is not None
                found.append(tokens)
        return torch.cat(found)

    @torch.no_grad()
    def observed(self, symbols: Tensor, y: Tensor | None) -> Tensor:
        """Observations in model space, float32: exactly those that were coded, or of tokens what they decode to."""
        if self.scheme != "tokens":
            return self.model.likelihood.observed(symbols).float()
        head, found = self.plain.head, []
        assert isinstance(head, TokenHead)
        with evaluating(self.plain):
            for a, b in self.spans(len(symbols)):
                found.append(self.plain.mean(head.embed(symbols[a:b]), self._told(y, a, b)))
        return torch.cat(found)

    @torch.no_grad()
    def push(self, stack: Stack, symbols: Tensor, y: Tensor | None) -> int:
        """Push all observations; returns how many blocks at the start found too few bits to pop their codes from."""
        poor, popping = 0, False
        with evaluating(self.model), _float64(self.model):
            for a, b in self.spans(len(symbols)):
                part, told = symbols[a:b], self._told(y, a, b)
                if self.scheme != "bits-back":
                    self._push(stack, part, None, told)
                    continue
                mean, scale = self._posterior(part, told)
                rich = stack.copy()
                cells = rich.pop_cells(mean, scale)
                popping = popping or rich.bits > 64
                if popping:
                    stack = rich
                else:
                    poor += 1
                    cells = torch.round(mean * CELLS).long().clamp(-CELLS * REACH, CELLS * REACH)
                self._push(stack, part, cells, told)
                stack.push_cells(cells, *self._prior(cells))
            if y is not None:
                stack.push_uniform(y, self.model.classes)
        self.stack = stack
        return poor

    @torch.no_grad()
    def pop(self, stack: Stack, n: int, poor: int) -> tuple[Tensor, Tensor | None]:
        """Pop n observations: their symbols, and their labels where the model is told them."""
        classes, found = self.model.classes, torch.zeros(n, self.places, dtype=torch.long)
        y = stack.pop_uniform(n, classes) if classes else None
        with evaluating(self.model), _float64(self.model):
            for i, (a, b) in reversed([*enumerate(self.spans(n))]):
                told = self._told(y, a, b)
                if self.scheme != "bits-back":
                    found[a:b] = self._pop(stack, b - a, None, told)
                    continue
                like = torch.zeros(b - a, *self.model.latent.shape, dtype=torch.long)
                cells = stack.pop_cells(*self._prior(like))
                found[a:b] = self._pop(stack, b - a, cells, told)
                if i >= poor:
                    mean, scale = self._posterior(found[a:b], told)
                    stack.push_cells(cells, mean, scale)
        self.stack = stack
        return found, y

    def _push(self, stack: Stack, symbols: Tensor, cells: Tensor | None, y: Tensor | None) -> None:
        """Push a block's symbols: as whole numbers where that can be and the stack holds enough, else by tables."""
        params = self._params(len(symbols), cells, y)
        if params is None or not self._counted:
            push_all(stack, self._steps(len(symbols), params, y), symbols)
            return
        affords = stack.bits // COUNTED - 4
        which = next((i for i, n in enumerate(_PARTS) if n and -(-self.places // n) * len(symbols) < affords), 0)
        if which:
            for where, table in reversed(self.model.likelihood.intervals(params, _PARTS[which])):
                stack.push_counts(symbols[:, where], table)
        else:
            push_all(stack, self._steps(len(symbols), params, y), symbols)
        stack.push_uniform(torch.tensor([which]), len(_PARTS))

    def _pop(self, stack: Stack, rows: int, cells: Tensor | None, y: Tensor | None) -> Tensor:
        """Pop them, int64 ``(rows, places)``."""
        params = self._params(rows, cells, y)
        counted = params is not None and self._counted
        parts = _PARTS[int(stack.pop_uniform(1, len(_PARTS)))] if counted else 0
        if params is None or not parts:
            return pop_all(stack, self._steps(rows, params, y), rows, self.places)
        found = torch.zeros(rows, self.places, dtype=torch.long)
        for where, table in self.model.likelihood.intervals(params, parts):
            found[:, where] = stack.pop_counts(table)
        return found

    def _params(self, rows: int, cells: Tensor | None, y: Tensor | None) -> Tensor | None:
        """What the generator puts out for a block of codes, on the grid; None where the prior alone codes."""
        if isinstance(self.model.prior, TokenPrior):
            return None
        if cells is None:
            z = torch.empty(rows, *self.model.latent.shape, dtype=self.dtype)
        else:
            z = (cells / CELLS).to(self.dtype)
        return snapped(self.model.generator(z, y).to(torch.float64)).to(self.dtype)

    def _steps(self, rows: int, params: Tensor | None, y: Tensor | None) -> Steps:
        """Distributions of a block's symbols."""
        if params is not None:
            return self.model.likelihood.steps(params)
        assert isinstance(self.model.prior, TokenPrior)
        return self.model.prior.steps(rows, y)

    def _posterior(self, symbols: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of a block's codes."""
        x = self.model.likelihood.observed(symbols).to(self.dtype)
        q = self.model.posterior(x, y)
        if not isinstance(q, DiagonalNormal) or type(self.model.prior) is not NormalPrior:
            raise UsageError(_PLAIN.format(self.model.called))
        return snapped(q.mean.double()), snapped(q.log_var.double()).clamp(-16, 8).mul(0.5).exp()

    @staticmethod
    def _prior(cells: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(cells.shape, dtype=torch.float64), torch.ones(cells.shape, dtype=torch.float64)

    def _told(self, y: Tensor | None, a: int, b: int) -> Tensor | None:
        return None if y is None else y[a:b]

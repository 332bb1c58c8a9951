"""Likelihoods on small data, and checks that they are distributions, and that their gradients are true."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.likelihood import Likelihood
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import Case, Subject, accepted, expect, over, seeded, shape_text
from genzoo.plugins.apps.kit.findings import Skip

N = 6
SEVERAL = (
    DataSpec("image", (2, 3, 3), levels=2, scale=(0.5,), shift=(0.5,)),
    DataSpec("image", (2, 3, 3), levels=256, scale=(0.5,), shift=(0.5,)),
    DataSpec("image", (2, 3, 3), scale=(0.5,), shift=(0.5,)),
    DataSpec("vector", (4,), scale=(2.0,)),
)
# A single number, whose distribution can be summed.
ONE = tuple(replace(spec, shape=tuple(1 for _ in spec.shape)) for spec in SEVERAL)


class Likely(Subject):
    """A likelihood with random numbers, as a generator would put them out, and random observations.

    Raises:
        UsageError: if it refuses such data.
    """

    to_input = ("params",)

    def __init__(self, case: Case, spec: DataSpec, options: Mapping[str, Any], spread: float = 1.0) -> None:
        self.cls, self.spec, self.options = case.cls, spec, case.cls.Options(**options)
        self.p: Any = self.anew(0)
        levels = f"{spec.levels} levels" if spec.levels else "real"
        where = f"{spec.modality} of shape {shape_text(spec.shape)}, {levels}"
        self.params, x = self.numbers(N, 0, spread), cases.observations(spec, N).clamp(-1, 1)
        self.modes = (False,) if self.p.coupled else (False, True)
        super().__init__(where, self.p, {"params": self.params, "x": x})

    def anew(self, seed: int = 1) -> nn.Module:
        with seeded(seed):
            made: nn.Module = self.cls(self.spec, self.options)
        return made

    def numbers(self, n: int, seed: int, spread: float = 1.0) -> Tensor:
        """Random parameters for n observations."""
        return spread * torch.randn(n, *self.p.input_shape, generator=torch.Generator().manual_seed(seed))

    def compute(self, module: Any, given: Mapping[str, Any]) -> Mapping[str, Tensor]:
        params = given["params"]
        found = {"log_prob": module.log_prob(params, given["x"]), "mean": module.mean(params)}
        if not params.is_meta:
            found["sample"] = module.sample(params, torch.Generator().manual_seed(9))
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        return () if name == "log_prob" else self.spec.shape

    def coupled(self) -> Collection[str]:
        return ("sample",)


def likelihoods(case: Case, options: Mapping[str, Any] | None = None, *, thorough: bool = False,
                specs: tuple[DataSpec, ...] = SEVERAL) -> Iterator[Likely]:  # fmt: skip
    """The likelihood on whatever data it takes, thoroughly with extreme parameters too."""
    ways = product([s for s in specs if case.entry.fits(s.modality)], (1.0, 30.0) if thorough else (1.0,))
    makers = (partial(Likely, case, spec, options or {}, spread) for spec, spread in ways)
    return accepted(makers, "data that it fits" if options is None else "")


def single(case: Case) -> Iterator[Likely]:
    """The likelihood of single numbers, in eval mode."""
    for subject in likelihoods(case, specs=ONE):
        subject.p.eval()
        yield subject


@over(single)
@torch.no_grad()
def normalized(subject: Likely) -> None:
    """Probabilities sum to at most one, densities (in data units) integrate to at most one."""
    p, spec = subject.p, subject.spec
    if not p.normalized:
        raise Skip("it says that it is a distance")
    for numbers in torch.split(subject.numbers(N, 2), 1):
        if p.discrete and spec.levels:
            x, kind, weight = torch.arange(spec.levels) * (2 / (spec.levels - 1)) - 1, "sum", 1.0
        else:
            drawn = p.sample(numbers.expand(200, *numbers.shape[1:]))
            inside = of(spec).bounds and drawn.abs().max() <= 1 + 1e-6  # the density beyond is then nobody's business
            x = torch.linspace(-1, 1, 60_001) * (1.0 if inside else 60.0)
            kind, weight = "integral", float(x[1] - x[0]) * spec.scale[0]
        log_p = p.log_prob(numbers.expand(len(x), *numbers.shape[1:]), x.view(-1, *spec.shape))
        total = float(log_p.double().exp().sum()) * weight
        mend = "add the normalizer (and for densities self.log_volume, which brings data units)"
        expect(total <= 1.01, f"a {kind} of at most 1", f"{total:.4g}", mend)


@over(single)
def gradients(subject: Likely) -> None:
    """Gradients of the log-probability are its slopes, by finite differences."""
    p: Likelihood = subject.p
    x, numbers = cases.observations(subject.spec, 4, 1).clamp(-1, 1), subject.numbers(4, 3).requires_grad_()
    log_p = p.log_prob(numbers, x)
    (gradient,) = torch.autograd.grad(log_p.sum(), numbers)
    flat, step = numbers.detach().flatten(1), 1e-2
    for j in range(flat.shape[1]):
        shift = torch.zeros_like(flat)
        shift[:, j] = step
        right, here, left = (p.log_prob((flat + s * shift).view_as(numbers), x).detach() for s in (1, 0, -1))
        slope, given = (right - left) / (2 * step), gradient.flatten(1)[:, j]
        kink = (right - 2 * here + left).abs() / step > 0.1 * (1 + given.abs())  # no slope to compare with
        off = ((slope - given).abs() / (1 + given.abs())).masked_fill(kink, 0).max()
        found = f"{given.tolist()[:2]} against {slope.tolist()[:2]}"
        expect(off < 0.05, "log_prob's slope as its gradient", found, "mend the formula, or a detach() in it")


@over(single)
@torch.no_grad()
def mean(subject: Likely) -> None:
    """The mean is the mean of samples, within five standard errors (and half a level)."""
    numbers = subject.numbers(3, 4, spread=0.3)
    drawn = subject.p.sample(numbers.repeat_interleave(4000, 0), torch.Generator().manual_seed(1)).view(3, 4000)
    said, found = subject.p.mean(numbers).view(3), drawn.mean(1)
    off = ((found - said).abs() - 1 / max((subject.spec.levels or 1000) - 1, 1)) / (drawn.std(1) / math.sqrt(4000))
    close = off.nan_to_num(0).max() <= 5 or (found - said).abs().max() <= 0.1
    expect(close, "mean(params) to be the mean of sample(params)", f"{said.tolist()} against {found.tolist()}")

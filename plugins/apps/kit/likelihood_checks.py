"""Checks of likelihoods: that they are distributions, and that their gradients are true."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Likelihood
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import Case, attempt, gap, said, seeded, shape_text
from genzoo.plugins.apps.kit.dispatch_checks import all_on_meta, elsewhere, no_doubles
from genzoo.plugins.apps.kit.findings import Fault, Skip

ONE = (  # a single number, whose distribution can be summed
    DataSpec("image", (1, 1, 1), levels=2, scale=(0.5,), shift=(0.5,)),
    DataSpec("image", (1, 1, 1), levels=256, scale=(0.5,), shift=(0.5,)),
    DataSpec("image", (1, 1, 1), scale=(0.5,), shift=(0.5,)),
    DataSpec("vector", (1,), scale=(2.0,)),
)
SEVERAL = (
    DataSpec("image", (2, 3, 3), levels=2, scale=(0.5,), shift=(0.5,)),
    DataSpec("image", (2, 3, 3), levels=256, scale=(0.5,), shift=(0.5,)),
    DataSpec("image", (2, 3, 3), scale=(0.5,), shift=(0.5,)),
    DataSpec("vector", (4,), scale=(2.0,)),
)


def fitting(case: Case, specs: tuple[DataSpec, ...], options: Any = None) -> Iterator[tuple[str, DataSpec, Likelihood]]:
    """The likelihood on whatever data it takes."""
    if not issubclass(case.cls, Likelihood):
        raise Fault("a subclass of genzoo.core.likelihood.Likelihood", case.cls.__name__, "derive it from that")
    taken, refused = 0, ""
    for spec in specs:
        if not case.entry.fits(spec.modality):
            continue
        where = f"{spec.modality} of shape {shape_text(spec.shape)}, " + (
            f"{spec.levels} levels" if spec.levels else "real"
        )
        try:
            made = attempt(lambda s=spec: case.cls(s, options or case.cls.Options()), where, "to be built")  # type: ignore[misc]
        except UsageError as e:
            refused = str(e)
            continue
        taken += 1
        yield where, spec, made
    if not taken and options is None:
        raise Fault("data that it fits", f"a refusal of all: {refused}", "let check() accept what the entry is for")


def params(of: Likelihood, n: int, seed: int = 0, spread: float = 1.0) -> Tensor:
    """Random numbers as a generator would put them out."""
    return spread * torch.randn(n, *of.input_shape, generator=torch.Generator().manual_seed(seed))


def shapes(case: Case) -> None:
    """Log-probabilities are ``(B,)`` and finite, means and samples are observations."""
    for where, spec, p in fitting(case, SEVERAL):
        for spread in (1.0, 30.0):
            numbers, x = params(p, 5, spread=spread), cases.observations(spec, 5)
            if of(spec).bounds and not spec.levels:
                x = x.clamp(-1, 1)
            log_p = attempt(lambda p=p, n=numbers, x=x: p.log_prob(n, x), where, "log_prob")  # type: ignore[misc]
            if tuple(log_p.shape) != (5,) or not torch.isfinite(log_p).all():
                raise Fault("finite log-probabilities of shape (B,)", f"{shape_text(log_p.shape)} {log_p.tolist()[:2]}",
                            "sum over the dimensions of the data, and stay in logarithms", where)  # fmt: skip
        for name, made in (("mean", p.mean(numbers)), ("sample", p.sample(numbers))):
            if tuple(made.shape) != (5, *spec.shape) or not torch.isfinite(made).all():
                raise Fault(f"a finite {name} of shape {shape_text((5, *spec.shape))}", shape_text(made.shape),
                            "give observations in model space", where)  # fmt: skip


def normalized(case: Case) -> None:
    """Probabilities sum to at most one, densities (in data units) integrate to at most one."""
    if not case.cls.normalized:
        raise Skip("it says that it is a distance")
    for where, spec, p in fitting(case, ONE):
        numbers = params(p.eval(), 6, seed=2)
        for i in range(len(numbers)):
            if p.discrete and spec.levels:
                x = torch.arange(spec.levels).float() * (2 / (spec.levels - 1)) - 1
                weight = 1.0
            else:
                end = 1.0 if of(spec).bounds and _bounded(p, numbers[i : i + 1], spec) else 60.0
                x = torch.linspace(-end, end, 60_001)
                weight = float(x[1] - x[0]) * spec.scale[0]
            with torch.no_grad():
                log_p = p.log_prob(numbers[i : i + 1].expand(len(x), *numbers.shape[1:]), x.view(-1, *spec.shape))
            total = float(log_p.double().exp().sum()) * weight
            if not total <= 1.01:
                kind = "sum" if weight == 1.0 else "integral"
                raise Fault(
                    f"a {kind} of at most 1",
                    f"{total:.4g}",
                    "add the normalizer (and for densities self.log_volume, which brings data units)",
                    where,
                )


def _bounded(p: Likelihood, numbers: Tensor, spec: DataSpec) -> bool:
    """Whether observations end at ±1: then the density beyond is nobody's business."""
    with torch.no_grad():
        drawn = p.sample(numbers.expand(200, *numbers.shape[1:]))
    return bool(drawn.abs().max() <= 1 + 1e-6)


def gradients(case: Case) -> None:
    """Gradients of the log-probability are its slopes, by finite differences."""
    for where, spec, p in fitting(case, ONE):
        numbers = params(p, 4, seed=3).requires_grad_()
        x = cases.observations(spec, 4, 1).clamp(-1, 1)
        p.eval()  # what follows a batch in training has no slope of its own
        log_p = p.log_prob(numbers, x)
        if not log_p.requires_grad:
            raise Fault(
                "a log-probability that can be differentiated", "a detached one", "take out the detach()", where
            )
        (gradient,) = torch.autograd.grad(log_p.sum(), numbers)
        flat, step = numbers.detach().flatten(1), 1e-2
        for j in range(flat.shape[1]):
            shift = torch.zeros_like(flat)
            shift[:, j] = step
            right, here, left = (p.log_prob((flat + s * shift).view_as(numbers), x).detach() for s in (1, 0, -1))
            slope, given = (right - left) / (2 * step), gradient.flatten(1)[:, j]
            kink = (right - 2 * here + left).abs() / step > 0.1 * (1 + given.abs())  # no slope to compare with
            off = ((slope - given).abs() / (1 + given.abs())).masked_fill(kink, 0).max()
            if not off < 0.05:
                raise Fault("log_prob's slope as its gradient", f"{given.tolist()[:2]} against {slope.tolist()[:2]}",
                            "mend the formula, or a detach() in it", where)  # fmt: skip


def mean_of_samples(case: Case) -> None:
    """The mean is the mean of samples, within five standard errors (and half a level)."""
    for where, spec, p in fitting(case, ONE):
        numbers = params(p.eval(), 3, seed=4, spread=0.3)
        with torch.no_grad():
            drawn = p.sample(numbers.repeat_interleave(4000, 0), torch.Generator().manual_seed(1)).view(3, 4000)
            mean = p.mean(numbers).view(3)
        error = drawn.std(1) / math.sqrt(4000)
        off = ((drawn.mean(1) - mean).abs() - 1 / max((spec.levels or 1000) - 1, 1)) / (error + 1e-9)
        if off.max() > 5 and (drawn.mean(1) - mean).abs().max() > 0.1:
            raise Fault(
                "mean(params) to be the mean of sample(params)",
                f"{mean.tolist()} against {[round(v, 4) for v in drawn.mean(1).tolist()]}",
                "mend one of the two",
                where,
            )


def deterministic(case: Case) -> None:
    """A sample is decided by its generator."""
    for where, _, p in fitting(case, SEVERAL):
        numbers, drawn = params(p, 5), []
        for seed in (1, 2):
            with seeded(seed), torch.no_grad():
                drawn.append(p.sample(numbers, torch.Generator().manual_seed(9)))
        if not torch.equal(*drawn):
            raise Fault("the same sample from the same generator", "another", "pass generator= to every draw", where)


def dtypes(case: Case) -> None:
    """Nothing is computed in float64, and log-probabilities are float32 whatever the network's precision."""
    for where, spec, p in fitting(case, SEVERAL):
        x = cases.observations(spec, 5).clamp(-1, 1)
        for dtype in (torch.float32, torch.bfloat16):
            with no_doubles(where):
                log_p = p.log_prob(params(p, 5).to(dtype), x)
            if log_p.dtype != torch.float32:
                raise Fault("float32", str(log_p.dtype), "begin with params.float()", f"{where}, {dtype} parameters")


def devices(case: Case) -> None:
    """It runs wherever its parameters and inputs are."""
    for where, spec, p in fitting(case, SEVERAL):
        numbers, x = params(p, 5).to("meta"), cases.observations(spec, 5).to("meta")
        with elsewhere(where):
            p.eval().to("meta")
            all_on_meta([p.log_prob(numbers, x), p.mean(numbers)], where, "its result")


def inputs_kept(case: Case) -> None:
    """What it is given is as it was afterwards."""
    for where, spec, p in fitting(case, SEVERAL):
        numbers, x = params(p, 5), cases.observations(spec, 5).clamp(-1, 1)
        before = numbers.clone(), x.clone()
        with torch.no_grad():
            p.log_prob(numbers, x), p.mean(numbers), p.sample(numbers)
        if not torch.equal(numbers, before[0]) or not torch.equal(x, before[1]):
            raise Fault("its inputs unchanged", "one changed in place", "work on a new tensor", where)


def batch_independent(case: Case) -> None:
    """An observation's log-probability is its own, unless it is declared coupled in training."""
    for where, spec, p in fitting(case, SEVERAL):
        numbers, x = params(p, 6), cases.observations(spec, 6).clamp(-1, 1)
        for training in (True, False):
            if training and p.coupled:
                continue
            with torch.no_grad():
                whole = copy.deepcopy(p).train(training).log_prob(numbers, x)
                parts = torch.cat(
                    [copy.deepcopy(p).train(training).log_prob(numbers[s], x[s]) for s in (slice(2), slice(2, 6))]
                )
            if gap(whole, parts) > 1e-4:
                raise Fault("the same log-probability in every batch", f"values {gap(whole, parts):.2g} apart",
                            "declare it: the property coupled", where)  # fmt: skip


def round_trip(case: Case) -> None:
    """What it learned is saved."""
    for where, spec, p in fitting(case, SEVERAL):
        numbers, x = params(p, 5), cases.observations(spec, 5).clamp(-1, 1)
        optimizer = torch.optim.SGD([numbers.clone().requires_grad_(), *p.parameters()], lr=1e-2)
        for _ in range(2):
            loss = -p.train().log_prob(numbers.clone().requires_grad_(), x).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        other = case.cls(spec, p.options)
        mend = "keep what it learns in parameters and buffers"
        try:
            other.load_state_dict(p.state_dict())
        except RuntimeError as e:
            raise Fault("state that loads", said(e), mend, where) from e
        with torch.no_grad():
            a, b = p.eval().log_prob(numbers, x), other.eval().log_prob(numbers, x)
        if gap(a, b) > 1e-6:
            raise Fault(
                "the same log-probabilities after saving and loading", f"values {gap(a, b):.2g} apart", mend, where
            )


def variants(case: Case) -> None:
    """With every word of its options it works or is refused."""
    for name, options in cases.variants(case.cls):
        for where, spec, p in fitting(case, SEVERAL, options):
            x = cases.observations(spec, 5).clamp(-1, 1)
            log_p = attempt(lambda p=p, x=x: p.log_prob(params(p, 5), x), f"{where}, {name}", "log_prob")  # type: ignore[misc]
            if tuple(log_p.shape) != (5,):
                raise Fault(
                    "log-probabilities of shape (B,)", shape_text(log_p.shape), "sum over the data", f"{where}, {name}"
                )

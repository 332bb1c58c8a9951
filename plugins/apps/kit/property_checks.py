"""What holds of everything that computes from a batch: a network, a likelihood, a player's turn, an extractor."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genzoo.core.mixed_precision import networks_in_bfloat16
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import Case, Subject, at, expect, gap, over, seeded
from genzoo.plugins.apps.kit.findings import Fault, Skip
from genzoo.plugins.apps.kit.measures import extractors
from genzoo.plugins.apps.kit.objective_checks import turns
from genzoo.plugins.apps.kit.part_checks import coded, likelihoods, networks

FIXTURES: Mapping[str, Any] = {
    **dict.fromkeys(("generator", "encoder", "critic"), networks),
    **dict.fromkeys(("objective", "regularizer", "augmentation"), turns),
    **dict.fromkeys(("posterior", "prior"), coded),
    "likelihood": likelihoods,
    "extractor": extractors,
}
CLOSE = 1e-3  # of the mean magnitude: sums in another order differ by far less
NO_DOUBLES = "make it of the input's dtype (x.new_zeros, dtype=x.dtype): float64 is slow, and on MPS an error"
ON_INPUTS = "make tensors on the inputs' device (x.new_zeros, device=x.device), and keep constants in buffers"


def subjects(case: Case, options: Mapping[str, Any] | None = None, *, thorough: bool = False) -> Iterator[Subject]:
    """What of the entry computes, on small data of every kind that it is for; thoroughly on further shapes."""
    yield from FIXTURES[case.entry.kind](case, options, thorough=thorough)


def changed(case: Case) -> Iterator[Subject]:
    """`subjects` with one option changed, as far as that is not refused."""
    for name, options in cases.changes(case.cls):
        for subject in subjects(case, options):
            subject.where += f", {name}"
            yield subject


def _sound(subject: Subject, n: int) -> None:
    for name, value in subject.run(rows=slice(n)).items():
        cases.shaped(name, value, (n, *subject.shape(name)))


@over(partial(subjects, thorough=True))
def shapes(subject: Subject) -> None:
    """Outputs are finite and of the contract's shape, for batches of one and of several, and other sizes of data."""
    for n in (_rows(subject), *subject.parts):
        with at(f"{subject.where}, batch of {n}"):
            _sound(subject, n)


@over(subjects)
def terms(subject: Subject) -> None:
    """Noise has the batch first, every term is one finite number per observation, and what is declared exists."""
    _sound(subject, _rows(subject))


@over(changed)
def variants(subject: Subject) -> None:
    """With every word, and at the least of every number, of its options it works or is refused in words."""
    _sound(subject, _rows(subject))


def _rows(subject: Subject) -> int:
    return max(len(v) for v in subject.given.values() if v is not None and v.dim())


class _Doubles(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises a `Fault` at the first operation that gives float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, Tensor) and t.dtype == torch.float64:
                place = cases.place_of(traceback.extract_stack())
                raise Fault("float32 (or bfloat16) throughout", f"float64 from {func} at {place}", NO_DOUBLES)
        return out


@over(subjects)
def dtypes(subject: Subject) -> None:
    """Nothing is float64, and results and gradients are finite float32 numbers, also where networks use bfloat16."""
    for name, t in (*subject.module.named_parameters(), *subject.module.named_buffers()):
        expect(t.dtype != torch.float64, "parameters and buffers of float32", f"{name} of float64", NO_DOUBLES)
    for half in (False, True):
        with at(f"{subject.where}{', bfloat16 autocast' if half else ''}"):
            with _Doubles(), networks_in_bfloat16("cpu", half):  # type: ignore[no-untyped-call]
                found = _backward(subject)
            for name, value in found.items():
                expect(value.dtype == torch.float32, f"{name} of float32", value.dtype, "compute in x.float()")
                expect(torch.isfinite(value).all(), f"finite {name}", "others", "compute losses in float32")


def _backward(subject: Subject) -> Mapping[str, Tensor]:
    """Compute in training mode, differentiate a random sum of all results, and return them."""
    for name in subject.to_input:
        subject.given[name].requires_grad_()  # type: ignore[union-attr]
    found = subject.run(training=True)
    g = torch.Generator().manual_seed(2)
    sums = [(v * torch.randn(v.shape, generator=g)).sum() for v in found.values() if v.requires_grad]
    mend = "take out the detach(), no_grad() or conversion on the way"
    expect(sums, "an output that can be differentiated", "a detached one", mend)
    torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
    return found


@over(subjects)
def devices(subject: Subject) -> None:
    """It computes wherever its parameters and inputs are: here, on the device ``meta``, which has no numbers."""
    with _elsewhere():
        subject.onto_meta()
        for name, value in subject.run().items():
            expect(value.is_meta, f"{name} on the device of the inputs", f"it on {value.device}", ON_INPUTS)


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Let autocast allow the device ``meta``, and say of exceptions that tensors are elsewhere."""
    real = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == "meta" else real(device_type, *args, **kwargs)

    torch.autocast = autocast  # type: ignore[assignment, misc]
    try:
        yield
    except (Fault, Skip):
        raise
    except Exception as e:
        if any(words in str(e) for words in ("item() cannot be called", "data-dependent", "nonzero")):
            raise Skip(
                f"it reads numbers back from the device, which cannot be tried without one ({cases.said(e)})"
            ) from e
        raise Fault("all tensors on the device of its inputs", cases.said(e), ON_INPUTS) from e
    finally:
        torch.autocast = real  # type: ignore[misc]


def deterministic(case: Case) -> None:
    """A seed decides parameters and noise; these and inputs the results, in training mode torch's seed too."""
    with seeded(1):
        first = list(subjects(case))
    with seeded(2):
        second = list(subjects(case))
    for a, b in zip(first, second, strict=True):
        with at(a.where):
            states = {**a.module.state_dict(), **a.given}, {**b.module.state_dict(), **b.given}
            moved = [k for k, v in states[0].items() if v is not None and not torch.equal(v, states[1][k])]
            mend = "draw by torch's generator while building, and from the Draws that draw() is given"
            expect(not moved, "the same initial parameters and noise from the same seed", f"another {moved}", mend)
            for training in (True, False):
                found = [s.run(training=training, seed=8 + i * (not training)) for i, s in enumerate((a, b))]
                for name, value in found[0].items():
                    mode, by = "training" if training else "eval", gap(value, found[1][name])
                    mend = "draw from what is given (Draws, a generator), or, in a network, in training mode only"
                    expect(by <= 1e-5, f"the same {name} twice in {mode} mode", f"{by:.2g} apart", mend)


@over(subjects)
def inputs_kept(subject: Subject) -> None:
    """What it is given is as it was afterwards."""
    before = {k: (v.clone(), v._version) for k, v in subject.given.items() if v is not None}
    for training in (True, False):
        with seeded():
            subject.compute(subject.module.train(training), subject.given)
        for name, (value, version) in before.items():
            now: Any = subject.given[name]
            mend = "do without x.mul_(…), x += … and inplace=True on the input itself"
            expect(torch.equal(now, value) and now._version == version, "its input unchanged", f"{name} in place", mend)


@over(subjects)
def gradients(subject: Subject) -> None:
    """Gradients reach every parameter that is trained, and the input; computing moves no parameter."""
    cases.shake(subject.module)
    own = {id(p) for p in subject.moved()}
    for p in subject.module.parameters():
        p.requires_grad_(id(p) in own)
        p.grad = None
    parameters = dict(subject.module.named_parameters())
    before = {n: p.detach().clone() for n, p in parameters.items()}
    _backward(subject)
    reached = {n for n, p in parameters.items() if p.grad is not None and (subject.zeros or p.grad.any())}
    mend = "take out the detach(), no_grad() or conversion on the way, or the layer that is left out"
    idle = [n for n, p in parameters.items() if id(p) in own and n not in reached]
    expect(not idle, "a gradient for everything that is trained", f"none for {', '.join(idle[:4])}", mend)
    for name in subject.to_input:
        x: Any = subject.given[name]
        expect(not x.numel() or (x.grad is not None and x.grad.any()), "a gradient for the input", "none", mend)
    for n, p in parameters.items():
        alone = torch.equal(p, before[n]) and p.requires_grad == (id(p) in own) and (id(p) in own or p.grad is None)
        mend = "leave requires_grad and backward() to the trainer, and act in after_step"
        expect(alone, "parameters that computing leaves alone", f"{n} changed", mend)
        finite = p.grad is None or torch.isfinite(p.grad).all()
        expect(finite, "finite gradients", f"others for {n}", "look for a division, root or logarithm at zero")


def _exercise(subject: Subject) -> None:
    """Train a few steps, so that all that training moves (norms' averages, counters) has moved."""
    for _ in range(3):
        losses = [v.mean() for v in subject.run(training=True, seed=5).values() if v.requires_grad]
        if losses:
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        for p in subject.module.parameters():
            if p.grad is not None:
                p.data.sub_(1e-3 * p.grad)
                p.grad = None


@over(subjects)
def batch_independent(subject: Subject) -> None:
    """A result is its own observation's, unless it is declared coupled, and in eval mode calls leave nothing behind."""
    if getattr(subject.module, "mixes", False):
        raise Skip("it declares that it mixes observations")
    _exercise(subject)
    n, coupled = _rows(subject), subject.coupled()
    mend = "use running statistics where self.training is False; a likelihood, a Loss or a GAN can declare it: coupled"
    for training in subject.modes:
        whole = subject.run(copy.deepcopy(subject.module), training=training)
        for size in subject.parts:
            some = [subject.run(copy.deepcopy(subject.module), training=training, rows=slice(i, i + size))
                    for i in range(0, n, size)]  # fmt: skip
            for name in whole.keys() - set(coupled):
                by = gap(whole[name], torch.cat([part[name] for part in some]))
                found = f"one that differs by {by:.2g} from that of batches of {size}"
                expect(by <= CLOSE, f"the same {name} in every batch", found, mend)
    before = {k: v.clone() for k, v in subject.module.state_dict().items()}
    first, again = subject.run(), subject.run()
    mend = "move what it remembers in training mode only"
    by = max(gap(first[name], again[name]) for name in first)
    expect(by <= CLOSE, "the same result in eval mode after another call", f"one {by:.2g} apart", mend)
    moved = [k for k, v in subject.module.state_dict().items() if not torch.equal(v, before[k])]
    expect(not moved, "nothing remembered in eval mode", f"{moved} changed", mend)


@over(subjects)
def round_trip(subject: Subject) -> None:
    """Saved and loaded into a new module it computes the same: nothing that it needs is left behind."""
    _exercise(subject)
    before, state, other = subject.run(), copy.deepcopy(subject.module.state_dict()), subject.anew()
    mend = "register_buffer(name, tensor) what it needs, without persistent=False"
    try:
        other.load_state_dict(state)
    except RuntimeError as e:
        raise Fault("state that fits a new one of the same options", cases.said(e), mend) from e
    for name, value in subject.run(other).items():
        by = gap(before[name], value)
        expect(by <= 1e-6, f"the same {name} after saving and loading", f"one {by:.2g} apart", mend)

"""Training speed side by side: ``genzoo bench train``."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.training.trainer import Trainer
from genzoo.plugins.apps.bench.bench_report import Table, folder_for, keep, machine
from genzoo_bench import rivals
from genzoo_bench.cases import CASES, Case, Prepared, prepare
from genzoo_bench.equal import difference
from genzoo_bench.hand import Source
from genzoo_bench.pairs import CLOCKS, Ratio, Work, interleaved, ratio_of, seconds, threads_set

AGAINST = ("hand", "pythae", "torchgan", "mimicry", "recorded")
EQUAL = 1e-2  # largest share of the way by which updates of equal work may differ; rounding makes about 1e-4


@dataclass(frozen=True)
class Speed:
    """A line of the table: genzoo's speed as a factor of the other side's.

    Attributes:
        case: what was trained.
        precision: genzoo's; the other side has float32 always.
        against: ``hand``, ``pythae``, ``torchgan``, ``mimicry``.
        ratio: measured, or None where the other side is not installed.
        wanted: the least that is wanted, or None.
        note: how far a recorded figure goes, or what to install.
        steps: in one timed piece of work.
        difference: of both sides' updates from the same batches and noise, as a share of the way; None where only
            the counts of steps and batches are the same.
    """

    case: str
    precision: str
    against: str
    ratio: Ratio | None
    wanted: float | None
    note: str = ""
    steps: int = 0
    difference: float | None = None


def train(
    cases: Sequence[str] = tuple(CASES),
    *,
    pairs: int = 15,
    against: Sequence[str] = AGAINST,
    threads: int | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    piece: float = 0.4,
    clock: str = "wall",
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> list[Speed]:
    """Measure genzoo's training speed against other loops, interleaved, on the same networks and batches.

    Before anything is timed, genzoo and the hand-written loop are given the same batches and noise for three steps,
    and must arrive at the same parameters.

    Args:
        cases: keys of `CASES`.
        pairs: rounds of A, B, A, B, …; 15 or more for an interval of 95 %.
        against: which others: ``hand``, ``pythae``, ``torchgan``, ``mimicry`` (measured where installed) and
            ``recorded`` (figures of torchgan and mimicry from where they could be).
        threads: of the CPU; None leaves torch's setting.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        batch_size: in place of the recipes'.
        piece: seconds that one timed piece of work should take.
        clock: ``wall``, or ``cpu``: what other processes take counts as no time, which wants one thread.
        out: folder for ``train.json`` and ``train.md``; None writes nothing.
        progress: show a bar on stderr.

    Returns:
        Lines of the table, in order.

    Raises:
        UsageError: for an unknown case or rival.
        GenzooError: if the two sides of a case turn out not to do the same work.
    """
    from genzoo.registry.verbs.initialize import pick_device

    known("case", cases, CASES)
    known("rival", against, AGAINST)
    if pairs < 1 or not piece > 0:
        raise UsageError(f"a benchmark takes at least one pair and a piece of some seconds, not {pairs} and {piece:g}")
    where, folder = pick_device(device), folder_for(out)
    lines: list[Speed] = []
    with threads_set(threads), tqdm(total=len(cases) * pairs, unit="round", disable=not progress) as bar:
        for name in cases:
            bar.set_description(CASES[name].title)
            lines += _measured(
                CASES[name], pairs, against, where, batch_size, piece, lambda: bar.update(1), CLOCKS[clock]
            )
            numbers = {"lines": [asdict(line) for line in lines]}
            keep(folder, "train", numbers, speed_table(lines).markdown(), machine(where))
    return lines


def known(kind: str, given: Sequence[str], names: Iterable[str]) -> None:
    """Raise `UsageError` for a name that there is not, or none at all."""
    names = list(names)
    if not given:
        raise UsageError(f"name at least one {kind}: there are {', '.join(names)}")
    for name in given:
        if name not in names:
            raise UsageError(f"there is no {kind} {name!r}{did_you_mean(name, names)}: there are {', '.join(names)}")


def _measured(
    case: Case,
    pairs: int,
    against: Sequence[str],
    device: torch.device,
    batch_size: int | None,
    piece: float,
    tick: Callable[[], Any],
    clock: Callable[[], float],
) -> list[Speed]:
    prepared = prepare(case, device, batch_size)
    steps = steps_for(prepared, piece)
    sides: dict[str, Work] = {}
    for precision in ("float32", "bfloat16") if case.reduced else ("float32",):
        trainer = prepared.trainer(precision)
        sides[precision] = partial(ours, trainer, steps)
    equal: float | None = None
    if "hand" in against and case.loop is not None:
        equal = difference(prepared)
        if equal > EQUAL:
            raise GenzooError(f"{case.title}: genzoo's updates differ from the hand-written loop's by {equal:.1%}: "
                              "this is no comparison of equal work")  # fmt: skip
        loop = case.loop(prepared.fresh(), prepared.config, Source(prepared.data, prepared.config.train.batch_size))
        sides["hand"] = partial(loop.run, steps)
    missing = []
    for name in case.rivals:
        if name in against:
            found = rivals.epoch_of(name, _limited(prepared, steps))
            if found is None:
                missing.append(name)
            else:
                sides[name] = partial(_epochs, found[0], _repeats(prepared, steps))
    for work in sides.values():  # warm up
        work()
    times = dict(zip(sides, interleaved(list(sides.values()), pairs, device, tick, clock), strict=True))
    lines = []
    for precision in [p for p in ("float32", "bfloat16") if p in times]:
        for other in [s for s in times if s not in ("float32", "bfloat16")]:
            wanted = case.wanted.get(other if precision == "float32" else f"{other}/{precision}")
            same = equal if other == "hand" and precision == "float32" else None
            found_ratio = ratio_of(times[precision], times[other])
            lines.append(Speed(case.title, precision, other, found_ratio, wanted, "", steps, same))
        for other in missing:
            lines.append(_missing(case, precision, other, lines, recorded="recorded" in against))
    return lines


def _missing(case: Case, precision: str, other: str, lines: Sequence[Speed], *, recorded: bool) -> Speed:
    """A line about a rival that is not here: its recorded speed, or how to install it."""
    by_hand = [x.ratio for x in lines if x.against == "hand" and x.precision == precision and x.ratio]
    wanted = case.wanted.get(other if precision == "float32" else f"{other}/{precision}")
    note = f"not installed: pip install {rivals.INSTALL[other]}"
    if recorded and other in rivals.RECORDED:
        low, high = rivals.RECORDED[other]
        note = f"recorded: {low:.2f}–{high:.2f} of a hand-written loop"
        if by_hand:
            note += f", so {by_hand[0].median / high:.2f}–{by_hand[0].median / low:.2f}"
    return Speed(case.title, precision, other, None, wanted, note)


def ours(trainer: Trainer, steps: int) -> None:
    """Go on for some steps."""
    trainer.steps = trainer.step + steps
    trainer.train()


def _epochs(epoch: rivals.Epoch, repeats: int) -> None:
    for _ in range(repeats):
        epoch()


def steps_for(prepared: Prepared, piece: float) -> int:
    """How many steps take about as long as asked: a multiple of an epoch where they are more than one."""
    trainer = prepared.trainer()
    device = prepared.data.x.device
    ours(trainer, 2)
    one = seconds(partial(ours, trainer, 3), device) / 3
    if one < piece / 20:
        one = seconds(partial(ours, trainer, 10), device) / 10
    steps = max(1, round(piece / one))
    epoch = len(prepared.data) // prepared.config.train.batch_size
    return steps if steps <= epoch or not prepared.case.rivals else round(steps / epoch) * epoch


def _repeats(prepared: Prepared, steps: int) -> int:
    return max(1, steps * prepared.config.train.batch_size // len(prepared.data))


def _limited(prepared: Prepared, steps: int) -> Prepared:
    """With as much data as the steps see, since the rivals' loops go by epochs."""
    rows = math.ceil(steps / _repeats(prepared, steps)) * prepared.config.train.batch_size
    return replace(prepared, data=prepared.data.take(slice(rows)))


def speed_table(lines: Sequence[Speed]) -> Table:
    """The table as people read it."""
    rows = []
    for line in lines:
        ratio = line.note if line.ratio is None else str(line.ratio)
        took = (line.ratio.ours, line.ratio.theirs) if line.ratio else ()
        each = [f"{1000 * s / line.steps:.2f}" for s in took] or ["", ""]
        same = "" if line.difference is None else f"{line.difference:.0e}" if line.difference else "0"
        wanted = "" if line.wanted is None else f"{line.wanted:.2f}"
        if line.ratio and line.wanted is not None:
            r = line.ratio
            wanted += " reached" if r.median >= line.wanted else " within" if r.high >= line.wanted else " missed"
        rows.append((line.case, line.precision, line.against, ratio, wanted, *each, same))
    header = ("training", "genzoo in", "against", "times as fast", "wanted", "ms a step", "theirs", "updates differ by")
    return Table(header, rows)

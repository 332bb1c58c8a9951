"""What each default of the trainer brings: ``genzoo bench defaults``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from genzoo.core.training.optimizers import FusedAdamStep
from genzoo.core.training.trainer import Trainer
from genzoo.plugins.apps.bench.bench_report import Table, folder_for, keep, machine
from genzoo_bench.cases import CASES, Case, Prepared, prepare
from genzoo_bench.pairs import Ratio, Work, interleaved, ratio_of, threads_set
from genzoo_bench.speed import known, ours, steps_for

MEASURED = ("vae-mlp", "vae-conv", "wgan-gp-conv", "gan-mlp", "dcgan")


@dataclass(frozen=True)
class Default:
    """A line of the table: speed with something else, as a factor of the speed with genzoo's float32 defaults."""

    case: str
    change: str
    ratio: Ratio


def plain_adam(prepared: Prepared, *, foreach: bool) -> Trainer:
    """Adam with one call for each tensor, or for each operation, instead of one for all."""
    trainer = prepared.trainer()
    for playing in trainer.player_states:
        group = playing.optimizer.param_groups[0]
        playing.optimizer = torch.optim.Adam(
            playing.parameters, lr=group["lr"], betas=group["betas"], foreach=foreach, fused=False
        )
        playing.move = FusedAdamStep(playing.optimizer)
    return trainer


def averaged_one_by_one(prepared: Prepared) -> Trainer | None:
    """The moving average with one call for each tensor, where there is one."""
    trainer = prepared.trainer()
    average = trainer.average
    if average is None:
        return None
    pairs = list(zip(average.model.parameters(), prepared_parameters(trainer), strict=True))
    buffers = list(zip(average.model.buffers(), trainer.nets.model.buffers(), strict=True))

    @torch.no_grad()
    def update(seen: int, batch: int) -> None:
        for target, source in pairs:
            target.lerp_(source, 0.01)
        for old, new in buffers:
            old.copy_(new)

    average.update = update  # type: ignore[method-assign]
    return trainer


def prepared_parameters(trainer: Trainer) -> list[torch.Tensor]:
    """What the average follows."""
    return [p.detach() for p in trainer.nets.model.parameters()]


def channels_last(prepared: Prepared, precision: str) -> Trainer | None:
    """Convolutions' weights with their channels last, where there are any."""
    if not any(p.dim() == 4 for p in prepared.nets.parameters()):
        return None
    trainer = prepared.trainer(precision)
    trainer.nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return trainer


CHANGES: Mapping[str, Callable[[Prepared], Trainer | None]] = {
    "Adam by tensor (not fused)": partial(plain_adam, foreach=False),
    "Adam by operation (foreach, not fused)": partial(plain_adam, foreach=True),
    "average by tensor (not foreach)": averaged_one_by_one,
    "bfloat16": lambda prepared: prepared.trainer("bfloat16"),
    "channels last": partial(channels_last, precision="float32"),
    "channels last, bfloat16": partial(channels_last, precision="bfloat16"),
    "compiled": lambda prepared: prepared.trainer(compile_turns=True),
}


def defaults(
    cases: Sequence[str] = MEASURED,
    *,
    changes: Sequence[str] | None = None,
    pairs: int = 15,
    threads: int | None = None,
    device: str = "auto",
    piece: float = 0.4,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> list[Default]:
    """Measure what changing a default does to training speed, interleaved with the defaults in float32.

    Args:
        cases: keys of `CASES`.
        changes: keys of `CHANGES`; None is all but compiling, which takes minutes to warm up on a CPU.
        pairs: rounds.
        threads: of the CPU; None leaves torch's setting.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        piece: seconds that one timed piece of work should take.
        out: folder for ``defaults.json`` and ``defaults.md``; None writes nothing.
        progress: show a bar on stderr.

    Raises:
        UsageError: for an unknown case or change.
    """
    from genzoo.registry.verbs.initialize import pick_device

    chosen = [c for c in CHANGES if c != "compiled"] if changes is None else list(changes)
    known("case", cases, CASES)
    known("change", chosen, CHANGES)
    where, folder = pick_device(device), folder_for(out)
    lines: list[Default] = []
    with threads_set(threads), tqdm(total=len(cases) * pairs, unit="round", disable=not progress) as bar:
        for name in cases:
            bar.set_description(CASES[name].title)
            lines += _measured(CASES[name], chosen, pairs, where, piece, lambda: bar.update(1))
            numbers = {"lines": [asdict(line) for line in lines]}
            keep(folder, "defaults", numbers, defaults_table(lines).markdown(), machine(where))
    return lines


def _measured(
    case: Case, changes: Sequence[str], pairs: int, device: torch.device, piece: float, tick: Callable[[], Any]
) -> list[Default]:
    prepared = prepare(case, device)
    steps = steps_for(prepared, piece)
    sides: dict[str, Work] = {"": partial(ours, prepared.trainer(), steps)}
    for change in changes:
        trainer = CHANGES[change](prepared)
        if trainer is not None:
            sides[change] = partial(ours, trainer, steps)
    for work in sides.values():
        work()
    times = dict(zip(sides, interleaved(list(sides.values()), pairs, device, tick), strict=True))
    return [Default(case.title, change, ratio_of(times[change], times[""])) for change in sides if change]


def defaults_table(lines: Sequence[Default]) -> Table:
    """One row for each change, one column for each case."""
    cases, changes = (list(dict.fromkeys(getattr(x, name) for x in lines)) for name in ("case", "change"))
    found = {(x.case, x.change): str(x.ratio) for x in lines}
    return Table(("instead", *cases), [(change, *(found.get((c, change), "") for c in cases)) for change in changes])

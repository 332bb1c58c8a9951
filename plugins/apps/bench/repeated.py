"""Lines of a table over several seeds, and of models whose prior was fitted afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from genzoo.core.evaluation.report import Interval, Report, Result
from genzoo.core.math.intervals import mean
from genzoo.core.training.runs import checkpoints, never_checkpointed
from genzoo.plugins.apps.bench.bench_report import Cell
from genzoo.plugins.apps.bench.board import Line
from genzoo.plugins.apps.bench.leaderboard import Contest
from genzoo.registry.verbs.prior import fit_prior

SEEDS = "the mean over seeds of training"  # what intervals over seeds hold


def over_seeds(lines: Sequence[Line]) -> Line:
    """One line of a recipe's trainings by several seeds: means, with Student's interval over them."""
    first, broken = lines[0], [line for line in lines if line.report is None]
    if len(lines) == 1 or broken:
        return broken[0] if broken else first
    reports = [line.report for line in lines if line.report is not None]
    results = []
    for result in reports[0]:
        same = [r for report in reports for r in report if r.metric == result.metric]
        if len(same) == len(reports):
            results.append(_mean(result, same))
    missing = {a.metric: a for report in reports for a in report.absent}
    report = Report(first.recipe, tuple(results), tuple(missing.values()), reports[0].record)
    seconds = sum(line.seconds for line in lines) / len(lines)
    return replace(first, report=report, folder=None, seconds=round(seconds, 1),
                   was_there=all(line.was_there for line in lines))  # fmt: skip


def _mean(result: Result, same: Sequence[Result]) -> Result:
    values = [r.value for r in same]
    found = mean(torch.tensor(values))
    details = {"seeds": values} | {k: v for k, v in result.details.items() if k == "density"}
    interval = Interval(found.low, found.high, how=f"Student's t of {len(same)} seeds", covers=SEEDS)
    return replace(result, value=found.value, interval=interval, details=details, pictures={})


def fitted(contest: Contest, line: Line, prior: str, steps: int) -> Line:
    """The same model with a prior that is fitted to its codes; raises `UsageError` if it has none to fit one to."""
    assert line.folder is not None
    name = f"{line.recipe} + {prior}"
    of = Cell(contest.folder, name, {"first": line.folder.name, "prior": prior, "steps": steps})
    out, found = of.run, of.get()
    assert out is not None  # since the first stage has a folder
    was_there = found is not None
    if not was_there:
        there = out.exists() and bool(checkpoints(out) or never_checkpointed(out))
        run = fit_prior(line.folder, prior, out, steps=steps, resume=there, device=contest.effort.device,
                        threads=contest.effort.threads, progress=False)  # fmt: skip
        if not run.finished:
            raise KeyboardInterrupt
        parameters = sum(p.numel() for p in run.model.parameters())
        found = {"seconds": round(run.seconds, 1), "parameters": parameters}
        of.put(found)
    report = contest.judge(replace(of, name=f"{name} judged"), out, name)
    return Line(name, **found, steps=line.steps, report=report, folder=out, was_there=was_there)

"""Every VAE on equal networks and epochs, and pythae's beside them: ``genzoo bench vaes``."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.report import Interval, Report, Result
from genzoo.core.units import parse_duration
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, folder_for, keep, machine
from genzoo.plugins.apps.bench.board import Board, Line, board_text, side_by_side
from genzoo.plugins.apps.bench.leaderboard import Contest
from genzoo.plugins.apps.bench.nll import PROTOCOL
from genzoo.plugins.apps.bench.repeated import fitted, over_seeds
from genzoo.registry import the_registry
from genzoo.registry.defaults import choose
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize
from genzoo.registry.verbs.load import load_data
from genzoo.registry.verbs.subjects import subset

METRICS = ("log-likelihood", "elbo", "frechet", "psnr", "active-units", "code-use", "linear-probe")
EQUAL = {k: v for k, v in PROTOCOL.items() if k not in ("train.lr", "train.average", "data.binarize")}
BINARY = {"binarize": "static"}
PYTHAE = ("VAE", "IWAE", "CIWAE", "VAMP")  # its models that are what they are called
NOTE = "\\*: networks and codes of its own."
_MOST = 120  # images at a time that a script of pythae's weighs


@dataclass(frozen=True)
class _Entry:
    """A recipe with the options that it is trained by; ``own`` says that its networks are its own."""

    config: Config
    options: Mapping[str, Any]
    own: bool

    @property
    def grey(self) -> bool:
        """Whether its likelihood is a density, whose draws are not binary: samples are not judged then."""
        return "likelihood" in self.config.parts and self.config.parts["likelihood"].name in _DENSITIES


def vaes(
    data: str = "fashion-mnist",
    *,
    epochs: float = 10,
    budget: float | str | None = None,
    recipes: Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    n: int = 1000,
    samples: int = 500,
    seed: int = 0,
    seeds: int = 1,
    steps: int | None = None,
    prior: str | None = None,
    prior_steps: int = 400,
    options: Mapping[str, Any] | None = None,
    pythae: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: str = "auto",
    out: str | os.PathLike[str] | None = "vaes",
    progress: bool = False,
) -> Board:
    """Train recipes with the tag ``vae`` on equal networks, data and epochs, and judge them by one protocol.

    Pixels are binarized, so that likelihoods are probabilities and compare: every recipe that has one takes the data's
    own, but for codes without density, whose error's weight is a part of the recipe; samples of those are grey, and not
    judged. Networks have one hidden layer of 512, codes 16 numbers; where a recipe cannot do with those it has its own,
    and a ``*`` after its name. With several ``seeds`` numbers are means over trainings, and intervals are over them. A
    ``prior`` is fitted to the codes of each once it is trained, in ``prior_steps``, and such models have lines of their
    own. The arguments are the options of ``genzoo bench vaes``; ``pythae`` is a Python in which
    pythae is installed, whose models that are right (`PYTHAE`) are trained and judged on the same. The folder ``out``
    keeps what is done, and gets ``vaes.md`` and ``vaes.json``; None writes nothing.

    Raises:
        UsageError: for an unknown recipe or metric, or if no recipe fits the data.
        GenzooError: if data cannot be read, or pythae cannot be run.
    """
    wanted = [e.name for e in choose(the_registry(), METRICS if metrics is None else metrics)[0]]
    _check(seeds, prior, out, pythae)
    train, test = (load_data(data, split=split, options=BINARY) for split in ("train", "test"))
    entries, left_out = _entries(test, recipes, options or {})
    of_samples = [m for m in wanted if "samples" in the_registry().get("metric", m).data["needs"]]
    seconds = parse_duration(budget) if budget is not None and steps is None else None
    if steps is None and seconds is None:
        batch = next(iter(entries.values())).config.train.batch_size
        steps = max(math.ceil(epochs * len(train) / batch), 1)
    effort = Effort(seconds, steps, threads, device)
    weighed = {f"{metric}.{k}": v for metric in ("log-likelihood", "elbo") if metric in wanted
               for k, v in (("samples", samples), ("limit", n))}  # fmt: skip
    how = {"n": n, "seed": seed, "device": device, "extractor": None, "noise": True, "options": weighed}
    contest = Contest(data, test, effort, {}, wanted, how, folder_for(out), BINARY)
    lines = []
    with tqdm(entries.items(), unit="recipe", disable=not progress) as bar:
        for name, entry in bar:
            judged = [m for m in wanted if m not in of_samples] if entry.grey else wanted
            own = replace(contest, options=entry.options, metrics=judged)
            turns = [replace(own, how={**how, "seed": s}) for s in range(seed, seed + seeds)]
            found = [turn.line(name, entry.config, bar) for turn in turns]
            lines.append(_named(over_seeds(found), entry))
            if prior is not None and not entry.grey and all(line.report for line in found):
                bar.set_description_str(f"{name}: fitting a prior")
                try:
                    second = [fitted(turn, line, prior, prior_steps) for turn, line in zip(turns, found, strict=True)]
                except UsageError as e:
                    left_out[f"{name} + {prior}"] = str(e)
                else:
                    lines.append(_named(over_seeds(second), entry))
    lines += _pythaes(contest, pythae, train, samples, lines) if pythae else []
    if any("log-likelihood" in (line.report or ()) for line in lines):
        by, best_first = "log-likelihood", enumerate(sorted(lines, key=_rank), 1)
        ranked = tuple(replace(v, place=i if "log-likelihood" in (v.report or ()) else None) for i, v in best_first)
    else:
        by, ranked = contest.ranked(lines)
    board = Board(data, effort, ranked, contest.real(), left_out, side_by_side(ranked), by)
    if contest.folder is not None:
        notes = [NOTE] * any(entry.own for entry in entries.values()) + [f"Means over {seeds} seeds."] * (seeds > 1)
        text = "\n\n".join([board_text(board).rstrip(), *notes])
        keep(contest.folder, "vaes", board.to_dict(), text, machine(device, threads))
    return board


def _named(line: Line, entry: _Entry) -> Line:
    return replace(line, recipe=f"{line.recipe} *") if entry.own else line


def _check(seeds: int, prior: str | None, out: Any, pythae: Any) -> None:
    """Refuse what does not go together before anything is trained."""
    if seeds < 1:
        raise UsageError(f"seeds are a whole number of at least 1, not {seeds}")
    if seeds > 1 and pythae is not None:
        raise UsageError("pythae's models are trained by one seed: leave out --seeds, or --pythae")
    if prior is not None:
        the_registry().get("prior", prior)
        if out is None:
            raise UsageError("a prior is fitted to weights in a folder: say which by out")


def _entries(
    test: Data, recipes: Sequence[str] | None, options: Mapping[str, Any]
) -> tuple[dict[str, _Entry], dict[str, str]]:
    """Recipes with their options, and those that do not fit, with the reason."""
    registry = the_registry()
    every = [e.name for e in registry.entries("recipe") if "vae" in e.tags and "conditional" not in e.tags]
    fit, left_out = dict[str, _Entry](), dict[str, str]()
    for name in dict.fromkeys(recipes or every):
        why = ""
        for own in (False, True):
            given = ({} if own else EQUAL) | {"train.batch_size": 100, "data.binarize": "static", **options}
            try:
                parts = compose(registry, test.spec, name, _composed(given)).parts
                if "likelihood" in parts and "likelihood" not in given and parts["likelihood"].name in _DENSITIES:
                    point = "posterior" in parts and parts["posterior"].name == "point"
                    given |= {} if point else {"likelihood": "bernoulli"}
                config = compose(registry, test.spec, name, _composed(given))
                initialize(config, 0)  # parts may refuse each other only now
            except UsageError as e:
                why = why or str(e)
                continue
            fit[name] = _Entry(config, given, own)
            break
        else:
            if recipes:
                raise UsageError(why)
            left_out[name] = why
    if not fit:
        raise UsageError(f"no recipe fits {test.name}: {'; '.join(left_out.values())}")
    return fit, left_out


_DENSITIES = ("gaussian", "laplace", "student-t", "log-cosh", "continuous-bernoulli")


def _composed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is about the data."""
    return {k: v for k, v in given.items() if not k.startswith("data.")}


def _rank(line: Line) -> tuple[int, float, str]:
    """By likelihood where there is one, then by distance of samples, then the rest."""
    found = {r.metric: r.value for r in line.report or ()}
    for place, (metric, sign) in enumerate((("log-likelihood", -1), ("frechet", 1))):
        if metric in found:
            return place, sign * found[metric], line.recipe
    return 2, 0.0, line.recipe


def _pythaes(
    contest: Contest, python: str | os.PathLike[str], train: Data, k: int, lines: Sequence[Line]
) -> list[Line]:
    """Train and judge pythae's models in an interpreter of the user's: its likelihoods in the place of ours."""
    ours = {r.metric: r for line in lines for r in line.report or () if r.metric in ("log-likelihood", "elbo")}
    script, found = Path(__file__).with_name("pythae_models.py"), []
    steps, seed = contest.effort.steps, contest.how["seed"]
    asked = {"seed": seed, "steps": steps, "seconds": contest.effort.seconds, "k": k, "n": contest.how["n"],
             "threads": contest.effort.threads, "width": EQUAL["generator.width"], "latent": EQUAL["latent.size"],
             "batch": 100, "most": _MOST}  # fmt: skip
    seen = subset(contest.test, contest.how["n"])  # the images that ours are judged by
    for model in PYTHAE:
        name = f"pythae {model}"
        cell = Cell(contest.folder, name, {**asked, "data": contest.data, "model": model, "test": seen.fingerprint()})
        kept = cell.get()
        was_there = kept is not None
        if not was_there:
            with tempfile.TemporaryDirectory() as folder:
                for part, split in (("train", train), ("test", seen)):
                    np.save(Path(folder) / f"{part}.npy", _unit(split))
                command = [os.fspath(python), "-I", os.fspath(script), folder, json.dumps({**asked, "model": model})]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                    raise GenzooError(f"pythae's {model} cannot be run by {python}: {why}")
                kept = json.loads(done.stdout.strip().splitlines()[-1])
                samples = np.load(Path(folder) / "samples.npy", allow_pickle=False)
                report = contest.judge(replace(cell, name=f"{name} judged"), samples, name)
            kept |= {"report": report.to_dict()}
            cell.put(kept)
        report = Report.from_dict(kept["report"])
        more = [_result(ours[m], kept[m], kept[f"{m} error"], len(contest.test)) for m in ours]
        report = replace(report, results=(*more, *report.results))
        found.append(Line(name, kept["seconds"], kept["steps"], kept["parameters"], report, was_there=was_there))
    return found


def _unit(data: Data) -> Any:
    """Pixels 0 and 1, ``(N, C, H, W)``, as bytes."""
    x = np.asarray(data.x)
    return (x > x.max() / 2).astype(np.uint8)


def _result(like: Result, value: float, error: float, n: int) -> Result:
    """A number of pythae's where ours was measured alike: the same images, samples and estimator."""
    interval = Interval(value - 1.96 * error, value + 1.96 * error, 0.95, "normal", like.interval.covers)
    return replace(like, value=value, interval=interval, details={}, pictures={})

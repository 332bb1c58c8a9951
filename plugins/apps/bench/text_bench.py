"""GANs of texts beside the curve of a language model over temperatures: ``genzoo bench text``."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tqdm import tqdm

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import LogLikelihood
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.storage.files import write_json
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, folder_for, train_for
from genzoo.plugins.metrics.character_model import CharacterModel
from genzoo.plugins.metrics.text_samples import bleu
from genzoo.plugins.metrics.texts import distinct
from genzoo.registry import the_registry
from genzoo.registry.verbs.load import load, load_data

GANS = ("gumbel-gan", "reinforce-gan")
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
Row = dict[str, Any]


def measured(name: str, made: Sequence[str], judge: CharacterModel, held: Sequence[str]) -> Row:
    """Quality by the judge of training data, diversity by one of the samples, and what loops; lower is better."""
    different, runs = distinct(made, 2)
    alike = bleu([line.split() for line in made[:300]], 4)
    reverse = CharacterModel(made, judge.n).per_character(held)
    return {"what": name, "forward": judge.per_character(made).value, "reverse": reverse.value,
            "reverse within": (reverse.high - reverse.low) / 2, "self-bleu": sum(alike) / len(alike),
            "distinct-2": different / max(runs, 1)}  # fmt: skip


def texts(
    data: Any = "kjv-mini",
    *,
    steps: int = 300,
    gan_steps: int | None = None,
    recipes: Sequence[str] = GANS,
    temperatures: Sequence[float] = TEMPERATURES,
    n: int = 1000,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> list[Row]:
    """Train `lm`, then each GAN as many steps (or ``gan_steps``) from where it stands, and measure all alike.

    ``options`` are of every recipe, those that begin with ``data.`` of the data. The folder ``out`` keeps the numbers
    and every run: a killed call that is made again goes on.

    Returns:
        A row for real texts (``forward`` of those that are held out, the rest of as many of training), texts drawn by
        pairs of characters, and texts of shuffled characters, for the model at each temperature, and for each GAN:
        ``nll`` (nats per character of held-out texts), ``forward`` and ``reverse`` by a model of 5 characters
        (``reverse within`` is half its interval of 95 %), ``self-bleu``, ``distinct-2``, ``seconds`` of training, and
        of a GAN ``wins``: whether it lies below the curve, better in forward and in reverse than every temperature
        is in both.
    """
    if len(set(temperatures)) < 2 or 1 not in temperatures:
        raise UsageError("GANs of texts stand beside the curve of a language model: it needs a temperature of 1 and "
                         "another")  # fmt: skip
    for recipe in recipes:
        the_registry().get("recipe", recipe)
    of_data = {k.removeprefix("data."): v for k, v in (options or {}).items() if k.startswith("data.")}
    train, test = (load_data(data, split=split, options=of_data or None) for split in ("train", "test"))
    kind = of(train.spec)
    if "alphabet" not in train.spec.facts:
        raise UsageError(f"this benchmark is of texts, and {data} holds {kind.many}: --data kjv-mini, or a .txt file")
    known, held = (kind.lines(d.spec, d.x[: 10 * n]) for d in (train, test))
    held = held[:n]
    if min(len(known), len(held)) < 2:
        raise UsageError(f"{data} has {len(known)} texts to learn from and {len(held)} held out: at least 2 are needed")
    judge = CharacterModel(known, 5)
    common = {"data": str(train.fingerprint()), "seed": seed, "n": n, "options": dict(options or {})}
    with TemporaryDirectory() as temporary, tqdm(total=1 + len(recipes), unit="model", disable=not progress) as bar:
        folder = folder_for(out)
        place = folder or Path(temporary)

        def kept(name: str, make: Callable[[], Any], **more: Any) -> Any:
            """What an earlier call found, or what is found now."""
            cell = Cell(place, name, common | more)
            if (found := cell.get()) is None:
                cell.put(found := make())
            return found

        def trained(recipe: str, effort: Effort, init: Path | None = None) -> tuple[Path, float]:
            """The run of a recipe, and how many seconds it took; goes on where an earlier call was stopped."""
            more = {"steps": effort.steps, "init": None if init is None else init.name}
            cell = Cell(place, recipe, common | more)
            assert cell.run is not None

            def train() -> float:
                tell = effort.on(bar, recipe)
                run = train_for(recipe, data, effort, seed=seed, options=options, folder=cell.run, init=init, tell=tell)
                return round(run.seconds, 1)

            seconds = kept(recipe, train, **more)
            bar.update()
            return cell.run, seconds

        def baselines() -> list[Row]:
            rng, pairs, longest = random.Random(seed), CharacterModel(known, 2), max(map(len, held))
            made = {"pairs of characters": [pairs.sample(rng, longest) for _ in held]}
            made["shuffled characters"] = ["".join(rng.sample(t, len(t))) for t in held]
            # The judge knows the texts of training, so that those that are held out say how likely real ones are to it.
            real = measured("real texts", known[:n], judge, held) | {"forward": judge.per_character(held).value}
            return [real, *(measured(name, lines, judge, held) for name, lines in made.items())]

        def samples(name: str, run: Path, nll: bool, **how: Any) -> Row:
            bar.set_description_str(f"{name}: measuring")
            model = load(run)
            row = measured(name, model.sample(n, seed=seed, **how), judge, held)
            return row | ({"nll": _nll(model, held)} if nll else {})

        rows: list[Row] = kept("baselines", baselines, forward="of held-out texts")
        base, took = trained("lm", Effort(steps=steps))
        for t in temperatures:
            name = f"lm, temperature {t:g}"
            make = partial(samples, name, base, t == 1, temperature=t)
            rows.append(kept(name, make, run=base.name) | {"seconds": took})
        curve = rows[3:]
        for recipe in recipes:
            run, seconds = trained(recipe, Effort(steps=gan_steps or steps), base)
            name = f"lm, then {recipe}"
            row = kept(name, partial(samples, name, run, True), run=run.name)
            rows.append(row | {"seconds": round(took + seconds, 1), "wins": below(curve, row)})
        if folder is not None:
            about = {"data": str(data), "steps": steps, "gan_steps": gan_steps or steps, "n": n, "seed": seed}
            write_json(folder / "text.json", about | {"rows": rows})
    return rows


def below(curve: Sequence[Mapping[str, float]], row: Mapping[str, float]) -> bool:
    """Whether a model's reverse-lm is less than the curve's at its forward-lm, by more than what it is known within.

    Not where the curve does not reach.
    """
    points = sorted((c["forward"], c["reverse"]) for c in curve)
    inside = points[0][0] <= row["forward"] <= points[-1][0]
    forward, reverse = zip(*points, strict=True)
    return bool(inside and row["reverse"] + row["reverse within"] < np.interp(row["forward"], forward, reverse))


def _nll(model: Model, held: Sequence[str]) -> float:
    found: LogLikelihood = model.log_likelihood(list(held))
    return found.nats_per_unit

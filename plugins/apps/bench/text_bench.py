"""GANs of texts beside the curve of a language model over temperatures: ``genzoo bench text``."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import LogLikelihood
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.storage.files import write_json
from genzoo.plugins.metrics.character_model import CharacterModel
from genzoo.plugins.metrics.text_samples import bleu
from genzoo.plugins.metrics.texts import distinct
from genzoo.registry.verbs.fit import fit
from genzoo.registry.verbs.load import load_data

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

    ``options`` are of every recipe, those that begin with ``data.`` of the data.

    Returns:
        A row for held-out texts, texts drawn by pairs of characters, and texts of shuffled characters, for the model at
        each temperature, and for each GAN: ``nll`` (nats per character of held-out texts), ``forward`` and ``reverse``
        by a model of 5 characters (``reverse within`` is half its interval of 95 %), ``self-bleu``, ``distinct-2``,
        ``seconds`` of training, and of a GAN ``wins``: whether it lies below the curve,
        better in forward and in reverse than every temperature is in both.
    """
    if len(set(temperatures)) < 2 or 1 not in temperatures:
        raise UsageError("GANs of texts stand beside the curve of a language model: it needs a temperature of 1 and "
                         "another")  # fmt: skip
    of_data = {k.removeprefix("data."): v for k, v in (options or {}).items() if k.startswith("data.")}
    train, test = (load_data(data, split=split, options=of_data or None) for split in ("train", "test"))
    kind = of(train.spec)
    if "alphabet" not in train.spec.facts:
        raise UsageError(f"this benchmark is of texts, and {data} holds {kind.many}: --data kjv-mini, or a .txt file")
    known, held = (kind.lines(d.spec, d.x[: 10 * n]) for d in (train, test))
    held = held[:n]
    judge, rng = CharacterModel(known, 5), random.Random(seed)
    rows = [measured("held-out texts", held, judge, known[:n])]
    pairs, longest = CharacterModel(known, 2), max(map(len, held))
    rows += [measured("pairs of characters", [pairs.sample(rng, longest) for _ in held], judge, held)]
    rows += [measured("shuffled characters", ["".join(rng.sample(t, len(t))) for t in held], judge, held)]
    with TemporaryDirectory() as place:
        base = Path(place, "lm")
        plain = _trained("lm", data, steps, seed, options, None, progress)
        plain[0].save(base)
        for t in temperatures:
            made = plain[0].sample(n, seed=seed, temperature=t)
            rows.append(measured(f"lm, temperature {t:g}", made, judge, held) | {"seconds": plain[1]})
            if t == 1:
                rows[-1]["nll"] = _nll(plain[0], held)
        curve = rows[3:]
        for recipe in recipes:
            model, seconds = _trained(recipe, data, gan_steps or steps, seed, options, base, progress)
            row = measured(f"lm, then {recipe}", model.sample(n, seed=seed), judge, held)
            wins = below(curve, row)
            rows.append(row | {"seconds": plain[1] + seconds, "nll": _nll(model, held), "wins": wins})
    if out is not None:
        folder = Path(out).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "text.json", {"data": str(data), "steps": steps, "gan_steps": gan_steps or steps, "n": n,
                                         "seed": seed, "rows": rows})  # fmt: skip
    return rows


def below(curve: Sequence[Mapping[str, float]], row: Mapping[str, float]) -> bool:
    """Whether a model's reverse-lm is less than the curve's at its forward-lm, by more than what it is known within.

    Not where the curve does not reach.
    """
    points = sorted((c["forward"], c["reverse"]) for c in curve)
    inside = points[0][0] <= row["forward"] <= points[-1][0]
    forward, reverse = zip(*points, strict=True)
    return bool(inside and row["reverse"] + row["reverse within"] < np.interp(row["forward"], forward, reverse))


def _trained(
    recipe: str, data: Any, steps: int, seed: int, options: Any, init: Path | None, progress: bool
) -> tuple[Model, float]:
    begun = time.process_time()
    run = fit(recipe, data, steps=steps, seed=seed, options=options, init=init, progress=progress)
    if not run.finished:
        raise KeyboardInterrupt
    return run.model, time.process_time() - begun


def _nll(model: Model, held: Sequence[str]) -> float:
    found: LogLikelihood = model.log_likelihood(list(held))
    return found.nats_per_unit

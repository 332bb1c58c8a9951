"""What each metric sees and what it is blind to, on real pictures: ``genzoo bench sensitivity``."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from genzoo.core.data import Data
from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.evaluation.report import plain
from genzoo.core.modality import Spoil, every, of
from genzoo.core.noise import generator
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.bench.bench_report import Cell, Table, folder_for, keep, machine
from genzoo.registry import the_registry
from genzoo.registry.defaults import choose
from genzoo.registry.verbs.evaluate import evaluate
from genzoo.registry.verbs.load import load_data

Degree = Literal["slight", "heavy"]
Verdict = Literal["sees", "sees heavy", "blind", "fooled"]
Damaged = tuple[Tensor, Tensor]  # rows as stored ``(N, …)`` and labels ``(N,)``
Spoiling = Callable[[Data, Data, int, Degree, torch.Generator], Damaged]
SIGNS: Mapping[Verdict, str] = {"sees": "✓", "sees heavy": "(✓)", "blind": "–", "fooled": "✗"}

METRICS = (  # what is judged where nobody says otherwise: all that judge samples of labelled pictures
    *("frechet", "kid", "mmd", "sliced-wasserstein", "c2st", "classifier-score", "precision", "recall", "density"),
    *("coverage", "classes", "class-kl", "conditional-accuracy", "memorization", "duplicates", "ms-ssim", "diversity"),
)


@dataclass(frozen=True)
class Damage:
    """A way to spoil real pictures: the two degrees in words, and what makes them.

    ``apply`` takes the pictures to spoil, the training data, how many, the degree and what draws.
    """

    title: str
    what: str
    apply: Spoiling


def _pictures(pool: Data, index: Tensor) -> Damaged:
    assert pool.y is not None
    return pool.x[index], pool.y[index]


def _clean(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    return _pictures(pool, torch.randperm(len(pool), generator=random)[:n])


def _dropped(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    assert pool.y is not None
    classes = pool.spec.classes
    gone = max(classes // 5, 1) if degree == "slight" else max(6 * classes // 10, 2)
    kept = torch.randperm(classes, generator=random)[gone:]
    members = torch.isin(pool.y, kept).nonzero().flatten()
    return _pictures(pool, members[torch.randperm(len(members), generator=random)[:n]])


def _repeated(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    times = 4 if degree == "slight" else 25
    few = torch.randperm(len(pool), generator=random)[: math.ceil(n / times)]
    return _pictures(pool, few.repeat(times)[:n])


def _copied(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    (x, y), share = _clean(pool, training, n, degree, random), 0.2 if degree == "slight" else 0.8
    stolen, labels = _clean(training, training, round(share * n), degree, random)
    return torch.cat([stolen, x[len(stolen) :]]), torch.cat([labels, y[len(stolen) :]])


def _mislabelled(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    x, y = _clean(pool, training, n, degree, random)
    wrong = round((0.2 if degree == "slight" else 0.8) * n)
    shift = torch.randint(1, pool.spec.classes, (wrong,), generator=random)
    return x, torch.cat([(y[:wrong] + shift) % pool.spec.classes, y[wrong:]])


def _spoilt(spoil: Spoil, pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    x, y = _clean(pool, training, n, degree, random)
    return spoil(x, degree, random), y


DAMAGES: Mapping[str, Damage] = {  # the modalities' own, and those of any data with labels
    **{name: Damage(d.title, d.what, partial(_spoilt, d.spoil)) for m in every() for name, d in m.damages().items()},
    "dropped": Damage("dropped classes", "2 and 6 of 10 classes missing", _dropped),
    "repeated": Damage("duplicates", "every picture 4 and 25 times", _repeated),
    "copies": Damage("training copies", "20 % and 80 % of the pictures out of the training data", _copied),
    "labels": Damage("wrong labels", "20 % and 80 % of the labels that were asked for are others", _mislabelled),
}


@dataclass(frozen=True)
class Sensed:
    """One metric under one damage.

    Attributes:
        clean: its value on real pictures, by seed; ``slight`` and ``heavy`` likewise, of damaged ones.
        worse: 1 if a higher value is worse, −1 if a lower one is, 0 if any that is not the data's own is.
    """

    metric: str
    damage: str
    clean: tuple[float, ...]
    slight: tuple[float, ...]
    heavy: tuple[float, ...]
    worse: int

    @property
    def verdict(self) -> Verdict:
        """``sees`` if every damaged set is worse than every clean one, and heavy than slight, with whatever seed.

        ``sees heavy`` if that is so of heavy damage only; ``fooled`` if heavy damage makes it better with every seed;
        else ``blind``. A metric without a direction sees what moves it one way, whichever.
        """
        worse = self.worse or (1 if sum(self.heavy) * len(self.clean) > sum(self.clean) * len(self.heavy) else -1)
        clean, slight, heavy = ([worse * v for v in part] for part in (self.clean, self.slight, self.heavy))
        if max(clean) < min(slight) and max(slight) < min(heavy):
            return "sees"
        if max(clean) < min(heavy):
            return "sees heavy"
        return "fooled" if max(heavy) < min(clean) else "blind"

    def text(self) -> str:
        """The verdict with the means."""
        means = [sum(part) / len(part) for part in (self.clean, self.slight, self.heavy)]
        return f"{SIGNS[self.verdict]} {' → '.join(f'{m:.3g}' for m in means)}"


@dataclass(frozen=True)
class Sensitivity:
    """What was found: every metric under every damage, of ``n`` pictures in each set and ``seeds`` draws of each.

    ``absent`` holds metrics that could not be measured, with the reason.
    """

    data: str
    n: int
    seeds: int
    lines: tuple[Sensed, ...]
    absent: Mapping[str, str] = field(default_factory=dict)

    def sees(self) -> dict[str, tuple[str, ...]]:
        """The damages that each metric orders."""
        found: dict[str, tuple[str, ...]] = {line.metric: () for line in self.lines}
        for line in self.lines:
            if line.verdict == "sees":
                found[line.metric] += (line.damage,)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        about = {"data": self.data, "n": self.n, "seeds": self.seeds, "sees": self.sees()}
        lines = [plain({**asdict(line), "verdict": line.verdict}) for line in self.lines]
        return {**about, "lines": lines, "absent": dict(self.absent)}


def damages_for(spec: DataSpec) -> tuple[str, ...]:
    """Names of the damages that observations of this kind can have: those of its modality, and those of any data."""
    others = {n for m in every() if m is not of(spec) for n in m.damages()} - set(of(spec).damages())
    return tuple(d for d in DAMAGES if d not in others)


def sensitivity(
    data: str = "fashion-mini",
    *,
    metrics: str | Sequence[str] | None = None,
    damages: Sequence[str] | None = None,
    n: int = 500,
    seeds: int = 3,
    extractor: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Sensitivity:
    """Judge real pictures, spoilt ones, and very spoilt ones, by every metric that judges samples.

    The pictures that are spoilt are half of the train split; the other half is what metrics are told to be the
    training data; the reference is the test split. So nothing that is clean was seen before.

    The arguments are the options of ``genzoo bench sensitivity``: ``metrics`` are `METRICS` by default, ``damages``
    keys of `DAMAGES`. The folder ``out`` gets ``sensitivity.md`` and ``sensitivity.json``, and what is done so far: a
    killed call that is made again goes on. None writes nothing.

    Raises:
        UsageError: for an unknown damage or metric, for data without labels, and for more pictures than there are.
    """
    for name in damages or ():
        if name not in DAMAGES:
            raise UsageError(
                f"there is no damage {name!r}{did_you_mean(name, DAMAGES)}: there are {', '.join(DAMAGES)}"
            )
    entries = choose(the_registry(), METRICS if metrics is None else metrics)[0]
    names = [e.name for e in entries]
    whole, test = load_data(data, split="train"), load_data(data, split="test")
    known = damages_for(whole.spec)
    damages = known if damages is None else damages
    if whole.y is None or not set(damages) <= set(known):
        raise UsageError(f"sensitivity is measured on labelled data, spoilt in its own ways, and {data} is other data")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    pool, training = whole.take(order[: len(whole) // 2]), whole.take(order[len(whole) // 2 :])
    if not 2 <= n <= len(pool) // 4:
        raise UsageError(f"n is from 2 to {len(pool) // 4}, a quarter of the pictures that are spoilt, not {n}")
    folder, fingerprint = folder_for(out), whole.fingerprint()
    where = None if extractor is None else os.fspath(extractor)
    with_resamples = [e.name for e in entries if any(o.name == "resamples" for o in the_registry().options(e))]
    options = {f"{name}.resamples": 0 for name in with_resamples}
    values: dict[tuple[str, str, int], dict[str, float]] = {}
    absent: dict[str, str] = {}
    damaged: list[tuple[str, Degree]] = [(d, degree) for d in damages for degree in ("slight", "heavy")]
    sets: list[tuple[str, Degree | None, int]] = [("clean", None, seed) for seed in range(seeds)]
    sets += [(name, degree, seed) for name, degree in damaged for seed in range(seeds)]
    with tqdm(sets, unit="set", disable=not progress) as bar:
        for name, degree, seed in bar:
            title = f"{degree or ''} {name}".strip()
            bar.set_description(title)
            settings = {
                "data": fingerprint, "metrics": names, "damage": name, "degree": degree, "seed": seed, "n": n,
                "extractor": where, "what": DAMAGES[name].what if degree else "",
            }  # fmt: skip
            cell = Cell(folder, f"{title} {seed}", settings)
            found = cell.get()
            if found is None:
                apply: Spoiling = DAMAGES[name].apply if degree else _clean
                samples = apply(pool, training, n, degree or "slight", generator(seed, 0x5E))
                report = evaluate(samples, test, names, n=n, training=training, extractor=extractor, options=options,
                                  device="cpu", strict=False)  # fmt: skip
                numbers = {r.metric: plain(r.value) for r in report if not math.isnan(r.value)}
                found = {"values": numbers, "absent": {a.metric: a.reason for a in report.absent}}
                cell.put(found)
            values[name, degree or "", seed] = {k: float(v) for k, v in found["values"].items()}
            absent |= found["absent"]
    lines = []
    for entry in entries:
        worse = {"lower": 1, "higher": -1}.get(entry.data["direction"], 0)
        for damage in damages:
            keys = (("clean", ""), (damage, "slight"), (damage, "heavy"))
            try:
                clean, slight, heavy = (tuple(values[d, g, seed][entry.name] for seed in range(seeds)) for d, g in keys)
            except KeyError:  # absent
                continue
            lines.append(Sensed(entry.name, damage, clean, slight, heavy, worse))
    result = Sensitivity(data, n, seeds, tuple(lines), absent)
    keep(folder, "sensitivity", result.to_dict(), sensitivity_text(result), machine())
    return result


def sensitivity_table(found: Sensitivity) -> Table:
    """A row a metric, a column a damage."""
    by_metric: dict[str, dict[str, str]] = {}
    for line in found.lines:
        by_metric.setdefault(line.metric, {})[line.damage] = line.text()
    damages = list(dict.fromkeys(line.damage for line in found.lines))
    header = ("metric", *(DAMAGES[d].title for d in damages))
    return Table(header, [(m, *(row.get(d, "") for d in damages)) for m, row in by_metric.items()])


_HOW = """# What the metrics see, and what they are blind to

```console
$ genzoo bench sensitivity --data {data}{options}
```

Real pictures of `{data}` are spoilt to two degrees and judged like samples of a model: {n} in each set, {seeds} draws
of each. Pictures that are spoilt, training data and reference have none in common. The damages:

{damages}

Each cell has the metric's mean on clean → slightly → heavily damaged pictures. **✓**: every draw in order, clean better
than slight better than heavy, no two sets overlapping. **(✓)**: sure of heavy damage only. **–**: blind. **✗**: fooled,
heavy damage *improves* it. A metric without a direction sees what moves it one way. What judges a model rather than its
samples (likelihood, reconstruction, representation, disentanglement), and what needs modes that are known, is not here.
"""


def sensitivity_text(found: Sensitivity) -> str:
    """The page in Markdown: the table, and each metric's blind spots in words."""
    words = "\n".join(f"- {DAMAGES[d].title}: {DAMAGES[d].what}" for d in dict.fromkeys(x.damage for x in found.lines))
    options = "" if (found.n, found.seeds) == (500, 3) else f" -n {found.n} --seeds {found.seeds}"
    how = _HOW.format(data=found.data, n=found.n, seeds=found.seeds, damages=words, options=options)
    parts = [how, sensitivity_table(found).markdown(), "", "## Blind spots", ""]
    said: Mapping[Verdict, str] = {
        "blind": "is blind to {}",
        "fooled": "is fooled by {}",
        "sees heavy": "notices {} only when heavy",
    }
    for metric in found.sees():
        of_metric = [line for line in found.lines if line.metric == metric]
        by = {v: [DAMAGES[x.damage].title for x in of_metric if x.verdict == v] for v in said}
        spots = [sentence.format(_listed(by[v])) for v, sentence in said.items() if by[v]]
        parts.append(f"- `{metric}` {'; '.join(spots) or 'orders all of these'}.")
    if found.absent:
        parts += ["", "Not measured here: " + "; ".join(f"`{m}` ({why})" for m, why in found.absent.items()) + "."]
    return "\n".join(parts) + "\n"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

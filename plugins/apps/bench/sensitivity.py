"""What each metric sees and what it is blind to, on real pictures: ``genzoo bench sensitivity``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.modality import every, of
from genzoo.core.noise import generator
from genzoo.core.storage.files import write_bytes, write_json
from genzoo.plugins.apps.bench.bench_report import Table, folder_for, machine_named, sentence
from genzoo.plugins.apps.bench.cells import Cell, Cells
from genzoo.plugins.apps.bench.damages import DAMAGES, Damaged, Degree, clean
from genzoo.registry import the_registry
from genzoo.registry.defaults import choose
from genzoo.registry.verbs.evaluate import evaluate
from genzoo.registry.verbs.load import load_data

Verdict = Literal["sees", "sees heavy", "blind", "fooled"]

# What is claimed, for anybody's tests: on these the metric orders clean, slight, heavy, with every seed.
_FEATURES = ("blur", "noise", "dropped", "repeated")
CLAIMS: dict[str, tuple[str, ...]] = {
    "frechet": _FEATURES,
    "kid": _FEATURES,
    "mmd": _FEATURES,
    "sliced-wasserstein": _FEATURES,
    "c2st": ("blur", "noise", "repeated"),
    "classifier-score": ("blur", "noise", "dropped"),
    "precision": ("blur", "noise"),
    "recall": ("blur", "noise", "repeated"),
    "density": ("blur", "noise"),
    "coverage": _FEATURES,
    "classes": ("dropped",),
    "class-kl": _FEATURES,
    "conditional-accuracy": ("blur", "noise", "labels"),
    "memorization": ("copies",),
    "duplicates": ("repeated",),
    "ms-ssim": ("blur", "labels"),
    "diversity": ("blur", "noise", "repeated", "labels"),
}
METRICS = tuple(CLAIMS)  # what is judged where nobody says otherwise: all that judge samples of labelled pictures


@dataclass(frozen=True)
class Sensed:
    """One metric under one damage.

    Attributes:
        metric: its name.
        damage: key of `DAMAGES`.
        clean: its value on real pictures, by seed.
        slight: of the same number, slightly damaged.
        heavy: heavily.
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
        sign = {"sees": "✓", "sees heavy": "(✓)", "blind": "–", "fooled": "✗"}[self.verdict]
        return f"{sign} {' → '.join(f'{m:.3g}' for m in means)}"


@dataclass(frozen=True)
class Sensitivity:
    """What was found.

    Attributes:
        data: name of the data set.
        n: pictures in each set.
        seeds: draws of each.
        lines: every metric under every damage.
        absent: metrics that could not be measured, with the reason.
    """

    data: str
    n: int
    seeds: int
    lines: tuple[Sensed, ...]
    absent: Mapping[str, str] = field(default_factory=dict)

    def sees(self) -> dict[str, tuple[str, ...]]:
        """The damages that each metric orders, as `CLAIMS` has them."""
        found: dict[str, tuple[str, ...]] = {line.metric: () for line in self.lines}
        for line in self.lines:
            if line.verdict == "sees":
                found[line.metric] += (line.damage,)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        lines = []
        for line in self.lines:
            values = {k: [_plain(v) for v in getattr(line, k)] for k in ("clean", "slight", "heavy")}
            lines.append({**asdict(line), **values, "verdict": line.verdict})
        about = {"data": self.data, "n": self.n, "seeds": self.seeds, "sees": self.sees()}
        return {**about, "lines": lines, "absent": dict(self.absent)}


def sensitivity(
    data: str = "fashion-mini",
    *,
    metrics: str | Sequence[str] | None = None,
    damages: Sequence[str] = tuple(DAMAGES),
    n: int = 500,
    seeds: int = 3,
    extractor: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Sensitivity:
    """Judge real pictures, spoilt ones, and very spoilt ones, by every metric that judges samples.

    The pictures that are spoilt are half of the train split; the other half is what metrics are told to be the
    training data; the reference is the test split. So nothing that is clean was seen before.

    Args:
        data: name of a data set of labelled 8-bit images.
        metrics: names or tags as for `genzoo.evaluate`; None takes `METRICS`.
        damages: keys of `DAMAGES`.
        n: pictures in each set.
        seeds: draws of each set.
        extractor: as for `genzoo.evaluate`.
        out: folder for ``sensitivity.md`` and ``sensitivity.json``, and for what is done so far: a killed call that is
            made again goes on. None writes nothing.
        progress: show a bar on stderr.

    Raises:
        UsageError: for an unknown damage or metric, for data without labels, and for more pictures than there are.
    """
    for name in damages:
        if name not in DAMAGES:
            raise UsageError(
                f"there is no damage {name!r}{did_you_mean(name, DAMAGES)}: there are {', '.join(DAMAGES)}"
            )
    chosen = metrics if metrics is not None else METRICS
    entries = choose(the_registry(), chosen)[0]
    whole, test = load_data(data, split="train"), load_data(data, split="test")
    others = {n for m in every() if m is not of(whole.spec) for n in m.damages()} - set(of(whole.spec).damages())
    if whole.y is None or set(damages) & others:
        raise UsageError(f"sensitivity is measured on labelled data, spoilt in its own ways, and {data} is other data")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    pool, training = whole.take(order[: len(whole) // 2]), whole.take(order[len(whole) // 2 :])
    if not 2 <= n <= len(pool) // 4:
        raise UsageError(f"n is from 2 to {len(pool) // 4}, a quarter of the pictures that are spoilt, not {n}")
    folder, cells = folder_for(out), Cells(folder_for(out))
    values: dict[tuple[str, Degree | None, int], dict[str, float]] = {}
    absent: dict[str, str] = {}
    sets = [("clean", None, s) for s in range(seeds)]
    sets += [(d, g, s) for d in damages for g in ("slight", "heavy") for s in range(seeds)]  # type: ignore[misc]
    with tqdm(sets, unit="set", disable=not progress) as bar:
        for name, degree, seed in bar:
            bar.set_description(f"{degree or ''} {name}".strip())
            settings = {
                "data": whole.fingerprint(), "metrics": [e.name for e in entries], "damage": name, "degree": degree,
                "seed": seed, "n": n, "extractor": None if extractor is None else os.fspath(extractor),
                "what": DAMAGES[name].what if name in DAMAGES else "",
            }  # fmt: skip
            cell = Cell(f"{degree or ''} {name} {seed}", settings)
            found = cells.get(cell)
            if found is None:
                random = generator(seed, 0x5E)
                apply = DAMAGES[name].apply if name in DAMAGES else clean
                x, y = apply(pool, training, n, degree or "slight", random)
                found = _judged((x, y), test, training, entries, extractor, n)
                cells.put(cell, found)
            values[name, degree, seed] = {k: float(v) for k, v in found["values"].items()}
            absent |= found["absent"]
    result = Sensitivity(data, n, seeds, tuple(_lines(values, entries, damages, seeds)), absent)
    if folder is not None:
        write_sensitivity(folder, result, machine_named("cpu"))
    return result


def _judged(
    samples: Damaged, test: Data, training: Data, entries: Sequence[Any], extractor: Any, n: int
) -> dict[str, dict[str, Any]]:
    """Values by metric, and what could not be measured."""
    names = [e.name for e in entries]
    options = {
        f"{e.name}.resamples": 0 for e in entries if any(o.name == "resamples" for o in the_registry().options(e))
    }
    report = evaluate(
        samples, test, names, n=n, training=training, extractor=extractor, options=options, device="cpu", strict=False
    )
    values = {r.metric: _plain(r.value) for r in report if not math.isnan(r.value)}
    return {"values": values, "absent": {a.metric: a.reason for a in report.absent}}


def _plain(value: float) -> float | str:
    """As JSON has it: infinity in words."""
    return value if math.isfinite(value) else str(value)


def _lines(
    values: Mapping[tuple[str, Degree | None, int], Mapping[str, float]], entries: Sequence[Any],
    damages: Sequence[str], seeds: int,
) -> Iterator[Sensed]:  # fmt: skip
    for entry in entries:
        worse = {"lower": 1, "higher": -1}.get(entry.data["direction"], 0)
        for damage in damages:
            several: list[tuple[str, Degree | None]] = [("clean", None), (damage, "slight"), (damage, "heavy")]
            try:
                before, slight, heavy = (tuple(values[d, g, s][entry.name] for s in range(seeds)) for d, g in several)
            except KeyError:  # absent
                continue
            yield Sensed(entry.name, damage, before, slight, heavy, worse)


def sensitivity_table(found: Sensitivity) -> Table:
    """A row a metric, a column a damage."""
    damages = list(dict.fromkeys(line.damage for line in found.lines))
    by_metric: dict[str, dict[str, str]] = {}
    for line in found.lines:
        by_metric.setdefault(line.metric, {})[line.damage] = line.text()
    header = ("metric", *(DAMAGES[d].title for d in damages))
    return Table(header, [(m, *(row.get(d, "") for d in damages)) for m, row in by_metric.items()])


def check_claims(found: Sensitivity, claims: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Which claims do not hold in what was found; each a sentence.

    Raises:
        GenzooError: if a claim is of something that was not measured.
    """
    lines = {(line.metric, line.damage): line for line in found.lines}
    broken = []
    for metric, damages in (CLAIMS if claims is None else claims).items():
        for damage in damages:
            line = lines.get((metric, damage))
            if line is None:
                raise GenzooError(f"{metric} was not measured under {damage}")
            if line.verdict != "sees":
                broken.append(f"{metric} does not order {damage}: {line.text()}")
    return broken


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


def write_sensitivity(folder: Path, found: Sensitivity, about: Mapping[str, Any]) -> None:
    """Write ``sensitivity.md`` and ``sensitivity.json``."""
    write_json(folder / "sensitivity.json", {"machine": about, **found.to_dict()})
    write_bytes(folder / "sensitivity.md", f"{text(found)}\n{sentence(about)}.\n".encode())


def text(found: Sensitivity) -> str:
    """The page in Markdown: the table, and each metric's blind spots in words."""
    damages = list(dict.fromkeys(line.damage for line in found.lines))
    words = "\n".join(f"- {DAMAGES[d].title}: {DAMAGES[d].what}" for d in damages)
    options = "" if (found.n, found.seeds) == (500, 3) else f" -n {found.n} --seeds {found.seeds}"
    how = _HOW.format(data=found.data, n=found.n, seeds=found.seeds, damages=words, options=options)
    parts = [how, sensitivity_table(found).markdown(), "", "## Blind spots", ""]
    for metric in dict.fromkeys(line.metric for line in found.lines):
        parts.append(f"- `{metric}` {_blind_spots(found, metric)}.")
    if found.absent:
        parts += ["", "Not measured here: " + "; ".join(f"`{m}` ({why})" for m, why in found.absent.items()) + "."]
    return "\n".join(parts) + "\n"


def _blind_spots(found: Sensitivity, metric: str) -> str:
    by = {line.damage: line.verdict for line in found.lines if line.metric == metric}
    blind = [DAMAGES[d].title for d, v in by.items() if v == "blind"]
    fooled = [DAMAGES[d].title for d, v in by.items() if v == "fooled"]
    late = [DAMAGES[d].title for d, v in by.items() if v == "sees heavy"]
    said = [f"is blind to {_listed(blind)}"] if blind else []
    said += [f"is fooled by {_listed(fooled)}"] if fooled else []
    said += [f"notices {_listed(late)} only when heavy"] if late else []
    return "; ".join(said) if said else "orders all of these"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

"""What a page shows of each model beside its numbers: samples, neighbours, ways through codes, shares of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from genzoo.core.data import Data
from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.evidence import as_floats
from genzoo.core.math.traversal import traverse
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.pictures.drawing import Drawing, curves, losses
from genzoo.core.spec import DataSpec
from genzoo.core.storage.strict import one_line
from genzoo.core.training.runs import columns_for
from genzoo.plugins.apps.compare import reading
from genzoo.plugins.apps.compare.comparison import Candidate, Comparison
from genzoo.plugins.metrics.copies import memorization
from genzoo.registry.verbs.evaluate import evaluate

ACROSS = 10  # pictures in a row
JUDGED = 500  # samples that are held against the training data
READ = 100  # of those that are read, which take longer to draw
NO_IMAGES = "the data is not made of images"  # nor of what else is looked at one by one
NO_MODEL = "there is no model here, only its samples or a report"


@dataclass(frozen=True)
class Figure:
    """One thing to look at (an image of few pixels, a drawing, or HTML), or why there is none.

    ``alt`` says what it shows, for those who cannot see it. `attempt` makes the reason of a `GenzooError`.
    """

    picture: Image.Image | Drawing | str | None = None
    alt: str = ""
    caption: str = ""
    absent: str = ""


@dataclass(frozen=True)
class Shares:
    """Shares of classes among samples and data, as one classifier sees both, by the class's name."""

    samples: Mapping[str, float]
    data: Mapping[str, float]
    classifier: str


def attempt(make: Callable[[], Figure]) -> Figure:
    """A figure, or the reason for there being none."""
    try:
        return make()
    except GenzooError as e:
        return Figure(absent=one_line(str(e)))


def samples(compared: Comparison, side: Candidate, n: int = 60) -> Figure:
    """The first samples of the seed; the same codes in models whose codes are alike."""
    made, data = _drawn(compared, side, n)
    kind, classes = of(data.spec), side.model.classes if side.model is not None else 0
    columns, order, behind = columns_for(classes) or ACROSS, "", None
    if kind.renders:
        made = made[: max(len(made) // columns, 1) * columns]
        order = ", one class in each column" if columns_for(classes) else ""
    else:
        made, behind = _drawn(compared, side, 1500)[0], as_floats(data.take(slice(1000)))
    found = kind.fragment(data.spec, made, columns, behind)
    if found is None:
        return Figure(absent=f"there is no picture of such {kind.many}")
    alt = f"{len(made):,} samples of {side.name}{found.alt}{order}"
    said = f"{found.caption} {order[2:].capitalize()}." if found.caption and order else found.caption
    return Figure(found.content, alt, said or f"{len(made)} samples{order}.")


def neighbours(compared: Comparison, side: Candidate) -> Figure:
    """The samples that lie nearest to the training data, above what they lie nearest to."""
    kind = None if compared.data is None else of(compared.data.spec)
    made, data = _drawn(compared, side, READ if kind is not None and kind.reads else JUDGED)
    if kind is None or not (kind.renders or kind.reads):
        return Figure(absent=NO_IMAGES)
    training = compared.training()
    if training is None:
        return Figure(absent="the training data is not known")
    known = as_floats(training)
    if kind.reads:
        found = reading.learned_by_heart(kind.lines(data.spec, made), kind.lines(data.spec, known))
        if not found:
            return Figure(absent=f"no sample has {reading.LEAST} characters in a row of a training {kind.one}")
        lengths = ", ".join(str(len(run)) for _, _, run in found)
        caption = (
            f"Above: of {len(made)} samples those with the longest runs of characters of a training {kind.one}. "
            f"Below: that {kind.one}. In common: {lengths} characters in a row."
        )
        return Figure(reading.pairs(*zip(*[(line, theirs) for line, theirs, _ in found], strict=True)), "", caption)
    unseen = None if data.split in ("train", "all") else as_floats(data.take(slice(JUDGED))).flatten(1)
    near = memorization(made.flatten(1), known.flatten(1), unseen)
    nearest = near.distance.argsort(stable=True)[:ACROSS]
    rows = torch.cat([made[nearest], known[near.neighbour[nearest]]])
    by = "pixels" if kind.pixels else "the numbers they are stored as"
    caption = (
        f"Above: of {len(made)} samples the {len(nearest)} nearest to a training {kind.one}, by {by}. Below: that "
        f"{kind.one}. {len(near.index)} of the samples are copies"
    )
    if near.unseen is not None:
        held = near.unseen.samples[0]
        caption += f"; of unseen data {round(near.unseen.value * held)} of {held} would be"
    alt = f"{len(nearest)} samples of {side.name} above their nearest neighbours of {len(known):,} training {kind.many}"
    return Figure(_grid(data.spec, rows, len(nearest)), alt, caption + ".")


def ways(compared: Comparison, side: Candidate) -> Figure:
    """A traversal where codes have a meaning of their own that an encoder knows; else interpolations."""
    model, data = _model(compared, side)
    if of(model.spec).reads:
        lists = reading.ways(model, compared.seed)
        return Figure(lists, "", "Interpolations: from one random code to another in each list.")
    if model.encoder is not None:
        found = traverse(model, 8, ACROSS, seed=compared.seed, data=data)
        grid = _grid(model.spec, found.x.flatten(0, 1), ACROSS)
        unit = " nats" if found.measure == "nats" else ""
        order = ", ".join(f"{d} ({a:.3g}{unit})" for d, a in zip(found.dimensions, found.activity, strict=True))
        caption = (
            f"Traversals: one number of the code in each row, from −{found.values[-1]:g} to {found.values[-1]:g} "
            f"standard deviations, the most active first: {order}."
        )
        return Figure(grid, f"{len(found.x)} traversals of {side.name}, one number of the code in each row", caption)
    rows = 8
    codes = model.codes(0, 2 * rows, seed=compared.seed)
    labels = torch.arange(rows) % model.classes if model.classes else None
    x = model.interpolate(codes[:rows], codes[rows:], ACROSS, labels=labels, numbers=True)
    caption = (
        "Interpolations: from one random code to another in each row, along the sphere. The model has no encoder that "
        "would say what its code's numbers are for."
    )
    grid = _grid(model.spec, x.flatten(0, 1), ACROSS)
    return Figure(grid, f"{rows} interpolations of {side.name} between random codes, one in each row", caption)


def reconstructions(compared: Comparison, side: Candidate) -> Figure:
    """The same observations above what each model makes of them."""
    if side.model is not None and side.model.encoder is None:
        return Figure(absent="the model has no encoder")
    model, data = _model(compared, side)
    if model.classes and data.y is None:
        return Figure(absent="the model is conditional and the data has no labels")
    kind, count = of(model.spec), 2 * ACROSS if of(model.spec).renders else reading.PAIRS
    some = data.take(torch.arange(count) * max(len(data) // count, 1) % len(data))
    told = some.told(model)
    if kind.reads:
        lists = reading.reconstructions(model, as_floats(some), told["labels"])
        return Figure(lists, "", f"Above: {data.split} data. Below: the {kind.one} that its code gives.")
    x = as_floats(some)
    again = model.reconstruct(x, **told, numbers=True).cpu()
    rows = [part for i in (0, ACROSS) for part in (x[i : i + ACROSS], again[i : i + ACROSS])]
    alt = f"{len(x)} {kind.many} of the {data.split} data in rows one and three, those of {side.name} below each"
    error = (kind.from_storage(model.spec, kind.to_storage(model.spec, again)) - x).square().mean().sqrt().item()
    caption = (
        f"Rows one and three: {data.split} data. Two and four: reconstructions. Root mean square error {error:.3f}."
    )
    return Figure(_grid(data.spec, torch.cat(rows), ACROSS), alt, caption)


def training(side: Candidate) -> Figure:
    """Curves of a run: each player's loss."""
    if not side.history.log:
        return Figure(absent="no log of its training is kept" if side.model is not None else NO_MODEL)
    chosen = losses(side.history.log)
    last = side.history.log[-1]["step"]
    alt = f"Curves of {side.name} over {last:,.0f} steps: " + "; ".join(
        f"{name} from {line[0][1]:.4g} to {line[-1][1]:.4g}" for name, line in chosen.items() if line
    )
    return Figure(curves(chosen, width=440, height=240), one_line(alt))


def shares(compared: Comparison, i: int) -> Shares | str:
    """Shares of classes among a model's samples and the data, or why nobody knows."""
    side, data, report = compared.sides[i], compared.data, compared.reports[i]
    if "classes" not in report and "class-kl" not in report:
        subject = side.model if side.model is not None else side.samples
        if data is None or subject is None:
            return "its report measured no classes"
        report = evaluate(
            subject, data, "class-kl", n=min(int(report.record["fake"]), 2000), seed=compared.seed,
            training=compared.training(), extractor=compared.extractor, strict=False,
            device="auto" if side.model is None else str(side.model.device),
        )  # fmt: skip
    for metric in ("classes", "class-kl"):
        if metric in report:
            details = report[metric].details
            found, real = (_numbers(details.get(key)) for key in ("shares", "shares of the data"))
            return Shares(found, real, str(details.get("classifier", "")))
    return report.why_not("class-kl") or "the data has no labels"


def _numbers(shares: object) -> dict[str, float]:
    """Shares as they should be, whatever a stranger's report holds."""
    listed = shares.items() if isinstance(shares, Mapping) else ()
    return {str(k): float(v) for k, v in listed if isinstance(v, (int, float)) and 0 <= v <= 1}


def _model(compared: Comparison, side: Candidate) -> tuple[Model, Data]:
    """A model of what is looked at one by one, and the data; `GenzooError` if there is none."""
    if side.model is None or compared.data is None:
        raise GenzooError(NO_MODEL)
    if not (of(side.model.spec).renders or of(side.model.spec).reads):
        raise GenzooError(NO_IMAGES)
    return side.model, compared.data


def _drawn(compared: Comparison, side: Candidate, n: int) -> tuple[Tensor, Data]:
    """Samples of the seed, 8-bit as a saved picture would be, on the CPU; and the data. `GenzooError` without any."""
    if compared.data is not None and side.model is not None:
        spec, kind = side.model.spec, of(side.model.spec)
        made = kind.to_storage(spec, side.model.sample(n, seed=compared.seed, numbers=True))
        return kind.from_storage(spec, made), compared.data
    if compared.data is None or side.samples is None:
        raise GenzooError("a report keeps no samples")
    return as_floats(side.samples.take(slice(n))), compared.data


def _grid(spec: DataSpec, x: Tensor, columns: int) -> Image.Image | Drawing | str | None:
    """Observations in rows, as their modality shows them on a page."""
    found = of(spec).fragment(spec, x, columns)
    return None if found is None else found.content

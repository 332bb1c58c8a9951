"""Models beside generic codecs: sizes of files, time, and rate against distortion. ``genzoo bench compress``."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    import resource
except ModuleNotFoundError:  # on Windows
    resource = None  # type: ignore[assignment]

from genzoo.core.arguments import checked
from genzoo.core.coding.codec import scheme_of
from genzoo.core.coding.verified import compressed, keeps, psnr
from genzoo.core.conditions import given
from genzoo.core.data import Data, Split, to_model, to_units
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.joint import evaluating
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.pictures.drawing import Drawing, curves, stacked
from genzoo.core.storage.files import write_bytes
from genzoo.plugins.apps.bench import codecs
from genzoo.plugins.apps.bench.bench_report import Table, folder_for, keep, machine
from genzoo.plugins.apps.bench.rates import LADDERS, Point, ladder, margins
from genzoo.registry import the_registry
from genzoo.registry.verbs.data import open_data
from genzoo.registry.verbs.load import load

ALONE = 20  # observations that models compress alone, to say what a short file costs


@dataclass(frozen=True)
class Size:
    """What a lossless codec or model makes of data, in bits for a unit: of all in one file, and of a file each."""

    name: str
    data: str
    unit: str
    together: float | None
    each: float | None
    encode: float = 0.0  # observations in a second of one core
    decode: float = 0.0
    forward: float = 0.0  # of a model, its networks' own, 0 of others
    bound: float | None = None  # of a model: its likelihood's bound in the same unit
    absent: str = ""


@dataclass(frozen=True)
class Compression:
    """All sizes, and all points of rate and distortion."""

    n: int
    sizes: list[Size] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@checked
def compression(
    weights: Sequence[str | os.PathLike[str]],
    data: Sequence[str] = ("fashion-mnist",),
    n: int = 300,
    *,
    fast: bool = False,
    lossy: bool | Sequence[str] = False,
    budget: float | str = "1min",
    steps: int | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    data_options: Mapping[str, Any] | None = None,
    progress: Callable[[str], object] = lambda text: None,
) -> Compression:
    """Compress the first ``n`` test observations by models and by generic codecs, and compare sizes and times.

    Lossy models, whose codes are tokens or rounded, are drawn beside JPEG, WebP and JPEG XL: bits per pixel and PSNR.

    Args:
        weights: models; each compresses those data that have its form.
        data: names or files of data.
        n: observations of each.
        fast: networks in float32; what is read on this machine only.
        lossy: train lossy models at several rates first, on each of the data: those of these names, or all of
            `LADDERS`. The folder keeps them, and a call that was stopped goes on.
        budget: time of each of their trainings, and of that of the prior over a quantizer's tokens.
        steps: of each, in place of a time.
        seed: of each.
        options: of each, by dotted name.
        out: folder for ``compress.md``, ``compress.json`` and ``rate-distortion.svg``.
        data_options: of the data.
        progress: is told what is measured.
    """
    if n < 1:
        raise UsageError(f"the number of observations must be at least 1, not {n}")
    folder, found = folder_for(out), Compression(n)
    if lossy:
        chosen = [*LADDERS] if lossy is True else lossy
        weights = [*weights, *ladder(chosen, data, budget, steps, seed, folder, options or {}, progress)]
    models = {os.fspath(w): load(w, device="cpu") for w in weights}
    for model in models.values():
        scheme_of(model)
    named = {e.name for e in the_registry().entries("dataset")}  # of a file all is taken, as `compress` does
    splits: dict[str, Split | None] = {d: "test" if d in named else None for d in data}
    opened = {d: open_data(the_registry(), d, data_options, split=splits[d]).take(slice(n)) for d in data}
    for name, model in models.items():
        if not any(_fits(model, some) for some in opened.values()):
            raise UsageError(f"{name} compresses other data than {', '.join(data)}: name its own with --data")
    for called, some in opened.items():
        mine = {name: model for name, model in models.items() if _fits(model, some)}
        lossless = {k: m for k, m in mine.items() if scheme_of(m) != "tokens"}
        for name, model in lossless.items():
            progress(f"{called}: {name}")
            found.sizes.append(_of_model(name, called, model, some, fast))
        if lossless or not mine:
            found.sizes.extend(_of_codecs(called, some, progress))
        if len(lossless) < len(mine):
            for name, model in mine.items():
                if name not in lossless:
                    progress(f"{called}: {name}")
                    found.points.append(_lossy_model(name, called, model, some))
            found.points.extend(_lossy_codecs(called, some, progress))
    if folder is not None:
        text = f"# Compression of the first {n:,} test observations\n\n{size_table(found).markdown()}\n"
        if found.points:
            drawn = drawing(found)
            write_bytes(folder / "rate-distortion.svg", drawn.svg(title="PSNR by bits per pixel").encode())
            drawn.image().save(folder / "rate-distortion.png")
            text += f"\n{point_table(found).markdown()}\n"
        keep(folder, "compress", found.to_dict(), text, machine())
    return found


def _fits(model: Model, data: Data) -> bool:
    if of(model.spec) is not of(data.spec):
        return False
    return keeps(model) or of(model.spec).alike(model.spec, data.spec)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = _cpu_time()
    return call(), max(_cpu_time() - start, 1e-9)


def _cpu_time() -> float:
    """Seconds of one core, whatever else the machine does: of this process, and, but on Windows, of what it called."""
    if resource is None:
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _of_model(name: str, data: str, model: Model, some: Data, fast: bool) -> Size:
    kind = of(model.spec)
    whole = kind.lossless(model.spec, some) is not None
    x, told = some if whole else some.x, some.told(model).get("labels")
    done, encode = _timed(lambda: compressed(model, x, told, portable=not fast, verify=False))
    _, decode = _timed(lambda: model.decompress(done.content))
    alone = [some.take(slice(i, i + 1)) for i in range(min(ALONE, len(some)))]
    single = [
        compressed(model, s if whole else s.x, s.told(model).get("labels"), portable=not fast, verify=False)
        for s in alone
    ]
    each = sum(8 * len(s.content) for s in single) / sum(s.units for s in single)
    bound, forward = _timed(lambda: _bound(model, some))
    per, n = sum(s.units for s in single) / len(single), len(some)
    return Size(name, data, done.unit, done.bits, each, n / encode, n / decode, n / forward,
                None if bound is None else bound * done.count / done.units if whole else bound / per)  # fmt: skip


@torch.no_grad()
def _bound(model: Model, some: Data) -> float | None:
    """Bits of an observation by the networks' own pass over all data; None for densities, whose bound is no size."""
    total, x = 0.0, to_model(model.spec, _own(model, some))
    y = given(model, some.told(model).get("labels"), None, len(x))
    with evaluating(model):
        for a in range(0, len(x), 64):
            part, told = x[a : a + 64], None if y is None else y[a : a + 64]
            if model.exact:
                z = part.new_empty(len(part), *model.latent.shape)
                total += model.likelihood.log_prob(model.generator(z, told), part).double().sum().item()
            else:
                eps = model._posterior_noise(0, a, len(part), 1)
                total += model.log_weights(part, told, eps).double().sum().item()
    return -total / math.log(2) / len(x) if model.likelihood.discrete else None


def _own(model: Model, some: Data) -> torch.Tensor:
    """Observations as the model has them, as far as its rows hold them."""
    held = of(model.spec).lossless(model.spec, some)
    return some.x if held is None else held.rows


def _raw(some: Data) -> tuple[list[bytes], int, str]:
    """Observations as bytes, how many units all of them have, and what a unit is."""
    kind, spec = of(some.spec), some.spec
    if kind.pixels:
        return [x.tobytes() for x in some.x.numpy()], len(some) * spec.size, "dimension"
    held = kind.lossless(spec, some)
    if held is None:
        raise UsageError(f"there is no generic codec of {kind.many} here")
    if held.unit == "row":
        import io

        from pyarrow import csv

        csv.write_csv(kind.restored(spec, held), out := io.BytesIO())
        return out.getvalue().splitlines(keepends=True)[1:], held.units, held.unit
    lines = kind.lines(spec, to_units(spec, to_model(spec, some.x)))
    return [(line + "\n").encode() for line in lines], held.units, held.unit


def _of_codecs(data: str, some: Data, progress: Callable[[str], object]) -> list[Size]:
    parts, units, unit = _raw(some)
    found = []
    kinds: list[tuple[codecs.Codec, list[Any], list[Any]]] = []
    if of(some.spec).pixels and some.spec.shape[0] in (1, 3):
        pictures = [codecs.pixels_of(x) for x in some.x.numpy()]
        sheets = [codecs.sheet(pictures, tall) for tall in (False, True)]
        kinds += [(c, pictures, sheets) for c in codecs.of_pictures()]
    kinds += [(c, parts, [b"".join(parts)]) for c in codecs.of_bytes()]
    for codec, each, wholes in kinds:
        progress(f"{data}: {codec.name}")
        if codec.absent:
            found.append(Size(codec.name, data, unit, None, None, absent=codec.absent))
            continue
        single = sum(len(codec.encode(x, 0)) for x in each)
        tried = [(*_timed(partial(codec.encode, whole, 0)), whole) for whole in wholes]
        content, encode, whole = min(tried, key=lambda found: len(found[0]))  # the arrangement that it likes best
        back, decode = _timed(partial(codec.decode, content))
        if not np.array_equal(_like(back, whole), whole) if isinstance(whole, np.ndarray) else back != whole:
            raise GenzooError(f"{codec.name} did not give back what it was given")
        found.append(Size(codec.name, data, unit, 8 * len(content) / units, 8 * single / units,
                          len(some) / encode, len(some) / decode))  # fmt: skip
    return found


def _lossy_model(name: str, data: str, model: Model, some: Data) -> Point:
    done = compressed(model, some.x, some.told(model).get("labels"), verify=False)
    recipe = str(name)
    if model.config:  # of a prior that was fitted afterwards, what its codes are of
        recipe = model.config.parts["objective"].options.get("first", model.config.recipe)
    return Point(recipe, data, 8 * len(done.content) / _pixels(some), psnr(done.distortion), name)


def _pixels(some: Data) -> int:
    return len(some) * math.prod(some.spec.shape[1:])


def _lossy_codecs(data: str, some: Data, progress: Callable[[str], object]) -> list[Point]:
    pictures, found = [codecs.pixels_of(x) for x in some.x.numpy()], []
    height, width = some.spec.shape[1:]
    for codec in codecs.lossy() if some.spec.shape[0] in (1, 3) else ():
        progress(f"{data}: {codec.name}")
        for quality in codec.qualities if not codec.absent else ():
            contents = [codec.encode(x, quality) for x in pictures]
            whole = codec.encode(codecs.sheet(pictures), quality)
            for name, size, back in (
                (f"{codec.name}, a file each", sum(map(len, contents)), [codec.decode(c) for c in contents]),
                (f"{codec.name}, one sheet", len(whole),
                 codecs.unsheet(codec.decode(whole), len(pictures), height, width)),
            ):  # fmt: skip
                error = np.mean([np.square((a.astype(float) - _like(b, a)) / 255).mean()
                                 for a, b in zip(pictures, back, strict=True)])  # fmt: skip
                found.append(Point(name, data, 8 * size / _pixels(some), psnr(float(error)), f"{quality:g}"))
    return found


def _like(x: codecs.Pixels, other: codecs.Pixels) -> Any:
    """A picture with the channels of another: WebP makes grey ones colour."""
    return x if x.ndim == other.ndim else x[..., :3].mean(-1)


def size_table(found: Compression) -> Table:
    """Bits for a unit, smallest files first."""
    header = ["data", "codec", "one file", "a file each", "bound", "encode/s", "decode/s", "networks/s"]
    rows = []
    for s in sorted(found.sizes, key=lambda s: (s.data, s.together is None, s.together or 0)):
        if s.absent:
            rows.append([s.data, s.name, "–", "–", "–", "–", "–", s.absent])
            continue
        numbers = [f"{v:.4g}" if v else "–" for v in (s.together, s.each, s.bound, s.encode, s.decode, s.forward)]
        rows.append([f"{s.data} (bits per {s.unit})", s.name, *numbers])
    return Table(header, rows)


def point_table(found: Compression) -> Table:
    """Points of rate and distortion; those of models with what they are over the best codec at that rate."""
    rows = []
    for p in sorted(found.points, key=lambda p: (p.data, p.name, p.bits)):
        over = {} if "," in p.name else margins(found.points, p)
        said = [f"{over[way][0]:+.1f} ({over[way][1]})" if way in over else "" for way in ("a file each", "one sheet")]
        rows.append([p.data, p.name, f"{p.bits:.3f}", f"{p.psnr:.2f}", *said, Path(p.source).name])
    header = ["data", "codec", "bits per pixel", "PSNR (dB)", "over files (dB)", "over a sheet (dB)", "by"]
    return Table(header, rows)


def drawing(found: Compression) -> Drawing:
    """PSNR by bits per pixel, for each data set beside codecs with a file each and with one sheet."""
    panels, every = [], sorted({p.name.partition(",")[0] for p in found.points}, key=lambda name: (
        any(p.name.startswith(f"{name}, ") for p in found.points), name))  # fmt: skip
    for data in dict.fromkeys(p.data for p in found.points):
        mine = [p for p in found.points if p.data == data and math.isfinite(p.psnr)]
        edge = max(1.5 * max((p.bits for p in mine if "," not in p.name), default=8.0), 4.0)
        for way in ("a file each", "one sheet"):
            lines: dict[str, list[tuple[float, float]]] = {}
            for p in sorted(mine, key=lambda p: ("," in p.name, p.name, p.bits)):
                if p.name.partition(", ")[2] in ("", way) and p.bits <= edge:
                    lines.setdefault(p.name.partition(",")[0], []).append((p.bits, p.psnr))
            panels.append(curves({k: _visible(v) for k, v in lines.items()}, title=f"{data}, codecs {way}: PSNR (dB)",
                                 x_label="bits per pixel", height=260, names=every))  # fmt: skip
    return stacked(panels)


def _visible(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A single point as a short line, which can be seen."""
    return line if len(line) > 1 else [(line[0][0] - 0.02, line[0][1]), (line[0][0] + 0.02, line[0][1])]

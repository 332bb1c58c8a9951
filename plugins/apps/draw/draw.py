"""Pictures of models and of their training: grids, ways through codes, curves, films."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.math.traversal import Traversal, traverse
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.pictures import grids as pictures
from genzoo.core.pictures.charts import curves as chart
from genzoo.core.pictures.charts import losses, stacked
from genzoo.core.pictures.movies import check_movie, is_movie, save_movie
from genzoo.core.storage.files import given_path, write_bytes
from genzoo.core.storage.strict import regular
from genzoo.plugins.apps.compare.comparison import distinct
from genzoo.registry.verbs import sample as results
from genzoo.registry.verbs.initialize import pick_device
from genzoo.registry.verbs.load import load, load_data
from genzoo.registry.weights.history import history_of

Weights = Model | str | os.PathLike[str]
Out = str | os.PathLike[str]
MARGIN = 118  # pixels beside a traversal, for what each row is
SHEET = 12  # pictures on a sheet of a training


def samples(weights: Weights, out: Out, n: int = 64, **how: Any) -> Path:
    """Write a grid of samples; ``how`` is what `genzoo.sample` takes."""
    _still(given_path(out))
    return results.sample(weights, out, n, **how)


def interpolation(
    weights: Weights,
    out: Out,
    n: int = 8,
    *,
    steps: int = 0,
    seed: int = 0,
    label: int | None = None,
    data: Any = None,
    straight: bool = False,
    fps: float = 12,
    device: str = "auto",
) -> Path:
    """Write paths between codes: a picture with one in each row, or a film of all, there and back.

    Args:
        weights: a model, or what `genzoo.load` takes.
        out: ``.png`` (or another picture), ``.gif`` or ``.mp4``.
        n: how many paths.
        steps: points on each, both ends included; 0 takes 10, and 24 in a film.
        seed: of the codes at both ends.
        label: class of all paths, for a conditional model.
        data: observations whose codes are the ends.
        straight: straight lines instead of ways through what the prior makes likely (great circles).
        fps: frames in a second of a film.
        device: where to compute.
    """
    path = given_path(out)
    kind: Any = "straight" if straight else "prior"
    if not is_movie(path):
        _still(path)
        return results.interpolate(
            weights, path, n, steps=steps or 10, path=kind, seed=seed, data=data, label=label, device=device
        )
    check_movie(path)
    model = _model(weights, device)
    if n < 1:
        raise UsageError(f"the number of paths must be at least 1, not {n}")
    _drawable(model)
    if data is None:
        codes, y = model.codes(0, 2 * n, seed=seed), None
    else:
        opened = _opened(model, data)
        if len(opened) < 2 * n:
            raise UsageError(f"{n} paths need {2 * n} observations, and the data has {len(opened)}")
        some = opened.take(slice(2 * n))
        y = some.y if model.classes else None
        codes = model.encode(some.x, y)
    if not model.classes:
        if label is not None:
            raise UsageError("this model is not conditional: it takes no label")
        labels = None
    elif label is not None:
        labels = torch.full((n,), label)
    else:
        labels = torch.arange(n) % model.classes if y is None else y[:n]
    x = model.interpolate(codes[:n], codes[n:], steps or 24, path=kind, labels=labels)
    save_movie(_there_and_back([_grid(model, frame, least=112) for frame in x.transpose(0, 1)]), path, fps=fps, hold=0)
    return path


def traversal(
    weights: Weights,
    out: Out,
    rows: int = 8,
    *,
    steps: int = 0,
    seed: int = 0,
    label: int | None = None,
    data: Any = None,
    reach: float = 2.5,
    dimensions: Sequence[int] = (),
    fps: float = 12,
    device: str = "auto",
) -> Path:
    """Write what single numbers of a code do: one in each row of a picture, or one in each place of a film.

    The most active come first: by their KL to the prior on ``data``, which needs an encoder, or by how much what
    comes out changes. See `genzoo.core.math.traversal.traverse`.

    Args:
        weights: a model, or what `genzoo.load` takes.
        out: ``.png`` (or another picture), ``.gif`` or ``.mp4``.
        rows: how many numbers of the code.
        steps: values of each; 0 takes 11, and 24 in a film.
        seed: of the code that the way starts from.
        label: class, for a conditional model.
        data: observations that say which numbers of the code are in use.
        reach: standard deviations to either side.
        dimensions: which numbers of the code to move, instead of the most active.
        fps: frames in a second of a film.
        device: where to compute.
    """
    path = given_path(out)
    if is_movie(path):
        check_movie(path)
    else:
        _still(path)
    model = _model(weights, device)
    _drawable(model)
    opened = None if data is None else _opened(model, data)
    found = traverse(
        model, rows, steps or (24 if is_movie(path) else 11), seed=seed, label=label, data=opened, reach=reach,
        dimensions=tuple(dimensions),
    )  # fmt: skip
    if is_movie(path):
        frames = [_grid(model, found.x[:, i], least=112) for i in range(found.x.shape[1])]
        save_movie(_there_and_back(frames), path, fps=fps, hold=0)
    else:
        pictures.save(_labelled(found, _grid(model, found.x.flatten(0, 1), found.x.shape[1])), path)
    return path


def curves(runs: str | os.PathLike[str] | Sequence[Any], out: Out, *, terms: Sequence[str] = ()) -> Path:
    """Write the curves of one or more runs, below each other.

    Args:
        runs: runs' folders, weights, or names of them.
        out: ``.svg``, ``.png`` or another picture.
        terms: what to draw, as the log names it; default is each player's loss and the held-out one.

    Raises:
        GenzooError: if a run has no log, or none of these terms.
    """
    path = given_path(out)
    if path.suffix.lower() != ".svg":
        _still(path, also="curves to .svg or .png")
    listed = [runs] if isinstance(runs, (str, os.PathLike)) else list(runs)
    drawn = []
    for run, name in zip(listed, distinct([os.fspath(r) for r in listed]), strict=True):
        history = history_of(run)
        if not history.log:
            raise GenzooError(f"{run} has no log of its training")
        drawn.append(chart(losses(history.log, terms), title=name, width=720, height=300))
    whole = stacked(drawn)
    if path.suffix.lower() == ".svg":
        write_bytes(path, whole.svg(title="Curves of " + ", ".join(map(str, listed))).encode())
    else:
        pictures.save(whole.image(), path)
    return path


def training(run: str | os.PathLike[str], out: Out, *, fps: float = 6) -> Path:
    """Write how a run's samples changed: a film of its sample pictures, or a sheet with some of them.

    Of data in the plane the pictures show the critic's surface under the samples.

    Args:
        run: a run's folder, with the pictures that training left in ``samples``.
        out: ``.gif`` or ``.mp4`` for a film, ``.png`` (or another picture) for a sheet.
        fps: frames in a second of a film.

    Raises:
        GenzooError: if there are no pictures, or one is damaged.
    """
    path, folder = given_path(out), given_path(run) / "samples"
    if is_movie(path):
        check_movie(path)
    else:
        _still(path)
    found = sorted((int(m[1]), p) for p in folder.glob("step-*.png") if (m := re.fullmatch(r"step-(\d+)\.png", p.name)))
    if not found:
        raise GenzooError(
            f"{folder} holds no pictures of a training: give a run's folder "
            "(and for more of them train with --set train.sample_every=N)"
        )
    if not is_movie(path):
        count = min(SHEET, len(found))
        found = [found[round(i * (len(found) - 1) / max(count - 1, 1))] for i in range(count)]
    frames = [pictures.captioned(_read(p), f"step {step:,}") for step, p in found]
    size = (max(f.width for f in frames), max(f.height for f in frames))
    frames = [f if f.size == size else _on_paper(f, size) for f in frames]
    if is_movie(path):
        save_movie(frames, path, fps=fps)
    else:
        pictures.save(pictures.beside(frames, columns=min(4, len(frames))), path)
    return path


def _grid(model: Model, x: Tensor, columns: int | None = None, least: int = 56) -> Image.Image:
    """Observations beside each other, each as a small picture."""
    drawn = of(model.spec).render(model.spec, x)
    assert drawn is not None  # of a kind that renders
    return pictures.grid(drawn, columns, least=least)


def _labelled(found: Traversal, grid: Image.Image) -> Image.Image:
    """A traversal with what each row is at its left."""
    count, steps = found.x.shape[:2]
    canvas = _on_paper(grid, (grid.width + MARGIN, grid.height + 20), (MARGIN, 0))
    pen, height = ImageDraw.Draw(canvas), (grid.height - 2) / count
    unit = " nats" if found.measure == "nats" else ""
    for i, (d, a) in enumerate(zip(found.dimensions, found.activity, strict=True)):
        y = 2 + (i + 0.5) * height
        pen.text((MARGIN - 8, y - 2), f"number {d}", fill=(28, 36, 48), anchor="rs", font_size=13)
        pen.text(
            (MARGIN - 8, y + 12),
            f"{a:.3g}{unit}" if unit else f"{a:.2g} change",
            fill=(91, 100, 114),
            anchor="rs",
            font_size=11,
        )
    for i in {0, steps // 2, steps - 1}:
        x = MARGIN + (i + 0.5) * grid.width / steps
        pen.text((x, grid.height + 14), f"{found.values[i]:+.1f} sd", fill=(91, 100, 114), anchor="ms", font_size=11)
    return canvas


def _on_paper(image: Image.Image, size: tuple[int, int], at: tuple[int, int] = (0, 0)) -> Image.Image:
    canvas = Image.new("RGB", size, pictures.PAPER)
    canvas.paste(image, at)
    return canvas


def _there_and_back(frames: list[Image.Image]) -> list[Image.Image]:
    return frames + frames[-2:0:-1]


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(regular(path)) as image:
            return image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as e:
        raise GenzooError(f"{path} is no picture that can be read ({type(e).__name__})") from None


def _still(path: Path, also: str = "") -> None:
    """Refuse a name that no picture ends in, before anything is computed."""
    if path.suffix.lower() not in results.PICTURES or path.suffix.lower() == ".gif" or path.is_dir():
        raise UsageError(f"cannot write a picture to {path.name!r}: use {also or '.png'}")


def _model(weights: Weights, device: str) -> Model:
    return weights if isinstance(weights, Model) else load(weights, device=pick_device(device))


def _opened(model: Model, data: Any) -> Data:
    opened = data if isinstance(data, Data) else load_data(data, split="test")
    results.check_fits(model, opened.spec)
    return opened


def _drawable(model: Model) -> None:
    kind = of(model.spec)
    if not kind.renders:
        raise UsageError(f"this takes a model of images, or what else is looked at one by one, not of {kind.many}")


__all__ = ["curves", "interpolation", "samples", "training", "traversal"]

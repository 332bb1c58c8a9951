"""Pictures of models and of their training: grids, ways through codes, curves, films."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from torch import Tensor

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.math.traversal import Traversal, traverse
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.pictures import grids as pictures
from genzoo.core.pictures.drawing import curves as chart
from genzoo.core.pictures.drawing import losses, stacked
from genzoo.core.pictures.grids import check_movie, is_movie, save_movie
from genzoo.core.storage.files import given_path, write_bytes
from genzoo.core.storage.strict import regular
from genzoo.plugins.apps.compare.comparison import distinct
from genzoo.registry.verbs import sample as verbs
from genzoo.registry.verbs.outputs import PICTURES
from genzoo.registry.weights.history import history_of

Weights = Model | str | os.PathLike[str]
Out = str | os.PathLike[str]
MARGIN = 118  # pixels beside a traversal, for what each row is
SHEET = 12  # pictures on a sheet of a training
INK, GREY = (28, 36, 48), (91, 100, 114)


def samples(weights: Weights, out: Out, n: int = 64, **how: Any) -> Path:
    """Write a grid of samples; ``how`` is what `genzoo.sample` takes."""
    _still(given_path(out))
    return verbs.sample(weights, out, n, **how)


def interpolation(
    weights: Weights,
    out: Out,
    n: int = 8,
    *,
    steps: int = 0,
    seed: int = 0,
    label: int | str | None = None,
    data: Any = None,
    straight: bool = False,
    fps: float = 12,
    device: str = "auto",
) -> Path:
    """Write ``n`` paths between codes: a picture with one in each row, or a film of all, there and back.

    A ``.gif`` or ``.mp4`` is a film, of ``fps`` frames in a second. A path has ``steps`` points, 10 by default and 24
    in a film, and goes through what the prior makes likely (great circles) unless it is ``straight``. All else is as
    for `genzoo.interpolate`.
    """
    path, kind = given_path(out), "straight" if straight else "prior"
    how: Any = {"seed": seed, "data": data, "label": label, "path": kind}
    if not _is_film(path):
        return verbs.interpolate(weights, path, n, steps=steps or 10, device=device, **how)
    model = _drawable(weights, device)
    x, _ = verbs.paths(model, n, steps or 24, **how)
    return _film_of(model, x.transpose(0, 1), path, fps)


def traversal(
    weights: Weights,
    out: Out,
    rows: int = 8,
    *,
    steps: int = 0,
    seed: int = 0,
    label: int | str | None = None,
    data: Any = None,
    reach: float = 2.5,
    dimensions: Sequence[int] = (),
    fps: float = 12,
    device: str = "auto",
) -> Path:
    """Write what single numbers of a code do: one in each row of a picture, or one in each place of a film.

    The most active come first: by their KL to the prior on ``data``, which needs an encoder, or by how much what
    comes out changes. A number takes ``steps`` values, 11 by default and 24 in a film. All else is as for
    `genzoo.core.math.traversal.traverse`.
    """
    path = given_path(out)
    film = _is_film(path)
    model = _drawable(weights, device)
    opened = None if data is None else verbs.open_fitting(model, data)
    found = traverse(
        model, rows, steps or (24 if film else 11), seed=seed, label=label, data=opened, reach=reach,
        dimensions=tuple(dimensions),
    )  # fmt: skip
    if film:
        return _film_of(model, found.x.transpose(0, 1), path, fps)
    pictures.save(_labelled(found, _grid(model, found.x.flatten(0, 1), found.x.shape[1])), path)
    return path


def curves(runs: str | os.PathLike[str] | Sequence[Any], out: Out, *, terms: Sequence[str] = ()) -> Path:
    """Write the curves of one or more runs (folders, weights, or their names), below each other: ``.svg`` or a picture.

    The terms are named as the log does, by default each player's loss and the held-out one; `GenzooError` if a run has
    no log, or none of them.
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
    """Write how a run's samples changed: a film (``.gif``, ``.mp4``) of its sample pictures, or a sheet with some.

    The pictures are those that training left in the run's ``samples``; `GenzooError` if there are none, or one is
    damaged. Of data in the plane they show the critic's surface under the samples.
    """
    path, folder = given_path(out), given_path(run) / "samples"
    film = _is_film(path)
    found = sorted((int(m[1]), p) for p in folder.glob("step-*.png") if (m := re.fullmatch(r"step-(\d+)\.png", p.name)))
    if not found:
        raise GenzooError(
            f"{folder} holds no pictures of a training: give a run's folder "
            "(and for more of them train with --set train.sample_every=N)"
        )
    if not film:
        count = min(SHEET, len(found))
        found = [found[round(i * (len(found) - 1) / max(count - 1, 1))] for i in range(count)]
    frames = [pictures.captioned(_read(p), f"step {step:,}") for step, p in found]
    size = (max(f.width for f in frames), max(f.height for f in frames))
    frames = [f if f.size == size else _on_paper(f, size) for f in frames]
    if film:
        save_movie(frames, path, fps=fps)
    else:
        pictures.save(pictures.beside(frames, columns=min(4, len(frames))), path)
    return path


def _grid(model: Model, x: Tensor, columns: int | None = None) -> Image.Image:
    """Observations beside each other, each as a small picture."""
    drawn = of(model.spec).render(model.spec, x)
    assert drawn is not None  # of a kind that renders
    return pictures.grid(drawn, columns)


def _film_of(model: Model, moments: Iterable[Tensor], path: Path, fps: float) -> Path:
    """Write observations as they change, there and back."""
    frames = [_grid(model, x) for x in moments]
    save_movie(frames + frames[-2:0:-1], path, fps=fps, hold=0)
    return path


def _labelled(found: Traversal, grid: Image.Image) -> Image.Image:
    """A traversal with what each row is at its left."""
    count, steps = found.x.shape[:2]
    canvas = _on_paper(grid, (grid.width + MARGIN, grid.height + 20), (MARGIN, 0))
    pen, height = ImageDraw.Draw(canvas), (grid.height - 2) / count
    for i, (d, a) in enumerate(zip(found.dimensions, found.activity, strict=True)):
        y, does = 2 + (i + 0.5) * height, f"{a:.3g} nats" if found.measure == "nats" else f"{a:.2g} change"
        pen.text((MARGIN - 8, y - 2), f"number {d}", fill=INK, anchor="rs", font_size=13)
        pen.text((MARGIN - 8, y + 12), does, fill=GREY, anchor="rs", font_size=11)
    for i in {0, steps // 2, steps - 1}:
        x = MARGIN + (i + 0.5) * grid.width / steps
        pen.text((x, grid.height + 14), f"{found.values[i]:+.1f} sd", fill=GREY, anchor="ms", font_size=11)
    return canvas


def _on_paper(image: Image.Image, size: tuple[int, int], at: tuple[int, int] = (0, 0)) -> Image.Image:
    canvas = Image.new("RGB", size, pictures.PAPER)
    canvas.paste(image, at)
    return canvas


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(regular(path)) as image:
            return image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as e:
        raise GenzooError(f"{path} is no picture that can be read ({type(e).__name__})") from None


def _is_film(path: Path) -> bool:
    """Whether a film is asked for; refuses, before anything is computed, what can be neither film nor picture."""
    if is_movie(path):
        check_movie(path)
        return True
    _still(path)
    return False


def _still(path: Path, also: str = "") -> None:
    """Refuse what is no picture before anything is computed."""
    if path.suffix.lower() not in PICTURES or path.suffix.lower() == ".gif" or path.is_dir():
        raise UsageError(f"cannot write a picture to {path.name!r}: use {also or '.png'}")


def _drawable(weights: Weights, device: str) -> Model:
    """A model of what is looked at one by one."""
    model = verbs.open_model(weights, device)
    kind = of(model.spec)
    if not kind.renders:
        raise UsageError(f"this takes a model of images, or what else is looked at one by one, not of {kind.many}")
    return model

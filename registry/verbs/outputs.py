"""What an output path says about the format of what is written there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.pictures import grids as pictures
from genzoo.core.spec import DataSpec

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def output_kind(path: Path, spec: DataSpec, n: int, *, folders: bool = True) -> Literal["npz", "picture", "own"]:
    """What an output path says about its format; refuses what cannot be written there."""
    suffix, kind = path.suffix.lower(), of(spec)
    own = [s for s in kind.suffixes if s != "/"]
    folder = folders and "/" in kind.suffixes
    places = [".npz", *own, *["a folder"] * folder]
    may = " or ".join([".png", *places] if not kind.undrawn(spec, 1) else places)
    if path.is_dir() and not folders:
        raise UsageError(f"{path} is a folder: name a {may} file")
    if suffix == ".npz":
        return "npz"
    if suffix in PICTURES:
        if why := kind.undrawn(spec, n):
            raise UsageError(f"{why}: give {' or '.join(places)} as output")
        return "picture"
    if suffix in own and not path.is_dir():
        return "own"
    if not folders or (suffix and not path.is_dir()):
        raise UsageError(f"cannot tell what to write from {path.name!r}: use {may}")
    if not folder:
        raise UsageError(f"a folder takes one picture each, and this model makes {kind.many}: use {may}")
    if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is not an empty folder: give a new one, so that nothing is overwritten")
    return "own"


def save_picture(spec: DataSpec, x: Tensor, path: Path, columns: int | None, behind: Tensor | None = None) -> None:
    """Write the picture of observations; raises `UsageError` where there is none."""
    image = of(spec).picture(spec, x, columns, behind)
    if image is None:
        raise UsageError("there is no picture of such data: write it as .npz")
    pictures.save(image, path)

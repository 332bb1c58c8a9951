"""Weights in a folder of the user's own: a run's, or one that was copied from somewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.storage.files import given_path
from genzoo.registry.weights.base import Located
from genzoo.registry.weights.layout import check


def is_path(text: str) -> bool:
    """Whether a name can only be a path: it starts like one, or has more in it than ``a/b``."""
    return text.startswith((".", "/", "~")) or "\\" in text or os.path.isabs(text) or text.count("/") > 1


def locate_folder(path: str | os.PathLike[str], pins: Mapping[str, str] | None = None) -> Located:
    """Find a folder; its content is checked when it is loaded, or here against pins.

    Raises:
        GenzooError: if it is not there, or not what is pinned.
    """
    folder = given_path(path)
    if not folder.is_dir():
        raise GenzooError(f"there is no weights folder {str(path)!r}{did_you_mean(folder.name, beside(folder))}")
    return Located(str(path), folder, files=check(folder, pins=pins) if pins else {})


def beside(path: Path) -> list[str]:
    """Names of the folders beside a path, as far as that can be read."""
    try:
        return [p.name for p in path.parent.iterdir() if p.is_dir()]
    except OSError:
        return []

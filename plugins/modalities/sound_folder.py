"""Sound files under a folder as windows of one length, with the file and the class of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.data.labels import in_order
from genzoo.core.errors import GenzooError, UsageError, said
from genzoo.plugins.modalities.sound_files import SUFFIXES, BadSound, read_sound, to_int16, trimmed, windows

LOUDEST = 1.05  # a filter may reach a little beyond 1


@dataclass(frozen=True)
class Clips:
    """Windows int16 ``(N, C, T)`` of sound files, the file and the class of each."""

    values: Any
    files: list[str]
    labels: Any
    classes: tuple[str, ...]
    bad: list[str]
    loud: int = 0  # files with samples beyond [-1, 1], which are clipped


def clips_of(
    root: Path, rate: int, samples: int, mono: bool, cut: str, *, trim: float = 0.0, skip_bad: bool = False
) -> Clips:
    """The sound files under a folder, or one of them, in order of their names; sub-folders are classes if several."""
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    files = [p for p in files if not any(part.startswith(".") for part in p.relative_to(root).parts)]
    if not files:
        raise UsageError(f"{root} has no sound files: files that end in {', '.join(SUFFIXES)}")
    parts, names, owners, bad, loud = list[Any](), list[str](), list[str](), list[str](), 0
    for path in files:
        name = path.name if root.is_file() else path.relative_to(root).as_posix()
        try:
            x = read_sound(path, rate, mono)
            x = trimmed(x, trim) if trim else x
            if not x.shape[1]:
                raise BadSound("it is silent")
            if parts and parts[0].shape[0] != x.shape[0]:
                raise BadSound(f"it has {x.shape[0]} channels and the first file {parts[0].shape[0]}")
        except BadSound as e:
            bad.append(f"{name} ({e})")
            continue
        loud += bool(np.abs(x).max() > LOUDEST)
        for w in windows(to_int16(x), samples, cut == "start"):
            parts.append(w)
            names.append(name)
            owners.append(name.split("/")[0] if "/" in name else "")
    if bad and (not parts or not skip_bad):
        some = ", ".join(bad[:3]) + (", …" if len(bad) > 3 else "")
        hint = f", or {said(skip_bad='true')}" if parts else ""
        raise GenzooError(f"{len(bad)} of {len(files)} sound files in {root} cannot be read: {some}; "
                          f"repair or remove them{hint}")  # fmt: skip
    classes = tuple(in_order(set(owners))) if len(set(owners)) > 1 and "" not in owners else ()
    labels = np.array([classes.index(o) for o in owners]) if classes else None
    return Clips(np.stack(parts), names, labels, classes, bad, loud)

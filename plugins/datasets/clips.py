"""A user's own folder of sound files."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.data.labels import in_order
from genzoo.core.data.summary import Read, file_names
from genzoo.core.errors import GenzooError, UsageError, said
from genzoo.core.modality import Reading
from genzoo.core.options import option
from genzoo.plugins.modalities.audio import Audio
from genzoo.plugins.modalities.sound_files import SUFFIXES, BadSound, read_sound, to_int16, trimmed, windows
from genzoo.plugins.modalities.sound_forms import seen_as
from genzoo.registry import declare


@dataclass(frozen=True)
class Clips:
    """Windows int16 ``(N, C, T)`` of sound files, the file and the class of each."""

    values: Any
    files: list[str]
    labels: Any
    classes: tuple[str, ...]
    bad: list[str]


def clips_of(
    root: Path, rate: int, samples: int, mono: bool, cut: str, *, trim: float = 0.0, skip_bad: bool = False
) -> Clips:
    """The sound files under a folder, or one of them, in order of their names; sub-folders are classes if several."""
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    files = [p for p in files if not any(part.startswith(".") for part in p.relative_to(root).parts)]
    if not files:
        raise UsageError(f"{root} has no sound files: files that end in {', '.join(SUFFIXES)}")
    parts, names, owners, bad = list[Any](), list[str](), list[str](), list[str]()
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
    return Clips(np.stack(parts), names, labels, classes, bad)


@declare.dataset(
    "clips",
    summary="your folder of sound files, with class sub-folders if you like",
    modalities=("audio", "spectrogram"),
    tags=("own",),
)
class OwnClips(DataSource):
    """Sound files in a folder (.wav, .flac, .ogg, .mp3, .aiff), in sub-folders named after their classes if you like.

    They are brought to one rate and mixed to one channel, and cut into windows of one length with half overlap; a
    shorter file has silence behind it. A tenth of the files, not of the windows, is held out for testing with seed 0.
    ``front`` says what networks see; recipes for spectrograms take one by themselves. Needs ``genzoo[audio]``.
    """

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        path: str = option("", "the folder, or one sound file")
        rate: int = option(8000, "samples a second to which all files are brought", low=100, high=192_000)
        seconds: float = option(0.512, "length of a clip", low=0.001, high=600)
        mono: bool = option(True, "mix all channels into one")
        cut: Literal["windows", "start"] = option("windows", "what is taken of a longer file: windows, or its start")
        trim: float = option(0.0, "dB below the peak that count as silence at both ends; 0 keeps it", low=0)
        front: Literal["waveform", "mdct", "log-spectrogram", "mel", "instantaneous-frequency"] = option(
            "waveform", "what networks see of a clip"
        )
        n_fft: int = option(0, "samples in a frame of a spectrogram, 0 for 256 or more", low=0)
        hop: int = option(0, "samples from frame to frame, 0 for a quarter of them or what gives 128 frames", low=0)
        bands: int = option(0, "bands of an MDCT, 0 for 16, or on the mel scale, 0 for 64", low=0)
        skip_bad: bool = option(False, "leave out files that cannot be read, with a warning, instead of stopping")

    options: Options

    def own_splits(self) -> bool:
        return False

    def read(self, split: Split) -> Data:
        o = self.options
        if not o.path:
            raise UsageError("the data set 'clips' needs a path to a folder of sound files")
        root = Path(o.path).expanduser()
        if not root.exists():
            raise UsageError(f"there is no folder {str(root)!r}")
        samples = round(o.rate * o.seconds)
        found = clips_of(root, o.rate, samples, o.mono, o.cut, trim=o.trim, skip_bad=o.skip_bad)
        if found.bad:
            warnings.warn(f"{len(found.bad)} sound files cannot be read: {found.bad[0]}; left out", stacklevel=2)
        labels = None if o.labels == "none" else found.labels
        about = Reading(root.stem, found.classes if labels is not None else (), split=split, sure=True)
        held = held_out(found.files)
        train = Audio().made(found.values[~held], None if labels is None else labels[~held], o.rate, about)
        if o.front != "waveform":
            train = seen_as(train, o.front, o.n_fft, o.hop, o.bands)
        chosen = {"train": ~held, "test": held, "all": np.ones_like(held)}[split]
        if not chosen.any():
            raise UsageError(f"{root} has one sound file only, so there is none for a test split")
        order = np.flatnonzero(chosen)
        if split != "all":  # so that the first ones (limit) are of all classes
            order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(0)).numpy()]
        y = None if labels is None else torch.from_numpy(labels[order])
        files = file_names([found.files[i] for i in order])
        others = (("held out", int(held.sum())),) if split == "train" and held.any() else ()
        left = (("files that cannot be read", len(found.bad)),) if found.bad else ()
        read = Read(len(held), "held out" if split != "all" else "", others, files=files, left_out=left)
        return replace(train, rows=torch.from_numpy(found.values[order]), y=y, split=split, read=read)


def held_out(files: list[str]) -> Any:
    """Which windows are for testing: those of a tenth of the files, drawn with seed 0."""
    distinct = list(dict.fromkeys(files))
    count = len(distinct) // 10 or int(len(distinct) > 1)
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(0))[:count].tolist()
    chosen = {distinct[i] for i in order}
    return np.array([f in chosen for f in files])

"""A user's own folder of sound files."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.data.summary import Read, file_names
from genzoo.core.errors import UsageError
from genzoo.core.modality import Reading
from genzoo.core.options import option
from genzoo.plugins.modalities.audio import Audio
from genzoo.plugins.modalities.sound_folder import clips_of
from genzoo.plugins.modalities.sound_forms import seen_as
from genzoo.registry import declare


@dataclass(frozen=True)
class FrontOptions(DataSource.Options):
    """Options of all sounds."""

    front: Literal["waveform", "mdct", "log-spectrogram", "mel", "instantaneous-frequency"] = option(
        "waveform", "what networks see of a clip"
    )
    n_fft: int = option(0, "samples in a frame of a spectrogram, 0 for 256 or more", low=0)
    hop: int = option(0, "samples from frame to frame, 0 for a quarter of them or what gives 128 frames", low=0)
    bands: int = option(0, "bands of an MDCT, 0 for 16, or on the mel scale, 0 for 64", low=0)


def fronted(data: Data, o: FrontOptions) -> Data:
    """Waveforms as the options say that networks see them."""
    return data if o.front == "waveform" else seen_as(data, o.front, o.n_fft, o.hop, o.bands)


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
    class Options(FrontOptions):
        path: str = option("", "the folder, or one sound file")
        rate: int = option(8000, "samples a second to which all files are brought", low=100, high=192_000)
        seconds: float = option(0.512, "length of a clip", low=0.001, high=600)
        mono: bool = option(True, "mix all channels into one")
        cut: Literal["windows", "start"] = option("windows", "what is taken of a longer file: windows, or its start")
        trim: float = option(0.0, "dB below the peak that count as silence at both ends; 0 keeps it", low=0)
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
        still = int((~found.values.any((1, 2))).sum())
        if still == len(found.values):
            raise UsageError(f"{root} has no sound to learn from: all of its {still:,} clips are silent")
        labels = None if o.labels == "none" else found.labels
        about = Reading(root.stem, found.classes if labels is not None else (), split=split, sure=True)
        held = held_out(found.files)
        train = Audio().made(found.values[~held], None if labels is None else labels[~held], o.rate, about)
        train = fronted(train, o)
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
        loud = f"{found.loud:,} files have samples beyond [-1, 1], which are clipped" if found.loud else ""
        mute = f"{still:,} of {len(held):,} clips are silent from end to end" if still else ""
        rows = torch.from_numpy(found.values[order])
        return replace(train, rows=rows, y=y, split=split, read=read.noting(loud, mute))


def held_out(files: list[str]) -> Any:
    """Which windows are for testing: those of a tenth of the files, drawn with seed 0."""
    distinct = list(dict.fromkeys(files))
    count = len(distinct) // 10 or int(len(distinct) > 1)
    order = torch.randperm(len(distinct), generator=torch.Generator().manual_seed(0))[:count].tolist()
    chosen = {distinct[i] for i in order}
    return np.array([f in chosen for f in files])

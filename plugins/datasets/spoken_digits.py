"""Spoken digits of known accent, voice, pitch and speed, said by eSpeak NG, and a thousand that come with genzoo.

``tests/bench/genzoo_bench/bundled_data.py`` in a clone makes the file anew.
"""

from __future__ import annotations

import lzma
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import Reading
from genzoo.core.options import option
from genzoo.core.storage.files import replacing
from genzoo.plugins.datasets.clips import FrontOptions, fronted
from genzoo.plugins.datasets.fashion_mnist import data_folder
from genzoo.plugins.modalities.audio import Audio
from genzoo.plugins.modalities.sound_files import resampled, to_int16, trimmed
from genzoo.registry import declare

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLASSES = tuple("0123456789")
ACCENTS = ("en-us", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
# Those that eSpeak NG says alike every time; breathy ones have noise in them.
VOICES = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f4", "Annie", "linda")
UNHEARD = (6, 11)
PITCHES, SPEEDS = (20, 35, 50, 65, 80), (140, 160, 180, 200)  # of 100; words a minute
NAMES = ("digit*", "accent*", "voice*", "pitch", "speed")
COUNT, RATE, SAMPLES, SPOKEN = 6000, 8000, 4096, 22_050
QUIET = 45.0  # dB below the peak, where a word begins and ends
MINI = Path(__file__).with_name("spoken_digits_mini.bin.xz")
LICENSE = "CC0-1.0"


def plan() -> Any:
    """Factors ``(6000, 5)`` of the clips: so many of all 14,400 combinations, drawn with seed 0."""
    sizes = [len(v) for v in (WORDS, ACCENTS, VOICES, PITCHES, SPEEDS)]
    every = np.array(list(product(*map(range, sizes))))
    return every[np.random.default_rng(0).permutation(len(every))[:COUNT]]


def parts(factors: Any) -> dict[str, Any]:
    """Which clips are of each split, ones and zeros: a tenth of those of ten voices, and all of two others."""
    unheard = np.isin(factors[:, 2], UNHEARD)
    tenth = np.arange(len(factors)) % 10 == 0
    return {"train": ~unheard & ~tenth, "test": ~unheard & tenth, "unheard": unheard}


def spoken(factors: Any) -> Any:
    """Clips int16 ``(N, 4096)`` of rows of factors; `UsageError` where there is nothing to say them."""
    try:
        loader = import_module("espeakng_loader")
    except ImportError:
        raise UsageError(
            "spoken-digits are synthesized by eSpeak NG, which is not installed: pip install 'genzoo[speech]'; "
            "spoken-digits-mini needs nothing"
        ) from None
    if not hasattr(os, "fork"):
        raise UsageError("spoken-digits are synthesized on Linux and macOS only: use spoken-digits-mini")
    worker = Path(__file__).with_name("espeak_worker.py")
    command = [sys.executable, str(worker), str(loader.get_library_path()), str(loader.get_data_path())]

    def said(rows: Any) -> bytes:
        lines = "".join(f"{ACCENTS[a]}+{VOICES[v]} {PITCHES[p]} {SPEEDS[s]} {WORDS[d]}\n" for d, a, v, p, s in rows)
        done = subprocess.run(command, input=lines.encode(), capture_output=True, check=False)
        if done.returncode:
            raise GenzooError(f"eSpeak NG cannot be run: {done.stderr.decode(errors='replace').strip()[-200:]}")
        return done.stdout

    slices = np.array_split(factors, min(os.cpu_count() or 1, 8))
    with ThreadPoolExecutor(len(slices)) as pool:
        found = [fitted(clip) for part in pool.map(said, slices) for clip in clips_in(part)]
    if len(found) != len(factors) or not all(clip.any() for clip in found):
        raise GenzooError("eSpeak NG did not say all words: install another version of espeakng-loader")
    return np.stack(found)


def clips_in(raw: bytes) -> list[Any]:
    """What the worker wrote, int16 each."""
    found, place = list[Any](), 0
    while place < len(raw):
        size = 2 * int.from_bytes(raw[place : place + 4], "little")
        found.append(np.frombuffer(raw, "<i2", size // 2, place + 4))
        place += 4 + size
    return found


def fitted(clip: Any) -> Any:
    """A word at 8,000 a second, from where it begins, cut or with silence behind it to 4,096 samples."""
    if not clip.any():
        return np.zeros(SAMPLES, np.int16)
    x = trimmed(resampled(clip[None].astype(np.float32) / 32768, SPOKEN, RATE), QUIET)[:, :SAMPLES]
    return np.pad(to_int16(x)[0], (0, SAMPLES - x.shape[1]))


def whole() -> Any:
    """All 6,000 clips, int16: from the user's cache, or made and put there."""
    file = data_folder() / "spoken-digits.npy"
    if not file.is_file():
        x = spoken(plan())
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, open(temporary, "wb") as out:
            np.save(out, x, allow_pickle=False)
        return x
    try:
        x = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        x = np.zeros(0)
    if x.shape != (COUNT, SAMPLES) or x.dtype != np.int16:
        raise GenzooError(f"{file} is damaged: remove it, and it is made anew")
    return x


def data_of(x: Any, factors: Any, chosen: Any, name: str, split: Split, front: FrontOptions, train: Any) -> Data:
    """Those clips as data, on the scale of the training split."""
    about = Reading(name, CLASSES, LICENSE, split, sure=True)
    whole = fronted(Audio().made(x[train][:, None], factors[train, 0], RATE, about), front)
    told = torch.from_numpy(factors[chosen].astype(np.int64))
    y = None if front.labels == "none" else told[:, 0].clone()
    spec = whole.spec if y is not None else replace(whole.spec, classes=0, class_names=())
    return replace(whole, spec=spec, rows=torch.from_numpy(x[chosen][:, None]), y=y, factors=told, factor_names=NAMES)


@declare.dataset(
    "spoken-digits",
    summary="6,000 digits of known accent, voice, pitch and speed, synthesized by eSpeak NG",
    modalities=("audio", "spectrogram"),
    tags=("factors",),
)
class SpokenDigits(DataSource):
    """Digits said by eSpeak NG: half a second at 8,000 samples a second; 10 digits, 6 accents, 12 voices.

    Of all 14,400 combinations with 5 pitches and 4 speeds 6,000 are drawn with seed 0. Two voices are never heard in
    training; of the other ten a tenth is for testing, and ``data.voices=unheard`` tests on those two. Synthetic speech,
    and judged as such: it is no substitute for a person's. They are made once, in a few minutes, and kept in the
    user's cache. Needs ``genzoo[speech]``.
    """

    @dataclass(frozen=True)
    class Options(FrontOptions):
        voices: Literal["heard", "unheard"] = option("heard", "voices of the test split: those of training, or others")

    options: Options

    def read(self, split: Split) -> Data:
        factors, x = plan(), whole()
        known = parts(factors)
        chosen = known["unheard" if split == "test" and self.options.voices == "unheard" else split]
        return data_of(x, factors, chosen, "spoken-digits", split, self.options, known["train"])


def stored() -> tuple[Any, Any]:
    """Clips int16 ``(1000, 4096)`` and factors of the file that comes with genzoo, 800 for training first."""
    try:
        raw = np.frombuffer(lzma.decompress(MINI.read_bytes()), np.uint8)
        factors = raw[: len(NAMES) * 1000].reshape(1000, -1)
        return of_mu_law(raw[factors.size :].reshape(1000, SAMPLES)), factors
    except (OSError, ValueError, lzma.LZMAError) as e:
        raise GenzooError(f"{MINI}, which comes with genzoo, is damaged ({e}): install genzoo again") from None


def mini(factors: Any) -> Any:
    """Which of the 6,000 are in it: of each digit the first 80 for training, and the first 20 for testing."""
    known = parts(factors)

    def first(split: str, count: int) -> Sequence[int]:
        each = [np.flatnonzero(known[split] & (factors[:, 0] == digit))[:count] for digit in range(10)]
        return list(np.stack(each, 1).flatten())

    return np.array([*first("train", 80), *first("test", 20)])


def to_mu_law(x: Any) -> Any:
    """16-bit samples as 8 bits, finer where they are small (G.711's curve); 128 is silence."""
    y = x / 32768
    return (128 + np.rint(127 * np.sign(y) * np.log1p(255 * np.abs(y)) / np.log(256))).astype(np.uint8)


def of_mu_law(codes: Any) -> Any:
    """Undo it: the same samples on every machine, by a table."""
    y = np.arange(256) / 127 - 128 / 127
    table = np.rint(32767 * np.sign(y) * np.expm1(np.abs(y) * np.log(256)) / 255).clip(-32768, 32767)
    return table.astype(np.int16)[codes]


@declare.dataset(
    "spoken-digits-mini",
    summary="1,000 of the synthesized spoken digits, which come with genzoo",
    modalities=("audio", "spectrogram"),
    tags=("bundled", "factors"),
)
class SpokenDigitsMini(DataSource):
    """800 + 200 clips of ``spoken-digits``, as many of each digit, in 8 bits on a logarithmic scale (SNR 38 dB).

    Synthesized by eSpeak NG; the sounds are free (CC0).
    """

    options: FrontOptions
    Options = FrontOptions

    def read(self, split: Split) -> Data:
        x, factors = stored()
        train = np.arange(1000) < 800
        return data_of(x, factors, train if split == "train" else ~train, "spoken-digits-mini", split, self.options,
                       train)  # fmt: skip

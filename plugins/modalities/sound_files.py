"""Sound files: looked at before they are decoded, read, resampled and cut; written, and packed for a page."""

from __future__ import annotations

import base64
import io
import os
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from genzoo.core.errors import GenzooError, MissingPackage, UsageError
from genzoo.core.storage.strict import regular

Array = NDArray[Any]
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".parquet")
MOST, MOST_CHANNELS = 2**28, 8  # numbers in a file, and channels
LEAST_RATE = 100  # samples a second: one that says less would be of hours where it is resampled
WRITTEN = {".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS"), ".mp3": ("MP3", "MPEG_LAYER_III"),
           ".aif": ("AIFF", "PCM_16"), ".aiff": ("AIFF", "PCM_16")}  # by soundfile; .wav needs nothing  # fmt: skip
MOST_OGG = 200_000  # samples a second: at more, libsndfile 1.2.2 dies
BLOCK = 8192  # frames: libsndfile 1.2.2 dies of a long .ogg in one piece
_LOOKED_AT = 2000  # files of a folder, until it is known what is in it


class BadSound(ValueError):
    """Why a file holds no clip, in words that follow its name."""


def needs(name: str) -> Any:
    """The package ``soundfile`` or ``soxr``; `MissingPackage` that says how to install it."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise MissingPackage(
            f"sound files are read with {name}, which is not installed: pip install 'genzoo[audio]'"
        ) from None


def holds_sounds(folder: Path) -> bool:
    """Whether a folder, or what lies below it, has sound files and no pictures."""
    seen, found = 0, False
    for _, folders, names in os.walk(folder):
        folders.sort()
        for suffix in (os.path.splitext(n)[1].lower() for n in names if not n.startswith(".")):
            if suffix in PICTURES:
                return False
            found, seen = found or suffix in SUFFIXES, seen + 1
        if seen > _LOOKED_AT:
            break
    return found


def read_sound(path: Path, rate: int, mono: bool) -> Array:
    """A file as float32 ``(channels, samples)`` at ``rate``.

    Raises:
        BadSound: if it holds none that can be read.
        MissingPackage: if a package is missing.
    """
    soundfile = needs("soundfile")
    try:
        size = regular(path).stat().st_size
    except (OSError, GenzooError) as e:
        raise BadSound(f"it cannot be opened: {e}") from None
    if not size:
        raise BadSound("it is empty")
    _whole(path, size)
    try:
        # A name need not be text; the library takes its bytes.
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path) as file:
            if not 0 < file.frames * file.channels <= MOST:
                raise BadSound("it has no sound" if file.frames < 1 else f"its header says {file.frames:,} frames")
            if file.channels > MOST_CHANNELS or (file.channels > 2 and not mono):
                raise BadSound(f"it has {file.channels} channels: mix it down, --set data.mono=true takes up to 8")
            found = int(file.samplerate)
            if found < LEAST_RATE or file.frames * file.channels * rate > MOST * found:
                raise BadSound(f"its header says {found:,} samples a second, of {file.frames:,}")
            x = file.read(file.frames, dtype="float32", always_2d=True).T
    except (soundfile.LibsndfileError, RuntimeError) as e:
        raise BadSound(f"it is no sound file that can be decoded: {getattr(e, 'error_string', e)}") from None
    if not np.isfinite(x).all():
        raise BadSound("it has samples that are NaN or infinite")
    x = x.mean(0, keepdims=True) if mono else x
    if found != rate:
        x = resampled(x, found, rate)
    return np.ascontiguousarray(x, np.float32)


def resampled(x: Array, old: int, new: int) -> Array:
    """``(channels, samples)`` at another rate, by soxr's band-limited filter."""
    found: Array = needs("soxr").resample(np.ascontiguousarray(x.T), old, new).T
    return found


def _whole(path: Path, size: int) -> None:
    """Refuse a file that ends before the sound that its header announces, and an .ogg without its last page."""
    with open(path, "rb") as file:
        kind = file.read(4)
        if kind == b"OggS":
            file.seek(max(size - 2**17, 0))
            pages = file.read().split(b"OggS")
            if len(pages[-1]) < 2 or not pages[-1][1] & 4:  # the flag of a stream's end
                raise BadSound("it was cut off: its last page is not there")
        if kind == b"FORM" and (announced := int.from_bytes(file.read(4), "big") + 8) > size:
            raise BadSound(f"it was cut off: its header says {announced:,} bytes, and it has {size:,}")
        if kind != b"RIFF":
            _whole_mp3(file, kind, size)
            return
        place = 12
        while place + 8 <= size:
            file.seek(place)
            name, length = file.read(4), int.from_bytes(file.read(4), "little")
            if name == b"data":
                there = size - place - 8
                if length > there:
                    raise BadSound(f"it was cut off: its header says {length:,} bytes of sound, and it has {there:,}")
                return
            place += 8 + length + length % 2
    raise BadSound("it has no sound: it is a .wav file that ends before its data")


def _whole_mp3(file: BinaryIO, kind: bytes, size: int) -> None:
    """Refuse an .mp3 file that has fewer bytes than the header of its first frame says, where it has such a header."""
    file.seek(0)
    head, start = file.read(10), 0
    if kind[:3] == b"ID3":  # tags before the sound, of a size in four times 7 bits
        start = 10 + sum((b & 127) << 7 * i for i, b in enumerate(reversed(head[6:10])))
    file.seek(start)
    frame = file.read(200)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if frame[:1] != b"\xff" or at < 0 or not frame[at + 7] & 2:
        return
    at += 8 + 4 * (frame[at + 7] & 1)  # behind the number of frames, where that is told
    announced = int.from_bytes(frame[at : at + 4], "big")
    if size - start < announced:
        raise BadSound(f"it was cut off: its header says {announced:,} bytes of sound, and it has {size - start:,}")


def trimmed(x: Array, below: float) -> Array:
    """Without the silence at both ends, which is what lies ``below`` so many dB under the peak."""
    level = np.abs(x).max(0)
    loud = np.flatnonzero(level > level.max(initial=0.0) * 10 ** (-below / 20))
    return x[:, loud[0] : loud[-1] + 1] if len(loud) else x[:, :0]


def windows(x: Array, samples: int, whole: bool) -> list[Array]:
    """Windows of so many samples with half overlap, the last with silence behind it; only the first of the ``whole``.

    A rest that is shorter than half a window is heard in the window before.
    """
    total = x.shape[1]
    starts = [0] if whole else range(0, max(total - samples // 2, 1), max(samples // 2, 1))
    parts = [x[:, s : s + samples] for s in starts]
    return [np.pad(p, ((0, 0), (0, samples - p.shape[1]))) for p in parts]


def to_int16(x: Array) -> Array:
    """Floats in [-1, 1] as 16-bit numbers: clipped, then rounded, so that nothing wraps."""
    found: Array = np.rint(np.clip(x, -1, 1) * 32768).clip(-32768, 32767).astype(np.int16)
    return found


def wav_bytes(x: Array, rate: int) -> bytes:
    """A .wav file of 16 bits of int16 ``(channels, samples)``."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(x.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(x.T).astype("<i2").tobytes())
    return out.getvalue()


def write_one(path: Path, name: str, rate: int, channels: int, parts: Iterator[Array]) -> None:
    """Write int16 parts ``(channels, samples)`` after one another to ``path``, in the format that ``name`` ends in.

    Raises:
        UsageError: if that format has no such rate, or not so many channels.
    """
    how = WRITTEN.get(Path(name).suffix.lower())
    if how is None:
        with open(path, "wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            for x in parts:
                file.writeframesraw(np.ascontiguousarray(x.T).astype("<i2").tobytes())
        return
    kind, coding = how
    soundfile = needs("soundfile")
    try:
        if kind == "OGG" and rate > MOST_OGG:
            raise ValueError
        file = soundfile.SoundFile(path, "w", rate, channels, coding, format=kind)
    except (soundfile.LibsndfileError, ValueError):
        other = " or ".join(s for s in (".wav", ".flac") if s != Path(name).suffix.lower())
        raise UsageError(f"{name} cannot be written: {kind} has no sound of {rate:,} samples a second in {channels} "
                         f"channel{'s' * (channels > 1)}; name a {other} file") from None  # fmt: skip
    with file as out:
        for x in parts:
            for i in range(0, x.shape[1], BLOCK):
                out.write(np.ascontiguousarray(x[:, i : i + BLOCK].T))


def player(x: Array, rate: int, label: str) -> str:
    """An ``audio`` element of HTML that holds int16 ``(channels, samples)``, under its label."""
    data = base64.b64encode(wav_bytes(x, rate)).decode()
    return (
        f'<div><span style="font-size:0.8125rem">{label}</span><audio controls preload="metadata" '
        f'style="display:block;width:100%" aria-label="{label}" src="data:audio/wav;base64,{data}"></audio></div>'
    )

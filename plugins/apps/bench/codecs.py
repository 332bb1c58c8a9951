"""Generic codecs, beside which models compress: bytes, pictures without loss and with it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image
from PIL import features as pillow

from genzoo.core.errors import GenzooError

TALLEST = 16_383  # rows of a picture that WebP takes
Pixels = np.ndarray[Any, np.dtype[np.uint8]]  # (H, W) or (H, W, 3)


@dataclass(frozen=True)
class Codec:
    """A codec of bytes, or of one picture at a quality; ``absent`` says why it is not there."""

    name: str
    encode: Callable[[Any, float], bytes]
    decode: Callable[[bytes], Any]
    qualities: Sequence[float] = ()  # of a lossy one, from small files to large
    absent: str = ""


def _zstd() -> Codec:
    try:
        module = import_module("compression.zstd")  # Python 3.14
        return Codec("zstd -19", lambda b, _: module.compress(b, level=19), module.decompress)
    except ImportError:
        pass
    try:
        module = import_module("zstandard")
        return Codec("zstd -19", lambda b, _: module.ZstdCompressor(level=19).compress(b),
                     lambda b: module.ZstdDecompressor().decompress(b))  # fmt: skip
    except ImportError:
        pass
    if program := shutil.which("zstd"):
        return Codec("zstd -19", lambda b, _: _piped([program, "-19", "-q", "-c"], b),
                     lambda b: _piped([program, "-d", "-q", "-c"], b))  # fmt: skip
    return Codec("zstd -19", lambda b, _: b, lambda b: b, absent="pip install zstandard")


def _piped(command: list[str], content: bytes) -> bytes:
    try:
        return subprocess.run(command, input=content, capture_output=True, check=True, timeout=600).stdout
    except (OSError, subprocess.SubprocessError) as e:
        raise GenzooError(f"{command[0]} failed ({e})") from None


def of_bytes() -> list[Codec]:
    """gzip, bz2, xz, zstd, all at their strongest."""
    return [
        Codec("gzip -9", lambda b, _: gzip.compress(b, 9, mtime=0), gzip.decompress),
        Codec("bz2 -9", lambda b, _: bz2.compress(b, 9), bz2.decompress),
        Codec("xz -9e", lambda b, _: lzma.compress(b, preset=9 | lzma.PRESET_EXTREME), lzma.decompress),
        _zstd(),
    ]


def _pillow(name: str, kind: str, how: Callable[[float], dict[str, Any]], qualities: Sequence[float] = ()) -> Codec:
    there = kind == "PNG" or pillow.check({"WEBP": "webp", "JPEG": "jpg"}[kind])

    def encode(x: Pixels, quality: float) -> bytes:
        Image.fromarray(x).save(out := io.BytesIO(), kind, **how(quality))
        return out.getvalue()

    def decode(content: bytes) -> Pixels:
        return np.asarray(Image.open(io.BytesIO(content)))

    return Codec(name, encode, decode, qualities, "" if there else f"this Pillow has no {name}")


def _jxl(name: str, how: Callable[[float], dict[str, Any]], qualities: Sequence[float] = ()) -> Codec:
    try:
        module = import_module("imagecodecs")
        there = module.JPEGXL.available
    except (ImportError, AttributeError):
        there = False
    if not there:
        return Codec(name, lambda b, _: b, lambda b: b, qualities, "pip install imagecodecs")
    return Codec(name, lambda x, q: bytes(module.jpegxl_encode(x, effort=9, **how(q))),
                 lambda b: np.squeeze(module.jpegxl_decode(b)), qualities)  # fmt: skip


def of_pictures() -> list[Codec]:
    """PNG, WebP and JPEG XL without loss."""
    return [
        _pillow("PNG", "PNG", lambda _: {"optimize": True}),
        _pillow("WebP", "WEBP", lambda _: {"lossless": True, "quality": 100, "method": 6}),
        _jxl("JPEG XL", lambda _: {"lossless": True}),
    ]


def lossy() -> list[Codec]:
    """JPEG, WebP and JPEG XL by quality."""
    shares = (5, 10, 20, 30, 50, 70, 85, 95)
    return [
        _pillow("JPEG", "JPEG", lambda q: {"quality": int(q), "optimize": True}, shares),
        _pillow("WebP", "WEBP", lambda q: {"quality": int(q), "method": 6}, shares),
        _jxl("JPEG XL", lambda d: {"distance": d}, (15, 10, 7, 5, 3, 2, 1, 0.5)),
    ]


def pixels_of(rows: Any) -> Pixels:
    """One picture ``(C, H, W)`` of 8 bits as codecs take it: grey, or colour with channels last."""
    found: Pixels = rows[0] if len(rows) == 1 else np.moveaxis(rows, 0, -1)
    return np.ascontiguousarray(found)


def sheet(pictures: Sequence[Pixels], tall: bool = False) -> Pixels:
    """All of them in rows without a gap: near to a square, or as tall as can be, which codecs without loss like."""
    n, height = len(pictures), len(pictures[0])
    columns = [k for k in range(1, n + 1) if n % k == 0]
    across = max(k for k in columns if k * k <= n)
    if tall:
        across = min((k for k in columns if n // k * height <= TALLEST), default=n)
    return np.concatenate([np.concatenate(pictures[i : i + across], 1) for i in range(0, n, across)])


def unsheet(whole: Pixels, n: int, height: int, width: int) -> list[Pixels]:
    """Back from `sheet`."""
    return [whole[a : a + height, b : b + width]
            for a in range(0, whole.shape[0], height) for b in range(0, whole.shape[1], width)][:n]  # fmt: skip

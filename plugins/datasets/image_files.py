"""Pictures in files: how each is opened, brought to channels and size, and what was changed on the way."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.strict import regular
from genzoo.plugins.modalities.forms import Scale

MOST_PIXELS = 64_000_000  # of one file: a small file can announce, and fill, any amount of memory
SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".jp2", ".j2k", ".tga", ".qoi",
)  # fmt: skip
EIGHT_BIT = (".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".tga", ".qoi")  # never more
_MAGIC = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|RIFF.{4}WEBP|II\*\0|MM\0\*|P[1-6]\s|....ftypavif", re.DOTALL
)
_GREY = ("1", "L", "LA", "La", "I", "F")
Pixels: TypeAlias = NDArray[Any]
Mode = Literal["auto", "grey", "colour"]
Opener = Callable[[str], Path | bytes]  # from a picture's name to where it is, or what it holds


class BadImage(Exception):
    """One file that is no image that can be used; says why."""


@dataclass(frozen=True)
class Look:
    """How pictures are looked at.

    Attributes:
        size: height and width to bring them to, by antialiased resizing and cropping at the centre, or None.
        mode: ``grey``, ``colour``, or ``auto`` for what each file is.
        alpha: whether transparency is kept as a fourth channel, and not composited on white.
        scale: which numbers are black and white where a file has more than 8 bits; None leaves them as they are.
        seen: what was changed in how many files.
    """

    size: tuple[int, int] | None = None
    mode: Mode = "auto"
    alpha: bool = False
    scale: Scale | None = None
    seen: Counter[str] = field(default_factory=Counter)


def is_picture(start: bytes) -> bool:
    """Whether a file begins as pictures do."""
    return _MAGIC.match(start) is not None


def read_image(where: Path | bytes, look: Look) -> Pixels:
    """Read one image, ``(H, W, C)`` with 1, 3 or 4 channels, uint8, or float32 in [0, 1] if it holds floats.

    Raises:
        BadImage: says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(where) if isinstance(where, bytes) else regular(where)) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise BadImage(f"{opened.width}x{opened.height} pixels are too many")
                if more := getattr(opened, "n_frames", 1) - 1:
                    look.seen["frames"] += more
                    look.seen["films"] += 1
                deep = _deep(opened)
                image = None if deep is not None else _flatten(ImageOps.exif_transpose(opened), look)
        if deep is not None:
            return _scaled(deep, look)
        assert image is not None
        if look.size is not None:
            image = ImageOps.fit(image, (look.size[1], look.size[0]), Image.Resampling.BICUBIC)
        pixels: Pixels = np.array(image, np.uint8)
        return pixels[..., None] if pixels.ndim == 2 else pixels
    except (BadImage, MemoryError, UsageError):
        raise
    except GenzooError as e:
        raise BadImage(str(e).removeprefix(f"{where!s} is ")) from None
    except UnidentifiedImageError:
        empty = not where if isinstance(where, bytes) else where.stat().st_size == 0
        raise BadImage("empty" if empty else "not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage("too many pixels") from None
    except Exception as e:  # a damaged file can raise nearly anything in a decoder
        raise BadImage(str(e).partition("\n")[0] or type(e).__name__) from None


def _flatten(image: Image.Image, look: Look) -> Image.Image:
    """The image as 8-bit grey (L), colour (RGB) or colour with opacity (RGBA)."""
    if image.mode == "P":
        look.seen["palette"] += 1
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        look.seen[image.mode] += 1
    grey = look.mode == "grey" or (look.mode == "auto" and (image.mode in _GREY or _grey_palette(image)))
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        look.seen["alpha"] += 1
        image = image.convert("RGBA")
        if look.alpha:
            return image
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image.convert("L" if grey else "RGB")


def _grey_palette(image: Image.Image) -> bool:
    """Whether all colours of a palette that are used are grey."""
    if image.mode != "P" or image.palette is None:
        return False
    palette = image.getpalette("RGB") or []
    used = (image.getcolors(256) or []) if palette else []
    return all(len(set(palette[3 * i : 3 * i + 3])) == 1 for _, i in used if isinstance(i, int))


def _deep(opened: Image.Image) -> Pixels | None:
    """Numbers ``(H, W, C)`` of a file that has more than 8 bits, as they are; None for others."""
    tiles: Any = getattr(opened, "tile", None)
    mode, tile = opened.mode, tiles[0] if tiles else None
    raw = "" if tile is None else str(tile.args[0] if isinstance(tile.args, tuple) else tile.args)
    if mode.startswith(("I", "F")):
        return np.asarray(opened)[..., None]
    if mode not in ("RGB", "RGBA") or not raw.startswith(f"{mode};16") or tile is None or tile.codec_name != "zip":
        return None
    halves: list[Pixels] = []
    for order in "BL":  # of two bytes Pillow keeps one: the higher one, then, in the other order, the lower one
        file: Any = getattr(opened, "fp")  # noqa: B009
        file.seek(0)
        again = Image.open(file)
        again.tile = [t._replace(args=f"{mode};16{order}") for t in again.tile]
        halves.append(np.asarray(again).astype(np.uint16))
    return (halves[0] << 8) | halves[1]


def numbers_of(where: Path | bytes) -> Pixels | None:
    """Numbers of a file with more than 8 bits, as they are; None for others, and for what cannot be read."""
    try:
        with Image.open(BytesIO(where) if isinstance(where, bytes) else regular(where)) as opened:
            return _deep(opened) if opened.width * opened.height <= MOST_PIXELS else None
    except Exception:
        return None


def _scaled(deep: Pixels, look: Look) -> Pixels:
    """Deep pixels between black and white: 8-bit, but floats in [0, 1] where they are floats."""
    look.seen["floats" if deep.dtype.kind == "f" else "deep"] += 1
    x: Pixels = (look.scale or Scale(0, 1)).unit(deep)
    if x.shape[2] == 4:
        look.seen["alpha"] += 1
        x = x if look.alpha else x[..., :3] * x[..., 3:] + (1 - x[..., 3:])
    if look.mode == "grey" and x.shape[2] == 3:
        x = (x @ np.array([[0.299], [0.587], [0.114]], np.float32)).astype(np.float32)
    elif look.mode == "colour" and x.shape[2] == 1:
        x = np.repeat(x, 3, axis=2)
    if look.size is not None:
        size = (look.size[1], look.size[0])
        planes = [Image.fromarray(np.ascontiguousarray(x[..., c])) for c in range(x.shape[2])]
        x = np.stack([np.asarray(ImageOps.fit(p, size, Image.Resampling.BICUBIC)) for p in planes], axis=-1).clip(0, 1)
    return x if deep.dtype.kind == "f" else np.rint(x * 255).astype(np.uint8)


def alike(image: Pixels, channels: int, dtype: Any) -> Pixels:
    """A picture with so many channels: grey ones repeated, opacity full; as uint8 or as floats in [0, 1]."""
    if image.dtype != dtype:
        image = image.astype(np.float32) / 255
    if image.shape[2] == 1 and channels > 1:
        image = np.repeat(image, 3, axis=2)
    if image.shape[2] < channels:
        full = np.full((*image.shape[:2], 1), 255 if image.dtype == np.uint8 else 1, image.dtype)
        image = np.concatenate([image, full], axis=2)
    return image


class ImageFiles:
    """Images in files as an array ``(N, H, W, C)`` that reads them as it is indexed; ``shape`` is that of one."""

    def __init__(self, names: Sequence[str], open: Opener, shape: tuple[int, ...], dtype: Any, look: Look) -> None:
        # One block of bytes: a list would be copied into every worker, page by page, as its items are counted.
        self._names = np.array([os.fsencode(n) for n in names])
        self.open, self.look, self.dtype = open, look, np.dtype(dtype)
        if look.mode == "auto":
            self.look = replace(look, mode="grey" if shape[-1] == 1 else "colour")
        self.shape = (len(names), *shape)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Pixels:
        numbers = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for at, i in enumerate(numbers):
            name = os.fsdecode(self._names[i])
            try:
                image = alike(read_image(self.open(name), self.look), self.shape[-1], self.dtype)
            except BadImage as e:
                raise GenzooError(f"the image {name} cannot be read any more: {e}") from None
            if image.shape != self.shape[1:]:
                height, width = image.shape[:2]
                raise GenzooError(
                    f"the image {name} was {self.shape[1]}x{self.shape[2]} (height x width) and is now "
                    f"{height}x{width}: leave files as they are while they are used as data"
                )
            out[at] = image
        return out


def told(seen: Counter[str], look: Look) -> list[str]:
    """What was changed on the way, a sentence each."""
    notes = []
    if seen["films"]:
        what = f"{seen['films']:,} files hold several pictures (pages or frames)"
        notes.append(f"{what}: the first of each is read, {seen['frames']:,} are left out")
    if seen["deep"] and look.scale is not None:
        notes.append(f"{seen['deep']:,} files of more than 8 bits: {look.scale.words}, brought to 8 bits")
    if seen["floats"] and look.scale is not None and look.scale.white != 1:
        notes.append(f"{seen['floats']:,} files of floats: {look.scale.words}")
    if seen["alpha"]:
        how = "kept as a fourth channel" if look.alpha else "composited on white; --set data.alpha=keep keeps it"
        notes.append(f"{seen['alpha']:,} files with transparency, {how}")
    if seen["palette"]:
        notes.append(f"{seen['palette']:,} files with a palette, read as the colours that it names")
    notes += [
        f"{seen[mode]:,} files of {mode}, brought to RGB" for mode in ("CMYK", "YCbCr", "LAB", "HSV") if seen[mode]
    ]
    return notes


def bytes_of(shape: tuple[int, ...], dtype: Any, n: int) -> int:
    """Memory that so many pictures take."""
    return n * math.prod(shape) * int(np.dtype(dtype).itemsize)

"""Image files as 8-bit grey or colour, one at a time or as an array that decodes as it is indexed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from genzoo.core.errors import GenzooError
from genzoo.core.storage.strict import regular

MOST_PIXELS = 64_000_000  # of one file: a small file can announce, and fill, any amount of memory
Image8: TypeAlias = NDArray[np.uint8]


class BadImage(Exception):
    """One file that is no image that can be used; says why."""


class ImageFiles:
    """Images in files as an array ``(N, H, W)``, or ``(N, H, W, 3)`` if colour.

    Args:
        paths: of the files.
        shape: height and width that they have when read.
        size: as in `read_image`.
        mode: ``grey`` or ``colour``.
    """

    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __init__(self, paths: Sequence[Path], shape: tuple[int, ...], size: tuple[int, int] | None, mode: str) -> None:
        # One block of bytes: a list would be copied into every worker, page by page, as its items are counted.
        self._paths = np.array([os.fsencode(p) for p in paths])
        self.size, self.mode = size, mode
        self.shape = (len(paths), *shape, *((3,) if mode == "colour" else ()))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Image8:
        """Decode images by a slice, or by an array of whole numbers.

        Raises:
            GenzooError: if a file, once good, cannot be read any more; names it.
        """
        numbers = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        out = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for at, i in enumerate(numbers):
            path = Path(os.fsdecode(self._paths[i]))
            try:
                image = read_image(path, self.size, self.mode)
            except BadImage as e:
                raise GenzooError(f"the image {path} cannot be read any more: {e}") from None
            if image.shape != self.shape[1:]:
                height, width = image.shape[:2]
                raise GenzooError(
                    f"the image {path} was {self.shape[1]}x{self.shape[2]} (height x width) and is now "
                    f"{height}x{width}: leave files as they are while they are used as data"
                )
            out[at] = image
        return out


def read_image(path: Path, size: tuple[int, int] | None, mode: str) -> Image8:
    """Read one image, ``(H, W)`` if grey and ``(H, W, 3)`` if colour.

    Args:
        path: the file.
        size: height and width to bring it to, by antialiased resizing and cropping at the centre.
        mode: ``grey``, ``colour``, or ``auto`` for what the file is.

    Raises:
        BadImage: if it cannot be read or is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(regular(path)) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise BadImage(f"{opened.width}x{opened.height} pixels are too many")
                image = _flatten(ImageOps.exif_transpose(opened), mode)
        if size is not None:
            image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BICUBIC)
        return np.array(image, np.uint8)
    except (BadImage, MemoryError):
        raise
    except GenzooError as e:
        raise BadImage(str(e).removeprefix(f"{path} is ")) from None
    except UnidentifiedImageError:
        raise BadImage("empty" if path.stat().st_size == 0 else "not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage("too many pixels") from None
    except Exception as e:  # a damaged file can raise nearly anything in a decoder
        raise BadImage(str(e).partition("\n")[0] or type(e).__name__) from None


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """The image as 8-bit grey (L) or colour (RGB), on white where it is transparent."""
    if image.mode in ("I", "F"):
        raise BadImage(f"its pixels are 32-bit ({image.mode}), not 8-bit")
    if image.mode.startswith("I;16"):
        eight_bit = Image.fromarray((np.asarray(image, np.uint16) / 257).round().astype(np.uint8))
        return eight_bit.convert("RGB" if mode == "colour" else "L")
    grey = mode == "grey" or (mode == "auto" and image.mode in ("1", "L", "LA", "La"))
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white
    return image.convert("L" if grey else "RGB")

"""A user's own folder of images."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from genzoo.core.arrays import progress, stack
from genzoo.core.data import LIMIT_BYTES, Data, DataSource, Split, from_arrays
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import option

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
MOST_PIXELS = 64_000_000  # of one file: a small file can announce, and fill, any amount of memory
File = tuple[Path, int]  # and its class


class BadImage(Exception):
    """One file that is no image that can be used; says why."""


class Folder(DataSource):
    """Images in a folder, in sub-folders named after their classes if you like.

    Sub-folders ``train`` and ``test`` are the splits if both are there; otherwise the test split is a tenth of
    the files, held out with seed 0 in the order of their sorted names. Files come shuffled with seed 0, so
    that the first ones (``limit``) are of all classes. Transparent images are composited on white, photographs
    turned upright, of an animation the first frame is taken. Hidden files, and files without an image's
    suffix, are no part of the data set.
    """

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        """Where the folder is and how to take its images."""

        path: str = option("", "the folder")
        size: str = option(
            "none", "bring all images to this size, '64' or 'HEIGHTxWIDTH': resize, then crop the centre"
        )
        mode: Literal["auto", "grey", "colour"] = option("auto", "auto is grey if all images of the split are")
        skip_bad: bool = option(False, "leave out files that cannot be read, with a warning, instead of stopping")

    options: Options

    def read(self, split: Split) -> Data:
        """Read a split.

        Raises:
            GenzooError: if files are broken; names the first three and counts them.
            UsageError: if there are no images, their sizes differ, or an option makes no sense.
        """
        if not self.options.path:
            raise UsageError("the data set 'folder' needs a path to a folder of images")
        root = Path(self.options.path).expanduser()
        if not root.is_dir():
            raise UsageError(f"there is no folder {str(root)!r}")
        size = parse_size(self.options.size)
        files, names = _split(root, split)
        if self.options.limit:
            files = files[: self.options.limit]
        return self._data(root, files, names, size, split)

    def _data(
        self, root: Path, files: list[File], names: tuple[str, ...], size: tuple[int, int] | None, split: Split
    ) -> Data:
        images: list[NDArray[np.uint8]] = []
        kept: list[File] = []
        bad: list[str] = []
        nbytes = 0
        for path, label in progress(files, len(files), "reading images"):
            try:
                image = read_image(path, size, self.options.mode)
            except BadImage as e:
                bad.append(f"{path.relative_to(root)} ({e})")
                continue
            if images and image.shape[:2] != images[0].shape[:2]:
                (a, first), (b, other) = (("x".join(map(str, i.shape[:2])), i) for i in (images[0], image))
                raise UsageError(
                    f"images differ in size: {kept[0][0].relative_to(root)} is {a} and {path.relative_to(root)} is {b} "
                    f"(height x width): set the option size, e.g. size={min(*first.shape[:2], *other.shape[:2])}"
                )
            nbytes += image.nbytes
            if nbytes > LIMIT_BYTES:
                raise UsageError(
                    f"the images in {root} need more than {LIMIT_BYTES >> 30} GiB: set the options size or limit"
                )
            images.append(image)
            kept.append((path, label))
        self._report(root, bad, len(files))
        if any(i.ndim == 3 for i in images):
            images = [i if i.ndim == 3 else np.repeat(i[..., None], 3, axis=-1) for i in images]
        labels = np.array([label for _, label in kept]) if names else None
        layout: Literal["last"] | None = "last" if images[0].ndim == 3 else None
        return from_arrays(
            stack(images), labels, name=_written(root.resolve().name), layout=layout, class_names=names, split=split
        )

    def _report(self, root: Path, bad: list[str], total: int) -> None:
        if not bad:
            return
        some = ", ".join(bad[:3]) + (", …" if len(bad) > 3 else "")
        text = f"{len(bad)} of {total} image files in {root} cannot be read: {some}"
        if len(bad) == total or not self.options.skip_bad:
            raise GenzooError(f"{text}; repair or remove them" + ("" if len(bad) == total else ", or set skip_bad"))
        warnings.warn(f"{text}; left out", stacklevel=2)


def parse_size(text: str) -> tuple[int, int] | None:
    """Turn ``64`` or ``HEIGHTxWIDTH`` into (height, width), ``none`` into None."""
    if text == "none":
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if match is None:
        raise UsageError(f"the option size is 'none', '64' or 'HEIGHTxWIDTH', not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def read_image(path: Path, size: tuple[int, int] | None, mode: str) -> NDArray[np.uint8]:
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
            with Image.open(path) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise BadImage(f"{opened.width}x{opened.height} pixels are too many")
                image = _flatten(ImageOps.exif_transpose(opened), mode)
        if size is not None:
            image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BICUBIC)
        return np.array(image, np.uint8)
    except (BadImage, MemoryError):
        raise
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


def _split(root: Path, split: Split) -> tuple[list[File], tuple[str, ...]]:
    """The files of a split, shuffled, and the names of the classes."""
    train, test = root / "train", root / "test"
    if train.is_dir() and test.is_dir():
        files, names = _files(train)
        if split == "test":
            files, test_names = _files(test)
            strange = sorted(set(test_names) - set(names))
            if strange or bool(names) != bool(test_names):
                what = f"the class {strange[0]!r}" if names and strange else "other sub-folders"
                raise UsageError(f"{test} has {what} that {train} does not have")
            files = [(path, names.index(test_names[label]) if names else 0) for path, label in files]
        return _shuffled(files), names
    files, names = _files(train if train.is_dir() else root)
    files = _shuffled(files)
    held = len(files) // 10 or 1
    if len(files) == 1:
        if split == "test":
            raise UsageError(f"{root} has one image only, so there is none for a test split")
        return files, names
    return (files[held:] if split == "train" else files[:held]), names


def _shuffled(files: list[File]) -> list[File]:
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))
    return [files[i] for i in order.tolist()]


def _files(folder: Path) -> tuple[list[File], tuple[str, ...]]:
    """All images of a folder by sorted name, and its classes: none unless two sub-folders have images."""
    try:
        here = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        loose = [p for p in here if _is_image(p) and not p.is_dir()]
        classes = [(sub.name, found) for sub in here if sub.is_dir() and (found := sorted(_walk(sub)))]
    except OSError as e:
        raise GenzooError(f"the folder {e.filename} cannot be read: {e.strerror}") from None
    if loose and classes:
        raise UsageError(
            f"{folder} has images of its own ({loose[0].name}) and in sub-folders ({classes[0][0]}): keep one kind"
        )
    if not loose and not classes:
        raise UsageError(f"{folder} has no images: files that end in {', '.join(SUFFIXES)}")
    files = [(path, 0) for path in loose] + [(path, i) for i, (_, found) in enumerate(classes) for path in found]
    return files, tuple(_written(name) for name, _ in classes) if len(classes) > 1 else ()


def _written(name: str) -> str:
    """A file's name as text that any file can hold: bytes that are no UTF-8 become question marks."""
    return name.encode(errors="replace").decode()


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:  # os.walk would skip what it may not read
        raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [f for f in folders if not f.startswith(".")]
        yield from (Path(place, name) for name in names if _is_image(Path(name)))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")

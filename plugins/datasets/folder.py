"""A user's own folder of images: what is read of it, and what is left out."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.data.arrays import progress, stack
from genzoo.core.data.summary import Read, file_names
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import option
from genzoo.core.storage.strict import regular
from genzoo.core.units import free_bytes
from genzoo.registry import declare

MOST_PIXELS = 64_000_000  # of one file: a small file can announce, and fill, any amount of memory
Image8: TypeAlias = NDArray[np.uint8]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
File = tuple[Path, int]  # and its class


@declare.dataset(
    "folder",
    summary="your folder of images, with class sub-folders if you like",
    modalities=("image",),
    tags=("own",),
)
class Folder(DataSource):
    """Images in a folder, in sub-folders named after their classes if you like.

    Sub-folders ``train`` and ``test`` are the splits if both are there; otherwise the test split is a tenth of
    the files, held out with seed 0 in the order of their sorted names. Files come shuffled with seed 0, so
    that the first ones (``limit``) are of all classes. Transparent images are composited on white, photographs
    turned upright, of an animation the first frame is taken. Hidden files, and files without an image's
    suffix, are no part of the data set. Every file is checked; images that do not fit into memory are decoded
    as they are needed.
    """

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        path: str = option("", "the folder")
        size: str = option(
            "none", "bring all images to this size, '64' or 'HEIGHTxWIDTH': resize, then crop the centre"
        )
        mode: Literal["auto", "grey", "colour"] = option("auto", "auto is grey if all images of the split are")
        skip_bad: bool = option(False, "leave out files that cannot be read, with a warning, instead of stopping")

    options: Options

    def read(self, split: Split) -> Data:
        files, names, read = _split(self._root(), split, self.options.limit)
        return self._data(files, names, split, read)

    def own_splits(self) -> bool:
        return all((self._root() / name).is_dir() for name in ("train", "test"))

    def _root(self) -> Path:
        if not self.options.path:
            raise UsageError("the data set 'folder' needs a path to a folder of images")
        root = Path(self.options.path).expanduser()
        if not root.is_dir():
            raise UsageError(f"there is no folder {str(root)!r}")
        return root

    def _data(self, files: list[File], names: tuple[str, ...], split: Split, found: Read) -> Data:
        root, size = self._root(), parse_size(self.options.size)
        files = files[: self.options.limit or None]
        images: list[Image8] = []
        kept: list[File] = []
        bad: list[str] = []
        shape: tuple[int, ...] | None = None
        colour = False
        memory = free_bytes() // 2 if self.memory is None else self.memory
        for path, label in progress(files, len(files), "reading images"):
            try:
                image = read_image(path, size, self.options.mode)
            except BadImage as e:
                bad.append(f"{path.relative_to(root)} ({e})")
                continue
            shape = shape or image.shape[:2]
            if image.shape[:2] != shape:
                (a, b), (c, d) = shape, image.shape[:2]
                raise UsageError(
                    f"images differ in size: {kept[0][0].relative_to(root)} is {a}x{b} and {path.relative_to(root)} is "
                    f"{c}x{d} (height x width): set the option size, e.g. size={min(a, b, c, d)}"
                )
            colour = colour or image.ndim == 3
            kept.append((path, label))
            if len(files) * math.prod(shape) * (3 if colour else 1) <= memory:
                images.append(image)
            else:  # they are read again when they are needed; the rest is only checked
                images.clear()
        if bad:
            some = ", ".join(bad[:3]) + (", …" if len(bad) > 3 else "")
            text = f"{len(bad)} of {len(files)} image files in {root} cannot be read: {some}"
            if not kept or not self.options.skip_bad:
                raise GenzooError(f"{text}; repair or remove them" + (", or set skip_bad" if kept else ""))
            warnings.warn(f"{text}; left out", stacklevel=2)
        assert shape is not None
        read: Any = ImageFiles([path for path, _ in kept], shape, size, "colour" if colour else "grey")
        if images:
            read = stack([i if i.ndim == 3 or not colour else np.repeat(i[..., None], 3, axis=-1) for i in images])
        labels = np.array([label for _, label in kept]) if names else None
        about: dict[str, Any] = {"name": _written(root.resolve().name), "layout": "last" if colour else None}
        data = from_arrays(read, labels, class_names=names, split=split, memory=memory, **about)
        files_read = file_names([_written(path.relative_to(root).as_posix()) for path, _ in kept])
        return replace(data, read=replace(found, files=files_read))


def parse_size(text: str) -> tuple[int, int] | None:
    """Turn ``64`` or ``HEIGHTxWIDTH`` into (height, width), ``none`` into None."""
    if text == "none":
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if match is None:
        raise UsageError(f"the option size is 'none', '64' or 'HEIGHTxWIDTH', not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _split(root: Path, split: Split, limit: int = 0) -> tuple[list[File], tuple[str, ...], Read]:
    """The files of a split, shuffled but for ``all``, the names of the classes, and what was found."""
    train, test = root / "train", root / "test"
    if train.is_dir() and test.is_dir():
        files, names = _files(train)
        rest = ("test", len(_files(test)[0])) if split == "train" else ("train", len(files))
        if split == "test":
            files, test_names = _files(test)
            strange = sorted(set(test_names) - set(names))
            if strange or bool(names) != bool(test_names):
                what = f"the class {strange[0]!r}" if names and strange else "other sub-folders"
                raise UsageError(f"{test} has {what} that {train} does not have")
            files = [(path, names.index(test_names[label]) if names else 0) for path, label in files]
        return _shuffled(files), names, Read(len(files) + rest[1], "own", (rest,))
    files, names = _files(train if train.is_dir() else root)
    if len(files) == 1 and split == "test":
        raise UsageError(f"{root} has one image only, so there is none for a test split")
    counts = tuple(np.bincount([label for _, label in files]).tolist()) if names else ()
    if split == "all":
        return (sorted(_shuffled(files)[:limit]) if limit else files), names, Read(len(files), counts=counts)
    files, held = _shuffled(files), len(files) // 10 or int(len(files) > 1)
    found = Read(len(files), "held out", (("held out", held),) if split == "train" else (), counts)
    return (files[held:] if split == "train" else files[:held]), names, found


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


class BadImage(Exception):
    """One file that is no image that can be used; says why."""


class ImageFiles:
    """Images in files as an array ``(N, H, W)``, or ``(N, H, W, 3)`` if colour; ``shape`` is that of one."""

    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __init__(self, paths: Sequence[Path], shape: tuple[int, ...], size: tuple[int, int] | None, mode: str) -> None:
        # One block of bytes: a list would be copied into every worker, page by page, as its items are counted.
        self._paths = np.array([os.fsencode(p) for p in paths])
        self.size, self.mode = size, mode
        self.shape = (len(paths), *shape, *((3,) if mode == "colour" else ()))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Image8:
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
    """Read one image, ``(H, W)`` if grey and ``(H, W, 3)`` if colour; raises `BadImage`.

    ``size`` is the height and width to bring it to, by antialiased resizing and cropping at the centre; ``mode`` is
    ``grey``, ``colour``, or ``auto`` for what the file is.
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

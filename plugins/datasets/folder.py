"""A user's own folder, or .zip file, of images."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.data.arrays import progress, stack
from genzoo.core.data.summary import Read, file_names
from genzoo.core.errors import GenzooError, UsageError, said
from genzoo.core.options import option
from genzoo.core.units import free_bytes
from genzoo.plugins.datasets.file_tree import Listing, Tree, Zip, written
from genzoo.plugins.datasets.image_files import (
    EIGHT_BIT,
    SUFFIXES,
    BadImage,
    ImageFiles,
    Look,
    Opener,
    Pixels,
    alike,
    bytes_of,
    numbers_of,
    read_image,
    told,
)
from genzoo.plugins.modalities.forms import Found, Scale, scale_of
from genzoo.registry import declare


@declare.dataset(
    "folder",
    summary="your folder (or .zip) of images, with class sub-folders or a file of labels if you like",
    modalities=("image",),
    tags=("own",),
)
class Folder(DataSource):
    """Images in a folder, a .zip file or .parquet files, in sub-folders named after their classes if you like.

    Folders called train, test and val (or training, testing, valid, validation, in any case) are the splits where
    there are no others beside them and one is for training; otherwise the test split is a tenth of the files, held out
    with seed 0 in the order of their sorted names. Labels are those of ``metadata.csv``, ``metadata.jsonl`` or
    ``dataset.json`` beside the images, else sub-folders are classes where there are several. Files come shuffled with
    seed 0, so that the first ones (``limit``) are of all classes. Transparent images are composited on white (unless
    ``alpha=keep``), photographs turned upright, of a file with several pictures the first is taken. Linked folders are
    followed, each once. Files of more than 8 bits are scaled by the range over all of them where that is plain, else
    ``white`` says what is white. What is left out is counted. Every file is checked; images that do not fit into
    memory are decoded as they are needed.
    """

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        path: str = option("", "the folder, or the .zip or .parquet file")
        size: str = option(
            "none", "bring all images to this size, '64' or 'HEIGHTxWIDTH': resize, then crop the centre"
        )
        mode: Literal["auto", "grey", "colour"] = option("auto", "auto is grey if all images of the split are")
        alpha: Literal["white", "keep"] = option(
            "white", "composite transparent images on white, or keep a 4th channel"
        )
        white: float = option(0.0, "the number that is white in files of more than 8 bits; 0 goes by their range")
        black: float = option(0.0, "the number that is black in files of more than 8 bits, with white")
        skip_bad: bool = option(False, "leave out files that cannot be read, with a warning, instead of stopping")

    options: Options

    def read(self, split: Split) -> Data:
        tree = self._tree()
        listing = tree.listing(self.options.labels)
        return self._data(tree, listing, *_split(tree.root, listing, split, self.options.limit), split)

    def own_splits(self) -> bool:
        return len(self._tree().listing(self.options.labels).splits) > 1

    def _tree(self) -> Tree:
        if not self.options.path:
            raise UsageError("the data set 'folder' needs a path to a folder of images")
        root = Path(self.options.path).expanduser()
        if root.suffix.lower() == ".zip" and root.is_file():
            return Zip(root)
        if root.suffix.lower() == ".parquet" and root.is_file():
            return _parquet(root)
        if not root.is_dir():
            raise UsageError(f"there is no folder {str(root)!r}")
        tree = Tree(root)
        shards = [name for name in tree.files if name.lower().endswith(".parquet")]
        return _parquet(root) if shards and not any(n.lower().endswith(SUFFIXES) for n in tree.files) else tree

    def _data(self, tree: Tree, listing: Listing, names: list[str], found: Read, split: str) -> Data:
        o, every = self.options, [name for part in listing.splits.values() for name in part]
        names = names[: o.limit or None]
        scale = _range(tree.open, every, o.black or None, o.white or None, tree.root)
        look = Look(parse_size(o.size), o.mode, o.alpha == "keep", scale)
        images: list[Pixels] = []
        kept: list[str] = []
        bad: list[str] = []
        shape: tuple[int, ...] | None = None
        channels, dtype = 1, np.dtype(np.uint8)
        memory = free_bytes() // 2 if self.memory is None else self.memory
        for name in progress(names, len(names), "reading images"):
            try:
                image = read_image(tree.open(name), look)
            except BadImage as e:
                bad.append(f"{written(name)} ({e})")
                continue
            shape = shape or image.shape[:2]
            if image.shape[:2] != shape:
                (a, b), (c, d) = shape, image.shape[:2]
                raise UsageError(
                    f"images differ in size: {written(kept[0])} is {a}x{b} and {written(name)} is {c}x{d} "
                    f"(height x width): bring them to one, {said(size=min(a, b, c, d))}"
                )
            channels, dtype = max(channels, image.shape[2]), max(dtype, image.dtype)
            kept.append(name)
            if bytes_of((*shape, channels), dtype, len(names)) <= memory:
                images.append(image)
            else:  # they are read again when they are needed; the rest is only checked
                images.clear()
        notes = [*listing.notes, *told(look.seen, look)]
        if bad:
            some = ", ".join(bad[:3]) + (", …" if len(bad) > 3 else "")
            text = f"{len(bad)} of {len(names)} image files in {tree.root} cannot be read: {some}"
            if not kept or not o.skip_bad:
                raise GenzooError(f"{text}; repair or remove them" + (f", or {said(skip_bad='true')}" if kept else ""))
            warnings.warn(f"{text}; left out", stacklevel=2)
        assert shape is not None
        whole = (*shape, channels)
        read: Any = ImageFiles(kept, tree.open, whole, dtype, look)
        if images:
            read = stack([alike(i, channels, dtype) for i in images])
        labels = np.array([listing.labels[name] for name in kept]) if listing.classes else None
        data = from_arrays(
            read, labels, name=written(re.sub(r"\.(zip|parquet)$", "", tree.root.resolve().name)),
            modality="image", layout="last", alpha=o.alpha == "keep", class_names=listing.classes, split=split,
            memory=memory,
            black=None if scale else o.black or None, white=None if scale else o.white or None,
        )  # fmt: skip
        counts = [listing.labels[name] for name in every] if listing.classes and found.splits != "own" else []
        left = (*listing.left_out.items(), *([("files that cannot be read", len(bad))] if bad else []))
        found = replace(
            found, left_out=left, files=file_names([written(name) for name in kept]),
            counts=tuple(np.bincount(counts, minlength=len(listing.classes)).tolist()) if counts else (),
        )  # fmt: skip
        return replace(data, read=found.noting(*notes, *data.read.notes))


def _parquet(root: Path) -> Tree:
    from genzoo.plugins.datasets.parquet import Parquet

    return Parquet(root)


def _range(open: Opener, names: Sequence[str], black: float | None, white: float | None, root: Path) -> Scale | None:
    """What is black and white in all files of more than 8 bits, of every split; None if there are none."""
    found: dict[str, Found] = {}
    for name in (n for n in names if not n.lower().endswith(EIGHT_BIT)):
        deep = numbers_of(open(name))
        if deep is not None and np.isfinite(deep).all():
            found.setdefault("f" if deep.dtype.kind == "f" else "u", Found()).look(deep)
    if not found:
        return None
    if len(found) > 1:
        raise UsageError(f"{root} has pictures of whole numbers and of floats: convert them to one kind")
    kind, numbers = next(iter(found.items()))
    return scale_of(kind, numbers, black, white, str(root))


def parse_size(text: str) -> tuple[int, int] | None:
    """Turn ``64`` or ``HEIGHTxWIDTH`` into (height, width), ``none`` into None."""
    if text == "none":
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if match is None:
        raise UsageError(f"the option size is 'none', '64' or 'HEIGHTxWIDTH', not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def _split(root: Path, listing: Listing, split: Split, limit: int) -> tuple[list[str], Read]:
    """The files of a split, shuffled but for ``all``, and what is known of the others."""
    splits = listing.splits
    sizes = {name: len(files) for name, files in splits.items()}
    total = sum(sizes.values())
    if len(splits) > 1:
        chosen = "train" if split == "train" else "test" if "test" in splits else "val"
        others = tuple((name, n) for name, n in sizes.items() if name != chosen)
        return _shuffled(splits[chosen]), Read(total, "own", others)
    (files,) = splits.values()
    if len(files) == 1 and split == "test":
        raise UsageError(f"{root} has one image only, so there is none for a test split")
    if split == "all":
        return (sorted(_shuffled(files)[:limit]) if limit else files), Read(total)
    files, held = _shuffled(files), len(files) // 10 or int(len(files) > 1)
    found = Read(total, "held out", (("held out", held),) if split == "train" else ())
    return (files[held:] if split == "train" else files[:held]), found


def _shuffled(files: list[str]) -> list[str]:
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))
    return [files[i] for i in order.tolist()]

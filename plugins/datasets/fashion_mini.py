"""A small real image set that needs neither network nor another package: part of Fashion-MNIST.

``python -m genzoo.plugins.datasets.fashion_mini`` rebuilds ``fashion_mini.npz`` from the whole set.

Fashion-MNIST is Copyright © 2017 Zalando SE, https://tech.zalando.com, under the MIT License:

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.errors import GenzooError
from genzoo.plugins.datasets.fashion_mnist import CLASSES, FashionMNIST
from genzoo.registry import declare

FILE = Path(__file__).with_suffix(".npz")
PER_CLASS: dict[Split, int] = {"train": 600, "test": 100}


@declare.dataset(
    "fashion-mini",
    summary="7,000 pictures of Fashion-MNIST that come with genzoo",
    paper="arXiv:1708.07747",
    modalities=("image",),
    tags=("bundled",),
)
class FashionMini(DataSource):
    """6,000 + 1,000 pictures of Fashion-MNIST, as many of each class, from its train and its test split.

    Zalando SE, MIT license.
    """

    def read(self, split: Split) -> Data:
        try:
            with np.load(FILE, allow_pickle=False) as stored:
                images, labels = stored[f"{split}_images"], stored[f"{split}_labels"]
        except Exception as e:
            raise GenzooError(f"{FILE}, which comes with genzoo, is damaged ({e}): install genzoo again") from None
        return from_arrays(images, labels, name="fashion-mini", class_names=CLASSES, license="MIT", split=split)


def choose(full: Data, per_class: int) -> Data:
    """Return ``per_class`` observations of each class, drawn and shuffled with seed 0."""
    assert full.y is not None
    order = torch.randperm(len(full), generator=torch.Generator().manual_seed(0))
    rank = torch.zeros(len(full), dtype=torch.int64)
    for label in range(full.spec.classes):
        members = full.y[order] == label
        rank[members] = torch.arange(int(members.sum()))
    return full.take(order[rank < per_class])


def build(file: Path = FILE) -> None:
    """Write the file anew from the whole of Fashion-MNIST: the same images and labels every time."""
    arrays = {}
    for split, count in PER_CLASS.items():
        part = choose(FashionMNIST().load(split), count)
        assert part.y is not None
        arrays[f"{split}_images"] = part.x[:, 0].numpy()
        arrays[f"{split}_labels"] = part.y.numpy().astype(np.uint8)
    np.savez_compressed(file, allow_pickle=False, **arrays)


if __name__ == "__main__":
    build()
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")

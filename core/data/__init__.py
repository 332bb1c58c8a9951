"""Data: the public names of what `genzoo.core` knows about them."""

from genzoo.core.data.arrays import from_arrays
from genzoo.core.data.binarize import Binarize, binarize, standardized
from genzoo.core.data.dataset import DataSource, Split
from genzoo.core.data.observations import Data, KnownModes, to_model, to_pixels, to_units
from genzoo.core.data.rows import ArrayLike, Rows
from genzoo.core.data.torch_datasets import LIMIT_BYTES, from_torch

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

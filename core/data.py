"""Data: the public names of what `genzoo.core` knows about them."""

from genzoo.core.binary import Binarize, binarize, standardized
from genzoo.core.convert import to_model, to_people, to_pixels
from genzoo.core.intake import from_arrays
from genzoo.core.items import LIMIT_BYTES, from_torch
from genzoo.core.observations import Data
from genzoo.core.rows import ArrayLike, Rows
from genzoo.core.source import DataSource, Split

__all__ = [
    "LIMIT_BYTES",
    "ArrayLike",
    "Binarize",
    "Data",
    "DataSource",
    "Rows",
    "Split",
    "binarize",
    "from_arrays",
    "from_torch",
    "standardized",
    "to_model",
    "to_people",
    "to_pixels",
]

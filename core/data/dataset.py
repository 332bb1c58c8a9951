"""Base of data sets that have a name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from genzoo.core.data.binarize import binarize
from genzoo.core.data.observations import Data
from genzoo.core.errors import UsageError
from genzoo.core.options import Configured, option

Split = Literal["train", "test"]


class DataSource(Configured, ABC):
    """Base of the registry's kind ``dataset``: something with a name that can be loaded.

    Subclasses implement `read`, and declare their options in a nested ``Options`` that extends this one.

    Attributes:
        memory: bytes that observations may take in memory; None is up to half of what is free. What needs more is
            better read as it is needed: `genzoo.core.data.from_arrays` does so with what is not in memory.
    """

    @dataclass(frozen=True)
    class Options(Configured.Options):
        binarize: Literal["no", "static", "dynamic"] = option(
            "no", "draw 0/1 pixels with the grey value as probability: once (static) or in every batch (dynamic)"
        )
        limit: int = option(0, "first observations only, 0 for all", low=0)

    memory: int | None = None

    options: Options

    @abstractmethod
    def read(self, split: Split) -> Data:
        """Read one split, whole, as it is."""

    def load(self, split: Split = "train") -> Data:
        """Read one split and apply the common options (static binarization: seed 0 for train, 1 for test).

        Raises:
            GenzooError: if it is not there or cannot be read.
            UsageError: if an option does not fit the data.
        """
        if split not in ("train", "test"):
            raise UsageError(f"a data set's split is 'train' or 'test', not {split!r}")
        data = self.read(split)
        if 0 < self.options.limit < len(data):
            data = data.take(slice(self.options.limit))
        return binarize(data, self.options.binarize, seed=0 if split == "train" else 1)

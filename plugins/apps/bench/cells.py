"""Cells of a long table, each kept in a file of its own as soon as it is there: a killed benchmark goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError
from genzoo.core.storage.files import write_json
from genzoo.core.storage.strict import read_json

_LIMIT = 2**26  # bytes of a cell


@dataclass(frozen=True)
class Cell:
    """What one cell is of: two of equal settings are the same cell.

    Attributes:
        name: for people and files.
        settings: all that its numbers depend on, as plain data.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name of its files: the cell's own, as far as file systems take it, and a hash of its settings."""
        plain = re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True, default=str).encode()).hexdigest()
        return f"{plain}-{digest[:8]}"


class Cells:
    """A folder of cells, or none.

    Args:
        folder: where ``cells`` and ``runs`` are; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def run(self, cell: Cell) -> Path | None:
        """Where the cell's training is kept."""
        return None if self.folder is None else self.folder / "runs" / cell.key

    def get(self, cell: Cell) -> Any:
        """What was found before, None if the cell is missing.

        Raises:
            GenzooError: if its file is damaged.
        """
        if self.folder is None:
            return None
        path = self.folder / "cells" / f"{cell.key}.json"
        try:
            return read_json(path, limit=_LIMIT)["result"]
        except FileNotFoundError:
            return None
        except (GenzooError, OSError, ValueError, KeyError, TypeError):
            raise GenzooError(f"{path} is damaged: delete it, and that cell is measured again") from None

    def put(self, cell: Cell, result: Any) -> None:
        """Keep a cell."""
        if self.folder is not None:
            path = self.folder / "cells" / f"{cell.key}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"name": cell.name, "settings": dict(cell.settings), "result": result})

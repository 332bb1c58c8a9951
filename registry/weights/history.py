"""What is known of how weights came to be: their record, their options, and the log of their training. No torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.core.config import Config
from genzoo.core.errors import GenzooError
from genzoo.core.record import LARGEST, RECORD, TrainingRecord
from genzoo.core.storage.strict import read_json, regular
from genzoo.registry.weights import resolve
from genzoo.registry.weights.layout import CONFIG

LOG = "log.jsonl"
LARGEST_LOG = 256 * 2**20


@dataclass(frozen=True)
class History:
    """How weights came to be; empty where nothing is known.

    Attributes:
        folder: where they are, None if they are in no folder.
        record: of the run, None if there is none that makes sense.
        config: what ``config.json`` holds.
        log: records of the loss with their ``step``, in order.
    """

    folder: Path | None = None
    record: TrainingRecord | None = None
    config: Config | None = None
    log: tuple[Mapping[str, float], ...] = ()

    def options(self) -> dict[str, Any]:
        """Every option by dotted name, and the parts by their kind."""
        return {} if self.config is None else self.config.flat()


def history_of(weights: str | os.PathLike[str]) -> History:
    """Read what a weights folder, a run's, or weights by name tell of their making.

    Raises:
        GenzooError: if they are not there, or what they tell is damaged.
    """
    from genzoo.core.storage.weights import read_config

    found = resolve(weights)
    folder = found.folder
    try:
        plain = read_json(folder / RECORD, limit=LARGEST, within=found.within)
    except FileNotFoundError:
        plain = {}
    try:
        record = TrainingRecord.from_dict(plain)
    except GenzooError:
        record = None
    config = read_config(folder, within=found.within) if (folder / CONFIG).exists() else None
    log = _log(folder / LOG) or _numbers(plain.get("curves") if isinstance(plain, dict) else None)
    return History(folder, record, config, tuple(r for r in log if "step" in r))


def _log(path: Path) -> list[dict[str, float]]:
    """The log that a run keeps beside its weights; a line that a killed process left half written is left out."""
    try:
        if path.stat().st_size > LARGEST_LOG:
            return []
        lines = regular(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as e:
        raise GenzooError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return _numbers(records)


def _numbers(records: Any) -> list[dict[str, float]]:
    """Records of a log, less what is no number in them."""
    listed = records if isinstance(records, list) else []
    return [{k: v for k, v in r.items() if isinstance(v, (int, float))} for r in listed if isinstance(r, dict)]

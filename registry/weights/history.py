"""What is known of how weights came to be: their record, their options, and the log of their training. No torch."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.core.config import Config, read_config
from genzoo.core.errors import GenzooError
from genzoo.core.record import TrainingRecord, read_record
from genzoo.core.storage.strict import read_plain
from genzoo.registry.weights import resolve
from genzoo.registry.weights.base import CONFIG

LOG = "log.jsonl"
LARGEST_LOG = 256 * 2**20


@dataclass(frozen=True)
class History:
    """How weights came to be; empty where nothing is known."""

    folder: Path | None = None
    record: TrainingRecord | None = None  # of the run, if there is one that makes sense
    config: Config | None = None
    log: tuple[Mapping[str, float], ...] = ()  # records of the loss with their step, in order

    def options(self) -> dict[str, Any]:
        """Every option by dotted name, and the parts by their kind."""
        return {} if self.config is None else self.config.flat()


def history_of(weights: str | os.PathLike[str]) -> History:
    """Read what a weights folder, a run's, or weights by name tell of their making.

    Raises:
        GenzooError: if they are not there, or what they tell is damaged.
    """
    found = resolve(weights)
    folder, record = found.folder, None
    with suppress(GenzooError):
        record = read_record(folder, found.within)
    config = read_config(folder, within=found.within) if (folder / CONFIG).exists() else None
    log = _numbers(_lines(folder / LOG)) or _numbers(record.curves if record else [])
    return History(folder, record, config, tuple(r for r in log if "step" in r))


def _lines(path: Path) -> list[Any]:
    """The log that a run keeps beside its weights; a line that a killed process left half written is left out."""
    records = []
    with suppress(FileNotFoundError):
        for line in read_plain(path, LARGEST_LOG).splitlines():
            with suppress(ValueError):
                records.append(json.loads(line))
    return records


def _numbers(records: Iterable[Any]) -> list[dict[str, float]]:
    """Records of a log, less what is no number in them."""
    return [{k: v for k, v in r.items() if isinstance(v, (int, float))} for r in records if isinstance(r, dict)]


def described(weights: str | os.PathLike[str]) -> dict[str, Any]:
    """What a run was, as plain data: recipe, data as they were read, steps, seconds, numbers, command, every option."""
    known = history_of(weights)
    record, config = known.record, known.config
    found: dict[str, Any] = {"kind": "run", "name": os.fspath(weights)}
    if config is not None:
        found |= {"recipe": config.recipe, "shape": list(config.data.shape), "modality": config.data.modality}
    if record is not None:
        found |= {
            "data": record.data.name,
            "observations": record.data.observations,
            "held_out": record.data.held_out,
            "read": list((record.data.read or {}).get("said", ())),
            "seed": record.seed,
            "steps": record.steps,
            "of": record.of,
            "seconds": record.seconds,
            "hardware": record.hardware.get("name", ""),
            "parameters": record.parameters,
            "init": record.called.init,
            "metrics": dict(record.metrics),
            "evaluation": {r["metric"]: r["value"] for r in (record.evaluation or {}).get("results", ())},
            "command": shlex.join(map(str, record.about.get("command", ()))),
        }
    return found | {"options": known.options()}

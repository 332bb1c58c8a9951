"""What is known of a run, ``training.json`` of a weights folder: read strictly, written as it was read; torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from genzoo.core.errors import GenzooError
from genzoo.core.storage.strict import parse_json, read_plain

RECORD = "training.json"
LARGEST = 64 * 2**20  # bytes of one that is read
T = TypeVar("T")
Plain = Mapping[str, Any]
_TYPES: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool, "Plain": dict, "list[Any]": list}
_KEYS = {"called": "called with"}  # fields with another name in the file


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """The data of a run: ``observations`` to train on, ``held_out`` ones, the sha256 of the former, how they came.

    ``read`` is what `genzoo.core.data.summary.was_read` gave: what was found where they were, and what was left out.
    """

    name: str
    license: str = ""
    observations: int
    held_out: int = 0
    fingerprint: str = ""
    fed: str = ""
    read: Plain | None = None
    rest: Plain = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """How `genzoo.fit` was called, beyond the config: ``data`` are the data set's options, ``source`` its name."""

    data: Plain = field(default_factory=dict)
    precision: str = "float32"
    compile: bool = False
    source: str = ""
    init: str | None = None
    init_partial: bool | None = None
    on_nan: str = "stop"
    processes: int = 1
    rest: Plain = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """A run's record.

    Attributes:
        steps: how many were done, ``of`` how many there were to do.
        seen: observations drawn, None if that is not recorded.
        seconds: of training.
        hardware: ``device``, ``name``, ``threads``, ``torch``, ``processes``.
        about: what the registry knew: ``summary``, ``paper``, ``tags``, ``command``, ``first stage`` (its command).
        metrics: of the end of training; ``curves`` are thinned records of the loss.
        fingerprint: what `genzoo.core.storage.fingerprint.take` gave.
        evaluation: a `Report` as plain data.
        storage: dtype that the tensors were stored in, where that is not float32.
        rest: keys that this version does not know; they are kept.
    """

    recipe: str = ""
    data: DataRecord
    seed: int
    called: CallRecord = field(default_factory=CallRecord)
    steps: int
    of: int
    seen: int | None = None
    seconds: float | None = None
    hardware: Plain = field(default_factory=dict)
    python: str | None = None
    parameters: int | None = None
    about: Plain = field(default_factory=dict)
    metrics: Plain = field(default_factory=dict)
    curves: list[Any] = field(default_factory=list)
    fingerprint: Any = None
    evaluation: Plain | None = None
    storage: str | None = None
    rest: Plain = field(default_factory=dict)

    @classmethod
    def from_dict(cls, plain: Any) -> TrainingRecord:
        """Rebuild from `to_dict`'s output; raises GenzooError, naming the key, if it is none."""
        record = _read(cls, plain, "")
        said = (record.evaluation or {}).get("record", {})
        if not isinstance(said, dict):
            raise GenzooError("'evaluation' makes no sense")
        return record

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, in the order of 0.1."""
        return _plain(self)

    def text(self) -> str:
        """The file's text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"


def read_record(folder: Path, within: Path | None = None) -> TrainingRecord | None:
    """A weights folder's record, None if it has none; its links may lead into ``within``.

    Raises:
        GenzooError: if it makes no sense.
    """
    path = folder / RECORD
    try:
        content = read_plain(path, LARGEST, within)
        return TrainingRecord.from_dict(parse_json(content))
    except FileNotFoundError:
        return None
    except (GenzooError, ValueError) as e:
        raise GenzooError(f"{path} is no training record: {e}") from None


def _read(cls: type[T], plain: Any, where: str) -> T:
    if not isinstance(plain, dict):
        raise GenzooError(f"{where or 'it'} is no object")
    given, known = dict[str, Any](), set[str]()
    for f in fields(cls):  # type: ignore[arg-type]
        key = _KEYS.get(f.name, f.name)
        if f.name == "rest":
            continue
        known.add(key)
        if key in plain:
            given[f.name] = _value(str(f.type), plain[key], f"{where}{key}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise GenzooError(f"it says no {where}{key}")
    given["rest"] = {k: v for k, v in plain.items() if k not in known}
    return cls(**given)


def _value(kind: str, value: Any, where: str) -> Any:
    """A value of the type that a field is annotated with."""
    if kind in ("DataRecord", "CallRecord"):
        return _read(DataRecord if kind == "DataRecord" else CallRecord, value, f"{where}.")
    if kind == "Any" or (value is None and kind.endswith(" | None")):
        return value
    wanted = _TYPES[kind.removesuffix(" | None")]
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise GenzooError(f"its {where} makes no sense")
    return value


def _plain(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for f in fields(record):
        value = getattr(record, f.name)
        if f.name == "rest":
            found |= value
        elif value is not None or f.name == "init":
            found[_KEYS.get(f.name, f.name)] = _plain(value) if isinstance(value, (DataRecord, CallRecord)) else value
    return found

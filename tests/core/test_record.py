"""The record of a run: read strictly, and written as it was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import genzoo.plugins.pretrained
from genzoo.core.errors import GenzooError
from genzoo.core.record import RECORD, TrainingRecord, read_record

SHIPPED = sorted(Path(genzoo.plugins.pretrained.__file__).parent.glob("weights/*/*/training.json"))


def plain() -> dict[str, Any]:
    return {
        "recipe": "vae",
        "data": {"name": "", "license": "", "observations": 7, "held_out": 0, "fingerprint": "ab", "fed": "at once"},
        "seed": -3,
        "called with": {"data": {"binarize": "static"}, "precision": "bfloat16", "compile": True, "source": "",
                        "init": None, "on_nan": "skip", "processes": 2, "later": [1]},
        "steps": 0, "of": 5, "seen": 0, "seconds": 1, "hardware": {}, "python": "3.11", "parameters": 0, "about": {},
        "metrics": {}, "curves": [], "stage": {"of": "later"},
    }  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: "/".join(p.parts[-3:-1]))
def test_shipped_weights_come_back_byte_by_byte(path: Path) -> None:
    record = read_record(path.parent)
    assert record is not None
    assert record.text() == path.read_text(encoding="utf-8")
    assert record.data.fingerprint
    assert record.called.processes == 1


def test_what_is_not_known_is_kept() -> None:
    record = TrainingRecord.from_dict(plain())
    assert list(record.to_dict()) == list(plain())
    assert record.text() == json.dumps(plain(), indent=1) + "\n"
    assert (record.called.on_nan, record.called.init, record.called.processes) == ("skip", None, 2)
    assert record.rest == {"stage": {"of": "later"}}


def test_what_0_1_may_leave_out() -> None:
    few = {k: v for k, v in plain().items() if k in ("data", "seed", "steps", "of")}
    few["data"] = {"name": "x", "observations": 1}
    record = TrainingRecord.from_dict(few)
    assert (record.seen, record.seconds, record.called.on_nan, record.metrics) == (None, None, "stop", {})


@pytest.mark.parametrize("key", ["data", "seed", "steps", "of", "data.name", "data.observations"])
def test_what_is_needed(key: str, tmp_path: Path) -> None:
    given = plain()
    inner, _, name = key.rpartition(".")
    (given[inner] if inner else given).pop(name)
    (tmp_path / RECORD).write_text(json.dumps(given))
    with pytest.raises(GenzooError, match=rf"training\.json is no training record: it says no {key}$"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "x"), ("seed", True), ("seed", 1.5), ("steps", None), ("seconds", "1"), ("about", 3), ("hardware", []),
        ("metrics", []), ("curves", {}), ("evaluation", [1]), ("evaluation", {"record": 3}), ("storage", 1),
        ("data", []), ("called with", "x"), ("data.name", 3), ("data.held_out", "1"), ("called with.compile", 1),
        ("called with.data", []), ("called with.init", 3),
    ],
)  # fmt: skip
def test_types(key: str, value: Any) -> None:
    given = plain()
    inner, _, name = key.rpartition(".")
    (given[inner] if inner else given)[name] = value
    with pytest.raises(GenzooError, match=name.split()[0]):
        TrainingRecord.from_dict(given)
    with pytest.raises(GenzooError, match="no object"):
        TrainingRecord.from_dict([given])


def test_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(GenzooError, match=r"training\.json is no training record"):
        read_record(tmp_path)

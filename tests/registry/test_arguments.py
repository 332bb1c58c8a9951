"""The public surface with arguments of wrong types and values: it works, or says in a sentence what is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.arguments import array, checked, codes
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec

WRONG: list[Any] = [
    1.5, -1, 2**63, 2**200, "abc", "", "\0", b"x", True, float("nan"), float("inf"), None, [], [1, [2, 3]],
    [[1], [2, 3]], {1: 2}, object(), np.array([object()]), np.array(["a"]), 1j, np.int64(3),
    torch.zeros(2, dtype=torch.complex64), np.zeros((3, 3)), torch.tensor(1.5), set(), int,
]  # fmt: skip
X, Y, Z = np.zeros((4, 2), np.float32), [0, 1, 2, 0], np.zeros((4, 2), np.float32)
SMALL = {"generator.width": 4, "encoder.width": 4, "latent.size": 2}
METHODS: dict[str, dict[str, Any]] = {
    "sample": {"n": 2, "seed": 0, "labels": 1, "truncation": 1.0, "noise": True, "batch_size": 64},
    "encode": {"x": X, "labels": Y, "sample": True, "seed": 0, "batch_size": 2},
    "decode": {"z": Z, "labels": Y, "batch_size": 2},
    "reconstruct": {"x": X, "labels": Y, "sample": True, "seed": 0, "batch_size": 2},
    "interpolate": {"a": Z, "b": Z, "steps": 2, "path": "straight", "labels": Y},
    "log_likelihood": {"x": X, "labels": Y, "samples": 2, "seed": 0, "budget": 4},
    "posterior_numbers": {"x": X, "labels": Y, "batch_size": 2},
    "active_units": {"x": X, "labels": Y, "threshold": 0.1},
}


@pytest.fixture(scope="module")
def model() -> genzoo.Model:
    spec = DataSpec("vector", (2,), classes=3, name="points")
    return genzoo.create("vae", spec, options={"conditional": True, **SMALL})


def fuzz(call: Callable[..., Any], given: dict[str, Any], leave: Collection[str] = ()) -> dict[str, int]:
    """Call with one wrong argument at a time; returns how many were refused of each."""
    call(**given)
    refused = {}
    for name in set(given) - set(leave):
        refused[name] = 0
        for value in WRONG:
            if type(value) is int and value > 100 and name in ("steps", "n", "columns"):
                continue  # work without end
            try:
                call(**{**given, name: value})
            except GenzooError as e:
                told = str(e)
            else:
                continue
            assert "\n" not in told
            assert len(told) < 500
            refused[name] += 1
    return refused


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_models(model: genzoo.Model, method: str) -> None:
    refused = fuzz(getattr(model, method), METHODS[method])
    assert min(refused.values()) >= 10


def test_calls(model: genzoo.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data, labels = np.random.default_rng(0).normal(size=(16, 2)).astype("f4"), np.arange(16) % 3
    model.save(tmp_path / "weights")
    common: dict[str, Any] = {"seed": 0, "device": "cpu"}
    out = {"seed": 0, "device": "cpu", "out": "x.npz", "weights": model}
    calls: dict[str, dict[str, Any]] = {
        "create": {"recipe": "vae", "data": model.spec, "seed": 0, "options": {"generator.width": 4}},
        "load": {"weights": tmp_path / "weights", "device": "cpu", "verbose": False},
        "load_data": {"data": "ring8", "split": "train", "options": None},
        "show": {"name": "vae"},
        "list": {"kind": "recipe", "modality": "image", "tag": "gan", "plugin": "gan"},
        "sample": {**out, "n": 4, "labels": 1, "truncation": 1.0, "noise": False, "batch_size": 8, "progress": False},
        "encode": {**out, "data": (data, labels), "n": 4},
        "reconstruct": {**out, "data": (data, labels), "n": 4},
        "evaluate": {**common, "subject": model, "data": (data, labels), "metrics": "mmd", "n": 8,
                     "options": None, "batch_size": 8, "cache": False, "progress": False, "name": "x"},
    }  # fmt: skip
    for name, given in calls.items():
        refused = fuzz(getattr(genzoo, name), given, {"out", "progress"} if name != "sample" else {"out"})
        assert min(refused.values()) >= 3, (name, refused)


def test_fit() -> None:
    data, labels = np.random.default_rng(0).normal(size=(8, 2)).astype("f4"), np.arange(8) % 3
    options = {"train.batch_size": 4, "train.validation": 0, **SMALL}
    refused = fuzz(genzoo.fit, {
        "recipe": "vae", "data": data, "labels": labels, "steps": 1, "batch_size": 4, "seed": 0, "options": options,
        "device": "cpu", "threads": 1, "precision": "float32", "on_nan": "stop", "resume": False, "trackers": (),
        "watch": False, "data_memory": "1GB", "data_workers": 0, "progress": False,
    })  # fmt: skip
    assert min(refused.values()) >= 10


def test_every_public_call_is_checked() -> None:
    functions = [getattr(genzoo, name) for name in genzoo.__all__ if inspect.isfunction(getattr(genzoo, name))]
    methods = [getattr(genzoo.Model, name) for name in (*METHODS, "sample_batches", "importance_weights", "save")]
    for function in (*functions, *methods):
        with pytest.raises(UsageError, match="nonsense"):
            function(nonsense=1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"n": 1.5}, "n is a whole number, not 1.5"),
        ({"n": True}, "n is a whole number, not True"),
        ({"r": "x"}, "r is a number, not 'x'"),
        ({"flag": "yes"}, "flag is true or false, not 'yes'"),
        ({"way": "up"}, "way is left or right, not 'up'"),
        ({"names": "abc"}, "names is a list of names, not 'abc'"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"n": np.zeros(100)}, "n is a whole number, not a value of type ndarray"),
        ({"flat": 1}, r"call: it takes no argument 'flat' \(did you mean 'flag'\?\)"),
    ],
)
def test_sentences(given: dict[str, Any], told: str) -> None:
    @checked
    def call(
        n: int = 0,
        *,
        r: float | None = None,
        flag: bool = False,
        way: Literal["left", "right"] = "left",
        names: Sequence[str] = (),
        batch_size: int = 1,
    ) -> tuple[Any, ...]:
        return n, r, flag

    assert call(np.int64(3), r=np.float32(0.5), flag=np.True_) == (3, 0.5, True)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"^{told}$"):
        call(**given)


def test_arrays() -> None:
    for wrong in ([[1], [2, 3]], "abc", [object()], 1j, {1}, torch.zeros(2).to_sparse()):
        with pytest.raises(UsageError, match="numbers in an array"):
            array(wrong, "codes")
    with pytest.raises(UsageError, match="NaN"):
        codes([0.0, float("nan")])
    assert array([1, 2], "labels").dtype == torch.int64

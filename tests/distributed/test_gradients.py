"""The same global batch has the same gradient on one process and on two, and ends in the same place."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

HERE = Path(__file__).parent


def cases() -> Any:
    spec = importlib.util.spec_from_file_location("_distributed_cases", HERE / "cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = cases()
CASES = MODULE.CASES
# One of each way that a turn, its state and its parts may go; the slow tests, all.
EXEMPLARS = (
    "wgan-gp", "r3gan, conditional", "vae", "vae, batch norm", "classes", "optimal sigma", "skipping", "began", "lecam",
    "ada", "apa", "fisher", "ebgan", "pacgan", "quantizer", "critic of codes", "second stage", "sharded gan",
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(jobs: Any, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """What one process found, and what two did."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    here = [i for i in request.session.items if isinstance(i, pytest.Function) and i.module is request.module]
    names = [i.callspec.params["case"] for i in here]
    for name in names:
        MODULE.run(name, one)
    done = jobs.launched(HERE / "cases.py", two, *names)
    assert (done.returncode, done.stderr) == (0, "")
    return one, two


@pytest.mark.parametrize("case", [pytest.param(c, marks=() if c in EXEMPLARS else pytest.mark.slow) for c in CASES])
def test_two_processes_are_one(folders: tuple[Path, Path], case: str) -> None:
    one, two = (load_file(folder / f"{case}.safetensors") for folder in folders)
    assert one.keys() == two.keys()
    gradients = [name for name in one if " turn " in name]
    players = {name.partition(" ")[0] for name in gradients}
    largest = {p: max(one[n].double().norm() for n in gradients if n.startswith(p)) for p in players}
    small = case.startswith(("compares", "pairs", "styles", "normalized", "sounds of codes"))  # differences
    compared, rounding = 0, 1e-4 if small else 1e-5
    for name in gradients:
        a, b = one[name].double(), two[name].double()
        # A loss of differences has none in the critic's last bias: there is only rounding to compare.
        if a.norm() > 1e-5 * largest[name.partition(" ")[0]]:
            assert (a - b).norm() < rounding * a.norm() + 1e-7 * largest[name.partition(" ")[0]], name
            compared += 1
    assert compared > 0.75 * len(gradients)
    close = 1e-5 if "train.steps" in CASES[case][2] else 1e-4  # state that follows what was found
    for name in one:
        if " turn " not in name:
            assert (one[name].double() - two[name].double()).norm() <= close * one[name].double().norm() + 1e-6, name
    first, second = (json.loads((folder / f"{case}.json").read_text()) for folder in folders)
    if "vae" in CASES[case][0]:
        assert second["held out"] == pytest.approx(first["held out"], rel=1e-6)
    for a, b in zip(first["history"], second["history"], strict=True):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-3)

"""Evaluations that processes share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import genzoo as gz

METRICS = "frechet,precision,density,kid,diversity,elbo"


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("eval") / "run"
    parts = {"generator": "mlp", "encoder": "mlp", "latent.size": 3}
    gz.fit("cvae", str(data), out, steps=2, options=parts, device="cpu", progress=False)
    return out


def asked(run: Path, data: Path, out: Path) -> tuple[object, ...]:
    """Three batches, the last of which is not full."""
    given = ("-n", 150, "--batch-size", 64, "--extractor", "raw", "--split", "train", "--device", "cpu")
    return ("eval", run, "--data", data, "--metrics", METRICS, *given, "--out", out)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["launch", "torchrun"])
def test_the_numbers_are_those_of_one_process(jobs: Any, data: Path, trained: Path, tmp_path: Path, how: str) -> None:
    """The first time, and from features that were kept on disk."""
    one = gz.evaluate(trained, str(data), METRICS, n=150, batch_size=64, extractor="raw", split="train", device="cpu",
                      cache=False).to_dict()  # fmt: skip
    assert len(one["results"]) == 6
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for name in ("first", "kept"):
        out = tmp_path / f"{name}.json"
        if how == "launch":
            done = jobs.genzoo(*asked(trained, data, out), "--devices", 2, **env)
        else:
            done = jobs.python(*jobs.TORCHRUN, "-m", "genzoo.cli", *asked(trained, data, out), **env)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("precision") == 1  # one of them speaks
        two = json.loads(out.read_text())
        assert (two["results"], two["absent"]) == (one["results"], one["absent"])
        assert len(list((tmp_path / "cache/genzoo/features").iterdir())) == 1
        if how == "torchrun":
            break


SCRIPT = """
import sys, torch
import genzoo
from genzoo.core.model import Model
from genzoo.core.distributed.init import init_runtime
from genzoo.plugins.extractors.shipped import Raw

made, seen = [], []
extract = Raw.extract
Raw.extract = lambda self, x: (seen.append(len(x)), extract(self, x))[1]
batches = Model.sample_batches
def counted(self, *a, **k):
    for x, y in batches(self, *a, **k):
        made.append(len(x))
        yield x, y
Model.sample_batches = counted
report = genzoo.evaluate(sys.argv[1], sys.argv[2], "frechet", n=150, batch_size=64, extractor="raw", split="train",
                         device="cpu", cache=False)
runtime = init_runtime()
counts = runtime.total(torch.tensor([sum(made), sum(seen)])).tolist()
most = runtime.max(torch.tensor([sum(made), sum(seen)])).tolist()
value = report["frechet"].value
same = runtime.total(torch.tensor([value], dtype=torch.float64)).item() / runtime.size == value
if runtime.first:
    print(*counts, *most, same)
"""


def test_each_process_makes_its_part_and_all_get_the_report(
    jobs: Any, data: Path, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = jobs.launched(tmp_path / "script.py", trained, data)
    assert done.returncode == 0, done.stderr
    # 150 samples in batches of 64, 64, 22; features of those and of the 36 observations of the train split in one.
    assert done.stdout.split() == ["150.0", "186.0", "86.0", "122.0", "True"]


@pytest.mark.slow
def test_what_cannot_be_measured_is_told_once(jobs: Any, data: Path, trained: Path, tmp_path: Path) -> None:
    for change, sentence in (
        (("--metrics", "fid"), "fid cannot be measured here"),
        (("--data", tmp_path / "nosuch.npz"), "nosuch.npz"),
        (("--out", tmp_path / "x.txt"), "a report is written to"),
    ):
        words = list(asked(trained, data, tmp_path / "x.json"))
        words[words.index(change[0]) : words.index(change[0]) + 2] = change
        done = jobs.genzoo(*words, "--devices", 2)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr

"""`genzoo.verify`: what is right passes, and each thing that is wrong is found by the check that is there for it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import genzoo
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.core.storage import fingerprint
from genzoo.core.storage.weights import read_tensors, write_tensors

TINY = {
    "train.batch_size": 16, "latent.size": 2, "train.validation": 100, "generator.width": 8, "encoder.width": 8,
    "data.limit": 400,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "vae"
    genzoo.fit("vae", "ring8", out, steps=6, options=TINY, device="cpu", progress=False)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def change(folder: Path, name: str, how: Callable[[Any], Any] | bytes) -> None:
    """Change a file of a folder, and its manifest so that the hashes are right."""
    path = folder / name
    if isinstance(how, bytes):
        path.write_bytes(how)
    else:
        content = json.loads(path.read_text())
        path.write_text(json.dumps(how(content) or content))
    listed = json.loads((folder / "manifest.json").read_text())
    content = path.read_bytes()
    listed["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(listed))


def verdicts(done: Any) -> dict[str, str]:
    return {c.name: c.verdict for c in done.checks}


def test_a_run_is_what_it_says(run: Path) -> None:
    seen = []
    done = genzoo.verify(run, data=True, metrics=True, on_check=seen.append)
    names = ("files", "config", "tensors", "samples", "reconstructions", "data", "held-out loss", "active units")
    assert verdicts(done) == dict.fromkeys(names, "good")
    assert done.ok
    assert seen == list(done.checks)
    assert done["samples"].found["comparison"] == done["reconstructions"].found["comparison"] == "same bytes"
    assert json.loads(json.dumps(done.to_dict()))["ok"] is True
    assert genzoo.verify(run / "best").ok


def test_a_run_that_was_stopped_is_verified_at_its_checkpoint(run: Path) -> None:
    (run / "manifest.json").unlink()
    done = genzoo.verify(run)
    assert done.ok
    assert done.folder.parent == run / "checkpoints"
    assert verdicts(done) == {"files": "good", "config": "good", "tensors": "good", "samples": "unknown"}


def test_a_flipped_byte_is_found_though_the_file_is_remembered_as_good(run: Path) -> None:
    import os

    assert genzoo.verify(run).ok
    path = run / "model.safetensors"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = genzoo.verify(run)
    assert verdicts(done) == {"files": "bad"}
    assert "model.safetensors" in done["files"].detail


def test_other_weights_of_the_same_shape_are_found_by_their_samples(run: Path) -> None:
    tensors = {k: v.clone() for k, v in read_tensors(run / "model.safetensors").items()}
    tensors["generator.head.weight"] += 0.5
    write_tensors(run / "new", tensors)
    change(run, "model.safetensors", (run / "new").read_bytes())
    done = genzoo.verify(run)
    assert verdicts(done) == {
        "files": "good", "config": "good", "tensors": "good", "samples": "bad", "reconstructions": "bad"
    }  # fmt: skip
    assert "not the weights that the record is of" in done["samples"].detail


@pytest.mark.parametrize(
    ("name", "how", "check", "word"),
    [
        ("config.json", lambda c: c["generator"]["options"].update(width="8"), "config", "generator"),
        ("config.json", lambda c: c["generator"].update(name="mlpp"), "config", "mlpp"),
        ("config.json", lambda c: c["generator"]["options"].update(width=16), "tensors", "shape"),
        ("training.json", lambda c: c.update(seed="x"), "record", "training.json"),
        ("training.json", lambda c: c["fingerprint"].update(seed=-1), "samples", "makes no sense"),
        (
            "training.json",
            lambda c: c["fingerprint"]["samples"].update(projections="AAA="),
            "samples",
            "makes no sense",
        ),
        ("training.json", lambda c: c["fingerprint"].update(version=99), "samples", "99"),
        ("training.json", lambda c: c.update(fingerprint=[1]), "samples", "makes no sense"),
    ],
)
def test_what_is_wrong_is_named(run: Path, name: str, how: Callable[[Any], Any], check: str, word: str) -> None:
    change(run, name, how)
    done = genzoo.verify(run)
    assert not done.ok
    assert done.checks[-1].name == check
    assert done[check].verdict == "bad"
    assert word in done[check].detail


def test_tensors_that_are_missing_or_not_finite(run: Path) -> None:
    tensors = {k: v.clone() for k, v in read_tensors(run / "model.safetensors").items()}
    name, value = tensors.popitem()
    write_tensors(run / "new", tensors)
    change(run, "model.safetensors", (run / "new").read_bytes())
    assert name in genzoo.verify(run)["tensors"].detail
    write_tensors(run / "new", tensors | {name: torch.full_like(value, float("nan"))})
    change(run, "model.safetensors", (run / "new").read_bytes())
    done = genzoo.verify(run)["tensors"]
    assert done.verdict == "bad"
    assert "NaN" in done.detail


def test_weights_without_a_record_are_not_called_wrong(run: Path, tmp_path: Path) -> None:
    genzoo.load(run).save(tmp_path / "bare")
    done = genzoo.verify(tmp_path / "bare", metrics=True, data=True)
    assert done.ok
    assert [done[n].verdict for n in ("samples", "data", "metrics")] == ["unknown"] * 3


def test_the_card_is_measured_again(run: Path) -> None:
    chosen = ["modes", "high-quality", "sliced-wasserstein"]
    report = genzoo.evaluate(run, "ring8", chosen, n=200, seed=3, device="cpu", cache=False).to_dict()
    change(run, "training.json", lambda c: c.update(evaluation=report))
    good = genzoo.verify(run, metrics=True, device="cpu")
    for name in ("modes", "high-quality", "sliced-wasserstein"):
        assert good[name].verdict == "good", good[name].detail
        assert good[name].found["comparison"]["now"]["value"] == good[name].found["comparison"]["recorded"]["value"]

    by_name = {r["metric"]: r for r in report["results"]}
    wrong = by_name["sliced-wasserstein"]
    wrong["value"] /= 3
    wrong["interval"] = {**wrong["interval"], "low": wrong["value"] * 0.99, "high": wrong["value"] * 1.01}
    by_name["high-quality"]["protocol"] = by_name["high-quality"]["protocol"].replace("fake=200", "fake=100")
    change(run, "training.json", lambda c: c.update(evaluation=report))
    done = genzoo.verify(run, metrics=True, device="cpu")
    assert not done.ok
    assert (done["modes"].verdict, done["sliced-wasserstein"].verdict) == ("good", "bad")
    assert "outside" in done["sliced-wasserstein"].detail
    assert "fake=100 against fake=200" in done["high-quality"].detail


def test_other_data_is_told_from_the_data(run: Path, tmp_path: Path) -> None:
    import numpy as np

    file = tmp_path / "other.npy"
    np.save(file, np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32))
    assert "not the data" in genzoo.verify(run, data=True, source=file)["data"].detail
    change(run, "training.json", lambda c: c["called with"].update(source="path/to/mine.npy"))
    change(run, "training.json", lambda c: c["data"].update(name="mine"))
    done = genzoo.verify(run, data=True)
    assert "source=…" in done["data"].detail
    assert not done.ok
    assert genzoo.verify(run, data=True, source="ring8").ok


def test_the_distance_is_the_true_one() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(16, 784, generator=g).numpy()
    one = fingerprint._projections(x)
    moved = x.copy()
    moved[:, 100] += 0.28  # one number of 784: 0.28² / 784 = 0.01²
    assert ((fingerprint._projections(moved) - one) ** 2).mean() ** 0.5 == pytest.approx(0.01, rel=1e-3)
    for noise in (torch.full((16, 784), 0.01), 0.01 * torch.randn(16, 784, generator=g)):
        apart = ((fingerprint._projections(x + noise.numpy()) - one) ** 2).mean() ** 0.5
        assert apart == pytest.approx(0.01, rel=4 / (2 * 256) ** 0.5)  # four standard errors


def test_tolerance(run: Path) -> None:
    model = genzoo.load(run)
    taken = fingerprint.take(model)
    assert [c.verdict for c in fingerprint.compare(taken, model)] == ["same bytes"] * 2
    with torch.no_grad():
        model.generator.head.bias.add_(0.002)  # shifts every number in model space by as much
    samples = fingerprint.compare(taken, model)[0]
    assert samples.verdict == "within tolerance"
    assert samples.distance == pytest.approx(0.002, rel=0.2)
    with torch.no_grad():
        model.generator.head.bias.add_(0.05)
    assert fingerprint.compare(taken, model)[0].verdict == "different"


def test_reconstructions_are_of_the_same_observations_everywhere(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = genzoo.load(run)
    taken = fingerprint.take(model)
    old = {**taken, "version": 1, "reconstructions": fingerprint.take(model)["samples"]}
    old["reconstructions"] |= {"sha256": "0" * 64}
    made = model.sample
    monkeypatch.setattr(model, "sample", lambda *a, **k: made(*a, **k) * 0.5)  # what another processor does, enlarged
    assert [c.verdict for c in fingerprint.compare(taken, model)] == ["different", "same bytes"]
    monkeypatch.undo()
    compared = (fingerprint.compare({**old, "version": v}, model)[1].distance for v in (1, 2))
    assert next(compared) != next(compared)  # version 1 is of the samples


def test_random_observations_are_made_of_whole_numbers() -> None:
    """Which every processor makes alike: sums, and quotients by powers of two, and no logarithms."""
    x = of("vector").random(DataSpec("vector", (2,)), 3, units=True) * 2**16
    assert torch.equal(x, x.round())
    for name in ("audio", "spectrogram"):
        kind = of(name)
        for spec in kind.examples():
            waves = kind.random(spec, 3, units=True)
            assert waves.shape[1:] == kind.unit_shape(spec)
            assert torch.equal(waves * 2**15, (waves * 2**15).round())
            assert torch.equal(kind.again(spec, waves), waves)  # 16 bits hold them


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from genzoo.cli.main import main

    def genzoo_(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genzoo", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    code, out, err = genzoo_("verify", str(run))
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        [name, "ok"] for name in ("files", "config", "tensors", "samples", "reconstructions")
    ]
    change(
        run,
        "training.json",
        lambda c: c["fingerprint"]["samples"].update(sha256="0" * 64, projections="AAAA" * 341 + "AA=="),
    )
    code, out, err = genzoo_("verify", str(run), "--json")
    assert code == 1
    assert json.loads(out)["ok"] is False
    code, out, err = genzoo_("verify", str(run), str(run / "best"))
    assert code == 1
    assert "1 of 2" in err
    assert genzoo_("verify")[0] == genzoo_("verify", str(run), "--all")[0] == genzoo_("verify", "no/thing")[0] == 2

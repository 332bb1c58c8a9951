"""Plugins that watch training: they see all of it, may log, and can break nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.training.run_view import Tracker
from genzoo.core.training.trainer import Observer
from genzoo.registry import Registry, hookimpl

FEW = {"steps": 4, "batch_size": 8, "device": "cpu", "progress": False}
OPTIONS = {"train.log_every": 2, "train.checkpoint_every": 2, "train.validation": 0}


@pytest.fixture
def add(monkeypatch):
    """Train in a zoo with plugins that give these observers."""
    registry = Registry.discover(plugins=False)
    monkeypatch.setattr("genzoo.registry.verbs.fit.the_registry", lambda: registry)

    def add(name, give):
        class Plugin:
            @hookimpl
            def genzoo_observers(self, run):
                return give(run)

        assert registry.add(Plugin(), name, f"dist-{name}", "2.0").error is None
        return registry

    add.registry = registry
    return add


def train(out, recipe="gan", **options):
    return genzoo.fit(recipe, "ring8", out, options=OPTIONS | options, **FEW)


class Seer(Observer):
    def __init__(self, run):
        self.run, self.seen = run, []

    def start(self, trainer):
        self.seen.append(("start", trainer.step))

    def step(self, trainer):
        self.seen.append(("step", trainer.step))
        if trainer.step == 3:
            self.run.log({"moon": 0.5})

    def log(self, trainer, record):
        self.seen.append(("log", *sorted(set(record) - {"seconds"})[:1], record["step"]))
        record.clear()  # it has a copy

    def checkpoint(self, trainer, folder):
        assert (folder / "manifest.json").is_file()
        self.seen.append(("checkpoint", folder.name))

    def end(self, trainer):
        self.seen.append(("end", trainer.step))
        self.run.log({"last": 1})


def test_it_sees_everything_in_order_and_logs(add, tmp_path: Path):
    seers = []
    add("seer", lambda run: seers.append(Seer(run)) or seers[-1])
    run = train(tmp_path / "run")
    (seer,) = seers
    assert seer.run.folder == tmp_path / "run"
    assert seer.run.name == "run"
    assert [s for s in seer.seen if s[0] != "log"] == [
        ("start", 0), ("step", 1), ("checkpoint", "step-00000002"), ("step", 2), ("step", 3), ("step", 4), ("end", 4),
        ("checkpoint", "step-00000004"),
    ]  # fmt: skip
    assert ("log", "moon", 3) in seer.seen
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {k: v for k, v in lines[1].items() if k != "seconds"} == {"step": 3, "moon": 0.5}
    assert lines[-1]["last"] == 1.0
    assert run.history == lines


def test_who_watches_changes_nothing(add, tmp_path: Path):
    alone = train(tmp_path / "alone", recipe="vae")

    class Meddler(Observer):
        def step(self, trainer):
            trainer.model.train()
            torch.rand(100)
            with torch.enable_grad():
                trainer.nets.model.generator(torch.zeros(2, trainer.model.latent.size)).sum().backward()

    add("meddler", lambda run: [Meddler()])
    watched = train(tmp_path / "watched", recipe="vae")
    for a, b in zip(alone.model.state_dict().values(), watched.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


class Fails(Observer):
    def __init__(self, at, error):
        self.at, self.error, self.calls = at, error, 0

    def _fail(self, *_):
        self.calls += 1
        raise self.error

    def __getattribute__(self, name):
        return object.__getattribute__(self, "_fail" if name == object.__getattribute__(self, "at") else name)

    def start(self, trainer): ...
    def step(self, trainer): ...
    def log(self, trainer, record): ...
    def checkpoint(self, trainer, folder): ...
    def end(self, trainer): ...


@pytest.mark.parametrize(
    "error", [ValueError("two\nlines"), SystemExit(3), KeyboardInterrupt(), MemoryError()], ids=repr
)
def test_a_failure_is_one_line_and_the_run_goes_on(add, tmp_path: Path, capsys, error):
    made = [Fails(at, error) for at in ("start", "step", "log", "checkpoint", "end")]
    seers = []
    add("bad", lambda run: made)
    add("good", lambda run: seers.append(Seer(run)) or seers)
    assert train(tmp_path / "run").finished
    lines = [line for line in capsys.readouterr().err.splitlines() if "plugin 'bad' (dist-bad 2.0)" in line]
    assert len(lines) == 5
    assert all(type(error).__name__ in line and "is left out" in line for line in lines)
    assert [f.calls for f in made] == [1] * 5
    assert ("end", 4) in seers[0].seen


@pytest.mark.parametrize(
    "give", [lambda run: "me", lambda run: [Observer(), 3], lambda run: 1 / 0, lambda run: sys.exit()]
)
def test_a_hook_that_fails_is_one_line(add, tmp_path: Path, capsys, monkeypatch, give):
    monkeypatch.setattr("genzoo.registry.discovery.installed._warned", set())
    add("odd", give)
    assert train(tmp_path / "run").finished
    lines = capsys.readouterr().err.splitlines()
    assert len([x for x in lines if "plugin 'odd' (dist-odd 2.0) could not give its observers: " in x]) == 1


def test_changing_the_model_and_dawdling_are_told(add, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr("genzoo.core.training.run_view._SLOW", 0.05)

    class Mover(Observer):
        def log(self, trainer, record):
            with torch.no_grad():
                next(trainer.nets.parameters()).add_(0)

    class Slow(Observer):
        def step(self, trainer):
            import time

            time.sleep(0.2)

    class Wrong(Observer):
        def __init__(self, run, values):
            self.run, self.values = run, values

        def step(self, trainer):
            self.run.log(self.values)

    add("many", lambda run: [Mover(), Slow(), Wrong(run, {"x": float("nan")}), Wrong(run, {"step": 1.0})])
    assert train(tmp_path / "run").finished
    told = capsys.readouterr().err
    assert "observer Mover of plugin 'many' (dist-many 2.0) failed at step 2, in log, and is left out: it" in told
    assert "observer Slow of plugin 'many' (dist-many 2.0) took 0." in told
    assert "x = nan is no number for the log" in told
    assert "'step' is no name for a number in the log" in told


class Recorder(Tracker):
    """A stranger's tracker."""

    made: ClassVar[list] = []

    def __init__(self, options, run):
        if getattr(run, "refuse", False):
            raise GenzooError("no")
        super().__init__(options, run)
        self.calls = []
        self.made.append(self)

    def log(self, trainer, record):
        self.calls.append(record["step"])

    def close(self, failed):
        self.calls.append(f"failed {failed}")


def with_tracker(add, monkeypatch):
    class Plugin:
        @hookimpl
        def genzoo_register(self, registry):
            registry.tracker("mine", f"{__name__}:Recorder")

    add.registry.add(Plugin(), "trackers-of-mine", "dist-t", "1.0")
    module = SimpleNamespace(Recorder=Recorder)
    monkeypatch.setitem(sys.modules, __name__, module)
    monkeypatch.setattr(Recorder, "made", [])
    monkeypatch.setattr(add.registry, "options", lambda entry, _old=add.registry.options: (
        [] if entry.name == "mine" else _old(entry)))  # fmt: skip


def test_trackers(add, tmp_path: Path, monkeypatch):
    with_tracker(add, monkeypatch)
    genzoo.fit("gan", "ring8", tmp_path / "run", options=OPTIONS, trackers=["mine"], **FEW)
    (tracker,) = Recorder.made
    assert tracker.calls == [2, 4, "failed False"]
    with pytest.raises(UsageError, match=r"there is no tracker 'wnadb' \(did you mean 'wandb'"):
        genzoo.fit("gan", "ring8", tmp_path / "x", trackers=["wnadb"], **FEW)
    with pytest.raises(
        UsageError, match=r"'wandb.project' is an option of the tracker 'wandb': ask for it with tracker="
    ):
        genzoo.fit("gan", "ring8", tmp_path / "x", options={"wandb.project": "y"}, **FEW)
    with pytest.raises(UsageError, match=r"wandb has no option 'projet' \(did you mean .*wandb.project"):
        genzoo.fit("gan", "ring8", tmp_path / "x", options={"wandb.projet": "y"}, trackers=["wandb"], **FEW)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_sentence_before_the_first_step(add, tmp_path: Path, monkeypatch, name):
    for module in ("wandb", "mlflow", "mlflow.entities", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(GenzooError, match=rf"tracker '{name}' needs its package: pip install 'genzoo\[{name}\]'"):
        genzoo.fit("gan", "ring8", tmp_path / "run", trackers=[name], **FEW)
    assert not (tmp_path / "run").exists()


def test_wandb_itself(tmp_path: Path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    runs, init = [], wandb.init
    monkeypatch.setattr(wandb, "init", lambda **given: runs.append(init(**given)) or runs[-1])
    options = OPTIONS | {"wandb.mode": "offline", "wandb.project": "p", "wandb.name": "n"}
    run = genzoo.fit("gan", "ring8", tmp_path / "run", options=options, trackers=["wandb"], **FEW)
    (kept,) = runs
    assert (kept.project, kept.name) == ("p", "n")
    assert kept.config["recipe"] == "gan"
    assert run.finished
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_mlflow_itself(tmp_path: Path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "store").as_uri()
    options = OPTIONS | {"mlflow.uri": uri, "mlflow.experiment": "e"}
    run = genzoo.fit("gan", "ring8", tmp_path / "run", options=options, trackers=["mlflow"], **FEW)
    client = MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params["train.lr"] == str(run.config.train.lr)
    name = next(k for k in run.history[0] if "loss" in k)
    kept = client.get_metric_history(
        found.info.run_id, "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
    )
    assert [(m.step, m.value) for m in kept] == [(r["step"], r[name]) for r in run.history if name in r]

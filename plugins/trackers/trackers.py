"""Trackers: Weights & Biases and MLflow on a server, TensorBoard's event files beside the run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from genzoo.core.errors import GenzooError
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.core.training.run_view import RunView, Tracker
from genzoo.core.training.trainer import Trainer
from genzoo.registry import declare


@declare.tracker("wandb", tags=("online",))
class WeightsAndBiases(Tracker):
    """Weights & Biases: the terms, the whole configuration and the last samples; needs genzoo[wandb].

    A run that is resumed goes on in the run that it had there, by its folder. Who is not logged in sets
    ``WANDB_API_KEY``, or takes the mode ``offline`` and syncs later.
    """

    @dataclass(frozen=True)
    class Options(Tracker.Options):
        project: str = option("genzoo", "project that the run is put into")
        entity: str = option("", "user or team; empty for your own")
        name: str = option("", "of the run; empty for its folder's name")
        mode: Literal["auto", "online", "offline", "disabled"] = option("auto", "auto does as WANDB_MODE says")

    options: Options

    def __init__(self, options: Options, run: RunView) -> None:
        super().__init__(options, run)
        try:
            import wandb
        except ImportError:
            raise GenzooError("tracker 'wandb' needs its package: pip install 'genzoo[wandb]'") from None
        kept = run.folder / "wandb" / "run-id.txt" if run.folder is not None else None
        before = kept.read_text(encoding="utf-8").strip() if kept is not None and kept.is_file() else None
        try:
            self._run: Any = wandb.init(
                project=options.project,
                entity=options.entity or None,
                name=options.name or run.name,
                id=before,
                resume="allow" if before else None,
                mode=None if options.mode == "auto" else options.mode,
                dir=None if run.folder is None else str(run.folder),
                config={**run.config.to_dict(), "steps": run.trainer.steps, "seed": run.trainer.seed},
            )
        except Exception as e:  # not logged in, no network
            why = " ".join(str(e).split())
            raise GenzooError(f"Weights & Biases does not take the run: {why} (wandb.mode=offline needs nobody)") from e
        self._wandb = wandb
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(self._run.id, encoding="utf-8")

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        self._run.log({k: v for k, v in record.items() if k != "step"}, step=int(record["step"]))

    def end(self, trainer: Trainer) -> None:
        model = trainer.model
        image = of(model.spec).picture(model.spec, model.sample(64, numbers=True), None)
        if image is not None:
            self._run.log({"samples": self._wandb.Image(image)}, step=trainer.step)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


@declare.tracker("mlflow", tags=("online", "offline"))
class MLflow(Tracker):
    """MLflow: the terms as metrics, the whole configuration as parameters; needs genzoo[mlflow]."""

    @dataclass(frozen=True)
    class Options(Tracker.Options):
        uri: str = option("", "of the tracking server, or sqlite:///FILE; empty for MLFLOW_TRACKING_URI's")
        experiment: str = option("genzoo", "experiment that the run is put into")
        name: str = option("", "of the run; empty for its folder's name")

    options: Options

    def __init__(self, options: Options, run: RunView) -> None:
        super().__init__(options, run)
        try:
            from mlflow.entities import Metric, Param
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise GenzooError("tracker 'mlflow' needs its package: pip install 'genzoo[mlflow]'") from None
        self._metric = Metric
        try:
            self._client: Any = MlflowClient(tracking_uri=options.uri or None)
            known = self._client.get_experiment_by_name(options.experiment)
            experiment = known.experiment_id if known else self._client.create_experiment(options.experiment)
            self._id = self._client.create_run(experiment, run_name=options.name or run.name).info.run_id
            said = {**dict(_flat(run.config.to_dict())), "seed": run.trainer.seed, "steps": run.trainer.steps}
            pairs = [Param(k, str(v)[:500]) for k, v in said.items()]
            for start in range(0, len(pairs), 100):  # as many as a server takes at once
                self._client.log_batch(self._id, params=pairs[start : start + 100])
        except Exception as e:  # no server there, no permission
            raise GenzooError(f"MLflow does not take the run: {' '.join(str(e).split())[:300]}") from e

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        step, now = int(record["step"]), int(time.time() * 1000)
        metrics = [self._metric(_name(k), float(v), now, step) for k, v in record.items() if k != "step"]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")


def _name(text: str) -> str:
    """A name that MLflow takes: letters, digits and ``_-. /``."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-. /") else "_" for c in text)


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted name."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


@declare.tracker("tensorboard", tags=("offline",))
class TensorBoard(Tracker):
    """Event files for TensorBoard in the run's folder; needs genzoo[tensorboard]."""

    def __init__(self, options: Tracker.Options, run: RunView) -> None:
        super().__init__(options, run)
        if run.folder is None:
            raise GenzooError("event files are written under the run's folder: give --out")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise GenzooError(
                "event files need the tensorboard package: pip install 'genzoo[tensorboard]', or leave it out"
            ) from None
        self._make, self._folder = SummaryWriter, str(run.folder / "tensorboard")
        self._writer: Any = None

    def start(self, trainer: Trainer) -> None:
        """Open the files; events of steps from here on, by a run that was killed beyond its checkpoint, are void."""
        self.close(failed=False)
        self._writer = self._make(self._folder, purge_step=trainer.step + 1)

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name, value, int(record["step"]))

    def end(self, trainer: Trainer) -> None:
        kind, spec = of(trainer.model.spec), trainer.model.spec
        with torch.no_grad():
            drawn = kind.render(spec, trainer.model.sample(64, numbers=True)) if kind.renders else None
        if drawn is not None and drawn.shape[1] in (1, 3):
            self._writer.add_images("samples", drawn.clamp(0, 1), trainer.step)

    def close(self, failed: bool) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

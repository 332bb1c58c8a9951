"""MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from genzoo.core.errors import GenzooError
from genzoo.core.options import option
from genzoo.core.training.run_view import RunView, Tracker
from genzoo.core.training.trainer import Trainer
from genzoo.registry import declare


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
        step, now = int(record["step"]), _milliseconds()
        metrics = [self._metric(_name(k), float(v), now, step) for k, v in record.items() if k != "step"]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")


def _milliseconds() -> int:
    import time

    return int(time.time() * 1000)


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

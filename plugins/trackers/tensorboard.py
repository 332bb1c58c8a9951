"""TensorBoard: event files beside the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from genzoo.core.errors import GenzooError
from genzoo.core.modality import of
from genzoo.core.training.run_view import RunView, Tracker
from genzoo.core.training.trainer import Trainer
from genzoo.registry import declare


@declare.tracker("tensorboard", tags=("offline",))
class TensorBoard(Tracker):
    """Event files for TensorBoard in the run's folder; needs genzoo[tensorboard]."""

    def __init__(self, options: Tracker.Options, run: RunView) -> None:
        super().__init__(options, run)
        if run.folder is None:
            raise GenzooError("event files are written under the run's folder: give out")
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
            drawn = kind.render(spec, trainer.model.sample(64)) if kind.renders else None
        if drawn is not None and drawn.shape[1] in (1, 3):
            self._writer.add_images("samples", drawn.clamp(0, 1), trainer.step)

    def close(self, failed: bool) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

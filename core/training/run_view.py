"""Strangers that watch a run: what they are handed, and what keeps their faults from the training."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genzoo.core.errors import GenzooError
from genzoo.core.text import error_line, lines
from genzoo.core.training.trainer import Observer, Trainer

if TYPE_CHECKING:
    from genzoo.core.config import Config

CALLS = ("start", "step", "log", "checkpoint", "end")
_SLOW, _SHARE = 1.0, 0.05  # seconds, and share of a run's, from which on an observer is called slow


class RunView:
    """A run of training, for who watches it: to be read.

    Attributes:
        config: every option by value.
        folder: where the run is written, or None.
        trainer: what trains: its ``step`` of ``steps``, ``history`` of records, ``model`` as it will be kept, ``data``.
        watch: whether warnings of what goes wrong are asked for (``genzoo train --watch``).
    """

    def __init__(self, trainer: Trainer, config: Config, folder: Path | None, watch: bool = False) -> None:
        self.trainer, self.config, self.folder, self.watch = trainer, config, folder, watch
        self._said: dict[str, float] = {}

    @property
    def name(self) -> str:
        """What the run is called: its folder's name, or its recipe's."""
        return self.folder.resolve().name if self.folder is not None else self.config.recipe

    def log(self, values: Mapping[str, float]) -> None:
        """Put numbers into the run's log beside its own: they reach the log file, the trackers and all observers.

        Args:
            values: finite numbers by name.

        Raises:
            GenzooError: if one is none, or has the name of a column that the log has anyway.
        """
        for name, value in values.items():
            if not isinstance(name, str) or not name or name in ("step", "seconds"):
                raise GenzooError(f"{name!r} is no name for a number in the log")
            number = float(value)
            if not math.isfinite(number):
                raise GenzooError(f"{name} = {number} is no number for the log")
            self._said[name] = number

    def pass_on(self) -> None:
        """Write what was logged since the last time; not while a record is being passed around."""
        if self._said:
            said, self._said = self._said, {}
            self.trainer.note(said)


class GuardedObserver(Observer):
    """Lets a stranger's observer watch; its first failure is told in one line and ends its watching, not the run.

    Args:
        inner: the observer.
        who: whose it is, for that line: ``observer Rain of plugin 'x' (dist 1.0)``.
        run: what it logs to.
    """

    def __init__(self, inner: Observer, who: str, run: RunView) -> None:
        self.inner, self.who, self.run = inner, who, run
        self.seconds, self.failed = 0.0, False
        self._calls = {c for c in CALLS if getattr(type(inner), c, None) is not getattr(Observer, c)}

    def start(self, trainer: Trainer) -> None:
        self._call("start", trainer)

    def step(self, trainer: Trainer) -> None:
        self._call("step", trainer)
        self.run.pass_on()

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        self._call("log", trainer, dict(record))

    def checkpoint(self, trainer: Trainer, folder: Path) -> None:
        self._call("checkpoint", trainer, folder)

    def end(self, trainer: Trainer) -> None:
        self._call("end", trainer)
        self.run.pass_on()
        if not self.failed and self.seconds > max(_SLOW, _SHARE * trainer.seconds):
            tell(f"{self.who} took {self.seconds:.1f} s of the run's {trainer.seconds:.1f} s")

    def _call(self, name: str, trainer: Trainer, *rest: Any) -> None:
        if self.failed or name not in self._calls:
            return
        begun = time.perf_counter()
        before = _Untouched(trainer)
        try:
            getattr(self.inner, name)(trainer, *rest)
        except BaseException as e:  # sys.exit() included; Ctrl-C does not raise while a run can still stop cleanly
            self._drop(f"failed at step {trainer.step}, in {name}, and is left out: {error_line(e)}")
        finally:
            if before.restore(trainer) and not self.failed:
                self._drop(f"changed the model at step {trainer.step}, in {name}, and is left out: it may only read")
            self.seconds += time.perf_counter() - begun

    def _drop(self, why: str) -> None:
        self.failed = True
        tell(f"{self.who} {why}")


class _Untouched:
    """What an observer may use and must not leave changed: modes, gradients, and torch's global randomness."""

    def __init__(self, trainer: Trainer) -> None:
        self.randomness = torch.get_rng_state()
        self.modes = [(m, m.training) for m in trainer.nets.modules()]
        self.gradients = [p.grad for p in trainer.nets.parameters()]
        self.versions = self._versions(trainer)

    @staticmethod
    def _versions(trainer: Trainer) -> int:
        return sum(p._version for p in trainer.nets.parameters())

    def restore(self, trainer: Trainer) -> bool:
        """Put back what can be; whether parameters were changed, which cannot."""
        torch.set_rng_state(self.randomness)
        for module, training in self.modes:
            module.training = training
        for p, gradient in zip(trainer.nets.parameters(), self.gradients, strict=True):
            p.grad = gradient
        return self._versions(trainer) != self.versions


def tell(line: str) -> None:
    """Print a line on stderr that a progress bar does not swallow."""
    print(("\n" if sys.stderr.isatty() else "") + f"genzoo: {lines(line)}", file=sys.stderr)

"""Who watches a run from outside: what observers and trackers are handed, and what keeps their faults from it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genzoo.core.errors import GenzooError
from genzoo.core.options import Configured
from genzoo.core.text import error_line, lines
from genzoo.core.training.trainer import Observer, Trainer

if TYPE_CHECKING:
    from genzoo.core.config import Config

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
        """Put finite numbers into the run's log beside its own, under other names: they reach all observers."""
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


class Tracker(Configured, Observer):
    """Base of the registry's kind ``tracker``: reports a run to a service or a program of its own.

    It is made when training begins, on process 0, so that what it needs and lacks is said before the first step
    (raise `GenzooError` there, with what to install). After that it is an observer like others: a failure ends the
    reporting with one line, never the training. ``options`` is an instance of the class's ``Options``, which
    ``--set NAME.OPTION=VALUE`` sets.
    """

    def __init__(self, options: Any, run: RunView) -> None:
        super().__init__(options)
        self.run = run

    def close(self, failed: bool) -> None:
        """Called once, however training ends, after `end` if it ended well; ``failed`` if it broke down."""


class GuardedObserver(Observer):
    """Lets a plugin's observer watch; its first failure is told in one line and ends its watching, not the run.

    ``who`` says whose it is in that line: ``observer Rain of plugin 'x' (dist 1.0)``.
    """

    def __init__(self, inner: Observer, who: str, run: RunView) -> None:
        self.inner, self.who, self.run = inner, who, run
        self.seconds, self.failed = 0.0, False

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
        if self.failed or getattr(type(self.inner), name) is getattr(Observer, name):
            return
        begun = time.perf_counter()
        try:
            with _reading(trainer):
                getattr(self.inner, name)(trainer, *rest)
        except BaseException as e:  # sys.exit() included; Ctrl-C does not raise while a run can still stop cleanly
            self.failed = True
            tell(f"{self.who} failed at step {trainer.step}, in {name}, and is left out: {error_line(e)}")
        self.seconds += time.perf_counter() - begun


@contextmanager
def _reading(trainer: Trainer) -> Iterator[None]:
    """Put modes, gradients and torch's global randomness back; raises `GenzooError` if parameters were changed."""
    parameters = list(trainer.nets.parameters())
    randomness, gradients = torch.get_rng_state(), [p.grad for p in parameters]
    modes, versions = [(m, m.training) for m in trainer.nets.modules()], sum(p._version for p in parameters)
    try:
        yield
    finally:
        torch.set_rng_state(randomness)
        for module, training in modes:
            module.training = training
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient
    if sum(p._version for p in parameters) != versions:
        raise GenzooError("it changed the model, and may only read")


def tell(line: str) -> None:
    """Print a line on stderr that a progress bar does not swallow."""
    print(("\n" if sys.stderr.isatty() else "") + f"genzoo: {lines(line)}", file=sys.stderr)

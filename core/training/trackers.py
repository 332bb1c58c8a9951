"""What reports runs to a service or a program of its own: ``genzoo train --tracker NAME``."""

from __future__ import annotations

from dataclasses import dataclass

from genzoo.core.training.run_view import RunView
from genzoo.core.training.trainer import Observer


class Tracker(Observer):
    """Base of the registry's kind ``tracker``.

    It is made when training begins, on process 0, so that what it needs and lacks is said before the first step
    (raise `GenzooError` there, with what to install). After that it is an observer like others: a failure ends the
    reporting with one line, never the training.

    Args:
        options: an instance of the class's ``Options``: ``--set NAME.OPTION=VALUE``.
        run: the run that it reports.
    """

    @dataclass(frozen=True)
    class Options:
        pass

    def __init__(self, options: Options, run: RunView) -> None:
        self.options, self.run = options, run

    def close(self, failed: bool) -> None:
        """Called once, however training ends, after `end` if it ended well; ``failed`` if it broke down."""

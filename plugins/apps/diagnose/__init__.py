"""What is wrong with a run: ``genzoo diagnose``, and ``genzoo train --watch`` while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry import Registrar, hookimpl

if TYPE_CHECKING:
    from genzoo.core.training.run_view import RunView
    from genzoo.plugins.apps.diagnose.alarm import Alarm


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the command."""
    registry.command(
        "diagnose",
        f"{__name__}.diagnose_cli:diagnose",
        summary="Say what is wrong with a run, on what evidence, and what to try.",
    )


@hookimpl
def genzoo_observers(run: RunView) -> Alarm | None:
    """Watch a run that was started with ``watch=True``."""
    if not run.watch:
        return None
    from genzoo.plugins.apps.diagnose.alarm import Alarm

    return Alarm(run)

"""Pictures and films: ``genzoo plot``."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the command."""
    registry.command(
        "plot",
        f"{__name__}.draw_cli:plot",
        summary="Draw samples, ways through codes, curves, and films of a training.",
    )

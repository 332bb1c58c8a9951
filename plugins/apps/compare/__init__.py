"""Models side by side, in the terminal and as a page: ``genzoo compare``."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the command."""
    registry.command(
        "compare", f"{__name__}.compare_cli:compare", summary="Measure models alike and put them side by side."
    )

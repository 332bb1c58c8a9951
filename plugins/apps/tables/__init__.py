"""Tables as people have them: ``genzoo data inspect``, ``genzoo complete``, ``genzoo augment``."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the commands."""
    registry.command("data", f"{__name__}.tables_cli:data", summary="What a file of data holds.")
    registry.command("complete", f"{__name__}.tables_cli:complete", summary="Fill the empty cells of a table.")
    registry.command("augment", f"{__name__}.tables_cli:augment", summary="More rows of a rare class, if they help.")

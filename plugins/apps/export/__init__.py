"""Models as ONNX or torch.export programs: ``genzoo export``."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the command."""
    registry.command(
        "export",
        f"{__name__}.export_cli:export",
        summary="Write generator and encoder as programs that run without genzoo.",
    )

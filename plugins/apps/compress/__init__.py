"""Observations as files whose size is a model's bound: ``genzoo compress`` and ``genzoo decompress``."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the commands."""
    registry.command(
        "compress", f"{__name__}.compress_cli:compress", summary="Write data as a file whose size is a model's bound."
    )
    registry.command(
        "decompress", f"{__name__}.compress_cli:decompress", summary="Give back the data of a compressed file."
    )

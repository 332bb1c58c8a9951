"""Trained models to play with in a page on this machine: ``genzoo explore``."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the command."""
    registry.command(
        "explore", f"{__name__}.explore_cli:explore", summary="Play with trained models in a page on this machine."
    )

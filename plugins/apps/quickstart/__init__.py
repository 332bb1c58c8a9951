"""Two small models in two minutes: ``genzoo quickstart``."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the command."""
    registry.command(
        "quickstart",
        f"{__name__}.quickstart:quickstart",
        summary="Train a small VAE and a small WGAN-GP, and draw what they make.",
    )

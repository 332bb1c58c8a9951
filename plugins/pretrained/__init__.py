"""Trained weights that ship with the zoo, each in ``weights/RECIPE/DATA`` (``DATA@2`` for a second version)."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the Hub, and every weights folder that is here."""
    registry.store(
        "hf", "genzoo.registry.weights.hub:Hub", summary="models on the Hugging Face Hub: hf:org/name@revision"
    )
    registry.weights_folder("genzoo.plugins.pretrained:weights")

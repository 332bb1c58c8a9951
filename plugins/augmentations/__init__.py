"""Augmentations for any adversarial loss, one file each."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every augmentation declared in this folder."""
    registry.scan(__name__)

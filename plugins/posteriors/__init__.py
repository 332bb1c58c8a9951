"""Posterior families: one file each, registered where it stands."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every posterior declared in this folder."""
    registry.scan(__name__)

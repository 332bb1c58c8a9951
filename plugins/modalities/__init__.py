"""Kinds of data: pictures and vectors of real numbers. One file each, registered where it stands."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every modality declared in this folder."""
    registry.scan(__name__)

"""Data sets: Fashion-MNIST, whole and small, digits, emoji, toy densities in the plane, and a user's own files."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every data set declared in this folder."""
    registry.scan(__name__)

"""Judges of samples. So far: a classifier of Fashion-MNIST's ten classes that ships with genzoo."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every judge declared in this folder."""
    registry.scan(__name__)

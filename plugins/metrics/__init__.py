"""Judges of samples: metrics, and extractors of the features that they rest on."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every judge declared in this folder."""
    registry.scan(__name__)

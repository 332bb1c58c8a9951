"""Architectures that fit any objective: multilayer perceptrons and convolutional networks."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every network declared in this folder."""
    registry.scan(__name__)

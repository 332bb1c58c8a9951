"""Likelihoods: what a VAE's generator means by its numbers. One file each, registered where it stands."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every likelihood declared in this folder."""
    registry.scan(__name__)

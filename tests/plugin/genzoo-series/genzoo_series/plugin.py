"""What genzoo asks. It imports no torch, so that `genzoo list` stays quick."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every class in this package's files that carries a ``@declare.…`` decorator."""
    registry.scan("genzoo_series")

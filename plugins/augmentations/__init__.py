"""What may be added to any adversarial loss, one file each."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every part declared in this folder."""
    registry.scan(__name__)

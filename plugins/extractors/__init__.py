"""What metrics see data through: feature extractors, one file each, registered where it stands."""

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register every extractor declared in this folder."""
    registry.scan(__name__)

"""Where weights live: the Hub, folders, the copies inside packages, and what plugins add. Never imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genzoo.registry.weights.base import Listing, Located, Remote, Store
    from genzoo.registry.weights.locate import resolve

__all__ = ["Listing", "Located", "Remote", "Store", "resolve"]


def __getattr__(name: str) -> Any:
    """Import what is asked for then: listing the zoo comes by here, and needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from genzoo.registry.weights import base, locate

    value = globals()[name] = getattr(locate if name == "resolve" else base, name)
    return value

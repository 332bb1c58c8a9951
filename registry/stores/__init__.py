"""Where weights live: the Hub, folders, the copies inside packages, and what plugins add. Never imports torch."""

from __future__ import annotations

from genzoo.registry.stores.base import Listing, Located, Remote, Store
from genzoo.registry.stores.names import resolve

__all__ = ["Listing", "Located", "Remote", "Store", "resolve"]

"""Weights in whatever fsspec opens: S3, Google Cloud Storage, SFTP, WebDAV, memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from genzoo.core.errors import GenzooError
from genzoo.core.storage.files import MANIFEST
from genzoo.registry.weights import Listing, Remote, Store

_PIECE, _MOST = 1 << 20, 1 << 20  # bytes that are read at once; that a manifest may have


class Bucket(Store):
    """A store whose name is a protocol of fsspec: ``registry.store("sftp", "genzoo.plugins.stores.buckets:Bucket")``.

    ``s3:bucket/faces`` is the weights folder of that path, as training writes it, and ``s3:bucket/faces@2`` the one
    at ``bucket/faces@2`` beside it. Settings and secrets are fsspec's own: its configuration files, or the
    environment. What a folder's manifest says, whose sha256 is the version's identity, every file must be.
    """

    def listing(self, name: str, revision: str) -> Listing:
        path = f"{name.rstrip('/')}@{revision}" if revision else name.rstrip("/")
        with self._told(path) as system, system.open(f"{path}/{MANIFEST}", "rb") as f:
            text = f.read(_MOST + 1)
        try:
            listed: Any = json.loads(text) if len(text) <= _MOST else None
            files = {str(n): Remote(int(f["size"]), str(f["sha256"])) for n, f in listed["files"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise GenzooError(f"{self.prefix}:{name} holds no genzoo weights: its {MANIFEST} is damaged") from None
        version = f"{revision}:{hashlib.sha256(text).hexdigest()}"
        return Listing(version, {**files, MANIFEST: Remote(len(text), hashlib.sha256(text).hexdigest())})

    def read(self, name: str, commit: str, file: str) -> Iterator[bytes]:
        revision = commit.rpartition(":")[0]
        path = f"{name.rstrip('/')}@{revision}" if revision else name.rstrip("/")
        with self._told(path) as system, system.open(f"{path}/{file}", "rb") as f:
            while piece := f.read(_PIECE):
                yield piece

    @contextmanager
    def _told(self, path: str) -> Iterator[Any]:
        """The file system; what goes wrong with it is one sentence."""
        where = f"{self.prefix}:{path}"
        try:
            import fsspec

            system = fsspec.filesystem(self.prefix)
        except ImportError as e:  # fsspec names the package that it lacks
            raise GenzooError(f"{where} cannot be opened: {' '.join(str(e).split())}") from None
        except ValueError as e:
            raise GenzooError(f"{where} cannot be opened: {e}") from None
        try:
            yield system
        except GenzooError:
            raise
        except FileNotFoundError:
            raise GenzooError(f"there are no genzoo weights at {where}") from None
        except Exception as e:  # a network, a permission: each file system has errors of its own
            raise GenzooError(f"{where} cannot be read: {type(e).__name__}: {' '.join(str(e).split())[:300]}") from e

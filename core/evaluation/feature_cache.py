"""Features of reference data on disk: found by what made them, verified, and safe to share between processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genzoo.core.errors import GenzooError
from genzoo.core.storage import user_cache
from genzoo.core.storage.files import replacing

LIMIT_BYTES = 2 * 2**30  # of all that is kept: the files that were not used for longest go first


class FeatureCache:
    """Tensors by a key that says all that they depend on; by default in ``genzoo/features`` of the user's cache folder.

    A file is written aside and renamed, and holds its key and the hash of its numbers: one that is damaged, or of
    another key, is as good as absent. A folder that cannot be written costs time and nothing else.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = Path(user_cache.place("features") or os.devnull) if folder is None else folder
        self.limit_bytes = limit_bytes

    def path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, or None."""
        path = self.path(key)
        try:
            with safe_open(path, framework="pt") as f:
                about = json.loads((f.metadata() or {}).get("genzoo", "{}"))
                tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118  # it is no mapping
        except (OSError, SafetensorError, ValueError):
            return None
        if about != {"key": key, "sha256": digest(tensors)}:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # what is used stays
        return tensors

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a key, if the folder can be written."""
        own = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        about = json.dumps({"key": key, "sha256": digest(own)})  # one key only: more would come in any order
        with contextlib.suppress(OSError, GenzooError, SafetensorError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.path(key)) as temporary:
                save_file(own, temporary, metadata={"genzoo": about})
            self._trim()

    def _trim(self) -> None:
        """Delete the files that were not used for longest until the rest is within the limit."""
        found = []
        for path in self.folder.glob("*.safetensors"):
            with contextlib.suppress(OSError):  # another process may have deleted it
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def digest(tensors: Mapping[str, Tensor], head: str = "") -> str:
    """The sha256 of a text and of tensors' names, shapes and numbers."""
    total = hashlib.sha256(head.encode())
    for name, t in sorted(tensors.items()):
        total.update(f"{name} {tuple(t.shape)} {t.dtype} ".encode())
        total.update(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()

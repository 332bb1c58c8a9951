"""Tensors in safetensors files: written the same every time, read as a memory map that is checked first."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from genzoo.core.errors import GenzooError
from genzoo.core.storage import verified_cache
from genzoo.core.storage.header import TensorInfo, read_header
from genzoo.core.storage.strict import open_plain

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
Storage = Literal["float16", "bfloat16"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], storage: Storage | None = None) -> None:
    """Write tensors as safetensors; equal tensors give equal bytes.

    Args:
        path: of the file.
        tensors: by name.
        storage: a smaller dtype for float32 matrices and kernels; vectors (biases, what norms hold), which weigh
            next to nothing and suffer most, stay as they are. Loading makes all of them float32 again.

    Raises:
        GenzooError: if a number is too large for ``storage``.
        OSError: if the system cannot.
    """
    own, places = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        t = tensor.detach().cpu().contiguous()
        if storage is not None and t.dtype == torch.float32 and t.dim() >= 2:
            t = _smaller(name, t, storage)
        place = t.untyped_storage().data_ptr()
        own[name] = t.clone() if place in places else t  # the format knows no tied tensors
        places.add(place)
    try:
        save_file(own, path)
    except SafetensorError as e:  # hides the system's error in words
        code = re.search(r"os error (\d+)", str(e))
        raise OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(e)) from e


def _smaller(name: str, t: Tensor, storage: Storage) -> Tensor:
    small = t.to({"float16": torch.float16, "bfloat16": torch.bfloat16}[storage])
    if torch.isfinite(t).all() and not torch.isfinite(small).all():
        most = t.abs().max().item()
        raise GenzooError(f"tensor {name!r} holds {most:.4g}, which {storage} cannot: store these weights as float32")
    return small


class TensorFile:
    """A safetensors file, mapped into memory: what is hashed and checked is what its tensors are made of.

    The map is private: changing a tensor changes no file, and a file that is replaced (as genzoo replaces files, by
    renaming) leaves the tensors alone. Only a file that is cut short or written into while it is in use does not,
    as with every memory map.

    Args:
        path: of the file.
        within: see `genzoo.core.storage.strict.open_plain`.

    Raises:
        GenzooError: if it is no plain file, or cannot be read.
        FileNotFoundError: if there is none.
    """

    def __init__(self, path: Path, within: Path | None = None) -> None:
        self.path = path
        try:
            self._file = open_plain(path, within)
            self.stat = os.fstat(self._file.fileno())
            # The map outlives this object, for as long as a tensor needs it.
            access = mmap.ACCESS_COPY
            self._map = mmap.mmap(self._file.fileno(), 0, access=access) if self.stat.st_size else b""
        except FileNotFoundError:
            raise
        except OSError as e:
            raise GenzooError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
        self._seen = verified_cache.recall(self.stat)
        self._sha256 = self._seen.sha256 if self._seen else ""
        self._infos: dict[str, TensorInfo] | None = None

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.stat.st_size

    @property
    def sha256(self) -> str:
        """Hash of the whole file; computed once for a file, see `genzoo.core.storage.verified_cache`."""
        if not self._sha256:
            self._sha256 = hashlib.sha256(self._map).hexdigest()
            self._keep(finite=False)
        return self._sha256

    @property
    def infos(self) -> dict[str, TensorInfo]:
        """The tensors' dtypes, shapes and places; raises GenzooError if the header does not add up."""
        if self._infos is None:
            try:
                self._infos = read_header(self._map, self.size)
            except ValueError as e:
                raise GenzooError(f"{self.path} is no safetensors file: {e}") from None
        return self._infos

    def tensor(self, name: str) -> Tensor:
        """A tensor of the file, in the file's dtype; its memory is the map."""
        info = self.infos[name]
        dtype = DTYPES[info.dtype]
        if info.numel == 0:
            return torch.empty(info.shape, dtype=dtype)
        source, offset = self._map, info.start
        if offset % dtype.itemsize:  # the format allows it, processors do not
            source, offset = bytearray(self._map[info.start : info.end]), 0  # type: ignore[assignment]
        return torch.frombuffer(source, dtype=dtype, count=info.numel, offset=offset).view(info.shape)

    def check_numbers(self) -> None:
        """Look at every number, once for a file.

        Raises:
            GenzooError: naming the tensor that holds NaN or infinities.
        """
        if self._seen is not None and self._seen.finite:
            return
        for name, info in self.infos.items():
            if not info.numel or info.dtype not in ("F64", "F32", "F16", "BF16", "BOOL"):
                continue
            if info.dtype == "BOOL":
                if max(self._map[info.start : info.end]) > 1:
                    raise GenzooError(f"{self.path} holds neither true nor false in tensor {name!r}: refused")
            elif not all(torch.isfinite(v) for v in torch.aminmax(self.tensor(name))):
                raise GenzooError(f"{self.path} holds NaN or infinite numbers in tensor {name!r}: refused")
        self._keep(finite=True)

    def _keep(self, finite: bool) -> None:
        """Remember what was found; refuse a file that was written to meanwhile.

        One that was replaced or unlinked meanwhile, which its change time tells, is still the one that was read.
        """
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.stat.st_size, self.stat.st_mtime_ns):
            raise GenzooError(f"{self.path} was changed while it was read: try again when nothing writes to it")
        if not self._sha256 or not verified_cache.same_file(now, self.stat):
            return
        self._seen = verified_cache.Seen(self._sha256, finite)
        verified_cache.remember(self.stat, self._seen)


def read_tensors(path: Path, within: Path | None = None) -> dict[str, Tensor]:
    """All tensors of a safetensors file, memory-mapped, in the file's dtypes; NaN is the caller's business.

    Raises:
        GenzooError: if it is no plain file, or no safetensors file.
        FileNotFoundError: if there is none.
    """
    with TensorFile(path, within) as file:
        return {name: file.tensor(name) for name in file.infos}

"""A weights folder: config, tensors and manifest; the same on disk, in the package and on the Hub.

Tensors are in a safetensors file, written the same every time, read as a memory map that is checked first. The format:
eight bytes with the header's length, little-endian; the header, JSON that gives each tensor its dtype, shape and
offsets; then the tensors' bytes, which those offsets must cover exactly, without holes or overlap.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from genzoo.core.config import CONFIG as CONFIG
from genzoo.core.config import FORMAT as FORMAT
from genzoo.core.config import parse_config as parse_config
from genzoo.core.config import read_config as read_config
from genzoo.core.config import read_content as read_content
from genzoo.core.errors import GenzooError
from genzoo.core.storage import user_cache
from genzoo.core.storage.files import Writer, text_file
from genzoo.core.storage.strict import one_line, open_plain, parse_json, reading

if TYPE_CHECKING:
    from genzoo.core.model import Model

TENSORS = "model.safetensors"
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
MOST_DIMENSIONS, LONGEST_NAME = 8, 500
Storage = Literal["float16", "bfloat16"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], storage: Storage | None = None) -> None:
    """Write tensors as safetensors; equal tensors give equal bytes.

    ``storage`` is a smaller dtype for float32 matrices and kernels; vectors (biases, what norms hold), which weigh next
    to nothing and suffer most, stay as they are. Loading makes all of them float32 again.

    Raises:
        GenzooError: if a number is too large for ``storage``.
        OSError: if the system cannot.
    """
    own, places = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        t = tensor.detach().cpu().contiguous()
        if storage is not None and t.dtype == torch.float32 and t.dim() >= 2:
            large, t = t, t.to(getattr(torch, storage))
            if large.isfinite().all() and not t.isfinite().all():
                most = f"{large.abs().max().item():.4g}"
                raise GenzooError(
                    f"tensor {name!r} holds {most}, which {storage} cannot: store these weights as float32"
                )
        place = t.untyped_storage().data_ptr()
        own[name] = t.clone() if place in places else t  # the format knows no tied tensors
        places.add(place)
    try:
        save_file(own, path)
    except SafetensorError as e:  # hides the system's error in words
        code = re.search(r"os error (\d+)", str(e))
        raise OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(e)) from e


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's dtype as the format writes it, its shape, and the offsets of its first byte and after its last."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


def largest_header(size: int) -> int:
    """Most bytes of a header in a file of ``size`` bytes: enough for 5,000 tensors, then by its share.

    Parsed it takes some twenty times its length, which so stays in proportion to the file.
    """
    return min(max(2**19, size // 16), 100_000_000)


def read_header(file: Any, size: int) -> dict[str, TensorInfo]:
    """Read the header of a safetensors file of ``size`` bytes, something that gives ``bytes`` for a slice.

    Returns:
        Name to place, in the order of the places.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if size < 8:
        raise ValueError(f"it has {size} bytes, and its header's length alone takes 8")
    length = int.from_bytes(file[:8], "little")
    for most, is_so in ((size - 8, "are there"), (largest_header(size), "are read at most")):
        if length > most:
            raise ValueError(f"its header claims {length:,} bytes, and {most:,} {is_so}")
    try:
        raw = parse_json(bytes(file[8 : 8 + length]), deepest=3)
    except ValueError as e:
        raise ValueError(f"its header: {e}") from None
    if not isinstance(raw, dict):
        raise ValueError("its header is no list of tensors")
    about = raw.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(v, str) for v in about.values()):
        raise ValueError("its header's __metadata__ is not text by name")
    at, before = 8 + length, "the header"
    found = [(name, _info(name, about, at, size)) for name, about in raw.items()]
    found.sort(key=lambda item: (item[1].start, item[1].end))
    for name, info in found:
        if info.start != at:
            how = "overlap" if info.start < at else "leave a hole between them"
            raise ValueError(f"tensor {name!r} and {before} {how}")
        at, before = info.end, repr(name)
    if at != size:
        raise ValueError(f"its tensors end at byte {at:,}, and the file at {size:,}")
    return dict(found)


def _info(name: str, raw: Any, begin: int, size: int) -> TensorInfo:
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"it has a tensor named {one_line(repr(name), 80)}, and no tensor is called that")
    if not isinstance(raw, dict) or set(raw) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} needs dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = raw["dtype"], raw["shape"], raw["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"tensor {name!r} is of dtype {one_line(repr(dtype), 40)}; there are {', '.join(DTYPES)}")
    if not _whole_numbers(shape) or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"tensor {name!r} has a shape that is none of at most {MOST_DIMENSIONS} whole numbers")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has data_offsets that are not two whole numbers")
    start, end = offsets
    if not start <= end <= size - begin:
        raise ValueError(f"tensor {name!r} claims the bytes {start:,} to {end:,} of {size - begin:,}")
    if end - start != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"tensor {name!r} of {dtype} and shape {tuple(shape)} does not take {end - start:,} bytes")
    return TensorInfo(dtype, tuple(shape), begin + start, begin + end)


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


class TensorFile:
    """A safetensors file, mapped into memory: what is hashed and checked is what its tensors are made of.

    The map is private: changing a tensor changes no file, and a file that is replaced (as genzoo replaces files, by
    renaming) leaves the tensors alone. Only a file that is cut short or written into while it is in use does not,
    as with every memory map. ``within`` is as `genzoo.core.storage.strict.open_plain` has it.

    Raises:
        GenzooError: if it is no plain file, or cannot be read.
        FileNotFoundError: if there is none.
    """

    def __init__(self, path: Path, within: Path | None = None) -> None:
        self.path, self._file = path, open_plain(path, within)
        with reading(path):
            self.stat = os.fstat(self._file.fileno())
            self.size = self.stat.st_size
            # The map outlives this object, for as long as a tensor needs it.
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY) if self.size else b""
        self._seen = user_cache.recall(self.stat)
        self._infos: dict[str, TensorInfo] | None = None

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """Hash of the whole file; computed once for a file, see `genzoo.core.storage.user_cache.recall`."""
        if self._seen is None:
            self._keep(user_cache.Seen(hashlib.sha256(self._map).hexdigest()))
        assert self._seen is not None
        return self._seen.sha256

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
        source: Any = self._map
        offset = info.start
        if offset % dtype.itemsize:  # the format allows it, processors do not
            source, offset = bytearray(self._map[info.start : info.end]), 0
        return torch.frombuffer(source, dtype=dtype, count=info.numel, offset=offset).view(info.shape)

    def check_numbers(self) -> None:
        """Look at every number, once for a file; raises GenzooError, naming the tensor that holds NaN or infinities."""
        if self._seen is not None and self._seen.finite:
            return
        for name, info in self.infos.items():
            if info.dtype == "BOOL" and max(self._map[info.start : info.end], default=0) > 1:
                raise GenzooError(f"{self.path} holds neither true nor false in tensor {name!r}: refused")
            real = info.numel and DTYPES[info.dtype].is_floating_point
            if real and not all(torch.isfinite(v) for v in torch.aminmax(self.tensor(name))):
                raise GenzooError(f"{self.path} holds NaN or infinite numbers in tensor {name!r}: refused")
        if self._seen is not None:
            self._keep(self._seen._replace(finite=True))

    def _keep(self, seen: user_cache.Seen) -> None:
        """Remember what was found; refuse a file that was written to meanwhile.

        One that was replaced or unlinked meanwhile, which its change time tells, is still the one that was read.
        """
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.stat.st_size, self.stat.st_mtime_ns):
            raise GenzooError(f"{self.path} was changed while it was read: try again when nothing writes to it")
        self._seen = seen
        if user_cache.same_file(now, self.stat):
            user_cache.remember(self.stat, seen)


def read_tensors(path: Path, within: Path | None = None) -> dict[str, Tensor]:
    """All tensors of a safetensors file, memory-mapped, in the file's dtypes, NaN too; raises as `TensorFile` does."""
    with TensorFile(path, within) as file:
        return {name: file.tensor(name) for name in file.infos}


def model_files(model: Model, storage: Storage | None = None) -> dict[str, Writer]:
    """The two files that are a model, name to writer; ``storage`` as `write_tensors` has it: the config is the same."""
    if model.config is None:
        raise GenzooError("this model was made by hand, not by genzoo.create or genzoo.fit: it has no config to save")
    config = json.dumps(model.config.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        parse_config(config.encode(), Path(CONFIG))  # what could not be read again is not written
    except UnicodeEncodeError:
        raise GenzooError("this model's config holds a name that is no text (a folder's?): rename it") from None
    return {CONFIG: text_file(config), TENSORS: lambda path: write_tensors(path, model.state_dict(), storage)}

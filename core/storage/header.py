"""The header of a safetensors file, read so that nothing it says is believed unchecked; torch-free.

The format: eight bytes with the header's length, little-endian; the header, JSON that gives each tensor its
dtype, shape and offsets; then the tensors' bytes, which those offsets must cover exactly, without holes or overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from genzoo.core.storage.strict import one_line, parse_json

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
MOST_DIMENSIONS, LONGEST_NAME = 8, 500


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies.

    Attributes:
        dtype: as the format writes it, one of `SIZES`.
        shape: of the tensor.
        start: offset of its first byte in the file.
        end: offset after its last.
    """

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
    """Read the header of a safetensors file.

    Args:
        file: its bytes, something that gives ``bytes`` for a slice (a memory map).
        size: its length in bytes.

    Returns:
        Name to place, in the order of the places.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if size < 8:
        raise ValueError(f"it has {size} bytes, and its header's length alone takes 8")
    length = int.from_bytes(file[:8], "little")
    if length > size - 8:
        raise ValueError(f"its header claims {length:,} bytes, and {size - 8:,} are there")
    if length > largest_header(size):
        raise ValueError(f"its header claims {length:,} bytes, and at most {largest_header(size):,} are read")
    try:
        raw = parse_json(bytes(file[8 : 8 + length]), deepest=3)
    except ValueError as e:
        raise ValueError(f"its header: {e}") from None
    if not isinstance(raw, dict):
        raise ValueError("its header is no list of tensors")
    about = raw.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(v, str) for v in about.values()):
        raise ValueError("its header's __metadata__ is not text by name")
    begin = 8 + length
    found = {name: _tensor(name, about, begin, size) for name, about in raw.items()}
    ordered = dict(sorted(found.items(), key=lambda item: (item[1].start, item[1].end)))
    at, before = begin, "the header"
    for name, info in ordered.items():
        if info.start != at:
            how = "overlap" if info.start < at else "leave a hole between them"
            raise ValueError(f"tensor {name!r} and {before} {how}")
        at, before = info.end, repr(name)
    if at != size:
        raise ValueError(f"its tensors end at byte {at:,}, and the file at {size:,}")
    return ordered


def _tensor(name: str, raw: Any, begin: int, size: int) -> TensorInfo:
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"it has a tensor named {one_line(repr(name), 80)}, and no tensor is called that")
    if not isinstance(raw, dict) or set(raw) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} needs dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = raw["dtype"], raw["shape"], raw["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise ValueError(f"tensor {name!r} is of dtype {one_line(repr(dtype), 40)}; there are {', '.join(SIZES)}")
    if not _whole_numbers(shape) or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"tensor {name!r} has a shape that is none of at most {MOST_DIMENSIONS} whole numbers")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has data_offsets that are not two whole numbers")
    start, end = offsets
    if not start <= end <= size - begin:
        raise ValueError(f"tensor {name!r} claims the bytes {start:,} to {end:,} of {size - begin:,}")
    if end - start != math.prod(shape) * SIZES[dtype]:
        raise ValueError(f"tensor {name!r} of {dtype} and shape {tuple(shape)} does not take {end - start:,} bytes")
    return TensorInfo(dtype, tuple(shape), begin + start, begin + end)


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)

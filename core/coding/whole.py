"""What is compressed of data whose rows do not hold all of it: rows, and the rest as bytes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genzoo.core.errors import GenzooError


@dataclass(frozen=True)
class Whole:
    """Rows that a model codes, and the rest; see `genzoo.core.modality.Modality.lossless`."""

    rows: Tensor  # in data units, or as stored
    rest: bytes  # what rows do not say
    units: int  # of all that was given: characters, rows
    unit: str  # in a word
    owner: Tensor | None = None  # number of the observation that each row is a part of, (rows,); None for its own


def mixed_radix(digits: Sequence[int], sizes: Sequence[int]) -> bytes:
    """Numbers, each below its size and each as likely, in as many bytes as their possibilities take."""
    parts = []
    for a in range(0, len(digits), _TOGETHER):
        number, some = 0, sizes[a : a + _TOGETHER]
        for digit, size in zip(reversed(digits[a : a + _TOGETHER]), reversed(some), strict=True):
            number = number * size + digit
        parts.append(number.to_bytes(_width(some), "little"))
    return b"".join(parts)


def from_mixed_radix(content: bytes, sizes: Sequence[int]) -> list[int]:
    """Back from `mixed_radix`."""
    found, at = list[int](), 0
    for a in range(0, len(sizes), _TOGETHER):
        some = sizes[a : a + _TOGETHER]
        number = int.from_bytes(content[at : at + _width(some)], "little")
        at += _width(some)
        for size in some:
            number, digit = divmod(number, size)
            found.append(digit)
    return found


def mixed_radix_bytes(sizes: Sequence[int]) -> int:
    """How many `mixed_radix` takes."""
    return sum(_width(sizes[a : a + _TOGETHER]) for a in range(0, len(sizes), _TOGETHER))


_TOGETHER = 1024


def _width(sizes: Sequence[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return ((product - 1).bit_length() + 7) // 8


def packed_json(content: Any) -> bytes:
    """Plain data in few bytes, those of nothing (empty all through) in none."""
    return zlib.compress(json.dumps(content).encode(), 9) if any(content.values()) else b""


def unpacked_json(content: bytes, most: int = 2**28) -> dict[str, Any]:
    """Back from `packed_json`; raises `GenzooError` for what it did not write."""
    try:
        found = json.loads(zlib.decompressobj().decompress(content, most)) if content else {}
    except (ValueError, zlib.error, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise GenzooError("this file holds something else than it should beside what its model coded")
    return found

"""The compressed file: a header of some ten bytes, and the coded words, which hold checksums and the rest.

Checksums of what must come out, and what rows do not say of it, lie on the stack before anything is pushed: they
take what they are long, and the coder's first symbols take what their probabilities say.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from genzoo.core.coding.codec import Codec
from genzoo.core.coding.stack import Stack
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.units import free_bytes, size_text

if TYPE_CHECKING:
    from genzoo.core.model import Model

MAGIC, FORMAT = b"\xc7Z", 4
_EARLIER = b"GENZOO"  # formats 1 to 3
_GROUP = 512  # observations that have a checksum together
_FEW, _LITTLE = 2048, 2**17  # observations and symbols of a small file, which is decoded before it is known as whole
_LEAST, _HALF = 3, 16  # bytes of the weights' sha256 in a small file and in others; checksums go by all of it
_PORTABLE, _SMALL, _NUMBERED, _POOR = 1, 2, 4, 8  # facts in a byte, with the format
_CUT = "this is no whole compressed file of genzoo: it was cut or changed; make it again"
_MACHINE = "this machine computes other numbers"
_BOUND = "fast mode binds it to the machine and the settings that made it"


@dataclass(frozen=True)
class Header:
    """What a compressed file says of itself."""

    portable: bool
    small: bool  # has fewer bytes of the weights' sha256, and no checksum of its own bytes
    count: int
    weights: bytes  # how sha256 of config and tensors begins
    name: str | int  # of the weights, as they were called, or a number of it for whoever has a list
    poor: int = 0  # see `Codec.push`


def identity(model: Model) -> bytes:
    """The sha256 of what a model computes by: its config and all its tensors."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict() if model.config else {}, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def packed(
    model: Model, x: Tensor, y: Tensor | None, *, portable: bool, name: str = "", number: int | None = None,
    rest: bytes = b"",
) -> tuple[bytes, Codec, Tensor]:  # fmt: skip
    """Observations in model space as the bytes of a file; also the codec, and what it coded.

    A small file holds the number below 256 of a name in place of it, where there is one.
    """
    codec = Codec(model, portable)
    symbols, key = codec.symbols(x, y), identity(model)
    short = len(x) <= _FEW and symbols.numel() <= _LITTLE
    name = name.encode(errors="replace")[-255:].decode(errors="ignore")
    called = name if number is None or not short else number
    header = Header(portable, short, len(x), key[: _LEAST if short else _HALF], called)
    poor = codec.push(Stack(_words(rest + _checksums(header, key, rest, symbols, y) + b"\1")), symbols, y)
    content = _said(replace(header, poor=poor)) + codec.stack.words.astype("<u4").tobytes().rstrip(b"\0")
    return content + (b"" if short else struct.pack("<I", zlib.crc32(content))), codec, symbols


def _said(header: Header) -> bytes:
    facts = _PORTABLE * header.portable | _SMALL * header.small | _POOR * bool(header.poor)
    if isinstance(header.name, int):
        facts, called = facts | _NUMBERED, bytes([header.name])
    else:
        text = header.name.encode()
        called = bytes([len(text)]) + text
    poor = _number(header.poor) if header.poor else b""
    return MAGIC + bytes([FORMAT << 4 | facts]) + _number(header.count) + poor + header.weights + called


def _number(n: int) -> bytes:
    """Seven bits in a byte, least first; the eighth says that more follow."""
    found = bytearray()
    while n > 127:
        found.append(n & 127 | 128)
        n >>= 7
    return bytes([*found, n])


def _words(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.frombuffer(content + bytes(-len(content) % 4), "<u4").astype(np.uint32)


def _checksums(header: Header, key: bytes, rest: bytes, symbols: Tensor, y: Tensor | None) -> bytes:
    """CRC32 of each group's symbols and labels, as they must come out, by this header and these weights."""
    told = symbols[:, :0] if y is None else y.long()[:, None]
    rows = torch.cat([symbols, told], 1).to(torch.int32).numpy().astype("<i4")
    start = zlib.crc32(_said(replace(header, poor=0)) + key + rest)
    groups = (rows[a : a + _GROUP] for a in range(0, len(rows), _GROUP))
    return b"".join(struct.pack("<I", zlib.crc32(group.tobytes(), start)) for group in groups)


class _Reader:
    """Takes fields from the start of a file; raises `GenzooError` where it ends in one."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, n: int) -> bytes:
        self.at += n
        if self.at > len(self.content):
            raise GenzooError(_CUT)
        return self.content[self.at - n : self.at]

    def number(self) -> int:
        found = 0
        for shift in range(0, 42, 7):
            (byte,) = self.take(1)
            found |= (byte & 127) << shift
            if byte < 128:
                return found
        raise GenzooError(_CUT)


def read_header(content: bytes) -> tuple[Header, bytes]:
    """A file's header and its coded words; raises `GenzooError` for anything else."""
    earlier = content.startswith(_EARLIER)
    if not earlier and not content.startswith(MAGIC):
        raise GenzooError("this is no compressed file of genzoo")
    read = _Reader(content)
    read.take(len(_EARLIER if earlier else MAGIC))
    (facts,) = read.take(1)
    number = facts if earlier else facts >> 4
    if number != FORMAT:
        what = "update genzoo" if number > FORMAT else "the genzoo that wrote it reads it"
        raise GenzooError(f"this file has format {number}, and this genzoo reads format {FORMAT}: {what}")
    short = bool(facts & _SMALL)
    if not short:
        if zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
            raise GenzooError(_CUT)
        read.content = content[:-4]
    count, poor = read.number(), read.number() if facts & _POOR else 0
    weights, (called,) = read.take(_LEAST if short else _HALF), read.take(1)
    name = called if facts & _NUMBERED else read.take(called).decode(errors="replace")
    header = Header(bool(facts & _PORTABLE), short, count, weights, name, poor)
    words = read.content[read.at :]
    # Each group has a checksum among them: looked at before anything of that size is made.
    if not count or (short and count > _FEW) or not words or not words[-1] or len(words) < 4 * -(-count // _GROUP):
        raise GenzooError(_CUT)
    return header, words


def unpacked(model: Model, content: bytes) -> tuple[Tensor, Tensor | None, bytes]:
    """Observations in model space, labels where the model is told them, and what was kept beside them."""
    header, words = read_header(content)
    key = identity(model)
    if not key.startswith(header.weights):
        called = f" ({header.name})" if isinstance(header.name, str) and header.name.isprintable() else ""
        raise UsageError(f"this file was compressed by other weights{called}, or was changed")
    codec = Codec(model, header.portable)
    if header.small and header.count * codec.places > _LITTLE:
        raise GenzooError(_CUT)
    needs, free = 8 * header.count * codec.places, free_bytes()
    if needs > free:
        raise GenzooError(
            f"this file says that it holds {header.count:,} observations, which need {size_text(needs)} of memory, and "
            f"{size_text(free)} are free"
        )
    symbols, y = codec.pop(Stack(_words(words)), header.count, header.poor)
    left = codec.stack.words.astype("<u4").tobytes().rstrip(b"\0")
    rest = left[: -1 - 4 * -(-header.count // _GROUP)]
    if left != rest + _checksums(header, key, rest, symbols, y) + b"\1":
        why = _MACHINE if header.portable else _BOUND
        raise GenzooError(f"this file does not decode to what was coded: it was cut or changed, or {why}")
    return codec.observed(symbols, y), y, rest

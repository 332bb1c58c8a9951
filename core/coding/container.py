"""The compressed file: a header, checksums of observations, the coded words, and a checksum of it all."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from genzoo.core.coding.codec import Codec
from genzoo.core.coding.stack import Stack
from genzoo.core.errors import GenzooError, UsageError

if TYPE_CHECKING:
    from genzoo.core.model import Model

MAGIC, FORMAT = b"GENZOO", 3
_HEAD = struct.Struct("<6sBB16sIH")  # magic, format, portable, half a sha256 of the weights, count, poor blocks
_GROUP = 512  # observations that have a checksum together
_CUT = "this is no whole compressed file of genzoo: it was cut or changed; make it again"


@dataclass(frozen=True)
class Header:
    """What a compressed file says of itself."""

    portable: bool
    weights: bytes  # from sha256 of config and tensors
    count: int
    poor: int
    versions: str  # of genzoo and torch, for people
    name: str  # of the weights, as they were called
    rest: bytes  # what rows do not say of what was given


def identity(model: Model) -> bytes:
    """Half a sha256 of what a model computes by: its config and all its tensors."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict() if model.config else {}, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()[:16]


def packed(
    model: Model, x: Tensor, y: Tensor | None, *, portable: bool, name: str = "", rest: bytes = b""
) -> tuple[bytes, Codec, Tensor]:
    """Observations in model space as the bytes of a file; also the codec, and what it coded."""
    codec, stack = Codec(model, portable), Stack()
    symbols = codec.symbols(x, y)
    poor = codec.push(stack, symbols, y)
    words = codec.stack.words.astype("<u4").tobytes()
    about = [f"{version('genzoo')} {torch.__version__.partition('+')[0]}".encode(), name.encode()[-255:]]
    head = _HEAD.pack(MAGIC, FORMAT, portable, identity(model), len(x), poor)
    texts = [bytes([len(text)]) + text for text in about]
    parts = [head, *texts, _length(len(rest)), rest, _checksums(symbols, y), words]
    content = b"".join(parts)
    return content + struct.pack("<I", zlib.crc32(content)), codec, symbols


def _length(n: int) -> bytes:
    """A number in a byte, or of 255 and more in five."""
    return bytes([n]) if n < 255 else b"\xff" + struct.pack("<I", n)


def _checksums(symbols: Tensor, y: Tensor | None) -> bytes:
    """CRC32 of each group's symbols and labels, as they must come out."""
    told = symbols[:, :0] if y is None else y.long()[:, None]
    rows = torch.cat([symbols, told], 1).to(torch.int32).numpy().astype("<i4")
    return b"".join(struct.pack("<I", zlib.crc32(rows[a : a + _GROUP].tobytes())) for a in range(0, len(rows), _GROUP))


def read_header(content: bytes) -> tuple[Header, bytes]:
    """A whole file's header and what follows it; raises `GenzooError` for anything else."""
    if content[: len(MAGIC)] != MAGIC:
        raise GenzooError("this is no compressed file of genzoo")
    if len(content) < _HEAD.size + 6 or zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
        raise GenzooError(_CUT)
    number = content[len(MAGIC)]
    if number != FORMAT:
        what = "update genzoo" if number > FORMAT else "the genzoo that wrote it reads it"
        raise GenzooError(f"this file has format {number}, and this genzoo reads format {FORMAT}: {what}")
    _, _, portable, weights, count, poor = _HEAD.unpack_from(content)
    texts, at = list[str](), _HEAD.size
    for _ in range(2):
        if at >= len(content) - 4:
            raise GenzooError(_CUT)
        end = at + 1 + content[at]
        texts.append(content[at + 1 : end].decode(errors="replace"))
        at = end
    if at >= len(content) - 4:
        raise GenzooError(_CUT)
    long = content[at] == 255
    size = int.from_bytes(content[at + 1 : at + 5], "little") if long else content[at]
    at += 5 if long else 1
    if at + size > len(content) - 4:
        raise GenzooError(_CUT)
    by = "genzoo {}, torch {}".format(*[*texts[0].split(" "), "?"][:2])
    rest = content[at : at + size]
    return Header(bool(portable), weights, count, poor, by, texts[1], rest), content[at + size : -4]


def unpacked(model: Model, content: bytes) -> tuple[Tensor, Tensor | None, bytes]:
    """Observations in model space, labels where the model is told them, and what was kept beside them."""
    header, rest = read_header(content)
    if header.weights != identity(model):
        raise UsageError(f"this file was compressed by other weights ({header.name or 'without a name'}): give those")
    codec = Codec(model, header.portable)
    groups = -(-header.count // _GROUP)  # each has a checksum: looked at before anything of that size is made
    if len(rest) % 4 or len(rest) < 4 * groups:
        raise GenzooError(_CUT)
    words = np.frombuffer(rest, "<u4", offset=4 * groups).astype(np.uint32)
    symbols, y = codec.pop(Stack(words), header.count, header.poor)
    if _checksums(symbols, y) != rest[: 4 * groups]:
        why = "this machine computes other numbers" if header.portable else "fast mode binds it to what made it"
        raise GenzooError(f"this file does not decode to what was coded (by {header.versions}): {why}")
    return codec.observed(symbols, y), y, header.rest

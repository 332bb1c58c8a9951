"""Texts as numbers and back: 0 pads, 1 ends, 2 is what the alphabet lacks, then characters, bytes or pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.plugins.modalities import pieces
from genzoo.plugins.modalities.pieces import BYTES, END, FIRST, NAMES, PAD, UNKNOWN, learn, levels, whole

__all__ = ["BYTES", "END", "FIRST", "NAMES", "PAD", "UNKNOWN", "learn", "levels", "whole"]
MOST = 253  # characters, so that a number is a byte
LOST = "\N{REPLACEMENT CHARACTER}"


def alphabet_of(texts: Sequence[str]) -> str:
    """The characters of texts in their order; the most frequent ones, where there are too many. None of control."""
    found = Counter(pieces.whole("".join(texts)))
    for c in [c for c in found if c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029"]:
        del found[c]
    return "".join(sorted(c for c, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST]))


def stored(count: int) -> torch.dtype:
    """Type of numbers, of which there are so many."""
    return torch.uint8 if count <= 256 else torch.int16


def numbers(texts: Sequence[str], facts: Mapping[str, Any]) -> list[list[int]]:
    """Numbers of each text, without the end."""
    if facts["tokens"] == "bpe":
        return pieces.find(texts, facts["merges"])
    characters = facts["tokens"] == "characters"
    number: dict[Any, int] = {c: i for i, c in enumerate(facts["alphabet"] if characters else BYTES, FIRST)}
    return [[number.get(c, UNKNOWN) for c in (text if characters else pieces.whole(text).encode())] for text in texts]


def encode(texts: Sequence[str], facts: Mapping[str, Any], length: int) -> Tensor:
    """Numbers ``(N, length)``; raises `UsageError` for a text that is longer than ``length - 1`` tokens."""
    flat, sizes = _flat(texts, facts)
    if len(texts) and sizes.max() >= length:
        i = int((sizes >= length).argmax())
        raise UsageError(f"text {i + 1} has {sizes[i]} {NAMES[facts['tokens']]}, more than {length - 1}: "
                         "leave it out, or cut it")  # fmt: skip
    out = np.zeros((len(texts), length), str(stored(levels(facts))).removeprefix("torch."))
    place, end = np.arange(length), sizes[:, None]
    out[place < end] = flat
    out[place == end] = END
    return torch.from_numpy(out)


def longest(texts: Sequence[str], facts: Mapping[str, Any]) -> int:
    """Tokens of the longest text, without the end."""
    return int(_flat(texts, facts)[1].max(initial=0))


def _flat(texts: Sequence[str], facts: Mapping[str, Any]) -> tuple[Any, Any]:
    """Numbers of all texts after each other, and how many each has."""
    if facts["tokens"] != "characters":
        each = numbers(texts, facts)
        return np.array([n for found in each for n in found], np.int64), np.array([len(n) for n in each], np.int64)
    known = np.array([ord(c) for c in facts["alphabet"]], np.uint32)
    code = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    order = known.argsort()
    at = np.searchsorted(known[order], code).clip(max=len(known) - 1)
    flat = np.where(known[order][at] == code, order[at] + FIRST, UNKNOWN)
    return flat, np.array([len(text) for text in texts], np.int64)


def filled(tokens: Tensor) -> int:
    """How many places hold all there is of texts ``(B, L)``, at least 1; on another device than the CPU all of them.

    What follows is padding, which need not be computed. A device is not waited for, nor a graph broken.
    """
    if tokens.device.type != "cpu" or torch.compiler.is_compiling() or tokens.numel() == 0:
        return tokens.shape[1]
    return max(int((tokens != PAD).any(0).sum()), 1)


def contents(facts: Mapping[str, Any]) -> list[bytes]:
    """The bytes of each kind of token that is no character."""
    return pieces.contents(facts["merges"]) if facts["tokens"] == "bpe" else [bytes([b]) for b in BYTES]


def decode(x: Tensor, facts: Mapping[str, Any]) -> list[str]:
    """Strings of numbers ``(N, L)``, up to the end of each."""
    out, characters = [], facts["tokens"] == "characters"
    known = [] if characters else contents(facts)
    for row in x.round().long().tolist():
        row = row[: row.index(END)] if END in row else row
        if characters:
            out.append("".join(facts["alphabet"][i - FIRST] if i >= FIRST else LOST for i in row if i))
        else:
            out.append(b"".join(known[i - FIRST] if i >= FIRST else b"?" for i in row if i).decode(errors="replace"))
    return out

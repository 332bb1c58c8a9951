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
    found = Counter[str]()
    for text in texts:
        found.update(pieces.whole(text))
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
    out = np.zeros((len(texts), length), str(stored(levels(facts))).removeprefix("torch."))
    for i, found in enumerate(numbers(texts, facts)):
        if len(found) >= length:
            raise UsageError(f"text {i + 1} has {len(found)} {NAMES[facts['tokens']]}, more than {length - 1}: "
                             "leave it out, or cut it")  # fmt: skip
        out[i, : len(found) + 1] = [*found, END]
    return torch.from_numpy(out)


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

"""Texts as numbers and back: 0 pads, 1 ends, 2 is what the alphabet lacks, then characters or bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UsageError

PAD, END, UNKNOWN, FIRST = 0, 1, 2, 3
BYTES = [b for b in range(0xF5) if b not in (0xC0, 0xC1)]  # all that UTF-8 uses
MOST = 253  # characters, so that a number is a byte
LOST = "\N{REPLACEMENT CHARACTER}"


def alphabet_of(texts: Sequence[str]) -> str:
    """The characters of texts in their order; the most frequent ones, where there are too many."""
    found = Counter[str]()
    for text in texts:
        found.update(text)
    return "".join(sorted(c for c, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST]))


def levels(facts: Mapping[str, Any]) -> int:
    """How many numbers there are."""
    return FIRST + (len(facts["alphabet"]) if facts["tokens"] == "characters" else len(BYTES))


def size(text: str, facts: Mapping[str, Any]) -> int:
    """How many tokens a text has, without the end."""
    return len(text) if facts["tokens"] == "characters" else len(text.encode())


def encode(texts: Sequence[str], facts: Mapping[str, Any], length: int) -> Tensor:
    """Numbers uint8 ``(N, length)``; raises `UsageError` for a text that is longer than ``length - 1`` tokens."""
    characters = facts["tokens"] == "characters"
    number: dict[Any, int] = {c: i for i, c in enumerate(facts["alphabet"] if characters else BYTES, FIRST)}
    out = torch.zeros(len(texts), length, dtype=torch.uint8)
    for i, text in enumerate(texts):
        found = [number.get(c, UNKNOWN) for c in (text if characters else text.encode())]
        if len(found) >= length:
            raise UsageError(f"text {i + 1} has {len(found)} {facts['tokens']}, more than {length - 1}: "
                             "leave it out, or cut it")  # fmt: skip
        out[i, : len(found) + 1] = torch.tensor([*found, END], dtype=torch.uint8)
    return out


def decode(x: Tensor, facts: Mapping[str, Any]) -> list[str]:
    """Strings of numbers ``(N, L)``, up to the end of each."""
    out = []
    for row in x.round().long().tolist():
        row = row[: row.index(END)] if END in row else row
        if facts["tokens"] == "characters":
            out.append("".join(facts["alphabet"][i - FIRST] if i >= FIRST else LOST for i in row if i))
        else:
            out.append(bytes(BYTES[i - FIRST] if i >= FIRST else 0x3F for i in row if i).decode(errors="replace"))
    return out

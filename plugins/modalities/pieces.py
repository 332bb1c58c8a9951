"""Which tokens texts have, torch-free; and byte-level BPE, whose pieces ``tokenizers`` learns and finds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from genzoo.core.errors import MissingPackage, UsageError

PAD, END, UNKNOWN, FIRST = 0, 1, 2, 3
NAMES = {"characters": "characters", "bytes": "bytes", "bpe": "pieces"}


def _letters() -> dict[int, str]:
    """A printable character for each byte, as GPT-2 writes them: its own where it has one, else from U+0100 on."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in own]
    return {b: chr(b) for b in own} | {b: chr(256 + i) for i, b in enumerate(rest)}


LETTERS = _letters()
BYTE_OF = {letter: b for b, letter in LETTERS.items()}
_HALF = re.compile("[\ud800-\udfff]")
BYTES = [b for b in range(0xF5) if b not in (0xC0, 0xC1)]  # all that UTF-8 uses


def kinds(facts: Mapping[str, Any]) -> int:
    """How many characters, bytes or pieces there are."""
    if facts["tokens"] == "bpe":
        return len(merged(facts["merges"])[1])
    return len(facts["alphabet"] if facts["tokens"] == "characters" else BYTES)


def levels(facts: Mapping[str, Any]) -> int:
    """How many numbers there are."""
    return FIRST + kinds(facts)


@lru_cache(8)
def merged(merges: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
    """Merges as pairs, and all pieces in the order of their numbers; `UsageError` for what is none."""
    pieces, pairs = {LETTERS[b]: None for b in BYTES}, list[tuple[str, str]]()
    for i, line in enumerate(merges, 1):
        a, _, b = line.partition(" ")
        if a not in pieces or b not in pieces:
            raise UsageError(f"merge {i} of BPE is not of two pieces before it: {line[:40]!r}")
        pairs.append((a, b))
        pieces[a + b] = None
    return pairs, list(pieces)


@lru_cache(8)
def contents(merges: tuple[str, ...]) -> list[bytes]:
    """The bytes of each piece."""
    return [bytes(BYTE_OF[letter] for letter in piece) for piece in merged(merges)[1]]


def learn(texts: Iterable[str], count: int) -> tuple[str, ...]:
    """Merges that make so many pieces of texts, the most frequent pair first; fewer where texts have no more."""
    library = _library()
    bare = library.Tokenizer(library.models.BPE())
    bare.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = library.trainers.BpeTrainer(
        vocab_size=256 + count - len(BYTES), show_progress=False, special_tokens=[],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    bare.train_from_iterator((whole(text) for text in texts), trainer)
    found = json.loads(bare.to_str())["model"]["merges"]
    return tuple(pair if isinstance(pair, str) else " ".join(pair) for pair in found)


@lru_cache(8)
def _finder(merges: tuple[str, ...]) -> Any:
    library, (pairs, pieces) = _library(), merged(merges)
    found = library.Tokenizer(library.models.BPE(vocab={p: i for i, p in enumerate(pieces, FIRST)}, merges=pairs))
    found.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return found  # it has no special tokens: "<eos>" in a text is five characters


def find(texts: Sequence[str], merges: tuple[str, ...]) -> list[list[int]]:
    """Numbers of the pieces of each text."""
    finder = _finder(merges)
    return [finder.encode(whole(text), add_special_tokens=False).ids for text in texts]


def whole(text: str) -> str:
    """A text, refused where it holds half a character, which no bytes are."""
    if _HALF.search(text):
        raise UsageError("a text holds half a character (a lone surrogate), which is no text")
    return text


def _library() -> Any:
    try:
        return import_module("tokenizers")
    except ImportError:
        raise MissingPackage(
            "texts are cut into pieces by tokenizers, which is not installed: pip install 'genzoo[text]'; "
            "--set data.tokens=bytes needs nothing"
        ) from None

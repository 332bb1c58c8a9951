"""Texts and files of texts as rows that a model codes, and what these lose: unknown characters, long lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from genzoo.core.coding.whole import Whole, packed_json, unpacked_json
from genzoo.core.data import Data, to_units
from genzoo.core.data.rows import read as all_rows
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec
from genzoo.core.storage.files import replacing
from genzoo.core.storage.strict import regular
from genzoo.plugins.modalities import alphabet as tokens
from genzoo.plugins.modalities import text_files

_RAW = "surrogateescape"  # bytes that are no UTF-8 are characters that no alphabet has


def whole(spec: DataSpec, given: Any) -> Whole:
    """A list of strings, a path, or `Data`. Lines of a ``.txt`` file are texts, and all of its bytes come back."""
    file = False
    if isinstance(given, Path):
        if file := given.suffix.lower() == ".txt":
            try:
                found = regular(given).read_bytes().decode(errors=_RAW).split("\n")
            except OSError as e:
                raise GenzooError(f"{given} cannot be read ({e.strerror or e})") from None
        else:
            found = text_files.read(given, text_files.How(exact=True))[0]
    elif isinstance(given, (list, tuple)):
        found = list(given)
    elif hasattr(given, "spec"):
        found = tokens.decode(to_units(given.spec, _model(given)), given.spec.facts)
    else:
        found = tokens.decode(torch.as_tensor(given), spec.facts)
    if not found:
        raise UsageError("there is no text to compress")
    return _cut(spec, found, file)


def in_tokens_of(data: Data, spec: DataSpec) -> Data:
    """Texts in the tokens of a model's spec, without those that are too long for it; notes say what was lost."""
    texts = tokens.decode(to_units(data.spec, _model(data)), data.spec.facts)
    found = tokens.numbers(texts, spec.facts)
    kept = [i for i, row in enumerate(found) if len(row) < spec.shape[0]]
    if not kept:
        raise UsageError(f"no text of {data.name or 'the data'} has at most {spec.shape[0] - 1} tokens of the model")
    few, rows = data.take(kept), tokens.encode([texts[i] for i in kept], spec.facts, spec.shape[0])
    lost, known = int((rows == tokens.UNKNOWN).sum()), sum(len(found[i]) for i in kept)
    notes = ["read in the tokens that the model knows"]
    if len(kept) < len(texts):
        notes.append(f"{len(texts) - len(kept):,} texts that are too long for the model are left out")
    if lost:
        notes.append(f"{lost:,} of {known:,} characters are none that the model knows")
    theirs = replace(spec, classes=data.spec.classes, class_names=data.spec.class_names, name=data.spec.name)
    return replace(few, spec=theirs, rows=rows, read=data.read.noting(*notes))


def _model(data: Any) -> torch.Tensor:
    from genzoo.core.modality import of

    return of(data.spec).from_rows(data.spec, all_rows(data.rows, "cpu").clone())


def _cut(spec: DataSpec, texts: list[str], file: bool) -> Whole:
    """Rows of at most the model's length; those of a longer text stand after each other."""
    facts, most = spec.facts, spec.shape[0] - 1
    rows, owner, several, lost = list[list[int]](), list[int](), dict[str, int](), list[str]()
    number = {} if facts["tokens"] == "bpe" else _numbers(facts)
    for i, text in enumerate(texts):
        found = list[int]()
        if facts["tokens"] == "bpe":
            found, odd = _pieces(text, facts)
            lost += odd
        else:
            for c in text if facts["tokens"] == "characters" else _bytes(text):
                found.append(number.get(c, tokens.UNKNOWN))
                if found[-1] == tokens.UNKNOWN:
                    lost.append(c if isinstance(c, str) else chr(c))
        parts = [found[a : a + most] for a in range(0, len(found), most)] or [[]]
        if len(parts) > 1:
            several[str(i)] = len(parts)
        rows += parts
        owner += [i] * len(parts)
    out = torch.zeros(len(rows), most + 1, dtype=tokens.stored(tokens.levels(facts)))
    for row, part in zip(out, rows, strict=True):
        row[: len(part) + 1] = torch.tensor([*part, tokens.END], dtype=out.dtype)
    rest = packed_json({"file": file, "parts": several, "lost": "".join(lost)})
    units = sum(map(len, texts)) + (len(texts) - 1) * file
    return Whole(out, rest, max(units, 1), "character", torch.tensor(owner))


def texts_of(spec: DataSpec, held: Whole) -> tuple[list[str], bool]:
    """The strings, and whether they are the lines of a file."""
    about = unpacked_json(held.rest)
    several, lost = about.get("parts", {}), iter(about.get("lost", ""))
    rows, found, i = held.rows.round().long().tolist(), list[str](), 0
    characters = spec.facts["tokens"] == "characters"
    kinds: Any = spec.facts["alphabet"] if characters else tokens.contents(spec.facts)
    try:
        while i < len(rows):
            parts = int(several.get(str(len(found)), 1))
            numbers = [n for row in rows[i : i + parts] for n in row[: row.index(tokens.END)]]
            known = [kinds[n - tokens.FIRST] if n != tokens.UNKNOWN else _lost(next(lost), characters) for n in numbers]
            found.append("".join(known) if characters else b"".join(known).decode(errors=_RAW))
            i += parts
    except (StopIteration, ValueError, IndexError, TypeError, AttributeError):
        raise GenzooError("this file holds texts that do not fit its model") from None
    return found, bool(about.get("file"))


def _lost(c: str, characters: bool) -> Any:
    return c if characters else bytes([ord(c)])


def _pieces(text: str, facts: Mapping[str, Any]) -> tuple[list[int], list[str]]:
    """Numbers of a text's pieces, and the bytes that no piece has as characters of that number."""
    _bytes(text)  # which refuses what is no text
    found, lost = list[int](), list[str]()
    for part in re.split("([\ud800-\udfff])", text):
        if "\ud800" <= part <= "\udfff":
            found.append(tokens.UNKNOWN)
            lost.append(chr(part.encode(errors=_RAW)[0]))
        elif part:
            found += tokens.numbers([part], facts)[0]
    return found, lost


def _numbers(facts: Mapping[str, Any]) -> dict[Any, int]:
    kinds = facts["alphabet"] if facts["tokens"] == "characters" else tokens.BYTES
    return {c: i for i, c in enumerate(kinds, tokens.FIRST)}


def _bytes(text: str) -> bytes:
    try:
        return text.encode(errors=_RAW)
    except UnicodeEncodeError:
        raise UsageError("a text holds half a character (a lone surrogate), which is no text") from None


def write(path: Path, spec: DataSpec, held: Whole) -> None:
    """Write a ``.txt`` with the very bytes of the one that was given, or texts as `text_files.write` does."""
    found, file = texts_of(spec, held)
    if path.suffix.lower() == ".txt" and file:
        with replacing(path) as temporary:
            temporary.write_bytes("\n".join(found).encode(errors=_RAW))
        return
    if any("\ud800" <= c <= "\udfff" for text in found for c in text):
        raise UsageError("the texts hold bytes that are not UTF-8: write them to a .txt file")
    if path.suffix.lower() == ".txt" and any("\n" in text for text in found):
        raise UsageError("a text has line breaks in it, which a .txt file does not tell apart: write a .jsonl file")
    text_files.write(path, spec, [(found, None)])

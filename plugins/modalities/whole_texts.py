"""Texts and files of texts as rows that a model codes, and what these lose: unknown characters, long lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genzoo.core.coding.whole import Whole, packed_json, unpacked_json
from genzoo.core.data import to_units
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


def _model(data: Any) -> torch.Tensor:
    from genzoo.core.modality import of

    return of(data.spec).from_rows(data.spec, all_rows(data.rows, "cpu").clone())


def _cut(spec: DataSpec, texts: list[str], file: bool) -> Whole:
    """Rows of at most the model's length; those of a longer text stand after each other."""
    facts, most = spec.facts, spec.shape[0] - 1
    rows, owner, several, lost = list[list[int]](), list[int](), dict[str, int](), list[str]()
    number = _numbers(facts)
    for i, text in enumerate(texts):
        found = []
        for c in text if facts["tokens"] == "characters" else _bytes(text):
            found.append(number.get(c, tokens.UNKNOWN))
            if found[-1] == tokens.UNKNOWN:
                lost.append(c if isinstance(c, str) else chr(c))
        parts = [found[a : a + most] for a in range(0, len(found), most)] or [[]]
        if len(parts) > 1:
            several[str(i)] = len(parts)
        rows += parts
        owner += [i] * len(parts)
    out = torch.zeros(len(rows), most + 1, dtype=torch.uint8)
    for row, part in zip(out, rows, strict=True):
        row[: len(part) + 1] = torch.tensor([*part, tokens.END], dtype=torch.uint8)
    rest = packed_json({"file": file, "parts": several, "lost": "".join(lost)})
    units = sum(map(len, texts)) + (len(texts) - 1) * file
    return Whole(out, rest, max(units, 1), "character", torch.tensor(owner))


def texts_of(spec: DataSpec, held: Whole) -> tuple[list[str], bool]:
    """The strings, and whether they are the lines of a file."""
    about = unpacked_json(held.rest)
    several, lost = about.get("parts", {}), iter(about.get("lost", ""))
    rows, found, i = held.rows.round().long().tolist(), list[str](), 0
    characters = spec.facts["tokens"] == "characters"
    kinds: Any = spec.facts["alphabet"] if characters else tokens.BYTES
    try:
        while i < len(rows):
            parts = int(several.get(str(len(found)), 1))
            numbers = [n for row in rows[i : i + parts] for n in row[: row.index(tokens.END)]]
            known = [kinds[n - tokens.FIRST] if n != tokens.UNKNOWN else _lost(next(lost), characters) for n in numbers]
            found.append("".join(known) if characters else bytes(known).decode(errors=_RAW))
            i += parts
    except (StopIteration, ValueError, IndexError, TypeError, AttributeError):
        raise GenzooError("this file holds texts that do not fit its model") from None
    return found, bool(about.get("file"))


def _lost(c: str, characters: bool) -> Any:
    return c if characters else ord(c)


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

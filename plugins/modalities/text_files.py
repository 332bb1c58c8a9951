"""Texts in files: lines, paragraphs, JSON Lines and columns of CSV; and written again."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import replacing
from genzoo.core.storage.strict import regular

if TYPE_CHECKING:
    from PIL import Image

    from genzoo.core.spec import DataSpec


@dataclass(frozen=True)
class How:
    """What in a file is a text."""

    split: Literal["line", "paragraph"] = "line"
    column: str = "text"
    label: str | None = ""  # the column of labels, "" for ``label`` where there is one, None for none
    exact: bool = False  # texts are as they stand, blanks and empty ones too, as `write` wrote them


def read(path: Path, how: How) -> tuple[list[str], list[str] | None]:
    """The texts of a file, and their labels if it has them; empty ones are left out.

    Raises:
        UsageError: if it is not there, or holds something else; names the line.
        GenzooError: if it cannot be read.
    """
    try:
        raw = regular(path).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as e:
        raise GenzooError(f"{path} cannot be read ({e})") from None
    try:
        whole = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
        raise UsageError(f"{path}: line {line} has a byte that is not UTF-8 (0x{raw[e.start]:02x}): "
                         f"convert the file, iconv -f {encoding} -t utf-8") from None  # fmt: skip
    if not how.exact and (at := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, at) + 1
        raise UsageError(f"{path}: line {line} has a NUL byte, which no text has: if the file is UTF-16, convert it, "
                         "iconv -f utf-16 -t utf-8")  # fmt: skip
    suffix = path.suffix.lower()
    if suffix == ".txt" and how.exact:
        return whole.removesuffix("\n").split("\n"), None
    if suffix == ".txt":
        whole = whole.replace("\r", "\n")
        parts = whole.split("\n\n") if how.split == "paragraph" else whole.split("\n")
        return _some(path, [" ".join(p.split()) if how.split == "paragraph" else p.strip() for p in parts], None)
    rows = _json_lines(path, whole) if suffix == ".jsonl" else _table(path, whole)
    label = how.label or "label"
    texts, labels = [], []
    for i, row in rows:
        if how.column in row and not isinstance(row[how.column], str):
            raise UsageError(f"{path}: line {i} has no text in {how.column!r}, but {json.dumps(row[how.column])[:40]}")
        if how.column not in row:
            raise UsageError(f"{path}: line {i} has no text {how.column!r}: it has {', '.join(map(str, row))[:80]}; "
                             "--set data.column=NAME says which is the text")  # fmt: skip
        if any("\ud800" <= c <= "\udfff" for c in row[how.column]):
            raise UsageError(f"{path}: line {i} has half a character in its text (a lone surrogate), which is no text")
        texts.append(row[how.column] if how.exact else row[how.column].strip())
        labels.append(None if how.label is None else row.get(label))
    if None in labels and (how.label or any(found is not None for found in labels)):
        raise UsageError(f"{path} has no label {label!r} at text {labels.index(None) + 1}: --set data.labels=none "
                         "reads texts alone")  # fmt: skip
    found = None if not labels or None in labels else [str(v) for v in labels]
    return (texts, found) if how.exact else _some(path, texts, found)


def _some(path: Path, texts: list[str], labels: list[str] | None) -> tuple[list[str], list[str] | None]:
    there = [i for i, text in enumerate(texts) if text]
    if not there:
        raise UsageError(f"{path} has no text in it")
    return [texts[i] for i in there], None if labels is None else [labels[i] for i in there]


def _json_lines(path: Path, whole: str) -> Iterable[tuple[int, dict[str, Any]]]:
    for i, line in enumerate(whole.split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError
            except (ValueError, RecursionError):
                raise UsageError(f"{path}: line {i} is no JSON object") from None
            yield i, row


def _table(path: Path, whole: str) -> Iterable[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(whole), strict=True)
    try:
        for row in reader:
            if None in row:
                raise UsageError(f"{path}: line {reader.line_num} has more cells than the first line: quote a comma "
                                 "within a cell")  # fmt: skip
            yield reader.line_num, row
    except csv.Error as e:
        raise UsageError(f"{path} is no CSV file that can be read ({e})") from None


def write(path: Path, spec: DataSpec, batches: Iterable[tuple[list[str], Any]]) -> None:
    """Write texts, one a line: whole or not at all. In ``.txt`` a line break within a text becomes a space."""
    plain = path.suffix.lower() == ".txt"
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for texts, y in batches:
            for i, text in enumerate(texts):
                label = {} if y is None else {"label": spec.class_names[int(y[i])] if spec.class_names else int(y[i])}
                line = " ".join(text.split("\n")) if plain else json.dumps({"text": text} | label, ensure_ascii=False)
                file.write(line + "\n")


def loops(text: str) -> bool:
    """Whether half of a text or more is something of 2 to 60 characters that stands there three times in a row."""
    text = text[:500]
    again = sum(len(found[0]) for found in re.finditer(r"(.{2,60}?)\1{2,}", text, re.DOTALL))
    return len(text) >= 12 and 2 * again >= len(text)


def drawn(texts: list[str]) -> Image.Image:
    """A picture of texts, wrapped and numbered, for cards."""
    import textwrap

    from PIL import Image, ImageDraw, ImageFont

    from genzoo.core.text import one_line

    lines = [
        f"{head}{part}"
        for i, text in enumerate(texts, 1)
        for head, part in zip([f"{i:2d}  ", *["    "] * 99], textwrap.wrap(one_line(text), 90) or [""], strict=False)
    ]
    font, step = ImageFont.load_default(14), 20
    paper = Image.new("RGB", (760, step * len(lines) + 20), "white")
    pen = ImageDraw.Draw(paper)
    for i, line in enumerate(lines):
        pen.text((10, 10 + step * i), line, fill="black", font=font)
    return paper

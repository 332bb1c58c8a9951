"""What goes where: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genzoo.core.distributed import env
from genzoo.core.text import lines, one_line


def emit_json(content: Any) -> None:
    """Print one JSON document on stdout, and nothing else; in ASCII, whatever the terminal's encoding."""
    print(json.dumps(content, indent=1))


def written(path: Path, json: bool = False, **more: Any) -> None:
    """Name the file or folder that a command wrote, as a line or as ``{"out": path, …}``; process 0 speaks for all."""
    if env.rank():
        return
    if json:
        emit_json({"out": str(path), **more})
    else:
        say(path)


class Bold(str):
    """Text that is printable, and bold where that can be seen."""

    __slots__ = ()


def say(*parts: object, end: str = "\n", flush: bool = False) -> None:
    """Print on stdout; whatever the text holds, it cannot act on the terminal."""
    print("".join(p if isinstance(p, Bold) else lines(p) for p in parts), end=end, flush=flush)


def hint(text: str) -> None:
    """Say something to a person, on stderr."""
    print(lines(text), file=sys.stderr)


def coloured() -> bool:
    """Whether stdout is a terminal that wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bold(text: str) -> Bold:
    """Bold where that can be seen, for `say`."""
    return Bold(f"\x1b[1m{lines(text)}\x1b[0m" if coloured() else lines(text))


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Print columns; the last one is wrapped to the terminal's width, and not at all elsewhere."""
    if not rows:
        return
    cells = [[_cell(c) for c in row] for row in ([list(header), *rows] if header else rows)]
    widths = [max(len(r[i]) for r in cells) for i in range(len(cells[0]) - 1)]
    left = sum(widths) + 2 * len(widths)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    for number, row in enumerate(cells):
        start = "".join(cell.ljust(w) + "  " for cell, w in zip(row, widths, strict=False))
        body = textwrap.wrap(row[-1], max(width - left, 20)) or [""]
        text = ("\n" + " " * left).join(body)
        say(bold((start + text).rstrip()) if header and number == 0 else (start + text).rstrip())


def _cell(text: str) -> str:
    """A cell on one line, with the spaces that it begins with."""
    return text[: len(text) - len(text.lstrip(" "))] + one_line(text, 100_000).lstrip(" ")

"""Small pieces of the explorer's page: tables, and numbers as such."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genzoo.core.text import html

LIMIT = 100  # numbers of an observation that are shown


def table(head: list[str], rows: list[list[str]]) -> str:
    """A small table as HTML."""

    def row(cells: list[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html(cell)}</{tag}>' for cell in cells)}</tr>"

    top = f"<thead>{row(head, 'th')}</thead>" if any(head) else ""
    return f"<table>{top}<tbody>{''.join(row(r, 'td') for r in rows)}</tbody></table>"


def numbers(x: Tensor) -> str:
    """Observations ``(N, …)`` as HTML, the first numbers of each in a line."""
    rows = ("  ".join(f"{v:.4g}" for v in row[:LIMIT].tolist()) for row in x.flatten(1))
    return f"<pre>{html(chr(10).join(rows))}</pre>"


def condition(row: Mapping[str, Any]) -> str:
    """A condition on columns that a row meets, of its first finite number and its first word, or "" without both."""
    texts = [n for n, v in row.items() if isinstance(v, str) and n.isidentifier()]
    numbers = [n for n, v in row.items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    sizes = [n for n in numbers if n.isidentifier() and math.isfinite(row[n])]
    parts = [f"{name} >= {row[name]!r}" for name in sizes[:1]]
    parts += ["{} = '{}'".format(name, row[name].replace("'", "''")) for name in texts[:1]]
    return " AND ".join(parts)

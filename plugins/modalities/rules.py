"""What holds in every row: tests in SQL, columns that follow from others, combinations as seen, no two rows alike.

start <= end, a + b < 10        a test of a row; a missing cell breaks none
total = a + b, net = gross * 0.8  a column that is computed, and not learnt
code determines name            a column that is looked up, and not learnt
together city, state            no combination that the training rows do not have
unique name, day                no two rows alike in these columns
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.plugins.modalities.columns import Column, decode, number_text, rounded, step_of
from genzoo.plugins.modalities.truth import Frame, Node, domain, on_rows, values_of
from genzoo.plugins.modalities.where import parse

GONE = "␀"  # a missing cell among texts
_LISTS = re.compile(r"(?P<kind>together|unique)\b\s*\(?(?P<names>[^()]+)\)?\s*", re.IGNORECASE)
_LOOK_UP = re.compile(r"(?P<a>.+?)\s+determines\s+(?P<b>.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Rule:
    """One rule, as it was written and as what it was understood."""

    text: str
    kind: str  # test, computed, looked-up, together, or unique
    names: tuple[str, ...] = ()  # the column that follows from others and those, or the columns of a list
    node: Node | None = None


def rule(text: str, columns: Sequence[Column]) -> Rule:
    """Understand a rule; raises `UsageError`."""
    text = text.strip()
    if found := _LISTS.fullmatch(text):
        names = tuple(_named(n, columns) for n in found["names"].split(","))
        if len(names) < 2 and found["kind"].lower() == "together":
            raise UsageError(f"the rule {text!r} names one column: together takes two or more")
        return Rule(text, found["kind"].lower(), names)
    if found := _LOOK_UP.fullmatch(text):
        a, b = _named(found["a"], columns), _named(found["b"], columns)
        if a == b:
            raise UsageError(f"the rule {text!r} names one column twice")
        return Rule(text, "looked-up", (b, a))
    node = _equation(text, columns)
    target = node.left.plain
    others = tuple(n for n, _ in node.right.columns)
    numbers = all(domain(c) == "number" for c in columns if c.name == target)
    if node.kind == "=" and target and others and target not in others and numbers:
        return Rule(text, "computed", (target, *others), node)
    return Rule(text, "test", tuple(sorted(node.columns())), node)


def _equation(text: str, columns: Sequence[Column]) -> Node:
    """A condition; of one that says what equals a column, that column stands left."""
    node = parse(text, columns)
    if node.kind == "=" and node.right.plain and not node.left.plain:
        return replace(node, left=node.right, right=node.left)
    return node


def _named(name: str, columns: Sequence[Column]) -> str:
    name = name.strip().strip('"')
    known = [c.name for c in columns]
    if name not in known:
        raise UsageError(f"there is no column {name!r}{did_you_mean(name, known)}")
    return name


def ordered(rules: Sequence[Rule]) -> list[Rule]:
    """Rules by which columns follow from others, each after those that it needs, then the rest; no circle."""
    following = {r.names[0]: r for r in rules if r.kind in ("computed", "looked-up")}
    if len(following) < sum(r.kind in ("computed", "looked-up") for r in rules):
        raise UsageError("two rules compute the same column: keep one of them")
    found = dict[str, Rule]()
    while len(found) < len(following):
        ready = [
            n
            for n, r in following.items()
            if n not in found and not (set(r.names[1:]) & following.keys() - found.keys())
        ]
        if not ready:
            raise UsageError(
                f"columns {', '.join(n for n in following if n not in found)} follow from each other in a circle"
            )
        found |= {n: following[n] for n in ready}
    return [*found.values(), *(r for r in rules if r.kind not in ("computed", "looked-up"))]


def texts(values: Any, missing: Any) -> list[str]:
    """Values as texts that are equal where they are."""
    plain = values.tolist() if values.dtype == object else [number_text(v) for v in values.tolist()]
    return [GONE if gone else str(v) for v, gone in zip(plain, missing.tolist(), strict=True)]


def broken(r: Rule, frame: Frame) -> Any:
    """Which rows break a rule, booleans ``(N,)``; of two that are alike the later one.

    What is computed may be rounded as its column is; to whole numbers only where it is of several columns.
    """
    if r.kind == "computed":
        assert r.node is not None
        (a, gone), (b, other) = r.node.left.of(frame), r.node.right.of(frame)
        there = ~np.asarray(gone)
        step = step_of(a[there]) if there.any() else 0.0
        step = step if step < 1 or len(r.names) > 2 else 0.0
        near = np.isclose(a, b, rtol=1e-9, atol=max(step * 0.501, 1e-12))
        return ~near & ~gone & ~other | (gone != other)
    if r.node is not None:
        n = len(next(iter(frame.values()))[0])
        return np.broadcast_to(on_rows(r.node, frame)[1], n).copy()
    columns = [texts(*frame[n]) for n in r.names]
    if r.kind == "looked-up":
        common = {a: b for (a, b), _ in reversed(Counter(zip(columns[1], columns[0], strict=True)).most_common())}
        return np.array([common[a] != b for b, a in zip(*columns, strict=True)], bool)
    if r.kind == "unique":
        seen, found = set[tuple[str, ...]](), []
        for row in zip(*columns, strict=True):
            found.append(row in seen)
            seen.add(row)
        return np.array(found, bool)
    return np.zeros(len(columns[0]), bool)


def following(r: Rule, column: Column, frame: Frame) -> Column:
    """A column that is computed or looked up, of the training rows' values by name."""
    if r.kind == "computed":
        return replace(column, kind="computed", names=(r.text,), values=(), edges=(), shares=())
    b, a = (texts(*frame[n]) for n in r.names)
    pairs = dict(zip(a, b, strict=True))
    flat = [t for pair in pairs.items() for t in pair]
    return replace(column, kind="looked-up", names=(r.names[1], *flat), values=(), edges=(), shares=())


def combinations(r: Rule, frame: Frame) -> tuple[str, ...]:
    """The combinations of a rule's columns that rows have, one after another."""
    return tuple(t for row in dict.fromkeys(zip(*(texts(*frame[n]) for n in r.names), strict=True)) for t in row)


def values_by_name(found: Sequence[Column], codes: Any) -> dict[str, tuple[Any, Any]]:
    """Values of rows of codes ``(N, S)`` and where they are missing, for all columns but what identifies rows."""
    made, s, n = dict[str, tuple[Any, Any]](), 0, len(codes)
    for c in found:
        if c.size:
            made[c.name] = decode(c, codes[:, s])
            s += 1
        elif c.kind == "constant":
            held: Any = c.names[0] if c.names else c.values[0] if c.values else 0.0
            made[c.name] = np.full(n, held, object if c.names else float), np.full(n, c.missing)
    waiting = [c for c in found if c.kind in ("computed", "looked-up")]
    plain = {c.name: c for c in found}
    while waiting:
        c = next(c for c in waiting if all(w.name not in _sources(c, found) for w in waiting if w is not c))
        waiting.remove(c)
        made[c.name] = _follows(c, found, {n: (values_of(plain[n], v), gone) for n, (v, gone) in made.items()})
    return made


def _sources(c: Column, found: Sequence[Column]) -> set[str]:
    if c.kind == "looked-up":
        return {c.names[0]}
    return {n for n, _ in _equation(c.names[0], found).right.columns}


def _follows(c: Column, found: Sequence[Column], frame: Mapping[str, tuple[Any, Any]]) -> tuple[Any, Any]:
    if c.kind == "computed":
        total, gone = _equation(c.names[0], found).right.of(frame)
        if c.step:
            total = rounded(total, c.step)
        return np.where(gone, 0.0, total), np.asarray(gone)
    source, *flat = c.names
    known = dict(zip(flat[::2], flat[1::2], strict=True))
    values = [known.get(t, GONE) for t in texts(*frame[source])]
    gone = np.array([v == GONE for v in values], bool)
    if domain(c) in ("text", "bool"):
        return np.array(["" if v == GONE else v for v in values], object), gone
    return np.array([0.0 if v == GONE else float(v) for v in values]), gone

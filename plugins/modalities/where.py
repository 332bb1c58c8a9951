"""Conditions on rows in SQL's words, ``age > 40 AND sex = 'F'``: read.

    condition  = any of: condition OR condition, condition AND condition, NOT condition, ( condition ),
                 value = value (also <> != < <= > >=), value [NOT] IN ( literal, … ),
                 value [NOT] BETWEEN value AND value, value IS [NOT] NULL
    value      = literal or column, or such with + - * between them
    literal    = 40, -1.5, 'text' ('' is a quote in it), TRUE, FALSE, '2024-02-29' beside a column of dates
    column     = name, or "a name with blanks"

Nothing else is known: no functions, no further queries.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.plugins.modalities.columns import Column, number_text
from genzoo.plugins.modalities.truth import SIGNS, Node, Term, domain

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|'(?P<text>(?:[^']|'')*)'"
    r'|"(?P<quoted>(?:[^"]|"")+)"|(?P<word>[^\W\d]\w*)|(?P<sign><=|>=|<>|!=|==|[=<>()+*,-]))'
)
WORDS = {"and", "or", "not", "in", "between", "is", "null", "true", "false"}
ALIKE = {"==": "=", "!=": "<>"}


def parse(text: str, columns: Sequence[Column]) -> Node:
    """Read a condition; raises `UsageError`, a sentence that names what is wrong and what there is instead."""
    reader = _Reader(text, columns)
    node = reader.either()
    if reader.kind != "end":
        raise reader.wrong("AND, OR or the end")
    return node


class _Reader:
    def __init__(self, text: str, columns: Sequence[Column]) -> None:
        self.text, self.at = text, 0
        self.columns = {c.name: c for c in columns}
        self.depth = 0
        self.next()

    def next(self) -> None:
        """Read one token."""
        rest = self.text[self.at :]
        if not rest.strip():
            self.kind, self.value = "end", ""
            return
        found = TOKEN.match(rest)
        if found is None:
            raise UsageError(f"the condition {self.text!r} is not understood at {rest.strip()[:20]!r}")
        self.kind, self.value = str(found.lastgroup), str(found[str(found.lastgroup)])
        self.at += found.end()
        if self.kind == "word" and self.value.lower() in WORDS and self.value not in self.columns:
            self.kind, self.value = "keyword", self.value.lower()
        elif self.kind in ("text", "quoted"):
            self.value = self.value.replace(
                {"text": "''", "quoted": '""'}[self.kind], {"text": "'"}.get(self.kind, '"')
            )

    def wrong(self, wanted: str) -> UsageError:
        found = "its end" if self.kind == "end" else repr(self.value)
        return UsageError(f"the condition {self.text!r} has {found} where {wanted} belongs")

    def take(self, *values: str) -> str:
        """The token, if it is one of these words or signs, and on to the next."""
        if self.kind in ("keyword", "sign") and self.value in values:
            taken = self.value
            self.next()
            return taken
        return ""

    def must(self, value: str) -> None:
        if not self.take(value):
            raise self.wrong(value.upper())

    def either(self) -> Node:
        return self._joined("or", lambda: self._joined("and", self.negated))

    def _joined(self, word: str, below: Callable[[], Node]) -> Node:
        parts = [below()]
        while self.take(word):
            parts.append(below())
        return parts[0] if len(parts) == 1 else Node(word, tuple(parts))

    def negated(self) -> Node:
        self.depth += 1
        if self.depth > 100:
            raise UsageError("the condition is nested more than 100 deep")
        try:
            if self.take("not"):
                return Node("not", (self.negated(),))
            if self.take("("):
                inner = self.either()
                self.must(")")
                return inner
            return self.predicate()
        finally:
            self.depth -= 1

    def predicate(self) -> Node:
        left = self.term()
        sign = self.take(*SIGNS, *ALIKE)
        if sign:
            return self.compared(ALIKE.get(sign, sign), left, self.term())
        if self.take("is"):
            no = bool(self.take("not"))
            self.must("null")
            return _unless(no, Node("null", left=left))
        no = bool(self.take("not"))
        if self.take("between"):
            low = self.term()
            self.must("and")
            both = (self.compared(">=", left, low), self.compared("<=", left, self.term()))
            return _unless(no, Node("and", both))
        if self.take("in"):
            self.must("(")
            found = [self.compared("=", left, self.term())]
            while self.take(","):
                found.append(self.compared("=", left, self.term()))
            self.must(")")
            if any(f.right.columns for f in found) or not left.columns:
                raise UsageError(f"in the condition {self.text!r}, IN takes a column and a list of literals")
            return _unless(no, Node("in", left=left, among=tuple(f.right.constant for f in found)))
        if left.plain and domain(self.columns[left.plain]) == "bool":  # a column alone
            return _unless(no, Node("=", left=left, right=Term(constant="true")))
        raise self.wrong("=, <>, <, <=, >, >=, IN, BETWEEN or IS NULL")

    def term(self) -> Term:
        total = self.product()
        while sign := self.take("+", "-"):
            other = self.product()
            self.arithmetic(total, other)
            way = 1 if sign == "+" else -1
            columns = (*total.columns, *((n, way * f) for n, f in other.columns))
            total = Term(columns, total.constant + way * other.constant)
        return total

    def product(self) -> Term:
        found = self.factor()
        while self.take("*"):
            other = self.factor()
            self.arithmetic(found, other)
            if found.columns and other.columns:
                raise UsageError(f"the condition {self.text!r} multiplies columns, which is not known here")
            by, of = (found, other) if other.columns else (other, found)
            found = Term(tuple((n, f * by.constant) for n, f in of.columns), of.constant * by.constant)
        return found

    def arithmetic(self, *terms: Term) -> None:
        """Refuse texts and the like in sums."""
        for term in terms:
            odd = [n for n, _ in term.columns if domain(self.columns[n]) in ("text", "bool")]
            if odd or isinstance(term.constant, str):
                raise UsageError(f"the condition {self.text!r} adds or multiplies {(odd or [term.constant])[0]!r}, "
                                 "which is no number")  # fmt: skip

    def factor(self) -> Term:
        signs = 0
        while self.take("-"):
            signs += 1
        if signs:
            inner = self.factor()
            self.arithmetic(inner)
            return Term(tuple((n, -f) for n, f in inner.columns), -inner.constant) if signs % 2 else inner
        if word := self.take("true", "false"):
            return Term(constant=word)
        kind, value = self.kind, self.value
        if kind in ("word", "quoted"):
            self.next()
            return Term(((self.column(value, kind), 1.0),))
        if kind in ("number", "text"):
            self.next()
            if kind == "number" and not math.isfinite(float(value)):
                raise UsageError(f"the condition {self.text!r} has a number that is too large, {value}")
            return Term(constant=float(value) if kind == "number" else _Text(value))
        raise self.wrong("a column or a value")

    def column(self, name: str, kind: str) -> str:
        column = self.columns.get(name)
        if column is None:
            quoted = f"; a text stands in single quotes, '{name}'" if kind == "quoted" else ""
            raise UsageError(f"there is no column {name!r}{did_you_mean(name, self.columns)}{quoted}")
        if column.kind == "id":
            raise UsageError(f"column {name!r} identifies rows: it is made as they are written, so nothing goes by it")
        return name

    def compared(self, sign: str, left: Term, right: Term) -> Node:
        """A comparison whose two sides are of one kind; a column without arithmetic stands left."""
        if right.columns and not left.columns:
            left, right = right, left
            sign = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(sign, sign)
        if not left.columns:
            raise UsageError(f"the condition {self.text!r} compares two values without a column")
        names = [n for term in (left, right) for n, _ in term.columns]
        kinds = {domain(self.columns[n]) for n in names}
        if len(kinds) > 1:
            raise UsageError(f"columns {' and '.join(map(repr, names))} cannot be compared: they hold {_both(kinds)}")
        kind = kinds.pop()
        if kind in ("text", "bool") and sign not in ("=", "<>"):
            raise UsageError(f"column {names[0]!r} holds {_SAID[kind]}, which have no order: use =, <> or IN")
        if not right.columns:
            right = Term(constant=_literal(right.constant, self.columns[names[0]], kind))
        return Node(sign, left=left, right=right)


class _Text(str):
    """A text in quotes."""

    __slots__ = ()


_SAID = {"text": "texts", "bool": "true and false", "number": "numbers", "date": "dates", "time": "times of day"}


def _both(kinds: set[str]) -> str:
    return " and ".join(_SAID[k] for k in sorted(kinds))


def _unless(no: bool, node: Node) -> Node:
    return Node("not", (node,)) if no else node


def _literal(value: Any, column: Column, kind: str) -> Any:
    """A literal as values of a column are."""
    name = column.name
    if kind in ("date", "time"):
        if not isinstance(value, _Text):
            raise UsageError(f"column {name!r} holds {_SAID[kind]}: write {name} > {_EXAMPLE[kind]}")
        return _moment(value, column, kind)
    if kind == "bool":
        if str(value).lower() not in ("true", "false"):
            raise UsageError(f"column {name!r} holds true and false: write {name} = TRUE")
        return str(value).lower()
    if kind == "number":
        if isinstance(value, str):
            raise UsageError(f"column {name!r} holds numbers: write {name} = 40, without quotes")
        if column.kind == "category" and number_text(value) not in column.names:
            raise UsageError(f"column {name!r} has no value {number_text(value)}: it has {_some(column.names)}")
        return value
    if not isinstance(value, _Text):
        said = number_text(value) if isinstance(value, float) else value
        raise UsageError(f"column {name!r} holds texts: write {name} = '{said}', with quotes")
    text = value.strip()
    if column.names and text not in column.names:
        near = did_you_mean(text, column.names)
        raise UsageError(f"column {name!r} has no value {text!r}{near or ': it has ' + _some(column.names)}")
    return str(text)


_EXAMPLE = {"date": "'2024-02-29' or '2024-02-29 13:30'", "time": "'13:30'"}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")


def _moment(text: str, column: Column, kind: str) -> float:
    """A date or time of day as the number that stands for it, in the column's unit; of its own zone if it has one."""
    try:
        if kind == "time":
            t = time.fromisoformat(text.strip())
            since = timedelta(hours=t.hour, minutes=t.minute, seconds=t.second, microseconds=t.microsecond)
        else:
            moment = datetime.fromisoformat(text.strip())
            if moment.tzinfo is None:
                zone: Any = UTC
                if "tz=" in column.dtype:
                    from zoneinfo import ZoneInfo

                    zone = ZoneInfo(column.dtype.partition("tz=")[2].rstrip("]"))
                moment = moment.replace(tzinfo=zone)
            since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OSError, KeyError):
        raise UsageError(f"column {column.name!r} holds {_SAID[kind]}: write {_EXAMPLE[kind]}, not {text!r}") from None
    unit = re.search(r"\[(day|ms|us|ns|s)", column.dtype)
    per = {"day": 86_400_000_000, "s": 10**6, "ms": 1000, "us": 1, "ns": 0}[unit[1] if unit else "ms"]
    micro = since // timedelta(microseconds=1)
    return float(micro * 1000 if not per else micro / per)

"""Results: when one is better, when they do not compare, and what JSON keeps of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.report import Absent, Interval, Report, Result, differences


def result(value=1.0, low=0.5, high=1.5, direction="lower", protocol="metric=a/1 fake=10"):
    return Result(
        "a", value, Interval(low, high, 0.95, "bootstrap of 9"), 5, 10, 3, direction=direction, protocol=protocol
    )


@pytest.mark.parametrize(
    ("direction", "low", "high", "verdict"),
    [
        ("lower", 2.0, 3.0, "better"),
        ("lower", 0.1, 0.4, "worse"),
        ("higher", 2.0, 3.0, "worse"),
        ("higher", 0.1, 0.4, "better"),
        ("lower", 1.4, 3.0, "undecided"),
        ("lower", 1.5, 3.0, "undecided"),  # they touch
        ("none", 2.0, 3.0, "undecided"),
        ("lower", None, None, "undecided"),
    ],
)
def test_a_winner_only_where_intervals_part(direction, low, high, verdict):
    assert result(direction=direction).compare(result(2.0, low, high, direction)) == verdict


def test_other_protocols_are_refused_with_all_that_differs():
    other = result(protocol="metric=a/1 fake=20 extractor=x@1")
    with pytest.raises(UsageError, match=r"fake=10 against fake=20, extractor=none against extractor=x@1"):
        result().compare(other)
    assert differences("a=1 b=2", "a=1 b=3") == "b=2 against b=3"


@pytest.mark.parametrize("value", [1.25, math.inf, -math.inf])
def test_json_and_back(value):
    given = Result("a", value, Interval(-1.0, math.inf), details={"k": (1, 2), "deep": {"x": math.inf}}, protocol="p=1")
    report = Report("me", (given,), (Absent("b", "why"),), {"n": 3})
    text = json.dumps(report.to_dict(), allow_nan=False)
    again = Report.from_dict(json.loads(text))
    assert again["a"].value == value
    assert (again["a"].interval.low, again["a"].interval.high) == (-1.0, math.inf)
    assert again["a"].details == {"k": [1, 2], "deep": {"x": "inf"}}
    assert again.absent == report.absent
    assert json.dumps(again.to_dict()) == text


def test_nan_survives_too():
    assert math.isnan(Result.from_dict(json.loads(json.dumps(result(math.nan).to_dict()))).value)


@pytest.mark.parametrize("bad", [{}, {"metric": "a"}, {"metric": "a", "value": "x"}, {"metric": "a", "value": None}])
def test_what_is_no_result(bad):
    with pytest.raises(UsageError, match="no result of an evaluation"):
        Result.from_dict(bad)


def test_a_report_says_why_something_is_not_there():
    report = Report("me", (result(),), (Absent("b", "the reason"),))
    with pytest.raises(UsageError, match="me has no b: the reason"):
        report["b"]
    with pytest.raises(UsageError, match=r"'aa' was not measured of me \(did you mean 'a'\?\)"):
        report["aa"]
    assert "a" in report
    assert "b" not in report
    assert [r[:3] for r in report.rows()] == [("a ↓", "1", "[0.5, 1.5]")]


def test_a_density_is_undecided_beside_a_probability():
    high, low = result(9.0, 8.0, 10.0, "higher"), result(direction="higher")
    assert high.compare(low) == "better"
    dense = replace(high, details={"density": True})
    assert dense.compare(low) == low.compare(dense) == "undecided"
    assert dense.compare(replace(low, details={"density": True})) == "better"


def test_a_report_is_printed_as_a_table():
    report = Report("me", (result(),), (Absent("b", "no labels"),), {"data": "grid25"})
    assert str(report).splitlines() == [
        "me against grid25",
        "metric  value  95 % interval  unit  measured on",
        f"a ↓     1      [0.5, 1.5]           {report.rows()[0][4]}".rstrip(),
        "absent: b (no labels)",
    ]

"""Options from text and values: what is taken, what is refused, and what the one sentence says."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from genzoo.core.errors import UsageError
from genzoo.core.options import OptionInfo, coerce_all, describe_type, option, options_of


@dataclass(frozen=True)
class Options:
    lr: float = option(1e-3, "learning rate", low=0)
    steps: int = option(5, low=1, high=100)
    fast: bool = option(False)
    name: str = option("")
    kind: Literal["adam", "sgd"] = option("adam")
    betas: tuple[float, float] = option((0.9, 0.999), low=0, high=1)
    widths: tuple[int, ...] = option((8,), low=1)
    limit: float | None = option(None, low=0)


INFOS = options_of(Options)


def coerce(name, value):
    return coerce_all(INFOS, {name: value}, "train")[name]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("lr", "1e-3", 0.001),
        ("lr", 2, 2.0),
        ("lr", np.float64(0.5), 0.5),
        ("steps", "7", 7),
        ("steps", 7.0, 7),
        ("fast", "Yes", True),
        ("fast", "0", False),
        ("fast", True, True),
        ("name", "x,y", "x,y"),
        ("kind", "sgd", "sgd"),
        ("betas", "0.5,0.9", (0.5, 0.9)),
        ("betas", "(0.5, 0.9)", (0.5, 0.9)),
        ("betas", [0, 1], (0.0, 1.0)),
        ("widths", "4,8,16", (4, 8, 16)),
        ("widths", 4, (4,)),
        ("widths", "", ()),
        ("limit", "none", None),
        ("limit", None, None),
        ("limit", "0.5", 0.5),
    ],
)
def test_what_is_taken(name, given, expected):
    found = coerce(name, given)
    assert found == expected
    assert type(found) is type(expected) or isinstance(given, np.floating)
    if isinstance(expected, tuple):
        assert all(type(a) is type(b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("lr", "fast", "train.lr takes a number, not 'fast'"),
        ("lr", True, "train.lr takes a number, not True"),
        ("lr", "nan", "train.lr takes a finite number, not 'nan'"),
        ("lr", float("inf"), "train.lr takes a finite number, not inf"),
        pytest.param("lr", 10**400, "train.lr takes a number, not 1000", id="huge"),
        ("lr", -1, "train.lr must be at least 0, not -1"),
        ("steps", "1.5", "train.steps takes a whole number, not '1.5'"),
        ("steps", 1.5, "train.steps takes a whole number, not 1.5"),
        ("steps", float("inf"), "train.steps takes a whole number, not inf"),
        ("steps", float("nan"), "train.steps takes a whole number, not nan"),
        ("steps", False, "train.steps takes a whole number, not False"),
        ("steps", None, "train.steps takes a whole number, not None"),
        ("steps", 0, "train.steps must be at least 1, not 0"),
        ("steps", 101, "train.steps must be at most 100, not 101"),
        ("fast", 1, "train.fast takes true or false, not 1"),
        ("fast", "maybe", "train.fast takes true or false, not 'maybe'"),
        ("name", 3, "train.name takes text, not 3"),
        ("kind", "adan", "train.kind takes one of 'adam', 'sgd', not 'adan'"),
        ("betas", "0.5", "train.betas takes a list like 1,2 where each is a number, not '0.5': 2 values are needed"),
        ("betas", "0.5,2", "train.betas must be at most 1, not 2"),
        ("betas", "0.5,nan", "train.betas takes a finite number"),
        ("widths", "4,x", "train.widths takes a list like 1,2 where each is a whole number, not '4,x'"),
        ("widths", "4,0", "train.widths must be at least 1, not 0"),
        ("limit", "much", "train.limit takes a number or none, not 'much'"),
        ("limit", -2, "train.limit must be at least 0, not -2"),
    ],
)
def test_what_is_refused_and_how(name, given, says):
    with pytest.raises(UsageError) as caught:
        coerce(name, given)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_defaults_are_filled_in_and_kept_as_they_are():
    assert coerce_all(INFOS, {}, "train") == Options().__dict__
    assert coerce_all(INFOS, {"steps": "9"}, "train") == {**Options().__dict__, "steps": 9}
    Options(**coerce_all(INFOS, {"limit": "3"}, "train"))


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(UsageError, match=r"train has no option 'stepz' \(did you mean .*train.steps"):
        coerce_all(INFOS, {"stepz": 1}, "train")
    with pytest.raises(UsageError, match="train has no option 'qqq'; it has betas, fast, kind"):
        coerce_all(INFOS, {"qqq": 1}, "train")
    with pytest.raises(UsageError, match="has no options"):
        coerce_all([], {"a": 1}, "train")


def test_an_options_class_is_read_whole():
    assert [i.name for i in INFOS] == list(Options.__dataclass_fields__)
    assert INFOS[0] == OptionInfo("lr", "float", 1e-3, "learning rate", 0, None)
    assert {i.name: describe_type(i.type) for i in INFOS} == {
        "lr": "a number",
        "steps": "a whole number",
        "fast": "true or false",
        "name": "text",
        "kind": "one of 'adam', 'sgd'",
        "betas": "a list like 1,2 where each is a number",
        "widths": "a list like 1,2 where each is a whole number",
        "limit": "a number or none",
    }


def test_a_type_that_is_no_option_is_named():
    with pytest.raises(UsageError, match="use bool, int, float"):
        OptionInfo("x", "dict", None).coerce("a", "train.x")


def test_python_s_own_words_stay_inside():
    with pytest.raises(UsageError) as e:
        OptionInfo("n", "int", 1, "").coerce("4.5", "train.steps")
    assert str(e.value) == "train.steps takes a whole number, not '4.5'"

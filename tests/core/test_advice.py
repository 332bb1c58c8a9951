"""Advice in sentences of errors can be pasted, at a command line and in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import genzoo as gz
from genzoo.core.errors import GenzooError, UsageError, at_command_line, in_words

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("said", "python"),
    [
        ("go on with --resume, or give another folder", "go on with resume=True, or give another folder"),
        ("use --device cpu", 'use device="cpu"'),
        ("more than --data-memory is", "more than data_memory=… is"),
        ("name a folder with --out", "name a folder with out=…"),
        ("take --batch-size 12.", "take batch_size=12."),
        ("leave out --no-noise", "leave out noise=False"),
        ("use --generator top-down", 'use options={"generator": "top-down"}'),
        ("do without --locked", "do without --locked"),
        ("'genzoo train FILE --data DATA' trains it", "'genzoo train FILE --data DATA' trains it"),
        ("bring them to --set data.size=32", 'bring them to options={"size": "32"}'),
        ("--set data.size=32 --set data.mode=grey", 'options={"size": "32", "mode": "grey"}'),
        ('--set data.size=32 (in Python options={"size": "32"}), or', 'options={"size": "32"}, or'),
        ("(did you mean --set train.lr=1,2?)", '(did you mean options={"train.lr": "1,2"}?)'),
        ("a name such as a--b", "a name such as a--b"),
    ],
)
def test_sentences_in_both_doors(said: str, python: str) -> None:
    assert in_words(said) == python
    assert in_words(python) == python  # said twice is said once
    assert str(UsageError(said)) == python
    with at_command_line():
        assert str(UsageError(said)) == re.sub(r" \(in Python [^)]*\)", "", said)


def test_options_of_data_go_by_the_call() -> None:
    said = "--set data.size=32"
    assert in_words(said, "dotted") == 'options={"data.size": "32"}'  # of genzoo.fit
    assert in_words(said, "data_options") == 'data_options={"size": "32"}'  # of genzoo.evaluate
    assert in_words("--set samples.size=32", "data_options") == 'samples_options={"size": "32"}'


def test_what_a_call_says_works_when_it_is_pasted() -> None:
    x = np.zeros((40, 12, 12), np.uint8)
    with pytest.raises(UsageError) as found:
        gz.load_data(x, options={"limitt": 5})
    advice = re.search(r"did you mean options=(\{.*\})\?", str(found.value))
    assert advice
    assert len(gz.load_data(x, options=ast.literal_eval(advice[1]))) == 5
    for given, message in (
        ({"limit": 5}, 'options={"data.limit": "5"}'),
        ({"data.limitt": 5}, 'options={"data.limit": "5"}'),
        ({"lr": 0.5}, 'options={"train.lr": "0.5"}'),
        ({"generator.widht": 8}, 'options={"generator.width": "8"}'),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            gz.fit("gan", x, options=given, steps=1)
    with pytest.raises(UsageError, match=re.escape('data_options={"limit": "5"}')):
        gz.evaluate(x, x, data_options={"limitt": 5})
    assert len(gz.load_data(x, options={"data.limit": 5})) == 5  # as others call it


class Unread:
    """A data set that nobody may read."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> None:
        raise AssertionError("the data were read")


@pytest.mark.parametrize(
    "given",
    [
        {"data.limitt": 5},
        {"size": 32},
        {"train.lr": "abc"},
        {"train.lrr": 1},
        {"generator.widht": 8},
        {"generator": "mlp", "generator.norm": "bogus"},
        {"objective.gp": 1},
        {"latent.sise": 3},
        {"regularizer": ["r1"], "regularizer.r1.wieght": 1},
        {"bogus.option": 1},
        {"generator": "bogus"},
    ],
)
def test_unknown_options_are_found_before_data_are_read(given: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        gz.fit("gan", Unread(), options=given, steps=1)


def test_an_option_given_twice_in_python() -> None:
    for how in (
        {"steps": 1, "options": {"train.steps": 2}},
        {"batch_size": 1, "options": {"train.batch_size": 2}},
        {"prior": "vamp", "options": {"prior": "normal"}},
    ):
        with pytest.raises(UsageError, match="was given twice"):
            gz.fit("vae", Unread(), **how)


def strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_sentence_names_an_option_without_the_whole_argument() -> None:
    wrong = []
    short = re.compile(r"set the option|(?<!--)\b(set|say|use|try) (the )?(data|train|latent|critic|generator)\.\w+")
    for path in [p for layer in ("core", "registry", "plugins", "cli") for p in (ROOT / layer).rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in (n for n in ast.walk(tree) if isinstance(n, ast.Raise) and n.exc is not None):
            wrong += [f"{path.relative_to(ROOT)}: {text}" for text in strings(node.exc) if short.search(text)]
    assert not wrong


def test_it_is_one_error_whatever_the_door() -> None:
    assert isinstance(UsageError("x"), GenzooError)
    assert UsageError("--resume").args == ("--resume",)

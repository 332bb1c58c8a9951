"""Texts are judged in the tokens that a model knows, whatever those of the data are."""

from __future__ import annotations

import pytest

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec

SMALL = {"likelihood.hidden": 4, "likelihood.embed": 4}
LINES = ["abba cab", "cab abba", "a cab", "bab", "caba", "abc", "cba", "bca", "acb", "bac"]


def lm(letters: str, length: int):
    spec = DataSpec("text", (length,), 3 + len(letters), facts={"tokens": "characters", "alphabet": letters})
    return genzoo.create("lm", spec, options=SMALL)


def test_a_file_of_another_alphabet_is_scored_as_its_strings_are(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(LINES))  # of an alphabet without x, as long as the model's
    model = lm(" abcx", 9)
    found = genzoo.evaluate(model, tmp_path / "a.txt", metrics="nats-per-character", split="all", n=10)
    wanted = -model.log_likelihood(LINES).values.sum().item() / sum(len(line) + 1 for line in LINES)
    assert found["nats-per-character"].value == pytest.approx(wanted, rel=1e-5)


def test_what_does_not_fit_is_left_out_and_said(tmp_path) -> None:
    data = genzoo.load_data([*LINES, "zebra " * 5])
    kind, spec = of("text"), lm(" abc", 9).spec
    found = kind.as_known(data, spec)
    assert kind.lines(spec, found.x) == LINES
    assert "1 texts that are too long" in " ".join(found.read.notes)
    with pytest.raises(UsageError, match="no text of"):
        kind.as_known(genzoo.load_data(["zebra " * 5, "horse " * 5]), spec)


def test_control_characters_are_unknown_and_said(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("a\tb\nb a\n")
    data = genzoo.load_data(tmp_path / "a.txt", split="all")
    assert "of control" in " ".join(data.read.notes)
    assert data.spec.facts["alphabet"] == " ab"

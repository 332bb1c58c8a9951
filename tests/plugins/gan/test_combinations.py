"""Every loss with every part, condition and kind of data trains and goes on to the same bits, or a rule refuses it."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("_combinations", HERE / "combinations.py")
combinations = sys.modules["_combinations"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(combinations)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("data", combinations.DATA)
@pytest.mark.parametrize("loss", combinations.losses())
def test_it_trains_and_resumes_or_is_refused(loss, data):
    wrong = {}
    with combinations.sources_read_once():
        for cell in combinations.cells(loss, data):
            if not cell.refused() and (why := combinations.resumes(cell)):
                wrong[cell.part, cell.condition] = why
    assert not wrong


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_page_says_what_is_refused():
    """If it does not: python tests/plugins/gan/combinations.py writes it anew."""
    found = combinations.refusals()
    assert combinations.PAGE.read_text(encoding="utf-8") == combinations.page(found)
    for why, losses in found.items():  # one sentence, with the reason or what to do instead
        assert len(why) < 250, why
        assert "\n" not in why, losses


def test_the_page_begins_with_what_is_so():
    text = combinations.PAGE.read_text(encoding="utf-8")
    assert text.startswith(combinations.head())
    assert combinations.Cell("began", "r1", "no labels", "plane").refused()  # so not any loss takes any part
    assert "any regularizer" not in text.lower()


def test_losses_and_parts_of_the_zoo_are_in_it():
    assert {"gan", "hinge", "began", "acgan", "r3gan"} <= set(combinations.losses())
    assert {"nothing", "r1", "lecam", "diffaugment"} <= set(combinations.parts())
    some = combinations.Cell("gan", "r1", "conditional batch norm", "plane")
    assert some.refused() == ""
    assert "augments images" in combinations.Cell("gan", "diffaugment", "no labels", "plane").refused()
    cells = [(c.part, c.condition) for c in combinations.cells("gan", "grey 28")]
    assert len(cells) == len(set(cells)) == len(combinations.CONDITIONS) * len(combinations.parts())


def test_packs_are_told_their_labels_where_features_are_read_too():
    assert combinations.resumes(combinations.Cell("pacgan", "feature-matching", "concat", "plane")) == ""

"""Every loss with every part, condition and kind of data trains and resumes to the same bits, or is refused by a rule.

All are built; a quarter is trained, in which each part meets each condition, and all with GENZOO_MATRIX=all.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("_combinations", HERE / "combinations.py")
combinations = sys.modules["_combinations"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(combinations)

EVERY = os.environ.get("GENZOO_MATRIX") == "all"


@pytest.mark.slow
@pytest.mark.parametrize("data", combinations.DATA)
@pytest.mark.parametrize("loss", combinations.losses())
def test_it_trains_and_resumes_or_is_refused(loss, data):
    wrong = {}
    for cell in combinations.trained(loss, data, every=EVERY):
        if not cell.refused() and (why := combinations.resumes(cell)):
            wrong[cell.part, cell.condition] = why
    assert not wrong


@pytest.mark.slow
def test_the_page_says_what_is_refused():
    """If it does not: python tests/plugins/gan/combinations.py writes it anew."""
    found = combinations.refusals()
    assert combinations.PAGE.read_text(encoding="utf-8") == combinations.page(found)
    for why, losses in found.items():  # one sentence, with the reason or what to do instead
        assert len(why) < 250, why
        assert "\n" not in why, losses


def test_losses_and_parts_of_the_zoo_are_in_it():
    assert {"gan", "hinge", "began", "acgan", "r3gan"} <= set(combinations.losses())
    assert {"nothing", "r1", "lecam", "diffaugment"} <= set(combinations.parts())
    some = combinations.Cell("gan", "r1", "conditional batch norm", "plane")
    assert some.refused() == ""
    assert "augments images" in combinations.Cell("gan", "diffaugment", "no labels", "plane").refused()
    for loss in ("gan", "hinge"):  # each part meets each condition over the losses and kinds of data
        met = {(c.part, c.condition) for data in combinations.DATA for c in combinations.trained(loss, data)}
        assert len(met) == 3 * len(combinations.parts())

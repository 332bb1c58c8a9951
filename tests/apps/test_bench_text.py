"""``genzoo bench text``: GANs of texts stand beside the curve of a language model."""

from __future__ import annotations

import json
import random

import pytest

from genzoo.core.errors import UsageError
from genzoo.plugins.apps.bench.text_bench import measured, texts
from genzoo.plugins.metrics.text_samples import CharacterModel


def lines(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(["abba", "caba", "daba", "ada"], k=3)) for _ in range(n)]


def test_shuffled_characters_are_worse_and_a_loop_is_seen() -> None:
    judge, held = CharacterModel(lines(300, 0), 5), lines(100, 1)
    rng = random.Random(0)
    real, looping = measured("real", lines(100, 2), judge, held), measured("loop", ["abba caba"] * 100, judge, held)
    shuffled = measured("shuffled", ["".join(rng.sample(t, len(t))) for t in held], judge, held)
    assert shuffled["forward"] > real["forward"] + 1
    assert looping["forward"] < real["forward"]  # a loop of what is likely
    assert looping["reverse"] > real["reverse"] + 1
    assert looping["self-bleu"] > 0.99 > real["self-bleu"]


@pytest.mark.slow
def test_one_row_for_each_temperature_and_gan(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(dict.fromkeys(lines(200, 0))))
    options = {"likelihood.hidden": 8, "likelihood.embed": 4, "train.batch_size": 8}
    found = texts(str(tmp_path / "a.txt"), steps=1, recipes=["gumbel-gan"], temperatures=(0.7, 1.0), n=10,
                  options=options, out=tmp_path / "board")  # fmt: skip
    assert [row["what"] for row in found] == ["held-out texts", "shuffled characters", "lm, temperature 0.7",
                                              "lm, temperature 1", "lm, then gumbel-gan"]  # fmt: skip
    assert isinstance(found[-1]["wins"], bool)
    assert found[-1]["nll"] > 0
    assert json.loads((tmp_path / "board" / "text.json").read_text())["rows"] == found
    with pytest.raises(UsageError, match="is of texts"):
        texts("digits", steps=1)


def test_only_what_lies_below_the_curve_wins():
    from genzoo.plugins.apps.bench.text_bench import below

    curve = [{"forward": 1.0, "reverse": 2.0}, {"forward": 1.2, "reverse": 1.8}]
    assert below(curve, {"forward": 1.1, "reverse": 1.85})
    assert not below(curve, {"forward": 1.19, "reverse": 1.99})  # above it, though no point of it is better in both
    assert not below(curve, {"forward": 0.5, "reverse": 1.0})  # collapsed: nothing to compare with

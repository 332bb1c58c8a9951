"""``genzoo bench text``: GANs of texts stand beside the curve of a language model."""

from __future__ import annotations

import json
import os
import random
import signal
from typing import Any

import pytest

from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.plugins.apps.bench import text_bench
from genzoo.plugins.apps.bench.text_bench import measured, texts
from genzoo.plugins.metrics.character_model import CharacterModel
from genzoo.registry.verbs.load import load_data


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
    rows = "real texts", "pairs of characters", "shuffled characters", "lm, temperature 0.7", "lm, temperature 1"
    assert [row["what"] for row in found] == [*rows, "lm, then gumbel-gan"]
    train, test = (load_data(str(tmp_path / "a.txt"), split=split) for split in ("train", "test"))
    known, held = (of(d.spec).lines(d.spec, d.x) for d in (train, test))
    assert found[0]["forward"] == CharacterModel(known[:100], 5).per_character(held[:10]).value  # which it never saw
    assert isinstance(found[-1]["wins"], bool)
    assert found[-1]["nll"] > 0
    assert json.loads((tmp_path / "board" / "text.json").read_text())["rows"] == found
    with pytest.raises(UsageError, match="is of texts"):
        texts("digits", steps=1)


@pytest.mark.slow
def test_a_call_that_was_stopped_goes_on(tmp_path, monkeypatch) -> None:
    """In the middle of a training, too; and what is there is not done again."""
    (tmp_path / "a.txt").write_text("\n".join(dict.fromkeys(lines(200, 0))))
    options = {"likelihood.hidden": 8, "likelihood.embed": 4, "train.batch_size": 8, "train.sample_every": 1000}
    how = {"recipes": ["gumbel-gan"], "temperatures": (0.7, 1.0), "n": 10, "options": options, "steps": 20}
    train_for = text_bench.train_for

    def killed(recipe: str, *args: Any, **kwargs: Any) -> Any:
        def stop(share: float) -> None:  # told after the first step
            os.kill(os.getpid(), signal.SIGINT)

        return train_for(recipe, *args, **kwargs | ({"tell": stop} if recipe == "gumbel-gan" else {}))

    monkeypatch.setattr(text_bench, "train_for", killed)
    with pytest.raises(KeyboardInterrupt):
        texts(str(tmp_path / "a.txt"), **how, out=tmp_path / "board")
    monkeypatch.setattr(text_bench, "train_for", train_for)
    whole = texts(str(tmp_path / "a.txt"), **how, out=tmp_path / "whole")
    found = texts(str(tmp_path / "a.txt"), **how, out=tmp_path / "board")
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in found] == [
        {k: v for k, v in r.items() if k != "seconds"} for r in whole
    ]
    monkeypatch.delattr(text_bench, "train_for")
    monkeypatch.delattr(text_bench, "measured")
    assert texts(str(tmp_path / "a.txt"), **how, out=tmp_path / "board") == found


def test_what_is_asked_wrongly_shows_before_anything_is_trained(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(text_bench, "train_for", lambda *args, **kwargs: pytest.fail("it was trained"))
    (tmp_path / "few.txt").write_text("\n".join(f"a text of {i}" for i in range(10)))
    with pytest.raises(UsageError, match="there is no recipe 'gumble-gan'"):
        texts(str(tmp_path / "few.txt"), recipes=["gumble-gan"])
    with pytest.raises(UsageError, match=r"9 texts to learn from and 1 held out: at least 2 are needed"):
        texts(str(tmp_path / "few.txt"), recipes=[])


def test_only_what_lies_below_the_curve_wins():
    from genzoo.plugins.apps.bench.text_bench import below

    curve = [{"forward": 1.0, "reverse": 2.0}, {"forward": 1.2, "reverse": 1.8}]
    assert below(curve, {"forward": 1.1, "reverse": 1.85, "reverse within": 0.04})
    assert not below(curve, {"forward": 1.1, "reverse": 1.85, "reverse within": 0.06})  # it may be chance
    above = {"forward": 1.19, "reverse": 1.99, "reverse within": 0.0}  # though no point is better in both
    assert not below(curve, above)
    assert not below(curve, {**above, "forward": 0.5, "reverse": 1.0})  # collapsed: nothing to compare with


def test_no_gan_stands_without_the_curve() -> None:
    """Not in the benchmark, and cards and pages say where it is."""
    from genzoo.registry import the_registry

    for few in ((), (1.0,), (0.7, 0.7), (0.6, 0.8)):
        with pytest.raises(UsageError, match="stand beside the curve"):
            texts(lines(20, 0), steps=1, temperatures=few)
    registry = the_registry()
    gans = [e for e in registry.entries("objective", tag="text") if "gan" in e.tags]
    assert {e.name for e in gans} >= {"gumbel-gan", "reinforce-gan"}
    assert all("genzoo bench text" in registry.load(e).compare_with for e in gans)


def test_a_card_and_a_page_of_a_gan_say_where_the_curve_is(tmp_path, monkeypatch) -> None:
    import genzoo

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = {"likelihood.hidden": 8, "likelihood.embed": 4, "train.batch_size": 8, "train.validation": 0}
    for recipe in ("lm", "gumbel-gan"):
        small = options | ({"critic.hidden": 6, "critic.embed": 4} if recipe == "gumbel-gan" else {})
        genzoo.fit(recipe, lines(120, 0), tmp_path / recipe, steps=1, options=small, device="cpu", progress=False)
    said = {recipe: (tmp_path / recipe / "README.md").read_text() for recipe in ("lm", "gumbel-gan")}
    assert "beside the curve of a language model" in said["gumbel-gan"]
    assert "beside the curve" not in said["lm"]
    found = genzoo.compare([tmp_path / "lm", tmp_path / "gumbel-gan"], lines(60, 1), n=20, metrics="distinct-n")
    page = found.save(tmp_path / "page.html").read_text()
    assert page.count("beside the curve of a language model") == 1
    assert list(found.beside) == ["gumbel-gan"]

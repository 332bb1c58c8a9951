"""Trainings of texts and of sounds that were stopped and go on are those that never stopped, to the last byte."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

import genzoo

TEXT = {"likelihood.hidden": 8, "likelihood.embed": 4, "generator.width": 8,
        "likelihood.word_dropout": 0.3, "encoder.hidden": 8, "train.validation": 4}  # fmt: skip
SOUND = {"generator.width": 4, "critic.width": 4}
GAN = {"likelihood.hidden": 8, "likelihood.embed": 4, "critic.hidden": 6, "critic.embed": 4}
WORDS = ["".join(w) for w in product("abc", repeat=4)]
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "text-vae": ("kjv-mini", TEXT),
    "lm": (WORDS, {"likelihood.hidden": 8, "likelihood.embed": 4}),
    "gumbel-gan": (WORDS, GAN),
    "reinforce-gan": (WORDS, GAN),
    "wavegan": ("spoken-digits-mini", SOUND),
}


@pytest.mark.parametrize("recipe", CASES)
def test_what_goes_on_is_what_never_stopped(recipe: str, tmp_path: Path) -> None:
    name, options = CASES[recipe]
    data = genzoo.load_data(name).take(slice(40))
    options = options | {"train.batch_size": 4, "train.checkpoint_every": 1}

    def fit(out: str, **how: Any) -> genzoo.Run:
        return genzoo.fit(recipe, data, tmp_path / out, steps=3, options=options, device="cpu", progress=False, **how)

    def stop_at_2(trainer: Any, config: Any) -> None:
        step = trainer._one_step

        def counted() -> None:
            step()
            trainer.stopping = trainer.step + 1 == 2

        trainer._one_step = counted

    fit("whole")
    assert fit("half", on_start=stop_at_2).steps == 2
    assert fit("half", resume=True).steps == 3
    a, b = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("whole", "half"))
    assert a == b

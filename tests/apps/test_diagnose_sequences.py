"""`genzoo.diagnose` on models of texts and sounds that are broken on purpose, each in one way."""

from __future__ import annotations

import pytest
import torch

import genzoo
from genzoo.core.modality import of
from genzoo.plugins.modalities import alphabet
from genzoo.plugins.modalities.text_files import loops

SMALL = {"likelihood.hidden": 8, "likelihood.embed": 4, "likelihood.features": 4}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def verses():
    return genzoo.load_data("kjv-mini")


def says(model, data, name, line):
    """Let a model draw what a function of a number gives."""

    def sample(params, generator=None, *, uniform=None):
        given = torch.rand(len(params), generator=generator) if uniform is None else uniform[:, 0]
        rows = alphabet.encode([line(float(u)) for u in given], data.spec.facts, data.spec.shape[0])
        return of(data.spec).from_rows(data.spec, rows)

    object.__setattr__(model.likelihood, "sample", sample)


@pytest.mark.parametrize(("text", "found"), [
    ("of the son of the son of the son of the son", True), ("and he said, ha ha ha ha ha ha ha ha ha ha", True),
    ("In the beginning God created the heaven and the earth.", False), ("", False), ("aaa", False),
    ("And Moses said, Go, go, go, and the people of the land went out to the wilderness of Sin.", False),
])  # fmt: skip
def test_a_loop_is_half_of_a_text_that_repeats(text: str, found: bool) -> None:
    assert loops(text) is found


def test_hardly_a_verse_loops(verses) -> None:
    assert sum(map(loops, of(verses.spec).lines(verses.spec, verses.x))) <= len(verses) // 100


def test_a_generator_of_texts_that_loops_is_named(verses) -> None:
    model = genzoo.create("lm", verses.spec, options=SMALL)
    words = ["king", "house", "land", "sea", "son", "day", "man", "earth", "people", "word"]

    def looping(u: float) -> str:
        a, b = words[int(u * 1000) % 10], words[int(u * 100_000) % 10]
        return " ".join([f"and the {a} of the {b}"] * 4)

    says(model, verses, "looping", looping)
    verdict = genzoo.diagnose(model, verses, n=100)["mode-collapse"]
    assert verdict.status == "problem"
    assert "samples loop" in verdict.says


def test_texts_that_are_as_varied_as_the_data_are_not(verses) -> None:
    model = genzoo.create("lm", verses.spec, options=SMALL)
    lines = of(verses.spec).lines(verses.spec, verses.x[:500])
    says(model, verses, "alive", lambda u: lines[int(u * 1e6) % 500])
    verdict = genzoo.diagnose(model, verses, n=100)["mode-collapse"]
    assert verdict.status != "problem", verdict.says


def test_a_vae_of_texts_that_ignores_its_code_is_named(verses) -> None:
    model = genzoo.create("text-vae", verses.spec, options=SMALL | {"latent.size": 4})
    with torch.no_grad():  # codes vary with the text, and the likelihood is told nothing
        for parameter in (model.likelihood.start.weight, model.likelihood.more.weight):
            parameter.zero_()
        model.likelihood.units.weight_ih_l0[:, 4:] = 0
    verdict = genzoo.diagnose(model, verses, n=100)["posterior-collapse"]
    assert verdict.status == "problem"
    assert "collapsed" in verdict.says


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("posterior", "steps", "found"), [("normal", 150, True), ("batch-normal", 250, False)])
def test_a_trained_vae_of_texts_is_named_if_it_collapsed(tmp_path, posterior: str, steps: int, found: bool) -> None:
    """Without a warm-up the KL wins before the recurrent units learn to read the code; means with a spread are read."""
    options = {"posterior": posterior, "latent.size": 16, "encoder.hidden": 64, "train.batch_size": 32}
    options |= {"likelihood.hidden": 64, "objective.kl_warmup": 0.0} if found else {"likelihood.hidden": 96}
    genzoo.fit("text-vae", "kjv-mini", tmp_path / "run", steps=steps, seed=31, options=options, progress=False,
               device="cpu", precision="float32")  # fmt: skip
    assert genzoo.diagnose(tmp_path / "run", n=300).problems == (("posterior-collapse",) if found else ())


@pytest.mark.parametrize(("seed", "loud"), [(0, 0.0), (1, 1e-3)])
def test_a_gan_of_sounds_that_is_silent_is_named(seed: int, loud: float) -> None:
    data = genzoo.load_data("spoken-digits-mini")
    torch.manual_seed(seed)
    model = genzoo.create("wavegan", data.spec, options={"generator.width": 4, "critic.width": 4})
    with torch.no_grad():
        for parameter in list(model.generator.parameters())[-2:]:  # of the last layer
            parameter.mul_(loud)
    verdict = genzoo.diagnose(model, data, n=100, extractor="log-mel")["mode-collapse"]
    assert verdict.status == "problem"
    assert "silent" in verdict.says

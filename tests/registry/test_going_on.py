"""Runs that go on longer and by themselves, weights to start from, and steps enough for small data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.errors import UsageError
from genzoo.registry.verbs import fit as fitting

TINY = {"generator.width": 4, "encoder.width": 4, "latent.size": 3}
STILL = {"train.schedule": "constant", "generator.width": 8, "critic.width": 8}


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 255, (24, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory, pictures):
    path = tmp_path_factory.mktemp("data") / "pictures.npy"
    np.save(path, pictures)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Colour pictures of another size, in two classes."""
    path = tmp_path_factory.mktemp("data") / "mine"
    for name in ("cats", "dogs"):
        (path / name).mkdir(parents=True)
        for i in range(6):
            colours = np.random.default_rng(i).integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(colours).save(path / name / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory, pictures):
    out = tmp_path_factory.mktemp("weights") / "vae"
    genzoo.fit("vae", pictures, out, steps=1, options=TINY, progress=False)
    return out


@pytest.fixture(scope="module")
def classed(tmp_path_factory, pictures):
    """Weights that know three classes."""
    out = tmp_path_factory.mktemp("weights") / "cvae"
    genzoo.fit("cvae", pictures, out, labels=np.arange(24) % 3, steps=1, options=TINY, progress=False)
    return out


class Started(Exception):
    """What ends a run before its first step."""


def started(*args, **how):
    """The trainer and the config of a call of fit, which ends before its first step."""
    found = []

    def stop(trainer, config):
        found.extend([trainer, config])
        raise Started

    with pytest.raises(Started):
        genzoo.fit(*args, **how, on_start=stop, progress=False)
    return found


# Going on.


def test_a_run_that_goes_on_longer_is_the_longer_run(tmp_path):
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    how = {"seed": 3, "batch_size": 16, "options": STILL, "progress": False}
    whole = genzoo.fit("gan", x, tmp_path / "whole", steps=4, **how)
    genzoo.fit("gan", x, tmp_path / "two", steps=2, **how)
    longer = genzoo.fit("gan", x, tmp_path / "two", steps=4, resume=True, **how)
    assert longer.finished
    assert longer.steps == 4
    for a, b in zip(whole.model.state_dict().values(), longer.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_what_the_run_knows_is_not_said_again(tmp_path, file, capsys):
    given = {**TINY, "train.validation": 4, "data.limit": 20}
    first = genzoo.fit("beta-vae", file, tmp_path / "run", steps=1, seed=5, options=given, batch_size=8, progress=False)
    run = genzoo.fit(resume=tmp_path / "run", steps=2, progress=False)
    assert (run.steps, run.finished) == (2, True)
    before, after = first.config.flat(), run.config.flat()
    assert {k for k in before if before[k] != after[k]} == {"train.steps"}
    assert "goes on from step 1 to 2" in capsys.readouterr().err
    assert not genzoo.fit(resume=str(tmp_path / "run"), progress=False).stopped_by  # there is nothing left to do
    assert str(file.parent) not in (tmp_path / "run" / "training.json").read_text()  # where they are stays here
    epochs = genzoo.fit("beta-vae", file, tmp_path / "run", epochs=2, resume=True, progress=False)
    assert epochs.steps == math.ceil(2 * 16 / 8)


def test_what_a_run_is_cannot_change(tmp_path, file):
    genzoo.fit("vae", file, tmp_path / "run", steps=2, options=TINY, progress=False)
    for words, how in (
        ("latent.size = 3, not 4", {"options": {"latent.size": 4}}),
        ("recipe = vae, not beta-vae", {"recipe": "beta-vae"}),
        ("batch_size = 64, not 8", {"batch_size": 8}),
        ("at step 2 already", {"steps": 1}),
        ("seed 0, not 1", {"seed": 1}),
        ("no option 'size'", {"options": {"latent.sizes": 4}}),
        ("leave out", {"out": tmp_path / "other"}),
    ):
        with pytest.raises(UsageError, match=words.replace("no option 'size'", "no option 'sizes'")):
            genzoo.fit(resume=tmp_path / "run", progress=False, **how)


def test_arrays_are_given_again(tmp_path, pictures):
    genzoo.fit("vae", pictures, tmp_path / "run", steps=1, options=TINY, progress=False)
    with pytest.raises(UsageError, match="where its data are; name them"):
        genzoo.fit(resume=tmp_path / "run", steps=2, progress=False)
    assert genzoo.fit(None, pictures, resume=tmp_path / "run", steps=2, progress=False).steps == 2


def test_what_the_schedule_does_is_said(tmp_path, file, capsys):
    given = {**TINY, "train.schedule": "linear", "objective.kl_warmup": 0.5}
    genzoo.fit("vae", file, tmp_path / "run", steps=2, options=given, progress=False)
    genzoo.fit(resume=tmp_path / "run", steps=4, progress=False)
    said = capsys.readouterr().err
    assert "linear learning rate" in said
    assert "0.0005 here, where it was 0" in said
    assert "objective.kl_warmup=0.5 is a share of the new length" in said


# Starting from.


def test_weights_bring_their_architecture(weights, pictures):
    trainer, config = started("vae", pictures, init=weights, steps=1)
    assert {k: config.flat()[k] for k in TINY} == TINY
    theirs = genzoo.load(weights).state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in trainer.nets.model.state_dict().items())
    assert started(None, pictures, init=weights, steps=1)[1].recipe == "vae"  # by their own recipe
    _, other = started("beta-vae", pictures, init=weights, steps=1)
    assert other.parts["objective"].name == "beta-vae"
    assert other.latent.size == 3


def test_pictures_are_read_as_the_weights_know_them(weights, folder, capsys):
    _trainer, config = started("vae", folder, init=weights, steps=1)
    assert config.data.shape == (1, 8, 8)
    assert "--set data.size=8x8 --set data.mode=grey" in capsys.readouterr().err
    with pytest.raises(UsageError, match="data is 1×8×8 there and 3×8×8 here"):
        started("vae", folder, init=weights, steps=1, options={"data.mode": "colour"})


@pytest.mark.parametrize("given", [{"latent.size": 5}, {"generator.width": 8}])
def test_what_does_not_fit_is_named_by_options(weights, pictures, given, capsys):
    ((name, value),) = given.items()
    why = f"{name} is {TINY[name]} there and {value} here"
    with pytest.raises(UsageError, match=f"{why}.*init_partial"):
        started("vae", pictures, init=weights, steps=1, options=given)
    trainer, _ = started("vae", pictures, init=weights, init_partial=True, steps=1, options=given)
    said = capsys.readouterr().err
    assert why in said
    assert "anew" in said
    theirs, ours = genzoo.load(weights).state_dict(), trainer.nets.model.state_dict()
    same = [k for k in ours if ours[k].shape == theirs[k].shape]
    assert same
    assert all(torch.equal(ours[k], theirs[k]) for k in same)


def test_new_classes(classed, pictures, capsys):
    how = {"labels": np.arange(24) % 2, "init": classed, "steps": 1}
    with pytest.raises(UsageError, match="classes is 3 there and 2 here"):
        started("cvae", pictures, **how)
    trainer, _ = started("cvae", pictures, init_partial=True, **how)
    assert trainer.nets.model.classes == 2
    assert "classes is 3 there" in capsys.readouterr().err


def test_nothing_fits(weights):
    with pytest.raises(UsageError, match="in any tensor"):
        started("gan", torch.randn(8, 2), init=weights, init_partial=True, steps=1, options={"generator": "mlp"})


def test_a_partial_start_is_recorded_and_gone_on_with(tmp_path, weights, file):
    how = {"init": weights, "init_partial": True, "options": {"latent.size": 5}, "progress": False}
    genzoo.fit("vae", file, tmp_path / "run", steps=1, **how)
    assert '"init_partial": true' in (tmp_path / "run" / "training.json").read_text()
    done = genzoo.reproduce(tmp_path / "run", tmp_path / "again", source=file, metrics=False)
    assert done.finished
    assert done.ok
    assert genzoo.fit("vae", file, tmp_path / "run", steps=2, resume=True, **how).steps == 2  # the same command again


# Steps.


@pytest.mark.parametrize(("recipe", "n", "steps"), [("gan", 200, 2000), ("wgan-gp", 200, 400), ("vae", 20, 2000)])
def test_small_data_get_steps_enough(recipe, n, steps, capsys):
    trainer, config = started(recipe, torch.randn(n, 1, 8, 8).clamp(0, 1))
    assert (trainer.steps, config.train.steps, trainer.nets.model.config) == (steps, steps, config)
    assert f"training {steps:,}" in capsys.readouterr().err


def test_large_data_and_what_is_asked_for_stay(capsys):
    x = torch.zeros(60_000, 2, 2)
    small = {"generator": "mlp", "critic": "mlp", **STILL}
    trainer, config = started("gan", x, options=small)
    assert (trainer.steps, config.train.steps) == (math.ceil(10 * 60_000 / 64), 0)
    for how in ({"steps": 3}, {"epochs": 1}, {"options": {"train.epochs": 1}}, {"options": {"train.steps": 3}}):
        how["options"] = small | how.get("options", {})
        assert started("gan", x[:128], **how)[0].steps in (2, 3)
    assert "too few" not in capsys.readouterr().err


# What is refused early.


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 32}, "data.size"),
        ({"critic.heads": 2}, "no option 'heads'"),
        ({"train.learning_rate": 1}, "no option 'learning_rate'"),
        ({"latent.size": "many"}, "latent.size takes a whole number"),
        ({"trian.lr": 1}, "no group 'trian'"),
    ],
)
def test_options_are_checked_before_data_are_read(folder, given, words, monkeypatch):
    monkeypatch.setattr(fitting, "open_data", lambda *a, **k: pytest.fail("data were read"))
    with pytest.raises(UsageError, match=words):
        genzoo.fit("gan", folder, steps=1, options=given, progress=False)


@pytest.mark.parametrize(
    ("recipe", "part", "more"),
    [
        ("gan", "generator", {"batch_size": 1}),
        ("gan", "critic", {"batch_size": 4, "options": {"train.accumulate": 4}}),
        ("vae", "encoder", {"batch_size": 1}),
        ("pacgan", "critic", {"batch_size": 2}),
    ],
)
def test_batch_norm_of_one_is_refused(tmp_path, recipe, part, more):
    x = torch.rand(8, 1, 8, 8)
    given = {part: "mlp", f"{part}.norm": "batch", **more.get("options", {})}
    enough = 2 * more["batch_size"]
    with pytest.raises(UsageError, match=f"batch norm in the {part} .*batch_size={enough}"):
        genzoo.fit(recipe, x, tmp_path / "run", steps=1, progress=False, batch_size=more["batch_size"], options=given)
    assert not (tmp_path / "run").exists()
    genzoo.fit(recipe, x, steps=1, progress=False, batch_size=enough, options=given)

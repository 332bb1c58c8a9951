"""The seed decides every byte, and a resumed run is the run that never stopped."""

import json
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import genzoo
from genzoo.core.errors import GenzooError
from genzoo.core.storage.files import read_manifest
from genzoo.core.training.runs import checkpoints, read_checkpoint, save_checkpoint
from genzoo.core.training.trainer import Trainer
from genzoo.plugins.vae.vae import VAE


@pytest.mark.parametrize("recipe", ["vae", "wgan-gp"])
def test_the_seed_decides_every_byte(tmp_path, toy, options, recipe):
    found, given = {}, options(recipe, {"train.average": 100, "train.sample_every": 100})
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(found))  # the global state has no say
        genzoo.fit(recipe, (toy().x, toy().y), tmp_path / name, steps=4, batch_size=8, seed=seed, device="cpu",
                   options=given, progress=False)  # fmt: skip
        found[name] = [(tmp_path / name / f).read_bytes() for f in ("model.safetensors", "samples.png", "config.json")]
    assert found["a"] == found["b"]
    assert found["a"][:2] != found["c"][:2]
    assert found["a"][2] == found["c"][2]


@pytest.mark.parametrize(("recipe", "average"), [("vae", 0), ("vae", 64), ("wgan-gp", 64), ("r3gan", 64)])
def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path, toy, options, recipe, average):
    """Stop after step 5, in the middle of an epoch, and go on; every saved byte is the same."""
    given = options(
        recipe, {"train.average": average, "train.schedule": "cosine", "train.clip": 1.0, "conditional": True}
    )
    given |= {"generator.norm": "batch", "train.sample_every": 100}

    def run(name, **how):
        return genzoo.fit(recipe, (toy().x, toy().y), tmp_path / name, steps=11, batch_size=7, seed=3, device="cpu",
                          options=given, progress=False, **how)  # fmt: skip

    def stop_after_5(trainer, config):
        one_step = trainer._one_step

        def step():
            one_step()
            trainer.stopping = trainer.step == 4

        trainer._one_step = step

    whole = run("whole")
    assert whole.finished
    stopped = run("stopped", on_start=stop_after_5)
    assert (stopped.finished, stopped.steps) == (False, 5)
    before = (tmp_path / "stopped/model.safetensors").read_bytes()
    resumed = run("stopped", resume=True)
    assert (resumed.finished, resumed.steps) == (True, 11)
    one, two = tmp_path / "whole", tmp_path / "stopped"
    assert before != (one / "model.safetensors").read_bytes()
    for name in ("model.safetensors", "samples.png"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    for name in ("model.safetensors", "trainer.safetensors"):  # critics, optimizers, and the model that is moving
        assert (checkpoints(one)[-1] / name).read_bytes() == (checkpoints(two)[-1] / name).read_bytes(), name
    assert torch.equal(whole.model.sample(5), resumed.model.sample(5))


def test_resuming_with_other_data_or_another_seed_is_refused(trainer, toy):
    run = trainer("vae")
    run.train()
    tensors, plain = run.state()
    kept = run.model.state_dict()
    with pytest.raises(GenzooError, match="other data"):
        trainer("vae", toy(41)).load_state(kept, tensors, plain)
    with pytest.raises(GenzooError, match="has seed 0, not 1"):
        trainer("vae", seed=1).load_state(kept, tensors, plain)


class Adaptive(VAE):
    """An objective with a state of its own that its loss depends on: a weight that follows what was played."""

    def __init__(self, options=None):
        super().__init__(options)
        self.register_buffer("strength", torch.ones(()))
        self.register_buffer("played", torch.zeros((), dtype=torch.int64))

    def loss(self, player, nets, batch, noise):
        loss = super().loss(player, nets, batch, noise)
        return replace(loss, weights={**loss.weights, "kl": self.strength})

    def after_step(self, player, nets, seen):
        self.played += 1
        self.strength *= 0.7 + 0.01 * next(nets.model.parameters()).detach().abs().mean()


def test_an_objective_that_has_a_state_resumes_exactly(game, toy, tmp_path):
    def trainer(average):
        built = game("vae", train__steps=9, train__batch_size=7, train__average=average)
        objective = Adaptive(built.objective.options)
        objective.plan(toy().spec)
        return Trainer(objective, built.nets, toy(), built.config.train)

    def after(trainer, steps):
        trainer.steps = steps
        trainer.train()
        trainer.steps = 9
        return trainer

    for average in (0, 30):
        whole, half, rest = (trainer(average) for _ in range(3))
        save_checkpoint(tmp_path / f"whole{average}", after(whole, 9), keep=1)
        save_checkpoint(tmp_path / f"half{average}", after(half, 4), keep=1)
        assert half.objective.played == 4
        rest.load_state(*read_checkpoint(checkpoints(tmp_path / f"half{average}")[0])[1:])
        assert rest.objective.strength == half.objective.strength != 1
        save_checkpoint(tmp_path / f"rest{average}", after(rest, 9), keep=1)
        one, two = (checkpoints(tmp_path / f"{name}{average}")[0] for name in ("whole", "rest"))
        for name in ("model.safetensors", "trainer.safetensors"):
            assert (one / name).read_bytes() == (two / name).read_bytes(), name
        assert load_file(one / "trainer.safetensors")["objective.played"] == 9
        assert not any(name.startswith("objective") for name in load_file(one / "model.safetensors"))


TIMES = re.compile(r"[\d,.]+ s\b")


@pytest.mark.parametrize("recipe", ["vae", "r3gan"])
def test_written_weights_are_the_same_byte_by_byte(tmp_path, toy, options, recipe):
    """And what is told about the run differs in times only."""
    given = options(recipe, {"train.average": 100, "train.log_every": 2})
    given |= {"train.validation": 8} if recipe == "vae" else {}
    hashes, told = [], []
    for name in ("a", "b"):
        run = tmp_path / name / "run"
        genzoo.fit(recipe, (toy().x, toy().y), run, steps=6, batch_size=8, device="cpu", options=given, progress=False)
        listed = read_manifest(run)
        hashes.append({n: listed[n]["sha256"] for n in ("model.safetensors", "config.json", "samples.png")})
        record = json.loads((run / "training.json").read_text())
        for timed in (record, *record["curves"]):
            timed.pop("seconds")
        told.append((record, TIMES.sub("", (run / "README.md").read_text())))
    assert hashes[0] == hashes[1]
    assert told[0] == told[1]

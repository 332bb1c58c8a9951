"""The seed decides every byte, and a resumed run is the run that never stopped."""

import pytest
import torch

import genzoo
from genzoo.core.errors import GenzooError
from genzoo.core.runs import checkpoints


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

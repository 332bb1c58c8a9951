"""What each player's optimizer is set to at each step, and when an update is left out."""

import json
import math
from dataclasses import replace

import pytest
import torch

import genzoo
from genzoo.core.config import TrainOptions
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.noise import Draws, scheduled
from genzoo.core.objective import Loss, Player
from genzoo.core.training.optimizers import Rates
from genzoo.core.training.runs import checkpoints
from genzoo.core.training.trainer import SKIPS, Observer


def cosine(start, end, t):
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * t))


class Groups(Observer):
    def __init__(self):
        self.seen = []

    def step(self, trainer):
        groups = [s.optimizer.param_groups[0] for s in trainer.player_states]
        self.seen.append([(g["lr"], g["betas"][1], g["weight_decay"]) for g in groups])


def test_a_pair_goes_from_start_to_end_on_the_schedule(trainer):
    watch = Groups()
    run = trainer("gan", observers=[watch], train__steps=4, train__schedule="cosine", train__lr=(2e-4, 5e-5),
                  train__beta2=(0.9, 0.99), train__weight_decay=(0.1, 0.0), objective__critic_lr=1.0)  # fmt: skip
    run.train()
    for step, (critic, generator) in enumerate(watch.seen):
        t = step / 4
        expected = (cosine(2e-4, 5e-5, t), cosine(0.9, 0.99, t), cosine(0.1, 0.0, t))
        assert generator == pytest.approx(expected)
        assert critic == pytest.approx((cosine(1, 0, t), *expected[1:]))


def test_players_have_rates_of_their_own():
    run = TrainOptions(lr=0.1, betas=(0.9, 0.999), weight_decay=0.5, schedule="linear", warmup=2)
    own = Player("critic", (), lr=0.3, betas=(0.5, 0.9), weight_decay=0.0, schedule="constant")
    assert Rates.of(own, run).at(run, 6, 10) == {"lr": 0.3, "betas": (0.5, 0.9), "weight_decay": 0.0}
    assert Rates.of(Player("model", ()), run).at(run, 6, 10) == {
        "lr": pytest.approx(0.05), "betas": (0.9, 0.999), "weight_decay": 0.5}  # fmt: skip
    pair = replace(run, lr=(0.1, 0.3))
    assert Rates.of(Player("model", ()), pair).at(pair, 0, 10)["lr"] == pytest.approx(0.05)  # half warm
    assert Rates.of(Player("model", ()), pair).at(pair, 6, 10)["lr"] == pytest.approx(0.2)


def test_pairs_need_a_schedule_and_beta2_needs_adam(trainer):
    for given in ({"train__lr": (1e-3, 1e-4)}, {"train__beta2": (0.9, 0.99)}, {"train__average": (0, 100)}):
        with pytest.raises(UsageError, match=r"follows train\.schedule, which is constant"):
            trainer("gan", train__schedule="constant", **given)
    with pytest.raises(UsageError, match="belongs to adam"):
        trainer("gan", train__beta2=0.99, train__optimizer="sgd")


def test_objectives_follow_the_schedule_too(trainer):
    """R3GAN's γ: a penalty is proportional to it, so its logged value over its slope is."""
    draws = Draws(4, "cpu", steps=10, population=7)
    assert (draws.population, draws.scheduled(3.0), draws.scheduled((2.0, 0.0))) == (7, 3.0, 2.0)
    assert scheduled((1.0, 3.0), 0.25) == 2.5
    seen = []
    run = trainer("r3gan", train__steps=5, train__schedule="linear", objective__gamma=(0.5, 0.0))
    assert run._draws.population == 40
    loss = run.objective.loss

    def spy(player, nets, batch, noise):
        seen.extend([noise[k].item() for k in ("r1.weight", "r2.weight") if k in noise])
        return loss(player, nets, batch, noise)

    run.objective.loss = spy
    run.train()
    assert seen[::2] == seen[1::2] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])


def test_the_published_schedule_is_a_preset():
    from genzoo.core.spec import DataSpec
    from genzoo.registry import the_registry
    from genzoo.registry.recipes.compose import compose

    config = compose(the_registry(), DataSpec.image(3, 32, 32, name="cifar10"), "r3gan")
    assert (config.train.lr, config.train.beta2, config.train.average) == ((2e-4, 5e-5), (0.9, 0.99), (0, 5e6))
    assert config.parts["objective"].options["gamma"] == (0.05, 0.005)
    assert type(config).from_dict(config.to_dict()).train == config.train


@pytest.mark.parametrize("average", [(0.0, 40.0), 40.0])
def test_the_half_life_of_the_average_follows_it(trainer, average):
    class Half(Observer):
        def __init__(self):
            self.seen = []

        def step(self, trainer):
            self.seen.append(trainer.average.half_life)

    watch = Half()
    trainer("gan", observers=[watch], train__steps=4, train__schedule="linear", train__average=average).train()
    assert watch.seen == ([10.0, 20.0, 30.0, 40.0] if isinstance(average, tuple) else [40.0] * 4)


# Updates left out


def scaled(run, by):
    """Multiply the loss of some steps, and with it the gradient."""
    loss = run.objective.loss

    def larger(player, nets, batch, noise):
        found, factor = loss(player, nets, batch, noise), by.get(run.step, 1.0)
        return Loss({k: v * factor for k, v in found.terms.items()}, found.weights)

    run.objective.loss = larger


@pytest.mark.parametrize("factor", [1e6, math.nan])
def test_a_gradient_above_the_limit_moves_nothing(trainer, factor):
    plain = trainer("vae", train__steps=5, train__log_every=1)
    plain.train()
    norms = [r["grad"] for r in plain.history]
    kept, moved = [], []
    run = trainer("vae", train__steps=5, train__log_every=1, train__skip_above=3 * max(norms), train__average=20)
    scaled(run, {2: factor})

    class Look(Observer):
        def step(self, trainer):
            moved.append(torch.cat([p.detach().flatten().clone() for p in trainer.nets.parameters()]))
            kept.append(trainer.terms.skipped)

    run.observers = [Look()]
    run.train()
    assert [r.get("skipped turns") for r in run.history] == [None, None, 1.0, None, None]
    assert torch.equal(moved[1], moved[2])
    assert all(not torch.equal(a, b) for a, b in ((moved[0], moved[1]), (moved[2], moved[3])))


def test_a_limit_that_is_never_met_changes_nothing_and_one_always_met_stops(trainer):
    found = []
    for limit in (0.0, 1e9):
        run = trainer("gan", train__skip_above=limit)
        run.train()
        found.append(torch.cat([p.detach().flatten() for p in run.nets.parameters()]))
    assert torch.equal(*found)
    run = trainer("vae", train__skip_above=1e-9, train__steps=100)
    with pytest.raises(GenzooError, match=r"the gradient of player 'model' was not finite or above train\.skip_above"):
        run.train()
    assert run.step == SKIPS


# Early stopping


def test_patience_ends_a_run_with_its_best_model_and_resumes_exactly(tmp_path, toy, options):
    given = options("vae", {"train.validation": 10, "train.validate_every": 2, "train.patience": 3, "train.average": 30,
                            "train.log_every": 4, "train.sample_every": 100})  # fmt: skip
    kept = {}

    def run(name, stop_at=None, **how):
        def begin(trainer, config):
            held_out = type(trainer.objective).held_out

            def loss(nets, batch, noise):
                kept[trainer.step] = {k: v.clone() for k, v in nets.model.state_dict().items()}
                return held_out(trainer.objective, nets, batch, noise) * 0 + abs(trainer.step - 6) + 1

            trainer.objective.held_out = loss
            one_step = trainer._one_step

            def step():
                one_step()
                trainer.stopping = trainer.step + 1 == stop_at

            trainer._one_step = step

        return genzoo.fit("vae", (toy().x, toy().y), tmp_path / name, steps=100, batch_size=5, seed=3, device="cpu",
                          options=given, progress=False, on_start=begin, **how)  # fmt: skip

    whole = run("whole")
    assert (whole.finished, whole.steps) == (True, 12)  # the best at 6, then three that are worse
    assert whole.metrics["held-out loss"] == 1
    record = json.loads((tmp_path / "whole/training.json").read_text())
    assert record["steps"] == record["of"] == 12
    best = kept[6]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, best[name]), name
    assert any(not torch.equal(v, best[k]) for k, v in kept[12].items())
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (
        tmp_path / "whole/best/model.safetensors"
    ).read_bytes()

    stopped = run("stopped", stop_at=9)
    assert (stopped.finished, stopped.steps) == (False, 9)
    resumed = run("stopped", resume=True)
    assert (resumed.finished, resumed.steps) == (True, 12)
    again = run("stopped", resume=True)  # nothing is left to do
    assert again.steps == 12
    for name in ("model.safetensors",):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()
    one, two = (checkpoints(tmp_path / n)[-1] / "trainer.safetensors" for n in ("whole", "stopped"))
    assert one.read_bytes() == two.read_bytes()


def test_patience_needs_held_out_data(trainer):
    with pytest.raises(UsageError, match=r"options=..train\.validation"):
        trainer("vae", train__patience=3)

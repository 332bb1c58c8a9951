"""The loop: what moves when, at which rate and with which noise."""

import math
from types import SimpleNamespace

import pytest
import torch

from genzoo.core.config import TrainOptions
from genzoo.core.errors import GenzooError
from genzoo.core.objective import Loss, Player
from genzoo.core.training.observers import Progress, losses_of
from genzoo.core.training.optimizers import Rates, make_optimizer
from genzoo.core.training.trainer import Observer

PLAYER = Player("model", ())
RECIPES = ["vae", "gan", "wgan", "wgan-gp", "r3gan"]


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


# What breaks


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("recipe", "player", "term"), [("vae", "model", "kl"), ("wgan-gp", "critic", "penalty")])
def test_a_loss_that_is_not_finite_stops_with_its_name(trainer, value, recipe, player, term):
    run = trainer(recipe, train__steps=20, train__log_every=5)
    loss, calls = run.objective.loss, []

    def broken(who, nets, batch, noise):
        found = loss(who, nets, batch, noise)
        calls.append(run.step)
        if who == player and run.step == 6:
            bad = found.terms[term].clone()
            bad[3] = value
            return Loss({**found.terms, term: bad}, found.weights, found.coupled, found.shown)
        return found

    run.objective.loss = broken
    with pytest.raises(GenzooError, match=rf"step 7: {term} of player '{player}' is {value}; a lower train\.lr"):
        run.train()
    assert max(calls) == 9  # found when the log was due
    assert len(run.history) == 1


# Rates


def test_schedules():
    def lr_factor(options, step, steps):
        return Rates.of(PLAYER, options).at(options, step, steps)["lr"] / options.lr

    options = {s: TrainOptions(schedule=s) for s in ("constant", "cosine", "linear")}
    for step in (0, 3, 50, 99):
        assert lr_factor(options["constant"], step, 100) == 1
        assert lr_factor(options["linear"], step, 100) == pytest.approx(1 - step / 100)
        assert lr_factor(options["cosine"], step, 100) == pytest.approx((1 + math.cos(math.pi * step / 100)) / 2)
    warm = TrainOptions(schedule="linear", warmup=10)
    assert [lr_factor(warm, s, 110) for s in (0, 4, 9, 10, 60)] == pytest.approx([0.1, 0.5, 1, 1, 0.5])


def test_rates_reach_every_optimizer(trainer):
    class Seen(Observer):
        def __init__(self):
            self.seen = []

        def step(self, trainer):
            self.seen.append([s.optimizer.param_groups[0]["lr"] for s in trainer.player_states])

    watch = Seen()
    run = trainer("gan", observers=[watch], train__lr=0.01, objective__critic_lr=0.04, train__schedule="linear",
                  train__steps=4)  # fmt: skip
    run.train()
    assert torch.tensor(watch.seen).tolist() == [pytest.approx([0.04 * f, 0.01 * f]) for f in (1, 0.75, 0.5, 0.25)]


def test_optimizers_step_as_their_formulas_say():
    for kind, first in (("sgd", 0.1 * 3), ("adam", 0.1), ("adamw", 0.1), ("rmsprop", 0.1 / math.sqrt(0.01))):
        p = torch.nn.Parameter(torch.tensor([1.0]))
        options = TrainOptions(optimizer=kind, lr=0.1)
        optimizer = make_optimizer([p], options, Rates.of(PLAYER, options))
        p.grad = torch.tensor([3.0])
        optimizer.step()
        assert 1 - p.item() == pytest.approx(first, rel=1e-4), kind
    p = torch.nn.Parameter(torch.tensor([2.0]))
    options = TrainOptions(optimizer="adamw", lr=0.1, weight_decay=0.5)
    optimizer = make_optimizer([p], options, Rates.of(PLAYER, options))
    p.grad = torch.tensor([0.0])
    optimizer.step()
    assert p.item() == pytest.approx(2 * (1 - 0.05))


def test_clipping_limits_the_norm_of_a_step(trainer):
    for clip, expected in ((0.01, 0.01), (0.0, None)):
        run = trainer(
            "vae", train__optimizer="sgd", train__betas=(0, 0.9), train__lr=1, train__clip=clip, train__steps=1
        )
        before = flat(run.nets)
        run.train()
        moved = (flat(run.nets) - before).norm().item()
        assert moved == pytest.approx(expected, rel=1e-3) if expected else moved > 0.1


# Turns


@pytest.mark.parametrize("recipe", RECIPES)
def test_only_the_player_whose_turn_it_is_moves_and_records(trainer, recipe):
    run = trainer(recipe, train__steps=2)
    players = {p.name: p for p in run.objective.players()}
    turns, loss, after = [], run.objective.loss, run.objective.after_step
    everyone = {name for p in players.values() for name in p.moves}
    state = {}

    def spy(player, nets, batch, noise):
        mine = set(players[player].moves)
        for name in everyone:
            assert all(p.requires_grad == (name in mine) for p in nets.part(name).parameters()), (player, name)
            state[name] = flat(nets.part(name))
        turns.append((player, batch.x))
        return loss(player, nets, batch, noise)

    def moved(player, nets, seen):
        mine = set(players[player].moves)
        for name in everyone:
            assert torch.equal(flat(nets.part(name)), state[name]) == (name not in mine)
            assert all(p.grad is None for p in nets.part(name).parameters())
        after(player, nets, seen)

    run.objective.loss, run.objective.after_step = spy, moved
    run.train()
    expected = [p.name for p in players.values() for _ in range(p.turns)] * 2
    assert [p for p, _ in turns] == expected
    # A fresh batch for each turn of the first player; the others play on the last one.
    seen = [x for p, x in turns if p == run.objective.players()[0].name]
    sequence = torch.cat([run.feed.at(i)[0] for i in range(len(seen))])
    assert torch.equal(torch.cat(seen), sequence)
    assert run.seen == len(sequence)
    for i, (player, x) in enumerate(turns):
        if player != turns[0][0]:
            assert torch.equal(x, turns[i - 1][1])


@pytest.mark.parametrize("recipe", ["gan", "wgan-gp"])
def test_every_turn_has_noise_of_its_own(trainer, recipe):
    run = trainer(recipe, train__steps=3)
    codes, draw = [], run.objective.draw

    def spy(player, draws, model):
        noise = draw(player, draws, model)
        codes.append(noise["z"])
        return noise

    run.objective.draw = spy
    run.train()
    every = torch.cat(codes)
    assert len(every.unique(dim=0)) == len(every)
    assert not torch.isin(every.flatten(), run.model.codes(0, 64).flatten()).any()


def test_steps_follow_from_epochs_and_turns(trainer, toy):
    assert trainer("vae", train__steps=0, train__epochs=3).steps == 15  # 40 observations by 8
    assert trainer("vae", toy(41), train__steps=0, train__epochs=3).steps == math.ceil(3 * 41 / 8)
    assert trainer("wgan-gp", train__steps=0, train__epochs=3).steps == 3  # 5 batches a step
    run = trainer("vae", train__steps=0, train__epochs=1)
    batches = torch.cat([run.feed.at(i)[0] for i in range(5)])
    assert sorted(map(tuple, batches.tolist())) == sorted(map(tuple, toy().x.tolist()))


@pytest.mark.parametrize(("share", "expected"), [(0.5, [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1]), (0.0, None)])
def test_the_kls_weight_rises_over_its_share_of_the_run(trainer, share, expected):
    run = trainer("beta-vae", train__steps=10, objective__kl_warmup=share, objective__beta=3.0)
    weights, loss = [], run.objective.loss

    def spy(*args):
        found = loss(*args)
        weights.append(float(found.weights["kl"]))
        return found

    run.objective.loss = spy
    run.train()
    assert weights == pytest.approx([3 * w for w in expected or [1] * 10])


# Records


def test_the_log_has_the_means_of_what_was_minimized(trainer):
    run = trainer("vae", train__steps=7, train__log_every=3)
    losses, loss = [], run.objective.loss

    def spy(*args):
        found = loss(*args)
        losses.append({"loss": found.total().item()} | {k: v.mean().item() for k, v in found.terms.items()})
        return found

    run.objective.loss = spy
    run.train()
    assert [r["step"] for r in run.history] == [3, 6, 7]
    for record, part in zip(run.history, (losses[:3], losses[3:6], losses[6:]), strict=True):
        for name in ("loss", "nll", "kl"):
            assert record[name] == pytest.approx(sum(v[name] for v in part) / len(part), rel=1e-5)


@pytest.mark.parametrize("average", [0, 50])
def test_held_out_loss_is_the_kept_models_bound_and_changes_nothing(trainer, toy, average):
    run = trainer("vae", train__average=average, generator__norm="batch")
    run.train()
    assert run.validate() is None
    run.held_out = toy(300)
    before = {k: v.clone() for k, v in run.nets.state_dict().items()}
    first = run.validate()
    assert first == run.validate()
    assert all(torch.equal(v, before[k]) for k, v in run.nets.state_dict().items())
    assert run.nets.training
    assert run.model.training == (average == 0)
    bounds = run.model.log_likelihood(toy(300).x.repeat(20, 1), samples=1).values
    error = bounds.view(20, 300).mean(1).std().item()
    assert first == pytest.approx(-bounds.mean().item(), abs=5 * error)


def test_held_out_loss_weighs_every_observation_alike(trainer, toy):
    run = trainer("vae")
    run.held_out = toy(300)
    sizes = []

    def told(nets, batch, noise):
        assert not nets.training
        sizes.append(len(batch.x))
        return batch.x[:, 0]

    run.objective.held_out = told
    assert run.validate() == pytest.approx(run.held_out.x[:, 0].mean().item(), abs=1e-6)
    assert sizes == [256, 44]
    assert abs(run.held_out.x[:256, 0].mean() - run.held_out.x[256:, 0].mean()) > 0.01
    gan = trainer("gan")
    gan.held_out = toy(30)
    assert gan.validate() is None


def test_a_bar_of_a_game_shows_two_short_losses():
    """Two short losses: the terms are in the log."""
    record = {"step": 50, "seconds": 1.0, "critic/adversarial": 1.328, "critic/real": 0.1, "critic/loss": 1.328,
              "critic/grad": 2.0, "generator/adversarial": -0.6931, "generator/loss": -0.6931}  # fmt: skip
    assert losses_of(record) == {"critic": "1.33", "gen": "-0.693"}
    assert losses_of({"step": 5, "loss": 1234.5, "kl": 3}) | losses_of({"held-out loss": 2000.0}) == {
        "loss": "1.23e+03", "held-out": "2e+03"
    }  # fmt: skip
    trainer = SimpleNamespace(steps=99_999, step=0)
    bar = Progress(trainer, "wgan-gp")
    bar.log(trainer, record)
    shown = {**bar._bar.format_dict, "n": 12_345, "elapsed": 7200.0, "ncols": 80}
    line = bar._bar.format_meter(**shown)
    bar.end(trainer)
    assert len(line) <= 80
    assert "critic=1.33, gen=-0.693]" in line

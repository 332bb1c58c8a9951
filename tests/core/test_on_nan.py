"""What follows a loss that is not finite: an update left out, or another attempt from the last checkpoint."""

import pytest
import torch

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.objective import Loss
from genzoo.core.training.runs import ROLLBACKS, checkpoints
from genzoo.core.training.terms import TrainingDiverged
from genzoo.core.training.trainer import SKIPS, Trainer


@pytest.fixture
def skipping(game, toy):
    def make(recipe, on_nan="skip", **given):
        built = game(recipe, **{"train__batch_size": 8, "train__steps": 6, "train__log_every": 2, **given})
        return Trainer(built.objective, built.nets, toy(), built.config.train, on_nan=on_nan)

    return make


def spoil(objective, who, at, step_of, term=None):
    """Make a player's loss NaN in those steps."""
    loss = objective.loss

    def broken(player, nets, batch, noise):
        found = loss(player, nets, batch, noise)
        if player == who and at(step_of()):
            name = term or next(iter(found.terms))
            bad = found.terms[name] * torch.nan
            return Loss({**found.terms, name: bad}, found.weights, found.coupled, found.shown)
        return found

    objective.loss = broken


def flat(run):
    tensors, _ = run.state()
    return {**tensors, **run.nets.state_dict()}


@pytest.mark.parametrize(("recipe", "player"), [("vae", "model"), ("gan", "critic"), ("wgan-gp", "generator")])
def test_a_skipped_turn_is_a_turn_that_moves_nothing(skipping, recipe, player):
    """The same bytes as a run whose optimizer rests in that turn."""
    other = "encoder" if recipe == "vae" else "critic"
    norms = {"generator__norm": "batch"} | ({"encoder__norm": "batch"} if recipe == "vae" else {})
    plain = {"critic__spectral_norm": False} if recipe == "gan" else {}
    given = {"train__average": 50, "train__clip": 1.0, f"{other}__width": 8, **norms, **plain}
    run = skipping(recipe, **given)
    spoil(run.objective, player, lambda step: step == 3, lambda: run.step)
    run.train()

    rested = skipping(recipe, **given)
    playing = next(s for s in rested.player_states if s.player.name == player)
    step, before = playing.optimizer.step, []

    def rest(*args):
        if rested.step == 3:
            for buffer, value in zip(rested.nets.buffers(), before, strict=True):
                buffer.data.copy_(value)
            return None
        return step(*args)

    play = rested._play

    def remember(*args):
        before[:] = [b.clone() for b in rested.nets.buffers()]
        play(*args)

    playing.optimizer.step, rested._play = rest, remember
    rested.train()
    one, two = flat(run), flat(rested)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
    assert [r.get("skipped turns") for r in run.history] == [None, next(s.player.turns for s in run.player_states
                                                                        if s.player.name == player), None]  # fmt: skip
    assert all(torch.isfinite(torch.tensor(list(r.values()))).all() for r in run.history)


def test_skipping_changes_nothing_where_all_is_well(skipping):
    one, two = skipping("wgan-gp"), skipping("wgan-gp", on_nan="stop")
    one.train(), two.train()
    for name, value in flat(one).items():
        assert torch.equal(value, flat(two)[name]), name
    assert [{**r, "seconds": 0} for r in one.history] == [{**r, "seconds": 0} for r in two.history]


def test_an_infinite_gradient_of_a_finite_loss_is_skipped_too(skipping):
    run = skipping("vae")
    seen = []

    def infinite(gradient):
        seen.append(run.step)
        return gradient * (torch.inf if run.step == 2 else 1)

    next(run.nets.model.parameters()).register_hook(infinite)
    run.train()
    assert all(p.isfinite().all() for p in run.nets.parameters())
    assert sum(r.get("skipped turns", 0) for r in run.history) == 1


def test_what_was_not_finite_in_the_buffers_is_taken_back(skipping):
    run = skipping("vae", encoder__norm="batch", likelihood__sigma="optimal")
    draw = run.objective.draw

    def broken(player, draws, model):
        noise = draw(player, draws, model)
        return {k: v * torch.nan if run.step == 1 else v for k, v in noise.items()}

    run.objective.draw = broken
    run.train()
    assert all(b.isfinite().all() for b in run.nets.buffers())
    assert torch.isfinite(run.nets.model.likelihood.log_sigma)


def test_too_many_in_a_row_stop_the_run(skipping):
    run = skipping("gan", train__steps=40)
    spoil(run.objective, "critic", lambda step: step >= 4, lambda: run.step)
    with pytest.raises(
        TrainingDiverged, match=rf"step {4 + SKIPS + 1}: adversarial of player 'critic' .* {SKIPS + 1} turns"
    ):
        run.train()


def test_a_checkpoint_never_holds_what_is_spoiled(skipping):
    """The update after the last finite loss may have been the one that spoiled the parameters."""
    run = skipping("vae", on_nan="stop")
    run.train()
    next(iter(run.nets.model.generator.parameters())).data[0] = torch.inf
    with pytest.raises(TrainingDiverged, match=r"step 6: the parameter model\.generator\.\S+ is not finite"):
        run.state()


# Rollback


def going_back(toy, options, out, *, stop_after=None, always=False, on_nan="rollback", **how):
    noises = []

    def start(trainer, config):
        spoil(trainer.objective, "critic", lambda step: step == 6 and (always or trainer.attempt == 0),
              lambda: trainer.step)  # fmt: skip
        one_step, draw = trainer._one_step, trainer.objective.draw

        def spy(player, draws, model):
            noise = draw(player, draws, model)
            noises.append((trainer.attempt, trainer.step, noise["z"].sum().item()))
            return noise

        def step():
            one_step()
            if trainer.attempt and trainer.step == stop_after:
                trainer.stopping = True

        trainer._one_step, trainer.objective.draw = step, spy

    given = options("r3gan", {"train.average": 64, "train.checkpoint_every": 4, "train.log_every": 2,
                              "train.sample_every": 100})  # fmt: skip
    run = genzoo.fit("r3gan", (toy().x, toy().y), out, steps=11, batch_size=8, device="cpu", options=given,
                     progress=False, on_nan=on_nan, on_start=start, **how)  # fmt: skip
    return run, noises


def test_rolling_back_goes_on_with_fresh_noise(tmp_path, toy, options, capsys):
    run, noises = going_back(toy, options, tmp_path / "run")
    assert run.finished
    assert run.steps == 11
    says = "genzoo: training broke down at step 7: adversarial of player 'critic' is nan; going back to step 4"
    assert capsys.readouterr().err.splitlines() == [f"{says} with fresh noise"]
    assert [r["step"] for r in run.history] == [2, 4, 6, 8, 10, 11]
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 6
    first = {step: z for attempt, step, z in noises if attempt == 0}
    second = {step: z for attempt, step, z in noises if attempt == 1}
    assert set(first) & set(second) == {4, 5, 6, 7}
    assert all(first[step] != second[step] for step in (4, 5, 6, 7))
    assert all(p.isfinite().all() for p in run.model.parameters())


def test_a_run_that_went_back_resumes_to_the_same_bytes(tmp_path, toy, options):
    going_back(toy, options, tmp_path / "whole")
    run, _ = going_back(toy, options, tmp_path / "stopped", stop_after=8)
    assert run.steps == 9
    going_back(toy, options, tmp_path / "stopped", resume=True)
    for name in ("model.safetensors", "log.jsonl"):
        one, two = ((tmp_path / run / name).read_bytes() for run in ("whole", "stopped"))
        assert name == "log.jsonl" or one == two
    one, two = (checkpoints(tmp_path / run)[-1] / "trainer.safetensors" for run in ("whole", "stopped"))
    assert one.read_bytes() == two.read_bytes()


def test_rolling_back_ends_some_time(tmp_path, toy, options):
    with pytest.raises(GenzooError, match=rf"step 7: .* is nan.*going back to a checkpoint {ROLLBACKS} times"):
        going_back(toy, options, tmp_path / "run", always=True)
    kept = checkpoints(tmp_path / "run")
    assert [p.name for p in kept] == ["step-00000000", "step-00000004"]
    # Without it, the run stops at once, and may be resumed with it.
    with pytest.raises(GenzooError, match="step 7"):
        going_back(toy, options, tmp_path / "plain", on_nan="stop")
    run, _ = going_back(toy, options, tmp_path / "plain", resume=True)
    assert run.finished


def test_what_does_not_go_together_is_refused(toy):
    with pytest.raises(UsageError, match="needs a folder"):
        genzoo.fit("vae", toy().x, on_nan="rollback", steps=1)
    with pytest.raises(UsageError, match="stop, skip or rollback, not 'ignore'"):
        genzoo.fit("vae", toy().x, on_nan="ignore", steps=1)
    with pytest.raises(UsageError, match="nobody to share"):
        genzoo.fit("vae", toy().x, shard=True, steps=1, device="cpu")

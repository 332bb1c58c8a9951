"""Training with differential privacy: gradients against a loop, noise and batches against laws, the accountant."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

pytest.importorskip("opacus")
pytest.importorskip("pyarrow")
import pyarrow as pa
from opacus.accountants import RDPAccountant

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.training import private as privates
from genzoo.core.training.private import PoissonOrder, Private, PrivateTurn, _log_beyond

N = 300
R = np.random.default_rng(0)
ROWS = pa.table({"a": R.choice(["u", "v", "w"], N), "x": np.round(R.normal(size=N), 2), "b": R.choice(["0", "1"], N)})
SMALL = {"likelihood.hidden": 8, "likelihood.dropout": 0.0, "train.delta": 1e-3, "train.batch_size": 32}


@pytest.fixture
def cheap(monkeypatch):
    """The noise is not looked for."""
    made = Private(3.0, 1e-3, 32 / N, 32, 90, 1.0, 1.0)
    monkeypatch.setattr(privates.Private, "of", lambda *given: made)


@pytest.fixture
def trained(tmp_path):
    """What a private run of one step ends as, by recipe."""

    def train(recipe="table-ar", out=None, steps=1, **options):
        kept = []
        given = (SMALL if recipe == "table-ar" else {"train.delta": 1e-3, "train.batch_size": 32}) | options
        run = genzoo.fit(recipe, ROWS, out and tmp_path / out, private=3.0, steps=steps, seed=0, progress=False,
                         options=given, on_start=lambda trainer, config: kept.append(trainer))  # fmt: skip
        return run, kept[0]

    return train


@pytest.mark.parametrize("recipe", ["table-ar", "table-vae"])
def test_the_gradient_is_the_sum_of_clipped_ones_over_the_expected_batch(trained, cheap, recipe, monkeypatch):
    """A clipped gradient of the batch's mean, the wrong form, is another one."""
    _, trainer = trained(recipe)
    playing, order = trainer.player_states[0], trainer.feed.order
    silent = replace(trainer.private, sigma=0.0, clip=0.7)
    turn = PrivateTurn(playing.turn.turn, playing.parameters, silent, order)
    monkeypatch.setattr(privates, "CHUNK", 7)
    trainer.nets.eval()
    x, y = trainer.feed.at(0)
    noise = trainer.draw("model", 0)
    total, loss = turn(x, y, noise)
    total.backward()
    found = torch.cat([p.grad.flatten() for p in playing.parameters])
    looped, plain, values = torch.zeros_like(found), torch.zeros_like(found), []
    for i in range(order.count):
        one = {k: v[i : i + 1] if v.dim() else v for k, v in noise.items()}
        value, _ = playing.turn.turn(x[i : i + 1], None, one)
        g = torch.cat([d.flatten() for d in torch.autograd.grad(value, playing.parameters)])
        looped += g * min(1, 0.7 / g.norm().item())
        plain, values = plain + g, [*values, value.item()]
    torch.testing.assert_close(found, looped / 32, atol=1e-5, rtol=1e-3)
    wrong = plain / order.count
    wrong *= min(1, 0.7 / wrong.norm().item())
    assert (found - wrong).norm() > 0.1 * wrong.norm()
    assert total.item() == pytest.approx(np.mean(values), rel=1e-4)
    assert len(loss.terms["nll"]) == order.count


def test_no_observation_moves_the_gradient_by_more_than_its_bound(trained, cheap):
    """Of two batches that differ by one row, sums differ by the clip at most: what the noise is scaled by."""
    _, trainer = trained()
    playing, order = trainer.player_states[0], trainer.feed.order
    turn = PrivateTurn(playing.turn.turn, playing.parameters, replace(trainer.private, sigma=0.0, clip=0.5), order)
    x, y = trainer.feed.at(0)
    found = []
    for count in (order.count, order.count - 1):
        order.count = count
        for p in playing.parameters:
            p.grad = None
        turn(x, y, trainer.draw("model", 0))[0].backward()
        found.append(torch.cat([p.grad.flatten() for p in playing.parameters]) * 32)
    assert 0 < (found[0] - found[1]).norm() <= 0.5 + 1e-5


def test_noise_has_its_deviation_and_another_one_every_time(trained, cheap):
    _, trainer = trained()
    playing, order = trainer.player_states[0], trainer.feed.order
    loud = replace(trainer.private, sigma=50.0, clip=1e-3)
    turn = PrivateTurn(playing.turn.turn, playing.parameters, loud, order)
    found = []
    for _ in range(2):
        for p in playing.parameters:
            p.grad = None
        turn(*trainer.feed.at(0), trainer.draw("model", 0))[0].backward()
        found.append(torch.cat([p.grad.flatten() for p in playing.parameters]) / (50.0 * 1e-3 / 32))
    n = len(found[0])
    for g in found:
        assert abs(g.mean()) < 5 / math.sqrt(n)
        assert abs(g.std() - 1) < 5 / math.sqrt(2 * n)
    assert abs(torch.corrcoef(torch.stack(found))[0, 1]) < 5 / math.sqrt(n)


def test_batches_are_poisson():
    """Sizes vary as they should; those of a permutation, the wrong form, do not."""
    private = Private(3, 1e-5, 0.05, 20, 60, 1.0, 1.0, np.random.default_rng(0))
    order, seen, sizes = PoissonOrder(400, private), np.zeros(400), []
    for _ in range(2000):
        index = order.take(0, 60)
        assert len(index) == 60
        batch = index[: order.count].numpy()
        assert len(set(batch)) == order.count
        seen[batch] += 1
        sizes.append(order.count)
    assert np.mean(sizes) == pytest.approx(20, abs=5 * math.sqrt(19 / 2000))
    assert np.var(sizes) == pytest.approx(19, rel=0.2)
    assert stats.kstest((seen - 100) / math.sqrt(95), "norm").pvalue > 1e-4


def test_what_is_spent_is_the_accountants_own_figure():
    found = Private.of(2.0, 1e-5, 10_000, 100, 500, 1.0)
    accountant = RDPAccountant()
    for _ in range(500):
        accountant.step(noise_multiplier=found.sigma, sample_rate=0.01)
    assert found.spent(500) == pytest.approx(accountant.get_epsilon(1e-5 * (1 - privates.OVERFLOW)), rel=1e-6)
    assert 1.95 < found.spent(500) <= 2.0
    assert found.spent(0) == 0 < found.spent(100) < found.spent(500)
    assert found.said(500)["epsilon"] == found.spent(500)


def test_without_sampling_it_is_the_gaussian_mechanism():
    """Its Rényi divergence of order α is α / 2σ² a step, in closed form (Mironov, arXiv:1702.07476)."""
    delta, steps = 1e-5, 30
    found = Private(9, delta, 1.0, 10, 10, 4.0, 1.0)
    orders = np.concatenate([1 + np.arange(1, 100) / 10, np.arange(12, 64)])
    d = delta * (1 - privates.OVERFLOW)
    bounds = steps * orders / (2 * 4.0**2) + np.log1p(-1 / orders) - (np.log(d) + np.log(orders)) / (orders - 1)
    assert found.spent(steps) == pytest.approx(bounds.min(), rel=1e-3)


@pytest.mark.parametrize(("n", "batch", "steps"), [(300, 32, 100), (30_000, 256, 5000), (50, 50, 10)])
def test_a_batch_is_larger_than_what_is_taken_with_less_than_the_share_of_delta(n, batch, steps):
    found = Private.of(5.0, 1e-3 / n, n, batch, steps, 1.0)
    true = stats.binom.logsf(found.most, n, batch / n)
    assert true <= _log_beyond(found.most, n, batch / n) + 1e-9
    assert np.log(steps) + true + np.log1p(np.exp(5.0)) <= np.log(privates.OVERFLOW * found.delta)
    assert found.most < 3 * batch + 60


def test_a_run_says_what_it_spent_and_keeps_no_losses(tmp_path, trained):
    run, trainer = trained(out="run", steps=3)
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    said = record["about"]["privacy"]
    assert (record["curves"], record["data"].get("fingerprint", "")) == ([], "")
    assert said["epsilon"] == pytest.approx(trainer.private.spent(3))
    assert said["epsilon"] <= 3
    card = (tmp_path / "run" / "README.md").read_text()
    for words in ("### Differential privacy", "**Not covered**", "edges of bins", f"ε = {said['epsilon']:.3g}"):
        assert words in card
    assert len(run.model.sample(5, seed=0)) == 5
    with pytest.raises(UsageError, match="spends its ε over 3 steps"):
        genzoo.fit(data=ROWS, resume=tmp_path / "run", steps=9, progress=False)
    with pytest.raises(GenzooError, match="no hash of its rows was kept"):
        genzoo.reproduce(tmp_path / "run", tmp_path / "again", source=ROWS)
    other, _ = trained(steps=3)  # by the same seed
    assert any((p != q).any() for p, q in zip(run.model.parameters(), other.model.parameters(), strict=True))


def test_a_loss_of_the_whole_batch_is_refused(trained, cheap):
    with pytest.raises(UsageError, match="of each observation by itself, and copula, rows is of the whole batch"):
        trained("copula")


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("table-gan", {}, "one player"),
        ("table-ar", {"train.validation": 0.1}, "rows that are held out"),
        ("table-ar", {"train.clip": 0.0}, "needs a bound"),
        ("table-ar", {"train.skip_above": 5.0}, "not accounted for"),
        ("table-ar", {"train.accumulate": 2}, "leave out train.accumulate"),
        ("table-ar", {"train.delta": 0.01}, "more than one in the 300"),
        ("table-ar", {"train.batch_size": 400}, "fewer"),
        ("table-vae", {"encoder.norm": "batch", "generator.norm": "batch"}, "batch norm ties"),
        ("vq-vae", {"latent.size": 4}, "not noisy"),
    ],
)
def test_what_would_not_be_private_is_refused(trained, recipe, options, said):
    with pytest.raises(UsageError, match=said):
        trained(recipe, **options)

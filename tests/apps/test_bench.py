"""The benchmarks: that both sides do equal work, that ratios and intervals are right, what is printed and kept."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist, median

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.objective import Batch
from genzoo.plugins.apps.bench import bench_cli
from genzoo.plugins.vae.info_vae import PRIOR

bench_cli.laboratory()  # from here on genzoo_bench is there
import genzoo_bench as bench  # noqa: E402
from genzoo_bench import equal, hand, quality, rivals, speed  # noqa: E402
from genzoo_bench.cases import CASES, prepare  # noqa: E402
from genzoo_bench.pairs import interleaved, interval, ratio_of  # noqa: E402

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
BY_HAND = [name for name, case in CASES.items() if case.loop is not None]


def test_the_interval_covers_the_median_as_often_as_it_says():
    random = np.random.default_rng(0)
    found = [interval(random.exponential(size=15).tolist()) for _ in range(4000)]
    covered = np.mean([low <= math.log(2) <= high for low, high in found])
    assert 0.95 <= covered <= 0.985  # the order statistics 4 and 12 of 15 have 96.5 %
    assert interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    width = [high - low for low, high in (interval(random.normal(size=n).tolist()) for n in (15, 1500))]
    assert width[1] < width[0] / 4
    assert width[1] == pytest.approx(2 * NormalDist().inv_cdf(0.975) * math.sqrt(math.pi / 2 / 1500), rel=0.4)


def test_ratios_are_taken_pair_by_pair():
    ratio = ratio_of([1.0, 10.0, 2.0], [2.0, 5.0, 6.0])
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 0.5, 3.0)
    assert (ratio.ours, ratio.theirs, ratio.pairs) == (2.0, 5.0, 3)
    assert str(ratio) == "2.00 [0.50, 3.00]"


def test_sides_take_turns_and_a_slower_one_takes_longer():
    order, rounds = [], []

    def side(name, seconds):
        def work():
            order.append(name)
            time.sleep(seconds)

        return work

    times = interleaved([side("a", 0.002), side("b", 0.02)], 3, CPU, lambda: rounds.append(len(order)))
    assert "".join(order) == "baabba"
    assert rounds == [2, 4, 6]
    assert median(times[1]) > 0.019
    assert ratio_of(*times).median > 2


@pytest.mark.parametrize("name", BY_HAND)
def test_genzoo_and_the_loop_by_hand_make_the_same_updates(name):
    # Weights are exponentials of hundreds of nats, whose rounding Adam's first steps divide by next to nothing.
    rounding = 1e-2 if name in ("iwae", "ciwae") else 1e-3
    assert equal.difference(prepare(CASES[name], CPU, 8), steps=2) < rounding


@pytest.mark.parametrize("name", [name for name in CASES if name not in BY_HAND])
def test_what_has_no_loop_by_hand_trains(name):
    speed.ours(trainer := prepare(CASES[name], CPU, 8).trainer(), 2)
    assert trainer.step == 2


def test_the_tiny_wae_is_pythaes_formula():
    prepared = prepare(CASES["wae-tiny"], CPU, 6)
    model, (x, _) = prepared.nets.model, prepared.data.batch(torch.arange(6))
    prior = torch.randn(6, 2)
    loss = prepared.objective.loss("model", prepared.nets, Batch(x, None), {PRIOR: prior})
    z, weights = model.posterior(x).mean, loss.weights
    squares = (x - model.generator(z)).flatten(1).square().sum(1) / 2
    assert (loss.terms["nll"] - squares).std() < 1e-3  # but for a constant

    def kernel(a, b):
        return sum(4 * s / (4 * s + (a - b).square().sum()) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    within = sum(kernel(s[i], s[j]) for s in (z, prior) for i in range(6) for j in range(6) if i != j) / 30
    across = sum(kernel(a, b) for a in z for b in prior) / 36
    found = weights["distance"] * loss.terms["distance"].mean()
    assert found.item() == pytest.approx(0.03 * (within - 2 * across).item(), abs=1e-6)


@pytest.mark.parametrize("change", ["loss", "turns", "data"])
def test_work_that_is_not_equal_is_noticed(change, monkeypatch):
    prepared = prepare(CASES["gan-plane"], CPU, 16)
    if change == "loss":
        monkeypatch.setattr(hand.GAN, "generator_loss", lambda self, f=hand.GAN.generator_loss: -f(self))
    elif change == "turns":
        monkeypatch.setattr(hand.GAN, "run", lambda self, steps: self.step().item())
    else:
        monkeypatch.setattr(equal.Replay, "batch", lambda self, f=equal.Replay.batch: f(self) + 0.1)
    if change == "turns":
        with pytest.raises(AssertionError, match="fewer turns"):
            equal.difference(prepared)
        return
    assert equal.difference(prepared) > 5 * speed.EQUAL
    with pytest.raises(GenzooError, match="GAN-MLP in the plane: genzoo's updates differ"):
        bench.train(["gan-plane"], pairs=1, batch_size=16, piece=1e-3)


@pytest.mark.parametrize("name", ["vae-mlp", "gan-plane"])
def test_batches_by_hand_are_in_model_space_and_cover_an_epoch(name):
    prepared = prepare(CASES[name], CPU)
    size = prepared.config.train.batch_size
    source = hand.Source(prepared.data, size)
    x = torch.cat([source.batch() for _ in range(len(prepared.data) // size)]).flatten(1)
    all_of_it = prepared.data.batch(torch.arange(len(prepared.data)))[0].flatten(1)
    torch.testing.assert_close(x.sort(0).values, all_of_it.sort(0).values)


@pytest.mark.parametrize("name", ["vae-tiny", "wae-tiny"])
def test_pythae_trains_the_same_model(name, monkeypatch):
    """One batch a epoch, so that its order is no matter, and the noise set to zero or to what genzoo drew."""
    pytest.importorskip("pythae")
    whole = prepare(CASES[name], CPU, 64)
    prepared = replace(whole, data=whole.data.take(slice(64)))
    trainer = prepared.trainer()
    trainer.feed.at = lambda number: prepared.data.batch(torch.arange(64))
    codes = torch.randn(64, prepared.config.latent.size)
    trainer.objective.draw = lambda *_: {"eps": torch.zeros_like(codes), PRIOR: codes}
    trainer.steps = 3
    trainer.train()
    found = rivals.epoch_of("pythae", prepared)
    noise = codes if name == "wae-tiny" else torch.zeros_like(codes)
    monkeypatch.setattr(torch, "randn_like", lambda *_, **__: noise)
    for _ in range(3):
        found[0]()
    for ours, theirs, start in zip(*(n.parameters() for n in (trainer.nets, found[1], prepared.nets)), strict=True):
        assert (ours - theirs).norm() <= 1e-3 * (ours - start).norm() + 1e-9


@pytest.fixture
def _no_rivals(monkeypatch):
    """As if none were installed."""
    for name in ("pythae", "torchgan", "torch_mimicry"):
        for module in [m for m in sys.modules if m.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("_no_rivals")
def test_a_rival_that_is_not_there_says_how_to_get_it(tmp_path):
    lines = bench.train(["vae-tiny", "dcgan"], pairs=2, batch_size=4, piece=1e-3, out=tmp_path / "new" / "out")
    found = {(x.case, x.precision, x.against): x for x in lines}
    tiny, pair = "VAE-tiny, squared error", [0.88, 1.01]
    assert found[tiny, "float32", "pythae"].note == "not installed: pip install pythae"
    assert found[tiny, "float32", "pythae"].ratio is None
    assert found[tiny, "float32", "hand"].difference < 1e-3
    by_hand = found["DCGAN", "bfloat16", "hand"].ratio.median
    low, high = (by_hand / x for x in reversed(pair))
    assert found["DCGAN", "bfloat16", "torchgan"].note == (
        f"recorded: 0.88–1.01 of a hand-written loop, so {low:.2f}–{high:.2f}"
    )
    assert found["DCGAN", "float32", "mimicry"].wanted == 1.0
    assert found["DCGAN", "bfloat16", "mimicry"].wanted == 1.25
    assert not any(found["DCGAN", "bfloat16", who].difference for who in ("hand", "mimicry"))
    kept = json.loads((tmp_path / "new" / "out" / "train.json").read_text())
    assert kept["machine"]["threads"] == torch.get_num_threads()
    assert [x["against"] for x in kept["lines"]] == [x.against for x in lines]
    assert kept["lines"][0]["ratio"]["pairs"] == 2
    table = (tmp_path / "new" / "out" / "train.md").read_text().splitlines()
    assert len([row for row in table if row.startswith("| ")]) == 2 + len(lines)
    assert torch.__version__ in table[-1]


@pytest.mark.usefixtures("_no_rivals")
def test_without_recorded_figures_a_missing_rival_is_only_missing():
    lines = bench.train(["dcgan"], pairs=1, batch_size=4, piece=1e-3, against=["torchgan"])
    assert [x.note for x in lines] == ["not installed: pip install torchgan torchvision"] * 2


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda out: bench.train(["vae-mpl"], out=out), "there is no case 'vae-mpl' \\(did you mean 'vae-mlp'"),
        (lambda out: bench.train(["vae-mlp"], against=["hands"], out=out), "there is no rival 'hands'"),
        (lambda out: bench.train([], out=out), "name at least one case: there are vae-mlp, "),
        (lambda out: bench.train(["vae-mlp"], pairs=0, out=out), "at least one pair"),
        (lambda out: bench.defaults(["vae-mlp"], changes=["faster"], out=out), "there is no change 'faster'"),
        (lambda out: bench.sample(["vae-mlp"], n=100, out=out), "on 5,120 samples at least, not 100"),
        (lambda out: bench.precision(["gan-plane"], out=out), "there is no case 'gan-plane'"),
    ],
)
def test_what_is_asked_wrongly_is_told_and_nothing_is_written(call, says, tmp_path):
    with pytest.raises(genzoo.UsageError, match=says):
        call(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "prepare", None)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(genzoo.UsageError, match="file is a file: give a folder"):
        bench.train(["vae-mlp"], out=tmp_path / "file")
    with pytest.raises(GenzooError, match="cannot write"):
        bench.train(["vae-mlp"], out=tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_threads_are_set_for_the_measurement_alone():
    before = torch.get_num_threads()
    seen = []
    with speed.threads_set(before + 1):
        seen.append(torch.get_num_threads())
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def test_changes_of_defaults_train_the_same_model():
    """Another optimizer kernel or memory layout is another speed, not another model."""
    prepared = prepare(CASES["wgan-gp-conv"], CPU, 4)
    results = {}
    for name in ("", "Adam by tensor (not fused)", "Adam by operation (foreach, not fused)", "channels last"):
        trainer = bench.CHANGES[name](prepared) if name else prepared.trainer()
        trainer.steps = 2
        trainer.train()
        results[name] = torch.cat([p.detach().flatten() for p in trainer.nets.critic.parameters()])
    start = torch.cat([p.detach().flatten() for p in prepared.nets.critic.parameters()])
    way = (results[""] - start).norm()
    for name, after in results.items():
        assert (after - results[""]).norm() < 0.02 * way, name
    averaged = bench.CHANGES["average by tensor (not foreach)"](prepared)
    averaged.steps = 1
    averaged.train()
    moved = [
        not torch.equal(a, b)
        for a, b in zip(averaged.average.model.parameters(), prepared.nets.model.parameters(), strict=True)
    ]
    assert any(moved)
    assert bench.CHANGES["average by tensor (not foreach)"](prepare(CASES["vae-mlp"], CPU)) is None
    assert bench.CHANGES["channels last"](prepare(CASES["vae-mlp"], CPU)) is None


def test_the_table_of_defaults_has_a_row_for_each_change(tmp_path):
    names = ["bfloat16", "average by tensor (not foreach)"]
    lines = bench.defaults(["vae-tiny", "gan-mlp"], changes=names, pairs=1, piece=1e-3, threads=1, out=tmp_path)
    table = bench.defaults_table(lines)
    assert table.header == ("instead", "VAE-tiny, squared error", "GAN-MLP")
    assert [row[0] for row in table.rows] == names
    assert table.rows[1][1] == ""  # it keeps no average
    assert table.markdown() in (tmp_path / "defaults.md").read_text()


@pytest.mark.slow  # two processes that import torch
def test_sampling_is_measured_against_the_forward_pass(tmp_path):
    (line,) = bench.sample(["gan-mlp"], n=5120, pairs=1, threads=1, out=tmp_path)
    assert line.ratio.pairs == 1
    assert 0 < line.ratio.median < 2
    assert 2**26 < line.peak_few < line.peak + 2**24  # torch alone takes that much
    assert line.peak < 1.2 * line.peak_few
    assert json.loads((tmp_path / "sample.json").read_text())["lines"][0]["n"] == 5120


def test_precisions_are_judged_by_the_same_metrics(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "SAMPLES", 150)
    lines = bench.precision(["vae-conv"], steps=3, seeds=1, threads=1, out=tmp_path)
    assert [x.precision for x in lines] == ["float32", "bfloat16"]
    for line in lines:
        assert set(line.numbers) == {"Fréchet distance", "classes", "held-out loss"}
        assert line.numbers["Fréchet distance"] > 0
        assert 0 < line.numbers["classes"] <= 10
    a, b = (x.numbers["held-out loss"] for x in lines)
    assert a != b  # they were not computed the same way
    assert a == pytest.approx(b, rel=0.02)
    assert len(bench.quality_table(lines).rows) == 2


def test_without_a_clone_it_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT / "tests" / "bench")  # what lies in the working directory is not run
    monkeypatch.setattr(bench_cli, "__file__", str(tmp_path / "genzoo" / "plugins" / "apps" / "bench" / "bench_cli.py"))
    with pytest.raises(UsageError, match="needs a clone of genzoo's repository"):
        bench_cli.laboratory()

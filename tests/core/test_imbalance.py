"""Orders that visit classes by shares, and weights of classes: exact shares, and functions of seed and position."""

from collections import Counter
from functools import partial

import pytest
import torch

import genzoo
from genzoo.core.data import Data
from genzoo.core.data.feed import Feed
from genzoo.core.data.imbalance import ClassOrder, class_weights, order_of
from genzoo.core.errors import UsageError
from genzoo.core.objective import Loss
from genzoo.core.spec import DataSpec
from genzoo.core.training.runs import checkpoints
from genzoo.core.training.trainer import Trainer

SIZES = (70, 25, 0, 4, 1)
SHUFFLED = torch.randperm(100, generator=torch.Generator().manual_seed(1))
LABELS = torch.repeat_interleave(torch.arange(5), torch.tensor(SIZES))[SHUFFLED]


def order(sampling, conditional=True, y=LABELS):
    data = Data(DataSpec("vector", (2,), classes=5), torch.zeros(len(y), 2), y)
    return order_of(sampling, data, 8, 7, conditional, torch.device("cpu"))


def test_balanced_shares_are_exact_in_every_run_of_as_many_positions_as_classes():
    found = LABELS[order("balanced").take(0, 1000)].view(-1, 4)
    assert (found.sort(1).values == torch.tensor([0, 1, 3, 4])).all()
    assert len({tuple(row) for row in found.tolist()}) > 10  # and not always in one order


def test_shares_that_do_not_divide_are_rounded_within_an_epoch_and_exact_in_the_mean():
    shares = torch.tensor([0.5, 0.333, 0.0, 0.1, 0.067])
    visits = ClassOrder(LABELS, shares, 3)
    counts = torch.stack([torch.bincount(LABELS[visits.take(e * 100, 100)], minlength=5) for e in range(400)])
    expected = shares / shares.sum() * 100
    assert (counts.sum(1) == 100).all()
    assert ((counts - expected).abs() < 1).all()
    torch.testing.assert_close(counts.double().mean(0), expected.double(), atol=0.1, rtol=0)


def test_log_frequency_is_what_it_says():
    counts = torch.bincount(LABELS[order("log-frequency").take(0, 100_000)], minlength=5) / 1e5
    logs = torch.tensor(SIZES).double().log1p()
    torch.testing.assert_close(counts.double(), logs / logs.sum(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("sampling", ["balanced", "log-frequency"])
def test_an_order_is_a_function_of_seed_and_position(sampling):
    whole = order(sampling).take(0, 1000)
    again, parts = order(sampling), []
    for start in (250, 990, 0, 64):  # in any sequence, across epochs
        parts.append(torch.equal(again.take(start, 10), whole[start : start + 10]))
    assert all(parts)
    other = ClassOrder(LABELS, torch.ones(5).mul(torch.tensor(SIZES) > 0), 8).take(0, 100)
    assert not torch.equal(other, order("balanced").take(0, 100))


def test_within_an_epoch_a_class_is_gone_through_before_any_is_seen_again():
    epoch = order("balanced").take(0, 100)
    for c, size in enumerate(SIZES):
        times = Counter(epoch[LABELS[epoch] == c].tolist()).values()
        if size:
            assert max(times) - (min(times) if len(times) == size else 0) <= 1
    assert Counter(LABELS[epoch].tolist()) == {0: 25, 1: 25, 3: 25, 4: 25}


def test_what_an_order_needs_is_said(toy):
    with pytest.raises(UsageError, match=r"add conditional=True, or options=.*balanced"):
        order("log-frequency", conditional=False)
    plain = Data(DataSpec("vector", (2,)), torch.zeros(9, 2))
    with pytest.raises(UsageError, match=r"train\.sampling=balanced goes by class labels, and this data has none"):
        order_of("balanced", plain, 8, 0, False, torch.device("cpu"))
    assert torch.equal(order("uniform").take(0, 100).sort().values, torch.arange(100))


# Weights


def test_weights_have_mean_one_over_the_data():
    balanced = class_weights("balanced", LABELS, 5, torch.device("cpu"))
    assert balanced[LABELS].mean().item() == pytest.approx(1)
    assert balanced.tolist() == pytest.approx([100 / 4 / n if n else 0 for n in SIZES])
    given = class_weights((1.0, 2.0, 0.0, 0.0, 9.0), LABELS, 5, torch.device("cpu"))
    assert given[LABELS].mean().item() == pytest.approx(1)
    assert (given[1] / given[0]).item() == pytest.approx(2)
    assert class_weights("none", None, 0, torch.device("cpu")) is None
    for option, y, classes, said in (("balanced", None, 0, "has none"), ((1.0, 2.0), LABELS, 5, "takes 5 numbers"),
                                     ((0.0,) * 5, LABELS, 5, "any weight")):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            class_weights(option, y, classes, torch.device("cpu"))


@pytest.mark.parametrize("recipe", ["vae", "cvae", "gan"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_weight_multiplies_every_term_of_its_observations(trainer, recipe, accumulate):
    seen = []
    run = trainer(recipe, train__class_weights=(1.0, 3.0, 2.0), train__accumulate=accumulate, train__steps=2)
    loss = run.objective.loss

    def spy(player, nets, batch, noise):
        found = loss(player, nets, batch, noise)
        seen.append((found.per_observation().detach(), batch.y))
        return found

    run.objective.loss = spy
    totals = []
    for playing in run.player_states:
        turn = playing.turn.forward
        playing.turn.forward = lambda *a, turn=turn: (lambda out: (totals.append((out[0].item(), a[3])), out)[1])(
            turn(*a)
        )
    run.train()
    weights = torch.tensor([1.0, 3.0, 2.0]) / (torch.tensor([1.0, 3.0, 2.0])[torch.arange(40) % 3].mean())
    for (each, y), (total, weight) in zip(seen, totals, strict=True):
        assert total == pytest.approx((each * weight).mean().item(), rel=1e-6)
        assert torch.isin(weight, weights).all() or (weight[:, None] - weights).abs().min(1).values.max() < 1e-6
        assert (y is None) == (recipe != "cvae")
        if y is not None:
            torch.testing.assert_close(weight, weights[y])


def test_all_zero_but_one_class_is_training_on_that_class(trainer):
    """The gradient of the weighted loss is the share of the class times the gradient of its observations alone."""
    found = []
    for given in ({"train__class_weights": (0.0, 1.0, 0.0)}, {}):
        run = trainer("cvae", train__optimizer="sgd", train__lr=1.0, train__betas=(0, 0.9), train__steps=1, **given)
        if not given:
            loss = run.objective.loss

            def only(player, nets, batch, noise, loss=loss):
                some = loss(player, nets, batch, noise)
                return Loss({k: v * (batch.y == 1) * (40 / 13) for k, v in some.terms.items()}, some.weights)

            run.objective.loss = only
        run.train()
        found.append(torch.cat([p.detach().flatten() for p in run.nets.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


# Runs


def imbalanced(n=60):
    y = (torch.arange(n) % 10 == 0).long()
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(0)) + 3 * y[:, None]
    return Data(DataSpec("vector", (5,), classes=2), x, y, "rare")


def test_an_unconditional_model_of_balanced_batches_learns_the_balanced_mean(game):
    """Of a linear model the optimum is known: the decoder's mean output is the mean of what it was shown."""
    data = imbalanced(200)
    means = {}
    for sampling in ("uniform", "balanced"):
        built = game("vae", data.spec, latent__size=1, generator__depth=0, encoder__depth=0,
                     train__steps=1000, train__batch_size=20, train__lr=0.02, train__schedule="cosine",
                     train__sampling=sampling)  # fmt: skip
        run = Trainer(built.objective, built.nets, data, built.config.train)
        batch_classes = [run.feed.at(i)[0].mean().item() for i in range(10)]
        run.train()
        means[sampling] = run.model.sample(4000).mean().item(), sum(batch_classes) / 10
    assert means["uniform"][0] == pytest.approx(0.3, abs=0.2)
    assert means["balanced"][0] == pytest.approx(1.5, abs=0.2)
    assert means["balanced"][1] == pytest.approx(1.5, abs=0.1)


def test_batches_of_imbalanced_pictures_have_exact_shares():
    """A tenth as many of three of ten classes, in batches that workers read and in resident ones."""
    data = genzoo.load_data("fashion-mini")
    kept = [i for i, y in enumerate(data.y.tolist()) if y > 2 or i % 10 == 0]
    some = data.take(kept[: len(kept) // 50 * 50])  # an epoch of whole batches
    order = partial(order_of, "balanced", some, 8, 5, False)
    for memory in (None, 0):
        with Feed(some, "cpu", 50, order=order, memory=memory, workers=0) as feed:
            seen = torch.stack([torch.bincount(feed.at(i)[1], minlength=10) for i in range(20)])
        assert (seen == 5).all()
    natural = torch.bincount(some.y, minlength=10)
    assert natural[:3].max() < natural[3:].min() / 5


@pytest.mark.parametrize("memory", [None, 0])
def test_a_resumed_run_of_balanced_batches_is_the_run_that_never_stopped(tmp_path, options, memory):
    data = imbalanced()
    given = options("cvae", {"train.sampling": "balanced", "train.class_weights": "balanced", "train.sample_every": 99})

    def run(name, stop_at=None, **how):
        def begin(trainer, config):
            one_step = trainer._one_step

            def step():
                one_step()
                trainer.stopping = trainer.step + 1 == stop_at

            trainer._one_step = step

        return genzoo.fit("cvae", data, tmp_path / name, steps=20, batch_size=7, seed=3, device="cpu", options=given,
                          progress=False, on_start=begin, data_memory=memory, data_workers=0, **how)  # fmt: skip

    run("whole")
    run("stopped", stop_at=11)
    run("stopped", resume=True)
    one, two = (checkpoints(tmp_path / n)[-1] / "trainer.safetensors" for n in ("whole", "stopped"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(("recipe", "given"), [
    ("cvae", {"train.class_weights": "balanced"}), ("cvae", {"train.sampling": "balanced"}),
    ("table-gan", {"train.sampling": "balanced", "conditional": True}),
    ("table-ar", {"train.class_weights": (1.0, 9.0)}),
])  # fmt: skip
def test_rows_of_tables_are_weighed_and_ordered_by_their_class(recipe, given):
    pa = pytest.importorskip("pyarrow")
    from genzoo.plugins.datasets.table_file import data_of

    table = pa.table(
        {"x": [i * 0.5 for i in range(100)], "y": ["rare" if i % 10 == 0 else "usual" for i in range(100)]}
    )
    data, seen = data_of(table, "rows", label="y"), []

    def begin(trainer, config):
        seen.append(torch.bincount(trainer.feed.at(0)[1], minlength=2).tolist())

    run = genzoo.fit(recipe, data, None, steps=2, batch_size=10, options=given, device="cpu", progress=False,
                     on_start=begin)  # fmt: skip
    assert run.steps == 2
    if "train.sampling" in given:
        assert seen == [[5, 5]]

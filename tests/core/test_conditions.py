"""Numbers as conditions, beside a label or instead of one: told to every network, in data units outside."""

import numpy as np
import pytest
import torch
from scipy import stats

import genzoo
from genzoo.core.conditions import joined, labels_of, numbers_of, repeated
from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.core.networks import Ports
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec
from genzoo.core.training.runs import checkpoints
from genzoo.core.training.trainer import Trainer
from genzoo.plugins.nets.conv import ConvCritic, ConvEncoder, ConvGenerator
from genzoo.plugins.nets.mlp import MLPCritic, MLPEncoder, MLPGenerator

A = torch.tensor([[2.0, -1.0], [0.0, 0.5], [1.0, 1.0]])
W = torch.tensor([[0.8, 0.0, 0.6]]).T
SIGMA, CENTRE = 0.5, torch.tensor([1.0, 0.0, -2.0])


def linear(n=1000, classes=0, seed=0):
    """x = A c + w z + b + σ ε, where c has mean (10, -1) and spread (5, 0.1), and A goes by the standardized c."""
    random = torch.Generator().manual_seed(seed)
    c = torch.randn(n, 2, generator=random)
    c = (c - c.mean(0)) / c.std(0, correction=0)
    z, eps = torch.randn(n, 1, generator=random), torch.randn(n, 3, generator=random)
    y = torch.arange(n) % classes if classes else None
    x = c @ A.T + z @ W.T + CENTRE + SIGMA * eps + (0 if y is None else 3.0 * y[:, None])
    data = Data(DataSpec("vector", (3,), classes=classes), x, y, "linear")
    return data.conditioned(c * torch.tensor([5.0, 0.1]) + torch.tensor([10.0, -1.0]), ("size", "angle"))


def in_units(c):
    return torch.tensor(c) * torch.tensor([5.0, 0.1]) + torch.tensor([10.0, -1.0])


LINEAR = {"latent__size": 1, "generator__depth": 0, "train__batch_size": 100, "conditional": True,
          "train__schedule": "cosine", "train__lr": 0.02, "likelihood": "gaussian", "likelihood__sigma": "learned",
          "encoder__depth": 0}  # fmt: skip


@pytest.mark.parametrize("classes", [0, 2])
def test_a_linear_vae_learns_the_known_dependence(game, classes):
    data = linear(classes=classes)
    built = game("vae", data.spec, train__steps=1500 if classes else 600, **LINEAR)
    run = Trainer(built.objective, built.nets, data, built.config.train)
    run.train()
    model = run.model
    labels = torch.zeros(1, dtype=torch.long) if classes else None

    def mean(c, labels=labels):
        return model.decode(torch.zeros(1, 1), labels, condition=in_units(c))[0]

    start = mean([0.0, 0.0])
    found = torch.stack([mean([1.0, 0.0]) - start, mean([0.0, 1.0]) - start], 1)
    torch.testing.assert_close(found, A, atol=0.1, rtol=0)
    torch.testing.assert_close(start, CENTRE, atol=0.15, rtol=0)
    if classes:
        torch.testing.assert_close(
            mean([0.0, 0.0], torch.ones(1).long()) - start, torch.full((3,), 3.0), atol=0.2, rtol=0
        )
    some = linear(200, classes, seed=1)
    told = (some.condition - torch.tensor([10.0, -1.0])) / torch.tensor([5.0, 0.1])
    truth = stats.multivariate_normal([0, 0, 0], (W @ W.T + SIGMA**2 * torch.eye(3)).numpy())
    shift = 0 if some.y is None else 3.0 * some.y[:, None]
    expected = truth.logpdf((some.x - told @ A.T - CENTRE - shift).numpy()).mean()
    estimate = model.log_likelihood(some.x, some.y, condition=some.condition, samples=50)
    assert estimate.values.mean().item() == pytest.approx(expected, abs=0.1)
    wrong = model.log_likelihood(some.x, some.y, condition=some.condition.flip(0), samples=50)
    assert wrong.values.mean().item() < expected - 1


@pytest.mark.parametrize("how", ["projection", "concat"])
def test_a_gan_learns_the_known_dependence(game, how):
    """x = 2 c + ε: the samples' regression on c, and what is left."""
    random = torch.Generator().manual_seed(0)
    c, eps = torch.randn(2000, 1, generator=random), torch.randn(2000, 2, generator=random)
    x = torch.cat([2 * c, -c], 1) + 0.5 * eps
    data = Data(DataSpec("vector", (2,)), x, None, "line").conditioned(3 * c + 1, ("c",))
    built = game("r3gan", data.spec, conditional=True, critic__condition=how, train__steps=600, train__batch_size=100,
                 generator__width=32, critic__width=32, train__lr=2e-3, objective__gamma=0.1)  # fmt: skip
    run = Trainer(built.objective, built.nets, data, built.config.train)
    run.train()
    made = run.model.sample(2000, seed=4, condition=data.condition)
    told = (data.condition - data.condition.mean()) / data.condition.std()
    slope = (told * (made - made.mean(0))).mean(0)
    torch.testing.assert_close(slope, torch.tensor([2.0, -1.0]), atol=0.35, rtol=0)
    rest = made - told * slope
    assert 0.2 < rest.std(0).mean() < 0.9


NETS = [
    (MLPGenerator, (4,), (3,)), (MLPEncoder, (3,), (4,)), (MLPCritic, (3,), (1,)),
    (ConvGenerator, (4,), (1, 8, 8)), (ConvEncoder, (1, 8, 8), (4,)), (ConvCritic, (1, 8, 8), (1,)),
]  # fmt: skip


@pytest.mark.parametrize(("net", "inputs", "outputs"), NETS, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("how", ["projection", "concat"])
def test_networks_are_told_each_number_and_the_label(net, inputs, outputs, classes, how):
    if how == "projection" and not hasattr(net.Options(), "condition"):
        pytest.skip("labels enter it in one way")
    torch.manual_seed(0)
    options = net.Options(condition=how) if hasattr(net.Options(), "condition") else net.Options()
    made = net(Ports(inputs, outputs, classes, condition=2), options).eval()
    x, y = torch.randn(5, *inputs), torch.arange(5) % 3 if classes else None
    numbers = torch.randn(5, 2)
    first = made(x, joined(y, numbers))
    for i in range(2):
        other = numbers.clone()
        other[2, i] += 1
        moved = (made(x, joined(y, other)) - first).flatten(1).abs().amax(1) > 1e-6
        assert moved.tolist() == [False, False, True, False, False]
    if classes:
        moved = (made(x, joined((y + 1) % 3, numbers)) - first).flatten(1).abs().amax(1)
        assert (moved > 1e-6).all()
    with pytest.raises(UsageError, match="2 numbers"):
        made(x, y if not classes else joined(y, torch.randn(5, 1)) [:, :1])  # fmt: skip


def test_what_is_told_is_taken_apart_and_put_together():
    y, numbers = torch.tensor([2, 0]), torch.tensor([[0.5, 1.0], [2.0, 3.0]])
    told = joined(y, numbers)
    assert told.tolist() == [[2, 0.5, 1], [0, 2, 3]]
    assert (labels_of(told).tolist(), labels_of(y).tolist()) == ([2, 0], [2, 0])
    assert torch.equal(numbers_of(told, 2), numbers)
    assert torch.equal(numbers_of(numbers, 2), numbers)
    assert joined(y, None) is y
    assert joined(None, numbers) is numbers
    assert repeated(told, 3).shape == (6, 3)
    assert repeated(y, 2).tolist() == [2, 0, 2, 0]
    assert Batch(numbers, told, numbers).labels.tolist() == [2, 0]
    assert Batch(numbers, y).labels is y
    assert Batch(numbers, numbers, numbers).labels is None


def test_data_keep_their_conditions_wherever_they_go():
    data = linear(30, classes=2)
    torch.testing.assert_close(data.given[:, 1:].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(data.given[:, 1:].std(0, correction=0), torch.ones(2))
    assert torch.equal(data.take([3, 1]).condition, data.condition[[3, 1]])
    rest, held = data.hold_out(10, 0)
    assert torch.equal(torch.cat([rest.condition, held.condition]).sort(0).values, data.condition.sort(0).values)
    assert held.given.shape == (10, 3)
    assert data.fingerprint() != data.conditioned(data.condition + 1).fingerprint()
    again = DataSpec.from_dict(data.spec.to_dict())
    assert again == data.spec
    assert "conditions" not in DataSpec("vector", (3,)).to_dict()


def test_what_is_wrong_with_conditions_is_said(game):
    data = linear(30)
    for bad, names in ((data.condition[:5], ()), (data.condition, ("one",)), (data.condition * torch.nan, ())):
        with pytest.raises(UsageError, match="finite numbers"):
            data.conditioned(bad, names)
    model = game("vae", data.spec, conditional=True).nets.model
    for bad in ([1.0], torch.zeros(5, 2), "no", [1.0, float("nan")]):
        with pytest.raises(UsageError, match=r"size, angle"):
            model.sample(4, condition=bad)
    with pytest.raises(UsageError, match=r"give its conditions \(size, angle\)"):
        model.encode(data.x)
    plain = game("vae", DataSpec("vector", (3,))).nets.model
    with pytest.raises(UsageError, match="takes no conditions"):
        plain.sample(4, condition=[1.0, 2.0])


def test_a_network_that_reads_no_numbers_is_refused(game, monkeypatch):
    monkeypatch.setattr(MLPGenerator, "conditions", False)
    with pytest.raises(UsageError, match="generator 'mlp' is not told numbers as conditions"):
        game("vae", linear(30).spec, conditional=True)


def test_samples_are_functions_of_seed_and_number_also_without_conditions(game):
    model = game("vae", linear(30, classes=2).spec, conditional=True).nets.model
    whole = model.sample(100, seed=1)
    torch.testing.assert_close(model.sample(100, seed=1, batch_size=64), whole)
    torch.testing.assert_close(model.sample(70, seed=1), whole[:70])
    assert not torch.allclose(model.sample(100, seed=2), whole)
    labels = [y for _, y in model.sample_batches(70)]
    assert torch.cat(labels).tolist() == [i % 2 for i in range(70)]
    z = torch.randn(2, 2)
    path = model.interpolate(z, z, 3, labels=[0, 1], condition=in_units([[0.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(path[1, 2], model.decode(z[1:], [1], condition=in_units([1.0, 0.0]))[0])


def test_a_file_may_hold_conditions(tmp_path):
    data = linear(40, classes=2)
    arrays = {"x": data.x.numpy(), "y": data.y.numpy(), "condition": data.condition.numpy()}
    np.savez(tmp_path / "a.npz", **arrays)
    train, test = (genzoo.load_data(tmp_path / "a.npz", split=s) for s in ("train", "test"))
    assert (len(train), len(test)) == (36, 4)
    assert train.spec == test.spec
    torch.testing.assert_close(train.given[:, 1:].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    for part in (train, test):  # each with its own
        place = (data.x[None] - part.x[:, None]).abs().sum(2).argmin(1)
        torch.testing.assert_close(part.condition, data.condition[place])
    np.savez(tmp_path / "b.npz", **arrays, x_test=arrays["x"][:5], y_test=arrays["y"][:5],
             condition_test=arrays["condition"][:5])  # fmt: skip
    held = genzoo.load_data(tmp_path / "b.npz", split="test")
    assert torch.equal(held.condition, data.condition[:5])
    for bad in (arrays["condition"][:7], arrays["condition"] * np.nan):
        np.savez(tmp_path / "c.npz", **{**arrays, "condition": bad})
        with pytest.raises(UsageError, match="finite numbers"):
            genzoo.load_data(tmp_path / "c.npz")
    run = genzoo.fit("vae", tmp_path / "a.npz", steps=2, batch_size=8, device="cpu", progress=False,
                     options={"conditional": True, "generator": "mlp", "encoder": "mlp"})  # fmt: skip
    assert run.model.conditions == 2


def test_samples_that_are_judged_were_asked_for_what_the_data_are(game):
    from genzoo.core.protocol import Protocol
    from genzoo.registry.verbs.subjects import draw_samples

    data = linear(30, classes=2)
    model = game("vae", data.spec, conditional=True).nets.model
    made, asked = draw_samples(model, 40, Protocol(seed=3, batch_size=64), False, like=data)
    again = torch.arange(40) % 30
    assert asked.tolist() == data.y[again].tolist()
    torch.testing.assert_close(made, model.sample(40, seed=3, labels=data.y[again], condition=data.condition[again]))


@pytest.mark.parametrize("recipe", ["vae", "wgan-gp"])
@pytest.mark.parametrize("memory", [None, 0])
def test_a_run_with_conditions_is_saved_resumed_and_loaded(tmp_path, options, recipe, memory):
    data = linear(40, classes=2)
    given = options(recipe, {"conditional": True, "train.sample_every": 99})

    def run(name, stop_at=None, **how):
        def begin(trainer, config):
            one_step = trainer._one_step

            def step():
                one_step()
                trainer.stopping = trainer.step + 1 == stop_at

            trainer._one_step = step

        return genzoo.fit(recipe, data, tmp_path / name, steps=12, batch_size=7, seed=3, device="cpu", options=given,
                          progress=False, on_start=begin, data_memory=memory, data_workers=0, **how)  # fmt: skip

    whole = run("whole")
    run("stopped", stop_at=5)
    run("stopped", resume=True)
    one, two = (checkpoints(tmp_path / n)[-1] / "trainer.safetensors" for n in ("whole", "stopped"))
    assert one.read_bytes() == two.read_bytes()
    model = genzoo.load(tmp_path / "whole")
    assert (model.conditions, model.spec.conditions) == (2, ("size", "angle"))
    assert Config.from_dict(model.config.to_dict()) == model.config
    assert torch.equal(model.sample(5, condition=[3.0, 1.0]), whole.model.sample(5, condition=[3.0, 1.0]))


@pytest.mark.parametrize("recipe", ["vae", "gan"])
def test_factors_are_a_label_and_four_numbers(tmp_path, recipe):
    data = genzoo.load_data("factors", options={"samples": 64, "size": 16, "condition": True})
    assert data.spec.conditions == ("size", "rotation", "position x", "position y")
    assert data.given[:, 1:].abs().max() < 2
    second = "encoder" if recipe == "vae" else "critic"
    run = genzoo.fit(recipe, data, steps=3, batch_size=8, device="cpu", progress=False,
                     options={"conditional": True, "generator.width": 4, f"{second}.width": 4})  # fmt: skip
    a, b = (run.model.sample(4, condition=[size, 0, 3, 3]) for size in (0, 5))
    assert (a - b).abs().max() > 1e-4

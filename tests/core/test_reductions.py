"""One convention for all objectives: sums over dimensions, means over the batch. So the batch size means nothing."""

import pytest
import torch

from genzoo.core.data import from_arrays
from genzoo.core.errors import UsageError
from genzoo.core.objective import Batch, Loss
from genzoo.core.spec import DataSpec

CASES = [
    ("vae", {}),
    ("vae", {"objective__free_bits": 0.005}),
    ("vae", {"objective__kl_warmup": 0.5}),
    ("vae", {"likelihood__sigma": "optimal"}),
    ("vae", {"likelihood__sigma": "fixed"}),
    ("beta-vae", {"objective__beta": 3.0}),
    ("cvae", {}),
    ("gan", {}),
    ("gan", {"objective__loss": "minimax", "critic__spectral_norm": False, "conditional": True}),
    ("wgan", {}),
    ("wgan-gp", {"conditional": True}),
    ("r3gan", {}),
]
COUPLED = {"free_bits": "kl", "sigma": "nll"}  # only these look at the whole batch


def coupled(given):
    return [t for k, t in COUPLED.items() if any(k in name and v != "fixed" for name, v in given.items())]


def twice(t):
    return torch.cat([t, t]) if t.dim() else t


@pytest.mark.parametrize(("recipe", "given"), CASES)
def test_duplicating_the_batch_changes_no_loss_and_no_gradient(game, toy, recipe, given):
    built = game(recipe, **given)
    x, y = toy(12).batch(torch.arange(12))
    y = y if built.nets.model.classes else None
    batch, doubled = Batch(x, y), Batch(twice(x), None if y is None else twice(y))
    built.nets.train()
    state = {k: v.clone() for k, v in built.nets.state_dict().items()}
    for player in built.objective.players():
        noise = built.noise(player.name, 12, step=2)
        one, two = [], []
        for found, b, n in ((one, batch, noise), (two, doubled, {k: twice(v) for k, v in noise.items()})):
            built.nets.load_state_dict(state)  # spectral norm and σ move with every pass
            loss = built.objective.loss(player.name, built.nets, b, n)
            assert all(v.shape == (len(b.x),) for v in loss.terms.values())
            assert set(loss.coupled) <= set(loss.terms)
            found += [*(v.mean() for v in loss.terms.values()), loss.total()]
            found += built.gradients(player.name, loss.total())
        assert max(g.abs().max() for g in one) > 1e-3
        torch.testing.assert_close(two, one, atol=2e-6, rtol=2e-5)


@pytest.mark.parametrize(("recipe", "given"), CASES)
def test_terms_say_rightly_whether_they_are_coupled(game, toy, recipe, given):
    """Another batch-mate changes a term of an observation if and only if the term is declared coupled."""
    built = game(recipe, **given)
    x, y = toy(8).batch(torch.arange(8))
    changed = torch.cat([x[:7], x[7:] + 2])
    y = y if built.nets.model.classes else None
    state = {k: v.clone() for k, v in built.nets.state_dict().items()}
    for player in built.objective.players():
        noise, terms = built.noise(player.name, 8, step=2), []
        for observations in (x, changed):
            built.nets.load_state_dict(state)
            loss = built.objective.loss(player.name, built.nets, Batch(observations, y), noise)
            terms.append(loss.terms)
        assert sorted(loss.coupled) == sorted(coupled(given))
        for name in loss.terms:
            moved = (terms[0][name][:7] - terms[1][name][:7]).abs().max() > 1e-5
            assert bool(moved) == (name in loss.coupled), name


@pytest.mark.parametrize(("recipe", "given"), [c for c in CASES if not coupled(c[1])])
def test_a_batch_in_parts_moves_as_the_whole(trainer, recipe, given):
    found = []
    for parts in (1, 2, 8):
        # Without spectral norm, whose power iteration goes on with every pass.
        plain = {"critic__spectral_norm": False} if recipe == "gan" else {}
        run = trainer(
            recipe,
            **(given | plain | {"train__accumulate": parts, "train__steps": 2, "train__log_every": 1}),
            train__optimizer="sgd",
            train__lr=0.1,
            train__betas=(0.0, 0.9),
            train__schedule="constant",
        )
        before = torch.cat([p.detach().flatten() for p in run.nets.parameters()])
        run.train()
        found.append(torch.cat([p.detach().flatten() for p in run.nets.parameters()]))
        assert (found[-1] - before).abs().max() > 1e-4
        terms = {k: v for k, v in run.history[0].items() if k not in ("step", "seconds")}
        if parts == 1:
            logged = terms
        assert terms == pytest.approx(logged, rel=1e-4, abs=1e-6)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("recipe", "given"), [c for c in CASES if coupled(c[1])])
def test_coupled_terms_are_refused_in_parts_before_anything_moves(trainer, recipe, given):
    run = trainer(recipe, **given, train__accumulate=2)
    before = [p.clone() for p in run.nets.parameters()]
    with pytest.raises(UsageError, match=rf"{coupled(given)[0]} depend on the whole batch.*train.accumulate"):
        run.train()
    assert all(torch.equal(a, b) for a, b in zip(before, run.nets.parameters(), strict=True))
    trainer(recipe, **given).train()


def test_parts_must_divide_the_batch(trainer):
    with pytest.raises(UsageError, match=r"train\.batch_size \(8\) must be a multiple of train\.accumulate \(3\)"):
        trainer("vae", train__accumulate=3)


def test_the_weighted_sum_of_a_loss():
    a, b = torch.tensor([1.0, 3.0]), torch.tensor([10.0, 30.0])
    loss = Loss({"a": a, "b": b}, {"b": torch.tensor(0.5)})
    assert loss.per_observation().tolist() == [6, 18]
    assert loss.total() == 12


@pytest.mark.parametrize("recipe", ["vae", "gan", "wgan-gp", "r3gan"])
def test_images_of_several_channels_too(game, recipe):
    """The same on pictures through convolutions, whose dimensions a reduction could forget."""
    spec = DataSpec.image(3, 8, 8)
    second = "encoder" if recipe == "vae" else "critic"
    norms = {"generator__norm": "none", f"{second}__norm": "none", "generator__width": 4, f"{second}__width": 4}
    spectral = {} if recipe == "vae" else {"critic__spectral_norm": False}
    built = game(recipe, spec, generator="conv", **{second: "conv"}, **norms, **spectral)
    pixels = torch.randint(256, (6, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x, _ = from_arrays(pixels).batch(torch.arange(6))
    for player in built.objective.players():
        noise = built.noise(player.name, 6)
        one = built.objective.loss(player.name, built.nets, Batch(x), noise)
        two = built.objective.loss(player.name, built.nets, Batch(twice(x)), {k: twice(v) for k, v in noise.items()})
        torch.testing.assert_close(two.total(), one.total(), atol=1e-6, rtol=1e-5)
        first = {k: v[:1] for k, v in noise.items()}
        alone = built.objective.loss(player.name, built.nets, Batch(x[:1]), first)
        for name, value in one.terms.items():
            torch.testing.assert_close(alone.terms[name], value[:1], atol=1e-5, rtol=1e-5)

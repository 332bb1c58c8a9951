"""Objectives for codes whose numbers mean one thing each: annealed capacity, covariances, the KL in three parts."""

import math

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.core.math.aggregate import aggregate, stratified_weights
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch
from genzoo.core.posterior import DiagonalNormal
from genzoo.core.prior import NormalPrior
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.nets.hierarchy import Hierarchy
from genzoo.plugins.vae.annealed import AnnealedVAE
from genzoo.plugins.vae.beta_tc import PARTS, BetaTCVAE
from genzoo.plugins.vae.dip_vae import DIPVAE
from genzoo.plugins.vae.vae import VAE


@pytest.fixture
def fixed(linear_gaussian):
    """Networks whose posterior is given."""

    def make(mean, log_var):
        oracle = linear_gaussian()
        x = oracle.to_model(oracle.data(1)).expand(len(mean), 4)
        oracle.model.posterior = lambda x, y=None: DiagonalNormal(mean, log_var)
        return oracle.networks(), Batch(x)

    return make


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_capacity_is_of_the_batch_and_lets_each_observation_take_what_it_needs(fixed):
    # KL of a mean alone is its square's half: two halves with C - δ and C + δ.
    capacity, delta = 8.0, 3.0
    each = torch.tensor([capacity - delta, capacity + delta] * 5)
    mean = torch.stack([(2 * each).sqrt(), torch.zeros(10)], 1).requires_grad_()
    nets, batch = fixed(mean, torch.zeros(10, 2))
    objective = AnnealedVAE(AnnealedVAE.Options(gamma=50.0, capacity=capacity))
    noise = {"eps": normal(10, 2), "capacity": torch.tensor(capacity)}
    loss = objective.loss("model", nets, batch, noise)
    assert loss.terms["off capacity"].abs().max() < 1e-5
    assert (loss.shown["kl"] - capacity).abs().mean().item() == pytest.approx(delta, rel=1e-4)  # one per image has δ
    loss = objective.loss("model", nets, batch, noise | {"capacity": torch.tensor(capacity + 2)})
    torch.testing.assert_close(loss.per_observation(), loss.terms["nll"] + 50.0 * 2)
    (slope,) = torch.autograd.grad(loss.terms["off capacity"].mean(), mean)
    torch.testing.assert_close(slope, -mean.detach() / 10)  # below capacity the KL is drawn up


@pytest.mark.parametrize(("progress", "rise", "share"), [(0, 0.5, 0), (0.25, 0.5, 0.5), (0.7, 0.5, 1), (0, 0, 1)])
def test_the_capacity_rises_over_its_share_of_training(linear_gaussian, progress, rise, share):
    draws = Draws(4, "cpu", steps=1000).at(0, int(1000 * progress), 0)
    objective = AnnealedVAE(AnnealedVAE.Options(capacity=20.0, rise=rise))
    assert objective.draw("model", draws, linear_gaussian().model)["capacity"].item() == pytest.approx(20 * share)


def test_numbers_and_categories_have_capacities_of_their_own(game):
    built = game("joint-vae", latent__size=8, posterior__normal=2, posterior__codes=3, objective__gamma=10.0,
                 objective__numbers=4.0, objective__categories=4.0, objective__rise=0.5)  # fmt: skip
    objective, nets = built.objective, built.nets
    draws = Draws(6, "cpu", steps=100).at(0, 25, 0)
    noise = objective.draw("model", draws, nets.model)
    assert noise["normal"].item() == noise["categorical"].item() == 2
    late = objective.draw("model", Draws(6, "cpu", steps=100).at(0, 60, 0), nets.model)
    assert late["normal"].item() == 4
    assert late["categorical"].item() == pytest.approx(2 * math.log(3))  # two categories of three say no more
    batch = Batch(normal(6, *nets.model.spec.shape))
    loss = objective.loss("model", nets, batch, noise)
    q = nets.model.posterior(batch.x)
    numbers, categories = q.kl()[:, :2].sum(1), q.kl()[:, 2:].sum(1)
    off = (numbers.mean() - 2).abs() + (categories.mean() - 2).abs()  # two distances, not one of the sum
    torch.testing.assert_close(loss.per_observation(), loss.terms["nll"] + 10 * off)
    torch.testing.assert_close(loss.shown["kl, normal"], numbers)


def whitened(n, d, seed=0):
    x = normal(n, d, seed=seed).double()
    x = x - x.mean(0)
    cov = x.T @ x / n
    return (x @ torch.linalg.inv(torch.linalg.cholesky(cov)).T).float()


def test_dip_costs_nothing_at_the_identity_and_the_squares_elsewhere(fixed):
    mean = whitened(64, 2)
    nets, batch = fixed(mean, torch.full((64, 2), -20.0))
    for form in ("i", "ii"):
        found = DIPVAE(DIPVAE.Options(form=form)).loss("model", nets, batch, {"eps": normal(64, 2)})
        assert found.terms["covariances"].abs().max() < 1e-8
        assert found.terms["variances"].abs().max() < 1e-8
    turned = mean @ torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    cov = turned.T @ turned / 64
    nets, batch = fixed(turned, torch.full((64, 2), math.log(0.3)))
    for form, more, ratio in (("i", 0.0, 10), ("ii", 0.3, 1)):
        options = DIPVAE.Options(form=form, apart=3.0)
        found = DIPVAE(options).loss("model", nets, batch, {"eps": normal(64, 2)})
        apart, spread = 2 * cov[0, 1].item() ** 2, (cov.diagonal() + more - 1).square().sum().item()
        assert found.terms["covariances"][0].item() == pytest.approx(apart, rel=1e-4)
        assert found.terms["variances"][0].item() == pytest.approx(spread, rel=1e-4)
        assert found.weights["variances"] == 3.0 * ratio
        bound = VAE().loss("model", nets, batch, {"eps": normal(64, 2)}).total().item()
        assert found.total().item() == pytest.approx(bound + 3 * apart + 3 * ratio * spread, rel=1e-4)


def test_the_three_parts_telescope_to_the_whole(fixed):
    n = 12
    mean, log_var = normal(n, 2, seed=1), normal(n, 2, seed=2) - 1
    nets, batch = fixed(mean, log_var)
    noise = {"eps": normal(n, 2), "population": torch.tensor(500.0)}
    found = BetaTCVAE(BetaTCVAE.Options(alpha=2.0, beta=6.0, gamma=0.5)).loss("model", nets, batch, noise)
    q = DiagonalNormal(mean, log_var)
    z = q.sample(noise["eps"])
    whole = (q.log_prob(z) - nets.model.prior.log_prob(z)).mean()
    torch.testing.assert_close(sum(found.terms[name] for name in PARTS)[0], whole)
    assert dict(found.weights) == dict(zip(PARTS, (2.0, 6.0, 0.5), strict=True))
    assert all(found.coupled[name] for name in PARTS)
    one = BetaTCVAE(BetaTCVAE.Options(beta=1.0)).loss("model", nets, batch, noise)
    torch.testing.assert_close(one.total(), one.terms["nll"].mean() + whole)


@pytest.mark.parametrize(("batch", "n"), [(2, 10), (8, 100), (64, 1000), (5, 5), (1, 10), (6, 0)])
def test_rows_of_the_weights_sum_to_one(batch, n):
    w = stratified_weights(batch, torch.tensor(float(n)), torch.zeros(())).exp()
    torch.testing.assert_close(w.sum(1), torch.ones(batch))
    if n > batch > 1:
        torch.testing.assert_close(w.diagonal(), torch.full((batch,), 1 / n))
        assert (w.sum(0) - 1).abs().max() < 1e-5  # nor does a column stand out
    else:
        torch.testing.assert_close(w, torch.full((batch, batch), 1 / batch))


def test_of_a_whole_population_the_parts_are_exact(fixed):
    n = 40
    mean, log_var = normal(n, 2, seed=1), normal(n, 2, seed=2) - 1
    nets, batch = fixed(mean, log_var)
    noise = {"eps": normal(n, 2), "population": torch.tensor(float(n))}
    found = BetaTCVAE().loss("model", nets, batch, noise)
    z = DiagonalNormal(mean, log_var).sample(noise["eps"])
    sd = (log_var / 2).exp()
    each = torch.distributions.Normal(mean, sd).log_prob(z[:, None]).exp()  # (B, N, d)
    joint, apart = each.prod(2).mean(1).log(), each.mean(1).log().sum(1)
    torch.testing.assert_close(found.terms["total correlation"][0], (joint - apart).mean(), rtol=1e-4, atol=1e-4)
    of = aggregate(z, mean, log_var, torch.full((n, n), -math.log(n)))
    torch.testing.assert_close(of.joint, joint, rtol=1e-4, atol=1e-4)


def test_cycles_raise_the_weight_again_and_again(linear_gaussian):
    model, objective = linear_gaussian().model, VAE(VAE.Options(kl_warmup=0.5, kl_cycles=4))

    def weight(progress, objective=objective):
        draws = Draws(4, "cpu", steps=800).at(0, int(800 * progress), 0)
        return objective.draw("model", draws, model)["beta"].item()

    for cycle in range(4):
        for at, expected in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 1.0)):
            assert weight((cycle + at) / 4) == pytest.approx(expected)
    assert weight(1.0) == 1
    once = VAE(VAE.Options(kl_warmup=0.5))
    assert [weight(p, once) for p in (0, 0.25, 0.5, 1)] == pytest.approx([0, 0.5, 1, 1])


class Layers(Hierarchy):
    """Stands for a hierarchy of two layers, of one number and of three."""

    shapes = [(1,), (3,)]  # noqa: RUF012

    def __init__(self):
        torch.nn.Module.__init__(self)


@pytest.fixture
def layered(fixed):
    mean = torch.tensor([[2.0, 0.5, 0.0, 0.0]]).expand(6, 4)  # KL of the layers 2 and .125
    nets, batch = fixed(mean, torch.zeros(6, 4))
    Layers.__abstractmethods__ = frozenset()
    nets.model.generator, nets.model.latent = Layers(), Latent(4)
    nets.model.prior = NormalPrior(Latent(4))
    nets.model.params = lambda q, z, y=None: torch.zeros(6, 4)
    return nets, batch


def test_bits_are_free_by_layer_at_so_much_for_each_number(layered):
    nets, batch = layered
    for free, paid in ((0.1, 2.0 + 0.3), (1.0, 2.0 + 3.0), (3.0, 3.0 + 9.0), (0.01, 2.125)):
        objective = VAE(VAE.Options(free_bits=free, free_by="layer"))
        found = objective.loss("model", nets, batch, {"eps": normal(6, 4)})
        assert found.terms["kl"][0].item() == pytest.approx(paid), free


def test_layers_weigh_by_what_they_say_for_their_size_while_the_weight_rises(layered):
    nets, batch = layered
    objective = VAE(VAE.Options(kl_warmup=0.5, kl_balance=True))

    def kl(beta):
        return objective.loss("model", nets, batch, {"eps": normal(6, 4), "beta": torch.tensor(beta)}).terms["kl"]

    shares = torch.tensor([2.01, 0.135 / 3])
    gamma = shares / shares.mean()
    assert kl(0.5)[0].item() == pytest.approx((gamma[0] * 2 + gamma[1] * 0.125).item(), rel=1e-5)
    assert kl(1.0)[0].item() == pytest.approx(2.125)
    # Layers of one KL and size weigh alike, so that the sum is what it was.
    nets.model.generator.shapes = [(2,), (2,)]
    nets.model.posterior = lambda x, y=None: DiagonalNormal(torch.full((6, 4), 0.7), torch.zeros(6, 4))
    assert kl(0.5)[0].item() == pytest.approx(4 * 0.245, rel=1e-5)
    nets.model.generator.shapes = [(4,)]  # one layer weighs 1, whatever it says
    assert kl(0.5)[0].item() == pytest.approx(4 * 0.245, rel=1e-5)
    with pytest.raises(UsageError, match="leave one out"):
        VAE(VAE.Options(kl_balance=True, free_bits=0.1)).plan(DataSpec("vector", (4,)))
    with pytest.raises(UsageError, match=r"objective\.kl_warmup"):  # without a warm-up it does nothing
        VAE(VAE.Options(kl_balance=True)).plan(DataSpec("vector", (4,)))


def test_bits_are_free_by_number_by_channel_or_by_code(fixed):
    mean = torch.tensor([[0.5, 2.0]]).expand(6, 2)  # KL .125 and 2
    nets, batch = fixed(mean, torch.zeros(6, 2))
    for by, free, paid in (
        ("number", 1.0, 1.0 + 2.0),
        ("code", 1.0, 2.125),
        ("code", 1.5, 3.0),
        ("channel", 0.1, 2.125),
    ):
        objective = VAE(VAE.Options(free_bits=free, free_by=by))
        found = objective.loss("model", nets, batch, {"eps": normal(6, 2)})
        assert found.terms["kl"][0].item() == pytest.approx(paid), (by, free)

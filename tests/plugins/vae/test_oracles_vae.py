"""Variational objectives and likelihood estimates against a linear model, where everything is known."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence

import genzoo
from genzoo.core.objective import Batch
from genzoo.core.posterior import DiagonalNormal, normal_kl
from genzoo.plugins.vae.beta_vae import BetaVAE
from genzoo.plugins.vae.vae import VAE


def close_in_expectation(values, truth, most):
    """The mean is within 4 standard errors of the truth, and these are small enough to mean something."""
    values = np.asarray(values, dtype=float)
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert error < most
    assert abs(values.mean() - truth) < 4 * error


def test_with_the_true_posterior_every_sample_tells_log_p(linear_gaussian):
    oracle = linear_gaussian()
    x = oracle.data(20)
    truth = oracle.log_p(x)
    assert truth.std() > 0.5
    for seed in range(5):
        found = oracle.model.log_likelihood(x, samples=1, seed=seed)
        np.testing.assert_allclose(found.values, truth, atol=2e-4)
    found = oracle.model.log_likelihood(x, samples=64)
    np.testing.assert_allclose(found.values, truth, atol=1e-4)
    np.testing.assert_allclose(found.effective_samples, 64, rtol=1e-6)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-4)
    assert found.mean == pytest.approx(truth.mean(), abs=1e-4)
    assert found.mean_standard_error == pytest.approx(truth.std(ddof=1) / math.sqrt(20), rel=1e-3)
    assert found.bits_per_dimension == pytest.approx(-truth.mean() / 4 / math.log(2), rel=1e-4)
    assert found.levels is None


@pytest.mark.parametrize(("off", "wide"), [(0.4, 1.0), (0.0, 1.3), (-0.3, 0.7)])
def test_with_another_posterior_the_bound_is_log_p_less_the_divergence(linear_gaussian, off, wide):
    oracle = linear_gaussian(off, wide)
    x = oracle.data(1)
    assert oracle.divergence() > 0.1
    found = oracle.model.log_likelihood(x.expand(4000, 4), samples=1)  # 4000 independent estimates
    close_in_expectation(found.values, oracle.log_p(x) - oracle.divergence(), 0.03)
    assert found.standard_error.isnan().all()  # one sample has no spread


def test_importance_bound_is_unbiased_rises_with_k_and_stays_below_log_p(linear_gaussian):
    oracle = linear_gaussian(0.25, 1.15)
    x = oracle.data(1)
    truth = oracle.log_p(x)
    means, errors = [], []
    for k in (1, 2, 4, 16, 64):
        found = oracle.model.log_likelihood(x.expand(3000, 4), samples=k, seed=k)
        close_in_expectation((found.values - truth).exp(), 1.0, 0.02)  # E[(1/K) Σ w] = p(x) for every K
        means.append(found.values.mean().item())
        errors.append(found.values.std().item() / math.sqrt(3000))
        assert (found.effective_samples >= 1 - 1e-9).all()
        assert (found.effective_samples <= k + 1e-9).all()
        if k == 64:  # the delta method's error is the true spread
            assert found.standard_error.mean().item() == pytest.approx(found.values.std().item(), rel=0.1)
    for i in range(4):
        assert means[i] < means[i + 1] + 3 * math.hypot(errors[i], errors[i + 1])
    assert means[0] + 0.05 < means[-1] < truth + 3 * errors[-1]
    assert means[0] == pytest.approx(truth - oracle.divergence(), abs=4 * errors[0])
    assert means[-1] == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_objective_is_the_negative_bound_in_expectation(linear_gaussian, beta):
    oracle = linear_gaussian(0.3, 0.8)
    x, n = oracle.data(1), 20_000
    objective = VAE() if beta == 1 else BetaVAE(BetaVAE.Options(beta=beta))
    batch = Batch(oracle.to_model(x).expand(n, 4))
    noise = {"eps": torch.randn(n, 2, generator=torch.Generator().manual_seed(0))}
    loss = objective.loss("model", oracle.networks(), batch, noise)
    assert loss.coupled == {}
    bound = oracle.log_p(x) - oracle.divergence()
    kl = loss.terms["kl"]
    assert kl.std() < 1e-5
    close_in_expectation((loss.terms["nll"] + kl).detach(), -bound, 0.02)
    close_in_expectation(loss.per_observation().detach(), -bound + (beta - 1) * kl[0].item(), 0.02)
    assert loss.total() == loss.per_observation().mean()
    # Held-out loss is the bound itself, whatever β.
    held_out = objective.held_out(oracle.networks(), batch, noise)
    torch.testing.assert_close(held_out, loss.terms["nll"] + kl)


def test_people_units_only_shift_a_density(linear_gaussian):
    oracle = linear_gaussian()
    volume = sum(math.log(s) for s in oracle.scale)
    assert oracle.model.likelihood.log_volume == pytest.approx(volume)
    x = oracle.data(3)
    in_model_space = stats.multivariate_normal(
        oracle.b.numpy(), (oracle.w @ oracle.w.T).numpy() + oracle.sigma**2 * np.eye(4)
    ).logpdf(oracle.to_model(x).numpy())
    found = oracle.model.log_likelihood(x, samples=1).values
    np.testing.assert_allclose(found, in_model_space - volume, atol=2e-4)


def probabilistic_pca(x, q):
    """Mean log density per observation at the maximum likelihood, from the eigenvalues (Tipping & Bishop, 1999)."""
    d = x.shape[1]
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    rest = eigenvalues[q:].mean()
    return -0.5 * (d * math.log(2 * math.pi) + np.log(eigenvalues[:q]).sum() + (d - q) * math.log(rest) + d)


def test_training_reaches_probabilistic_pca():
    random = torch.Generator().manual_seed(2)
    w = torch.randn(5, 2, generator=random)
    x = torch.randn(2000, 2, generator=random) @ w.T + 0.4 * torch.randn(2000, 5, generator=random) + 3
    settings = {"generator.depth": 0, "encoder.depth": 0, "train.lr": 0.03, "train.schedule": "cosine",
                "train.batch_size": 250, "train.validation": 0, "latent.size": 2}  # fmt: skip
    run = genzoo.fit("vae", x, steps=700, options=settings, device="cpu", progress=False)
    spec = run.model.spec
    inside = (x.numpy() - np.array(spec.shift)) / np.array(spec.scale)
    best = probabilistic_pca(inside, 2) - np.log(spec.scale).sum()
    found = run.model.log_likelihood(x, samples=50)
    assert best - 0.01 < found.mean < best + 1e-3  # the best of all such models, in data units
    one = run.model.log_likelihood(x, samples=1, seed=1)
    assert best - 0.05 < one.mean  # the bound is tight: the posterior is known to be diagonal at the optimum
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(inside.T, bias=True)))
    assert run.model.likelihood.log_sigma.exp().item() == pytest.approx(math.sqrt(eigenvalues[:3].mean()), rel=0.02)


def test_kl_has_its_closed_form_and_the_articles_has_not():
    mean = torch.tensor([[0.0, 1.0, -2.0, 0.3]], dtype=torch.float64, requires_grad=True)
    log_var = torch.tensor([[0.0, -1.0, 0.7, 2.0]], dtype=torch.float64, requires_grad=True)
    truth = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(torch.zeros(4), torch.ones(4)))
    ours = DiagonalNormal(mean, log_var).kl()
    torch.testing.assert_close(ours, truth)
    torch.testing.assert_close(normal_kl(mean, log_var), truth)
    for a, b in zip(*(torch.autograd.grad(k.sum(), (mean, log_var), retain_graph=True) for k in (ours, truth)),
                    strict=True):  # fmt: skip
        torch.testing.assert_close(a, b)

    def articles(mean, log_var):
        return (log_var.exp() - 0.5 * mean.square() - 1).mean()

    # The article's falls without bound as the mean goes away from the prior; at σ = ½ it is negative.
    zero = torch.zeros(1, dtype=torch.float64)
    assert articles(torch.tensor([10.0]), zero) == -50
    assert normal_kl(torch.tensor([10.0]), torch.zeros(1)) == 50
    assert articles(zero, torch.log(torch.tensor([0.25]))) == -0.75
    assert normal_kl(zero, torch.log(torch.tensor([0.25], dtype=torch.float64))) == pytest.approx(0.318147, abs=1e-6)


def test_posterior_density_and_samples():
    mean, log_var = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, -1.0]])
    q = DiagonalNormal(mean, log_var)
    z = torch.randn(7, 1, 2, generator=torch.Generator().manual_seed(0))
    expected = Normal(mean, (log_var / 2).exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(q.log_prob(z), expected)
    torch.testing.assert_close(q.sample(torch.zeros(1, 2)), mean)
    torch.testing.assert_close(q.sample(torch.ones(1, 2)), mean + (log_var / 2).exp())


def test_free_bits_cost_nothing_below_and_everything_above(linear_gaussian):
    oracle = linear_gaussian()
    batch = Batch(oracle.to_model(oracle.data(50)))
    noise = {"eps": torch.zeros(50, 2)}
    q = oracle.model.posterior(batch.x)
    by_dimension = q.kl().mean(0)
    free = (by_dimension[0] + by_dimension[1]).item() / 2  # between the two: one pays, one does not
    low, high = int(by_dimension.argmin()), int(by_dimension.argmax())
    loss = VAE(VAE.Options(free_bits=free)).loss("model", oracle.networks(), batch, noise)
    assert loss.terms["kl"].mean().item() == pytest.approx(by_dimension[high].item() + free, rel=1e-5)
    assert loss.coupled == {"kl": True}
    torch.testing.assert_close(loss.shown["raw kl"], q.kl().sum(1))
    mean = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 3.0])
    mean.requires_grad_()

    class Fixed:
        def __call__(self, x, y=None):
            return DiagonalNormal(mean, torch.zeros(6, 2))

    oracle.model.posterior = Fixed()
    loss = VAE(VAE.Options(free_bits=free)).loss(
        "model", oracle.networks(), Batch(batch.x[:6]), {"eps": noise["eps"][:6]}
    )
    (gradient,) = torch.autograd.grad(loss.terms["kl"].mean(), mean)
    assert (gradient[:, 0] == 0).all()
    torch.testing.assert_close(gradient[:, 1], mean[:, 1].detach() / 6)
    assert low != high

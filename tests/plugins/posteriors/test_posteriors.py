"""Every posterior family: its weights average to p(x) whatever its parameters, and its densities are densities."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.networks import Encoder, Ports
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.full_normal import FullNormalHead
from genzoo.plugins.posteriors.iaf import IAF
from genzoo.plugins.posteriors.normal import HamiltonianHead
from genzoo.plugins.posteriors.normal import Normal as NormalHead
from genzoo.plugins.posteriors.planar import Planar
from genzoo.plugins.posteriors.riemannian import RiemannianHead
from genzoo.plugins.posteriors.spline import Spline

HAMILTONIAN = [(3, 0.01, 0.3), (3, 0.2, 1.0), (4, 0.1, 0.6), (0, 0.1, 0.3)]
HEADS = {
    "normal": lambda d: NormalHead(Latent(d)),
    "iaf": lambda d: IAF(Latent(d), IAF.Options(depth=3, width=8, context=2)),
    "riemannian": lambda d: RiemannianHead(Latent(d), RiemannianHead.Options(size=0.05, beta=0.6, centroids=4)),
    "planar": lambda d: Planar(Latent(d), Planar.Options(depth=2)),
    "radial": lambda d: Planar(Latent(d), Planar.Options(depth=2, kind="radial")),
    "normal-full": lambda d: FullNormalHead(Latent(d)),
    "spline": lambda d: Spline(Latent(d), Spline.Options(depth=2, width=8, bins=4, context=2)),
    **{f"hamiltonian {o}": lambda d, o=o: HamiltonianHead(Latent(d), HamiltonianHead.Options(*o)) for o in HAMILTONIAN},
}


class Wide(Encoder):
    """The oracle's encoder, with further numbers for a posterior that takes them."""

    def __init__(self, inner, ports):
        super().__init__(ports)
        self.inner, self.more = inner, ports.outputs[0] - 4

    def forward(self, x, y=None):
        return torch.cat([self.inner(x), x.repeat(1, 4)[:, : self.more]], 1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def perturbed(head, scale=0.3):
    """A head whose parameters are anything."""
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in head.named_parameters():
            if name != "log_step":
                p.add_(scale * torch.randn(p.shape, generator=random))
    return head


@pytest.fixture
def modelled(linear_gaussian):
    def make(head, off=0.2, wide=1.1):
        oracle = linear_gaussian(off, wide)
        m = oracle.model
        encoder = Wide(m.encoder, Ports((4,), head.input_shape))
        oracle.model = Model(m.spec, m.latent, m.generator, m.likelihood, encoder, head)
        return oracle

    return make


@pytest.mark.parametrize("name", HEADS)
def test_the_weights_average_to_p_of_x_at_any_parameters(modelled, name):
    # A flow's gates make a normal narrower, and a proposal narrower than the posterior has weights of no variance.
    oracle = modelled(perturbed(HEADS[name](2), 0.2), wide=2.2 if name in ("iaf", "normal-full") else 1.1)
    x, n = oracle.data(1), 20_000
    head = oracle.model.head
    eps = torch.randn(n, 1, *head.noise_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        w = oracle.model.log_weights(oracle.to_model(x), None, eps).double() - oracle.log_p(x).item()
    ratio = w.exp().squeeze(1)
    error = ratio.std().item() / math.sqrt(n)
    assert error < 0.03
    assert abs(ratio.mean().item() - 1) < 4 * error
    assert w.std() > 1e-3  # it isn't the true posterior, which would prove nothing


@pytest.mark.parametrize("name", HEADS)
def test_the_kl_is_its_own_monte_carlo(modelled, name):
    oracle = modelled(perturbed(HEADS[name](2)))
    model, n = oracle.model, 4000
    x = oracle.to_model(oracle.data(1)).expand(n, 4)
    eps = torch.randn(n, *model.head.noise_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        q = model.posterior(x)
        z, kl = model.code(q, eps)
        z_again, log_q = q.sample_with_log_prob(eps)
        estimate = log_q - model.prior.log_prob(z_again)
    torch.testing.assert_close(z, z_again)
    error = estimate.std().item() / math.sqrt(n)
    assert abs(kl.mean().item() - estimate.mean().item()) < 4 * error
    if name == "normal-full":
        assert kl.std() < 1e-4
    elif name == "normal":
        assert kl.std() < 1e-5  # in closed form
        truth = torch.distributions.kl_divergence(Normal(q.mean[0], (0.5 * q.log_var[0]).exp()), Normal(0.0, 1.0))
        assert kl[0].item() == pytest.approx(truth.sum().item(), rel=1e-5)
    else:
        assert kl.std() > 1e-3
        torch.testing.assert_close(kl, estimate)


def test_a_flow_scores_its_samples_by_inverting_itself_and_by_the_jacobian():
    head = perturbed(IAF(Latent(4), IAF.Options(depth=3, width=16, context=3)), 0.5)
    random = torch.Generator().manual_seed(1)
    q = head(torch.randn(5, 11, generator=random))
    eps = torch.randn(7, 5, 4, generator=random)
    z, log_q = q.sample_with_log_prob(eps)
    torch.testing.assert_close(q.sample(eps), z)
    torch.testing.assert_close(q.log_prob(z), log_q, atol=5e-3, rtol=1e-3)
    one = head(torch.randn(1, 11, generator=random))
    e = eps[0, :1]
    jacobian = torch.autograd.functional.jacobian(lambda e: one.sample(e), e).reshape(4, 4)
    expected = Normal(0.0, 1.0).log_prob(e).sum() - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(one.sample_with_log_prob(e)[1].squeeze(), expected, atol=1e-4, rtol=1e-4)
    off = jacobian - torch.diag(torch.diag(jacobian))
    assert off.abs().max() > 0.01  # its numbers do depend on each other


def test_leapfrog_steps_raise_the_bound_of_a_posterior_that_is_off(modelled):
    bounds = []
    for steps in (0, 5):
        oracle = modelled(HamiltonianHead(Latent(2), HamiltonianHead.Options(steps, 0.1, 0.5)), off=0.8)
        eps = torch.randn(1, 500, 4, generator=torch.Generator().manual_seed(0))
        x = oracle.to_model(oracle.data(1)).expand(500, 4)
        with torch.no_grad():
            bounds.append(oracle.model.log_weights(x, None, eps).mean().item())
    assert bounds[0] + 0.4 < bounds[1] < oracle.log_p(oracle.data(1)).item()


def test_gradients_reach_the_step_sizes_and_the_gates(modelled):
    for name, weight in (("hamiltonian (3, 0.2, 1.0)", "log_step"), ("iaf", "gates.0.last.weight")):
        oracle = modelled(perturbed(HEADS[name](2)))
        model = oracle.model
        x = oracle.to_model(oracle.data(8))
        eps = torch.randn(8, *model.head.noise_shape, generator=torch.Generator().manual_seed(0))
        q = model.posterior(x)
        z, kl = model.code(q, eps)
        loss = (kl - model.likelihood.log_prob(model.generator(z), x)).mean()
        (found,) = torch.autograd.grad(loss, [dict(model.head.named_parameters())[weight]])
        assert found.abs().max() > 1e-4
        with torch.no_grad():  # against a finite difference
            p = dict(model.head.named_parameters())[weight].view(-1)
            i = int(found.abs().view(-1).argmax())
            values = []
            for step in (-1e-2, 1e-2):
                p[i] += step
                q = model.posterior(x)
                z, kl = model.code(q, eps)
                values.append((kl - model.likelihood.log_prob(model.generator(z), x)).mean().item())
                p[i] -= step
        assert (values[1] - values[0]) / 2e-2 == pytest.approx(found.view(-1)[i].item(), rel=0.05, abs=1e-3)


def test_encoding_draws_the_same_codes_whatever_the_batch_size(modelled):
    oracle = modelled(perturbed(HEADS["iaf"](2)))
    x = oracle.data(10)
    whole = oracle.model.encode(x, sample=True)
    parts = oracle.model.encode(x, sample=True, batch_size=3)
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    assert oracle.model.posterior_numbers(x)[1].shape == (10, 1)


def test_a_flow_of_flat_codes_refuses_a_grid():
    with pytest.raises(UsageError, match="flat codes"):
        IAF(Latent(2, 7))


def test_an_objective_may_name_the_families_that_it_works_with():
    from genzoo.core.build import build
    from genzoo.core.objective import Plan
    from genzoo.core.spec import DataSpec
    from genzoo.plugins.vae.vae import VAE
    from genzoo.registry import the_registry
    from genzoo.registry.recipes.compose import compose, resolver

    class Choosy(VAE):
        def plan(self, spec, classes=0):
            return Plan(posterior="normal", likelihood=True, posteriors=("normal",))

    spec, registry = DataSpec("vector", (2,)), the_registry()
    config = compose(registry, spec, "vae-iaf", {"latent.size": 2})
    usual = resolver(registry, config)
    with pytest.raises(UsageError, match="works with posterior normal, not iaf"):
        build(config, lambda kind, name: Choosy if kind == "objective" else usual(kind, name))

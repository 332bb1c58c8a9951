"""Posteriors that are more than diagonal normals: densities by Jacobian and by inversion, and where they are exact."""

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from genzoo.core.errors import UsageError
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.curved import Riemannian
from genzoo.plugins.posteriors.full_normal import FullNormalHead
from genzoo.plugins.posteriors.normal import HamiltonianHead
from genzoo.plugins.posteriors.planar import Planar
from genzoo.plugins.posteriors.riemannian import RiemannianHead
from genzoo.plugins.posteriors.spline import Spline

HEADS = {
    "planar": lambda: Planar(Latent(3), Planar.Options(depth=4)),
    "radial": lambda: Planar(Latent(3), Planar.Options(depth=4, kind="radial")),
    "normal-full": lambda: FullNormalHead(Latent(3)),
    "spline": lambda: Spline(Latent(3), Spline.Options(depth=2, width=8, bins=4, context=3)),
}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def posterior(name, n):
    head = HEADS[name]()
    return head(1.5 * torch.randn(n, *head.input_shape, generator=torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("name", HEADS)
def test_a_sample_is_scored_by_jacobian_and_by_inversion(name):
    q, eps = posterior(name, 5), torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(1))
    z, log_q = q.sample_with_log_prob(eps)
    torch.testing.assert_close(q.sample(eps), z)
    torch.testing.assert_close(q.log_prob(z), log_q, atol=1e-3, rtol=1e-3)
    one, e = posterior(name, 1), eps[0, :1]
    jacobian = torch.autograd.functional.jacobian(lambda e: one.sample(e), e).reshape(3, 3)
    expected = Normal(0.0, 1.0).log_prob(e).sum() - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(one.sample_with_log_prob(e)[1].squeeze(), expected, atol=1e-4, rtol=1e-4)
    off = jacobian - torch.diag(torch.diag(jacobian))
    assert off.abs().max() > 0.01  # its numbers depend on each other


@pytest.mark.parametrize("name", HEADS)
def test_its_density_has_the_slopes_that_finite_differences_have(name):
    """Also where it is by inversion: a mixture of posteriors is trained through it."""
    head = HEADS[name]()
    numbers = torch.randn(1, *head.input_shape, generator=torch.Generator().manual_seed(2)).requires_grad_()
    z = torch.tensor([[0.4, -0.2, 0.9]])
    (slope,) = torch.autograd.grad(head(numbers).log_prob(z).sum(), numbers)
    with torch.no_grad():
        for j in range(numbers.shape[1]):
            step = torch.zeros_like(numbers)
            step[0, j] = 1e-2
            right, left = (head(numbers + s * step).log_prob(z).item() for s in (1, -1))
            assert slope[0, j].item() == pytest.approx((right - left) / 2e-2, abs=0.02, rel=0.05)


@torch.no_grad()
def test_planar_layers_are_invertible_on_every_line():
    """wᵀz + wᵀû tanh(wᵀz + b) rises, whatever the encoder says."""
    head = Planar(Latent(2), Planar.Options(depth=1))
    numbers = torch.zeros(200, *head.input_shape)
    numbers[:, 4:] = 5 * torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    q = head(numbers)
    u, w, _ = q.layers[0]
    assert (u * w).sum(1).min() > -1
    line = torch.linspace(-4, 4, 201)[:, None, None] * w / w.norm(dim=1, keepdim=True)
    along = (q.step(line, q.layers[0])[0] * w).sum(-1)
    assert (along.diff(dim=0) > -1e-4).all()
    plain = (numbers[:, 4:6] * w).sum(1)  # without û some are not
    assert plain.min() < -1


@torch.no_grad()
def test_the_full_normal_is_the_one_of_torch():
    q = posterior("normal-full", 4)
    truth = MultivariateNormal(q.mean, scale_tril=q.factor)
    z = torch.randn(6, 4, 3)
    torch.testing.assert_close(q.log_prob(z), truth.log_prob(z), atol=1e-4, rtol=1e-4)
    unit = MultivariateNormal(torch.zeros(4, 3), torch.eye(3))
    torch.testing.assert_close(q.kl().sum(1), kl_divergence(truth, unit), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_full_normal_is_exact_where_a_diagonal_one_is_not():
    """The posterior of x = W z + σ ε with columns of W that are not orthogonal has correlations."""
    w, sigma = torch.tensor([[1.0, 0.8], [0.3, 1.2]]), 0.5
    precision = torch.eye(2) + w.T @ w / sigma**2
    covariance = torch.linalg.inv(precision)
    x = torch.tensor([0.7, -0.4])
    mean = covariance @ w.T @ x / sigma**2
    factor = torch.linalg.cholesky(covariance)
    head = FullNormalHead(Latent(2))
    diagonal = torch.log(torch.expm1(factor.diagonal() - 1e-6))
    numbers = torch.cat([mean, diagonal, factor[1, :1] * 2**0.5])[None]
    z, log_q = head(numbers).sample_with_log_prob(torch.randn(50, 1, 2))
    log_joint = Normal(z @ w.T, sigma).log_prob(x).sum(-1) + Normal(0.0, 1.0).log_prob(z).sum(-1)
    evidence = MultivariateNormal(torch.zeros(2), w @ w.T + sigma**2 * torch.eye(2)).log_prob(x)
    torch.testing.assert_close(log_joint - log_q, evidence.expand(50, 1), atol=1e-3, rtol=1e-3)


def test_splines_leave_noise_beyond_five_as_it_is():
    q = posterior("spline", 1)
    eps = torch.tensor([[[7.0, -6.0, 8.0]]])
    torch.testing.assert_close(q.transform(eps), eps)
    assert (q.transform(eps / 8) - eps / 8).abs().max() > 0.01


def test_what_does_not_fit_is_refused():
    for make in (Planar, FullNormalHead, Spline):
        with pytest.raises(UsageError, match="flat codes"):
            make(Latent(2, 4))
    with pytest.raises(UsageError, match="at least 2"):
        Spline(Latent(1))


class Curved:
    """A log p(x, z) that is no quadratic."""

    def __call__(self, z):
        return -(z**2).sum(-1) - (z[..., 0] * z[..., 1]).sin()


def test_in_a_flat_metric_riemannian_steps_are_hamiltonian_ones():
    flat = RiemannianHead(Latent(2), RiemannianHead.Options(3, 0.1, 0.5, floor=1.0))
    plain = HamiltonianHead(Latent(2), HamiltonianHead.Options(3, 0.1, 0.5))
    numbers = torch.tensor([[0.3, -0.5, -1.0, 0.2]])
    q = Riemannian(*numbers.chunk(2, 1), torch.zeros(1, 2, 2), flat).refined(Curved())
    truth = plain(numbers).refined(Curved())
    eps = torch.randn(9, 1, 4, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(q.sample_with_log_prob(eps), truth.sample_with_log_prob(eps), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_its_steps_keep_volume_the_better_the_smaller_they_are():
    """|det| of (z, ρ) → (z', ρ') is 1 for exact fixed points; of three turns, up to a power of the step."""
    off = []
    for size in (0.4, 0.1):
        head = RiemannianHead(Latent(2), RiemannianHead.Options(1, size, 1.0, centroids=3))
        head.metrics.copy_(torch.eye(2).expand(3, 2, 2))
        q = head(torch.tensor([[0.3, -0.5, -1.0, 0.2, 0.1, 0.4, 0.5]])).refined(Curved())
        eps = torch.tensor([[0.2, -0.7, 0.4, 0.9]])
        z, log_q = q.sample_with_log_prob(eps)
        first = q.start.sample(eps[:, :2])
        root = torch.linalg.cholesky(q.inverse(first))
        assert torch.linalg.eigvalsh(q.inverse(z)).min() > 0
        gamma = torch.linalg.solve_triangular(root.mT, eps[:, 2:, None], upper=True)[..., 0]
        # With β₀ = 1 what is conserved is the energy; log q says what became of the momentum's.
        kept = Curved()(z) - Curved()(first) - (log_q - q.start.log_prob(first))
        off.append(kept.abs().item())
        assert torch.isfinite(gamma).all()
    assert off[1] < off[0] / 8

"""Codes that are not any numbers: directions, points of a hyperbolic ball, positive numbers, categories."""

import itertools
import math

import pytest
import torch
from torch.distributions import Gamma, Normal, kl_divergence

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.math.angles import Angles, log_area
from genzoo.core.math.gamma import gamma_quantile
from genzoo.core.math.hyperbolic import EDGE, added, from_tangent, to_tangent
from genzoo.core.spec import Latent
from genzoo.plugins.nets.gyroplane import Gyroplanes
from genzoo.plugins.posteriors.categorical import CategoricalHead
from genzoo.plugins.posteriors.directional import PowerSpherical, VonMisesFisher
from genzoo.plugins.posteriors.gamma import GammaHead, Gammas
from genzoo.plugins.posteriors.product import ProductHead
from genzoo.plugins.posteriors.wrapped_normal import WrappedNormal, WrappedNormalHead
from genzoo.plugins.priors.poincare import Poincare
from genzoo.plugins.priors.sphere import Sphere

mpmath = pytest.importorskip("mpmath")


def ratio(d, k):
    """E[cos t] of von Mises-Fisher."""
    return mpmath.besseli(mpmath.mpf(d) / 2, k) / mpmath.besseli(mpmath.mpf(d) / 2 - 1, k)


@pytest.mark.parametrize("d", [2, 3, 11, 200])
def test_von_mises_fisher_by_quadrature_is_that_of_bessel_functions(d):
    for k in (0.5, 2.0, 10.0, 500.0):
        kappa = torch.tensor([k], requires_grad=True)
        law = Angles(kappa, d)
        uniform = (torch.arange(2000)[:, None] + 0.5) / 2000
        mean = law.quantile(uniform).cos().mean()
        assert mean.item() == pytest.approx(float(ratio(d, k)), rel=1e-4)
        # Through rejection, the slope came out .120 at d = 3, κ = 2, where it is .174.
        slope = float(mpmath.diff(lambda x: ratio(d, x), k))
        (found,) = torch.autograd.grad(mean, kappa, retain_graph=True)
        assert found.item() == pytest.approx(slope, rel=2e-3)
        half = mpmath.mpf(d) / 2 - 1
        log_c = half * mpmath.log(k) - (half + 1) * mpmath.log(2 * mpmath.pi) - mpmath.log(mpmath.besseli(half, k))
        divergence = float(k * ratio(d, k) + log_c) + log_area(d)
        assert law.divergence().item() == pytest.approx(divergence, rel=1e-4, abs=1e-5)
        (found,) = torch.autograd.grad(law.divergence().sum(), kappa, retain_graph=True)
        assert found.item() == pytest.approx(k * slope, rel=2e-3, abs=1e-6)
        assert law.log_density(torch.tensor([[0.3]])).item() == pytest.approx(
            float(log_c + 0.3 * k), rel=1e-4, abs=1e-3
        )


@pytest.mark.parametrize("d", [2, 3, 50])
def test_power_spherical_by_quadrature_is_its_closed_form(d):
    for k in (0.5, 10.0, 500.0):
        kappa = torch.tensor([k], requires_grad=True)
        law = Angles(kappa, d, power=True)
        mean = law.quantile((torch.arange(2000)[:, None] + 0.5) / 2000).cos().mean()
        a, b = torch.tensor((d - 1) / 2 + k, dtype=torch.float64, requires_grad=True), (d - 1) / 2
        (slope,) = torch.autograd.grad((2 * a / (a + b) - 1), a)
        (found,) = torch.autograd.grad(mean, kappa)
        assert mean.item() == pytest.approx((2 * a / (a + b) - 1).item(), rel=1e-4)
        assert found.item() == pytest.approx(slope.item(), rel=2e-3)
        log_norm = -((a + b) * math.log(2) + b * math.log(math.pi) + torch.lgamma(a) - torch.lgamma(a + b))
        truth = log_norm + k * (math.log(2) + torch.digamma(a) - torch.digamma(a + b)) + log_area(d)
        assert law.divergence().item() == pytest.approx(truth.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("make", [VonMisesFisher, PowerSpherical])
@torch.no_grad()
def test_densities_on_the_sphere_integrate_to_one(make):
    q = make(Latent(3))(torch.tensor([[0.5, -1.0, 0.3, 2.0]]))
    cos, phi = torch.meshgrid((torch.arange(400) + 0.5) / 200 - 1, torch.arange(200) * math.pi / 100, indexing="ij")
    z = torch.stack([cos, (1 - cos**2).sqrt() * phi.cos(), (1 - cos**2).sqrt() * phi.sin()], -1).view(-1, 1, 3)
    cell = (1 / 200) * (math.pi / 100)
    assert q.log_prob(z).exp().sum().item() * cell == pytest.approx(1, abs=1e-3)
    assert Sphere(Latent(3)).log_prob(z).exp().sum().item() * cell == pytest.approx(1, abs=1e-5)
    z = q.sample(torch.randn(20_000, 1, 4, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(20_000, 1))
    each = q.log_prob(z) - Sphere(Latent(3)).log_prob(z)
    assert each.mean().item() == pytest.approx(q.kl().sum().item(), abs=5 * each.std().item() / 20_000**0.5)


@pytest.mark.parametrize("log_var", [-80.0, -95.0, -110.0])  # from -104 on a variance is zero, in float32
def test_a_wrapped_normal_whose_variance_rounds_to_zero_has_a_density_and_slopes(log_var):
    numbers, eps = torch.tensor([[0.3, -0.2, log_var, 1.0]], requires_grad=True), torch.tensor([[1.0, -0.5]])
    z, log_q = WrappedNormalHead(Latent(2))(numbers).sample_with_log_prob(eps)
    (z.sum() + log_q.sum()).backward()
    second = 3 - math.log1p(math.exp(2))  # of the second direction, as the head bounds it
    small = -0.5 * (1.25 + log_var + second + 2 * math.log(2 * math.pi))
    r = 0.5 * math.exp(0.5 * second)  # how far the draw is
    assert log_q.item() == pytest.approx(small - math.log(math.sinh(r) / r), rel=1e-5)
    assert numbers.grad is not None
    assert numbers.grad.isfinite().all()


def test_sums_of_opposite_points_of_the_edge_have_bounded_slopes():
    a = torch.nn.functional.normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=-1) * EDGE
    x = (-a).requires_grad_()
    added(x, a * (1 + 1e-7)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() < 1e7  # 1 / (1 - r²)² at the edge is 2.5e9 times what is near 0


@torch.no_grad()
def test_the_wrapped_normal_integrates_to_one_over_the_hyperbolic_disc():
    q = WrappedNormal(torch.tensor([[0.4, -0.3]]), torch.tensor([[-1.0, -0.4]]))
    prior = Poincare(Latent(2), Poincare.Options(scale=0.8))
    r, phi = torch.meshgrid((torch.arange(600) + 0.5) / 100, torch.arange(300) * math.pi / 150, indexing="ij")
    z = from_tangent(torch.stack([r * phi.cos(), r * phi.sin()], -1).view(-1, 1, 2))
    cell = torch.sinh(r).flatten() * (1 / 100) * (math.pi / 150)  # of hyperbolic area
    assert (q.log_prob(z)[:, 0].exp() * cell).sum().item() == pytest.approx(1, abs=2e-3)
    assert (prior.log_prob(z)[:, 0].exp() * cell).sum().item() == pytest.approx(1, abs=2e-3)
    z, log_q = q.sample_with_log_prob(torch.randn(50, 1, 2, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(q.log_prob(z), log_q, atol=1e-2, rtol=1e-3)
    assert z.norm(dim=-1).max() < 1


@torch.no_grad()
def test_a_small_ball_is_flat():
    """Where all that happens is near the middle, the KL is the one of normals."""
    s = 1e-2
    mean, log_var = torch.tensor([[0.5, -1.0]]), torch.tensor([[-1.0, 0.2]])
    q = WrappedNormal(from_tangent(s * mean), log_var + 2 * math.log(s))
    prior = Poincare(Latent(2), Poincare.Options(scale=s))
    z, log_q = q.sample_with_log_prob(torch.randn(20_000, 1, 2, generator=torch.Generator().manual_seed(0)))
    each = log_q - prior.log_prob(z)
    truth = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0)).sum().item()
    assert each.mean().item() == pytest.approx(truth, abs=5 * each.std().item() / 20_000**0.5 + 5e-3)


@torch.no_grad()
def test_gyroplanes_read_the_distance_to_a_hyperplane():
    """A point that is r away from the plane's own point, along its normal there, is r away from the plane."""
    layer = Gyroplanes(3, 5)
    layer.point.mul_(8)
    length = layer.normal.norm(dim=1)
    for r in (-2.0, 0.0, 1.5):
        off = from_tangent(r * layer.normal / length[:, None])
        z = added(from_tangent(layer.point), off)
        found = layer(z).diagonal() / (2 * length)
        torch.testing.assert_close(found, torch.full((5,), r), atol=1e-2, rtol=1e-2)


@torch.no_grad()
def test_ways_through_the_ball_are_geodesics():
    prior = Poincare(Latent(2))
    a, b = torch.tensor([[0.7, 0.1]]), torch.tensor([[-0.2, 0.8]])
    way = prior.path(a, b, torch.linspace(0, 1, 9))[0]
    steps = to_tangent(added(-way[:-1], way[1:])).norm(dim=1)
    torch.testing.assert_close(steps, steps.mean().expand(8), rtol=1e-3, atol=1e-4)
    assert steps.sum().item() == pytest.approx(to_tangent(added(-a, b)).norm().item(), rel=1e-3)
    torch.testing.assert_close(way[[0, -1]], torch.cat([a, b]), atol=1e-4, rtol=1e-4)


def test_gamma_numbers_are_quantiles_with_the_slopes_of_the_distribution_function():
    from scipy import stats

    for shape in (0.2, 1.0, 7.0, 300.0):
        eps = torch.linspace(-4, 4, 33)
        alpha = torch.full((33,), shape, requires_grad=True)
        z = gamma_quantile(eps, alpha)
        truth = torch.tensor(stats.gamma.ppf(stats.norm.cdf(eps.double().numpy()), shape)).float()
        torch.testing.assert_close(z, truth, rtol=1e-4, atol=0)
        (found,) = torch.autograd.grad(z.sum(), alpha)
        h = 1e-4 * shape
        p = stats.norm.cdf(eps.double().numpy())
        slope = torch.tensor((stats.gamma.ppf(p, shape + h) - stats.gamma.ppf(p, shape - h)) / (2 * h)).float()
        torch.testing.assert_close(found, slope, rtol=5e-3, atol=1e-6)


@torch.no_grad()
def test_the_gamma_posterior_is_the_one_of_torch():
    q = GammaHead(Latent(3))(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))
    q = Gammas(q.shape, q.rate, (torch.full((1, 3), 2.0), torch.full((1, 3), 1.5)))
    truth = Gamma(q.shape, q.rate)
    torch.testing.assert_close(q.kl(), kl_divergence(truth, Gamma(2.0, 1.5)), atol=1e-4, rtol=1e-4)
    z = q.sample(torch.randn(10_000, 4, 3, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(z.mean(0), truth.mean, rtol=0.06, atol=0)
    torch.testing.assert_close(z.var(0), truth.variance, rtol=0.12, atol=0)
    torch.testing.assert_close(q.log_prob(z[:5]), truth.log_prob(z[:5]).sum(-1), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_categories_are_drawn_by_their_probabilities_and_their_kl_is_exact():
    head = CategoricalHead(Latent(6), CategoricalHead.Options(codes=3)).eval()
    q = head(torch.randn(1, 6, generator=torch.Generator().manual_seed(0)))
    words = list(itertools.product(range(3), repeat=2))
    codes = head.embed(torch.tensor(words))
    p = torch.tensor([q.log_p[0, 0, a].exp() * q.log_p[0, 1, b].exp() for a, b in words])
    torch.testing.assert_close(q.log_prob(codes[:, None]).exp().squeeze(1), p)
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert q.kl().sum().item() == pytest.approx((p * (p.log() + 2 * math.log(3))).sum().item(), abs=1e-5)
    n = 40_000
    eps = torch.randn(n, 1, 6, generator=torch.Generator().manual_seed(1))
    drawn = head.tokens_of(q.sample(eps))[:, 0]
    share = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / n
    assert ((share - p).abs() < 4.5 * (p / n).sqrt() + 1e-4).all()
    # Relaxed, the largest number is the same.
    soft = head.train()(torch.log(q.mean)).sample(eps)
    assert torch.equal(head.tokens_of(soft)[:, 0], drawn)
    assert 0 < soft.min() < 0.3 < soft.max() < 1 + 1e-6


def test_the_temperature_falls_once_a_step_and_not_below_its_end(trainer):
    """PyTorch-VAE multiplies the decay into the temperature again at each step."""
    head = CategoricalHead(Latent(4), CategoricalHead.Options(codes=2, cooling=0.1, temperature=(1.0, 0.5)))
    for steps in range(10):
        heat = head(torch.zeros(1, 4)).temperature.item()
        assert heat == pytest.approx(max(math.exp(-0.1 * steps), 0.5), rel=1e-5)
        head.after_step({})
    t = trainer("vae", posterior="categorical", prior="uniform-codes", latent__size=10, posterior__codes=5)
    t.train()
    assert t.nets.model.head.steps.item() == 6


@torch.no_grad()
def test_a_product_is_its_parts():
    head = ProductHead(Latent(6), ProductHead.Options(codes=2, normal=2)).eval()
    q = head(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))
    z, log_q = q.sample_with_log_prob(torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(1)))
    parts = q.parts
    torch.testing.assert_close(log_q, parts["normal"].log_prob(z[..., :2]) + parts["categorical"].log_prob(z[..., 2:]))
    torch.testing.assert_close(q.kl().sum(1), q.kls["normal"] + q.kls["categorical"])
    torch.testing.assert_close(q.kls["normal"], parts["normal"].kl().sum(1))
    assert (z[..., 2:].unflatten(-1, (2, 2)).sum(-1) == 1).all()


@pytest.mark.parametrize(
    ("posterior", "prior", "said"),
    [
        ("vmf", "normal", 'points on a sphere.*prior="sphere"'),
        ("normal", "poincare", 'hyperbolic ball.*posterior="wrapped-normal"'),
        ("gamma", "real-nvp", 'positive numbers.*prior="gamma"'),
        ("categorical", "normal", "codes are discrete"),
        ("normal", "product", 'posterior="product"'),
    ],
)
def test_codes_of_two_spaces_are_refused_with_what_goes_together(game, posterior, prior, said):
    with pytest.raises(UsageError, match=said):
        game("vae", posterior=posterior, prior=prior, latent__size=20)


@pytest.mark.parametrize(
    "recipe", ["svae", "poincare-vae", "gamma-vae", "categorical-vae", "joint-vae", "vae-planar", "riemannian-vae"]
)
def test_a_recipe_trains_saves_loads_and_samples(tmp_path, recipe):
    net = "gyroplane" if recipe == "poincare-vae" else "mlp"
    small = {"generator": net, "encoder": "mlp", "generator.width": 8, "encoder.width": 8}
    run = genzoo.fit(recipe, "ring8", tmp_path / "run", steps=3, batch_size=16, device="cpu", progress=False,
                     options=small)  # fmt: skip
    model = genzoo.load(tmp_path / "run", device="cpu")
    torch.testing.assert_close(model.sample(5, seed=1), run.model.sample(5, seed=1))
    x = genzoo.load_data("ring8", split="test").x[:20]
    assert torch.isfinite(model.log_likelihood(x, samples=3).values).all()
    z = model.encode(x)
    assert model.interpolate(z[:2], z[2:4], steps=3).shape == (2, 3, 2)


@pytest.mark.parametrize("recipe", ["svae", "gamma-vae", "categorical-vae", "vae", "riemannian-vae"])
def test_parts_of_a_batch_are_the_batch(trainer, recipe):
    sizes = {"svae": 3, "gamma-vae": 3, "categorical-vae": 10, "vae": 14, "riemannian-vae": 2}
    more = {
        "vae": {"posterior": "product", "prior": "product", "posterior__normal": 4},
        "riemannian-vae": {"posterior__centroids": 4},
    }.get(recipe, {})
    found = []
    for parts in (1, 2):
        t = trainer(recipe, latent__size=sizes[recipe], train__accumulate=parts, train__steps=3, **more)
        t.train()
        found.append(t.nets.state_dict())
    for k, v in found[0].items():
        torch.testing.assert_close(v, found[1][k], atol=1e-5, rtol=1e-4)

"""Every prior: it integrates to one, its samples have its density, and a model goes by it."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.prior import NormalPrior
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.posteriors.normal import HamiltonianHead
from genzoo.plugins.priors.ar1 import AR1
from genzoo.plugins.priors.mixture import Normal as NormalPart
from genzoo.plugins.priors.mixture import Vamp
from genzoo.plugins.priors.normals import Mixture
from genzoo.plugins.priors.real_nvp import RealNVP


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def perturbed(module, scale):
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn(p.shape, generator=random))
    return module


@pytest.fixture
def within(linear_gaussian):
    """A prior inside the linear model, whose posteriors are known."""

    def make(name):
        oracle = linear_gaussian()
        m, prior = oracle.model, PRIORS[name]()
        oracle.model = Model(m.spec, m.latent, m.generator, m.likelihood, m.encoder, m.head, prior=prior)
        perturbed(prior, SCALE.get(name, 0.3))
        return oracle

    return make


PRIORS = {
    "normal": lambda: NormalPart(Latent(2)),
    "real-nvp": lambda: RealNVP(Latent(2), RealNVP.Options(depth=3, width=8)),
    "mixture": lambda: Mixture(Latent(2), Mixture.Options(components=3)),
    "diagonal": lambda: Mixture(Latent(2), Mixture.Options(components=3, covariance="diagonal")),
    "vamp": lambda: Vamp(Latent(2), Vamp.Options(components=5)),
    "ar1": lambda: AR1(Latent(2), AR1.Options(alpha=0.8)),
}
SCALE = {"real-nvp": 0.2, "vamp": 1.0}


def grid(reach=9.0, n=601):
    line = torch.linspace(-reach, reach, n)
    return torch.cartesian_prod(line, line), (2 * reach / (n - 1)) ** 2


@pytest.mark.parametrize("name", PRIORS)
@torch.no_grad()
def test_it_integrates_to_one_and_samples_have_its_moments(within, name):
    prior = within(name).model.prior
    z, cell = grid()
    p = prior.log_prob(z).double().exp() * cell
    assert p.sum().item() == pytest.approx(1, abs=2e-3)
    n = 40_000
    u = torch.rand(n, *prior.noise_shape, generator=torch.Generator().manual_seed(0))
    drawn = prior.sample(u)
    assert torch.equal(drawn, prior.sample(u))
    for power in (1, 2):
        truth = (p[:, None] * z**power).sum(0)
        spread = (p[:, None] * z ** (2 * power)).sum(0) - truth**2
        error = (spread / n).sqrt()
        assert ((drawn.double() ** power).mean(0) - truth).abs().max() < 4.5 * error.max()
    entropy = -(p * prior.log_prob(z)).sum().item()
    assert -prior.log_prob(drawn).mean().item() == pytest.approx(entropy, abs=0.03)
    draws = prior.draw(Draws(5, "cpu").at(0, 0, 0))
    assert draws.shape == (5, 2)
    assert prior.log_prob(draws.expand(3, 5, 2)).shape == (3, 5)


@pytest.mark.parametrize("name", PRIORS)
@torch.no_grad()
def test_weights_average_to_the_evidence_under_its_own_prior(within, name):
    """E[w] = ∫ p(x|z) p(z) dz, by the integral on a grid."""
    oracle = within(name)
    model, x = oracle.model, oracle.data(1)
    z, cell = grid(7.0, 701)
    xm = oracle.to_model(x)
    log_joint = model.likelihood.log_prob(model.generator(z), xm.expand(len(z), 4)) + model.prior.log_prob(z)
    truth = torch.logsumexp(log_joint.double(), 0).item() + math.log(cell)
    n = 20_000
    eps = torch.randn(n, 1, 2, generator=torch.Generator().manual_seed(0))
    ratio = (model.log_weights(xm, None, eps).double() - truth).exp()
    error = ratio.std().item() / math.sqrt(n)
    assert error < 0.03
    assert abs(ratio.mean().item() - 1) < 4 * error + 1e-3
    # And the bound that training maximizes is the mean of the log weights, with the KL of this very prior.
    q = model.posterior(xm.expand(n, 4))
    z, kl = model.code(q, eps.squeeze(1))
    bound = model.likelihood.log_prob(model.generator(z), xm.expand(n, 4)) - kl
    weights = model.log_weights(xm, None, eps)
    error = 5 * (weights.std() + bound.std()).item() / math.sqrt(n) + 1e-4
    assert bound.mean().item() == pytest.approx(weights.mean().item(), abs=error)


@torch.no_grad()
def test_a_flow_scores_its_samples_by_base_density_and_jacobian():
    prior = perturbed(RealNVP(Latent(5), RealNVP.Options(depth=4, width=8)), 0.3)
    base = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        jacobian = torch.autograd.functional.jacobian(prior, base).reshape(5, 5)
    expected = Normal(0.0, 1.0).log_prob(base).sum() - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(prior.log_prob(prior(base)).squeeze(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prior.base(prior(base))[0], base, atol=1e-4, rtol=1e-4)
    assert torch.equal(RealNVP(Latent(3))(base[:, :3]), base[:, :3])  # it starts as the normal


@pytest.mark.parametrize("latent", [Latent(6), Latent(2, 3)], ids=["flat", "grid"])
@torch.no_grad()
def test_numbers_in_a_row_are_normal_with_falling_correlations_and_cost_an_independent_posterior(latent):
    prior, alpha = AR1(latent, AR1.Options(alpha=0.9)), 0.9
    n = 9 if latent.grid else 6
    steps = torch.arange(n, dtype=torch.float64)
    truth = MultivariateNormal(torch.zeros(n, dtype=torch.float64), alpha ** (steps[:, None] - steps).abs())
    base = torch.randn(4, latent.numbers // n, n)
    z = prior(base)
    rows = z.view(4, -1, n)
    torch.testing.assert_close(prior.log_prob(z), truth.log_prob(rows.double()).sum(1).float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prior.base(z), base, atol=1e-4, rtol=1e-4)
    # The best independent normal has the inverses of the precision's diagonal as variances.
    best = truth.precision_matrix.diagonal().rsqrt()
    least = prior.least / (latent.numbers // n)
    for factor, mean in ((1.0, 0.0), (1.1, 0.0), (0.9, 0.0), (1.0, 0.1)):
        q = MultivariateNormal(torch.full_like(best, mean), scale_tril=torch.diag(best * factor))
        kl = kl_divergence(q, truth).item()
        assert kl == pytest.approx(least, abs=1e-9) if (factor, mean) == (1.0, 0.0) else kl > least + 1e-3
    drawn = prior.sample(torch.rand(20_000, *prior.noise_shape)).view(20_000, -1, n)[:, 0]
    assert (torch.cov(drawn.T) - truth.covariance_matrix.float()).abs().max() < 0.05


@torch.no_grad()
def test_a_truncated_prior_keeps_what_it_is_made_of_near_its_mean(within):
    u = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    assert NormalPrior(Latent(3)).sample(u, truncation=0.5).abs().max() <= 0.5
    flow = within("real-nvp").model.prior
    assert flow.base(flow.sample(u[:, :2], truncation=0.5))[0].abs().max() <= 0.5 + 1e-4
    vamp = within("vamp").model.prior
    q = vamp._posterior()
    z = vamp.sample(u, truncation=0.5)
    near = ((z[:, None] - q.mean).abs() / (0.5 * q.log_var).exp()).amax(-1).amin(-1)
    assert near.max() <= 0.5 + 1e-4


@torch.no_grad()
def test_paths_go_through_what_the_prior_makes_likely(within):
    a, b, t = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]]), torch.linspace(0, 1, 5)
    circle = NormalPrior(Latent(2)).path(a, b, t)
    torch.testing.assert_close(circle.norm(dim=-1), torch.full((1, 5), 3.0))
    flow = within("real-nvp").model.prior
    path = flow.path(flow(a), flow(b), t)
    torch.testing.assert_close(flow.base(path)[0], circle, atol=1e-3, rtol=1e-3)
    straight = within("vamp").model.prior.path(a, b, t)
    torch.testing.assert_close(straight[0, 2], torch.tensor([1.5, 1.5]))


def test_a_mixture_of_posteriors_asks_for_some(linear_gaussian):
    m = linear_gaussian().model
    grids = HamiltonianHead(Latent(2))
    Model(m.spec, m.latent, m.generator, m.likelihood, m.encoder, grids, prior=Vamp(Latent(2)))  # normal at the start
    with pytest.raises(UsageError, match="mixture of posteriors"):
        Model(m.spec, m.latent, m.generator, m.likelihood, prior=Vamp(Latent(2)))
    with pytest.raises(UsageError, match="at least 2 numbers"):
        RealNVP(Latent(1))
    with pytest.raises(UsageError, match="in order"):
        AR1(Latent(1))


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize(
    ("recipe", "parts"),
    [
        pytest.param("vae-iaf", {}, marks=pytest.mark.slow),
        pytest.param("vamp-vae", {}, marks=pytest.mark.slow),
        ("hamiltonian-vae", {}),
        pytest.param("vae", {"prior": "real-nvp"}, marks=pytest.mark.slow),
        ("vae", {"posterior": "iaf", "prior": "vamp"}),
    ],
)
def test_a_recipe_trains_saves_loads_and_samples(tmp_path, recipe, parts, conditional):
    small = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "latent.size": 3}
    run = genzoo.fit(recipe, "ring8", tmp_path / "run", steps=4, batch_size=16, device="cpu", progress=False,
                     options=small | parts | {"conditional": conditional, "train.average": 100})  # fmt: skip
    model = genzoo.load(tmp_path / "run")
    assert len(model.sample(5)) == 5
    x = torch.randn(4, 2)
    y = torch.tensor([0, 1, 2, 3]) if conditional else None
    assert torch.isfinite(model.log_likelihood(x, y, samples=3).values).all()
    torch.testing.assert_close(model.sample(5), genzoo.load(tmp_path / "run").sample(5))
    assert run is not None


def test_a_game_that_does_not_train_its_prior_takes_none_with_parameters():
    with pytest.raises(UsageError, match="trains no prior"):
        genzoo.create("gan", DataSpec("vector", (2,)), options={"prior": "real-nvp", "latent.size": 2})

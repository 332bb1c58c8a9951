"""Information of codes by enumeration, what swapping them costs, and annealed importance sampling: against truths."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import genzoo
from genzoo.core.data import Data
from genzoo.core.evaluation.evidence import Evidence
from genzoo.core.model import Model
from genzoo.core.networks import Ports
from genzoo.core.posterior import DiagonalNormal
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.likelihoods.gaussian import Gaussian
from genzoo.plugins.metrics.ais import AIS, anneal
from genzoo.plugins.metrics.information import DimensionWiseKL, MutualInformation, SwapCost, TotalCorrelation
from genzoo.plugins.nets.mlp import MLPEncoder, MLPGenerator
from genzoo.plugins.posteriors.normal import HamiltonianHead
from genzoo.plugins.posteriors.normal import Normal as NormalHead
from genzoo.plugins.priors.second_vae import SecondVAE


def evidence(oracle_or_model, x):
    model = getattr(oracle_or_model, "model", oracle_or_model)
    data = Data(model.spec, x, name="data")
    return Evidence(data, lambda: (x, None), n_fake=2, model=model, batch_size=64)


def test_the_parts_of_the_kl_are_those_of_the_mixture_of_all_posteriors(linear_gaussian):
    oracle, n = linear_gaussian(0.2, 1.2), 300
    x = oracle.data(n)
    kinds = (MutualInformation, TotalCorrelation, DimensionWiseKL)
    found = {cls.part: cls().measure(evidence(oracle, x)) for cls in kinds}
    q = oracle.model.posterior(oracle.to_model(x))
    sd = (q.log_var / 2).exp()
    mixture = MixtureSameFamily(Categorical(torch.ones(n)), Independent(Normal(q.mean, sd.expand_as(q.mean)), 1))
    z = torch.randn(20, n, 2, generator=torch.Generator().manual_seed(5)) * sd + q.mean
    joint = mixture.log_prob(z.view(-1, 2))
    each = sum(
        MixtureSameFamily(Categorical(torch.ones(n)), Normal(q.mean[:, j], sd.expand_as(q.mean)[:, j])).log_prob(
            z.view(-1, 2)[:, j]
        )
        for j in range(2)
    )
    truth = {
        "mutual information": q.log_prob(z).flatten() - joint,
        "total correlation": joint - each,
        "dimension-wise KL": each - Normal(0.0, 1.0).log_prob(z).sum(-1).flatten(),
    }
    for name, values in truth.items():
        measured = found[name].estimate
        width = (measured.high - measured.low) / 2
        assert abs(measured.value - values.mean().item()) < 2 * width
        assert 0 < width < 0.3
    # They sum to the KL, in expectation, and information is below the logarithm of the population.
    details = found["mutual information"].details
    total = sum(details[name] for name in truth)
    assert total == pytest.approx(q.kl().sum(1).mean().item(), abs=0.2)
    assert 0 < details["mutual information"] < math.log(n)


def test_a_batch_says_little_of_the_total_correlation_that_enumeration_finds():
    """1,000 posteriors of four numbers that go together: a batch of 64 with the right weights finds half of it."""
    from genzoo.core.math.aggregate import aggregate, stratified_weights

    g = torch.Generator().manual_seed(0)
    base = torch.randn(1000, 1, generator=g)
    mean = (0.7 * base + 0.7 * torch.randn(1000, 4, generator=g)).double()
    log_var = torch.full_like(mean, math.log(0.1))
    z = mean + torch.randn(1000, 4, generator=g) * math.sqrt(0.1)
    exact = aggregate(z, mean, log_var, torch.full((1, 1000), -math.log(1000.0), dtype=torch.float64))
    truth = (exact.joint - exact.each.sum(1)).mean()
    batches = []
    for i in range(0, 1000 - 64, 64):
        part = slice(i, i + 64)
        of = aggregate(z[part], mean[part], log_var[part], stratified_weights(64, torch.tensor(1000.0), z))
        batches.append((of.joint - of.each.sum(1)).mean())
    assert truth > 0.4
    assert abs(torch.stack(batches).mean() - truth) > 0.2 * truth


def collapsed(vary):
    """A model whose posterior means vary over the data, and whose decoder does or does not go by the code."""
    torch.manual_seed(0)
    spec, latent = DataSpec("vector", (3,)), Latent(4)
    generator = MLPGenerator(Ports((4,), (3,)), MLPGenerator.Options(width=8, depth=0))
    encoder = MLPEncoder(Ports((3,), (8,)), MLPEncoder.Options(depth=0))
    with torch.no_grad():
        generator.head.weight.mul_(vary)
    return Model(spec, latent, generator, Gaussian(spec), encoder, NormalHead(latent)).eval()


def test_swapping_codes_costs_what_the_decoder_reads_of_them():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    deaf = SwapCost().measure(evidence(collapsed(0.0), x)).estimate
    assert deaf.value == 0
    model = collapsed(4.0)
    found = SwapCost().measure(evidence(model, x)).estimate
    z = model.posterior(x).mean
    own, other = (model.likelihood.log_prob(model.generator(c), x) for c in (z, torch.roll(z, 1, 0)))
    assert found.value == pytest.approx((own - other).mean().item(), rel=1e-4)


def test_active_units_do_not_see_that_a_code_is_noise():
    """Means that vary by .3 beside a spread of 1 are active, and hardly say which observation they are of."""
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(1))
    model = collapsed(0.0)
    mean = 0.15 * torch.randn(500, 4, generator=torch.Generator().manual_seed(2)) + 3.0
    rows = {tuple(row.tolist()): i for i, row in enumerate(x)}
    model.posterior = lambda x, y=None: DiagonalNormal(
        mean[[rows[tuple(r.tolist())] for r in x]], torch.zeros(len(x), 4)
    )
    seen = evidence(model, x)
    found = MutualInformation().measure(seen).estimate
    assert (mean.var(0) > 0.01).all()  # all units are active
    assert normal_kl_of(mean) > 10  # and far from the prior
    assert found.value < 0.1


def normal_kl_of(mean):
    return 0.5 * mean.square().sum(1).mean().item()


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_annealing_agrees_with_the_closed_form_and_with_importance_weights(linear_gaussian, start):
    oracle = linear_gaussian(0.3, 1.3)
    x = oracle.data(10)
    metric = AIS(AIS.Options(chains=40, steps=80 if start == "prior" else 40, leaps=4, size=0.3, start=start))
    weights, accepted = metric.weights(oracle.model, oracle.to_model(x), None, 0)
    assert 0.4 < accepted <= 1
    truth = torch.as_tensor(oracle.log_p(x))
    ratio = (weights - truth).exp()  # whose mean is 1
    error = ratio.std(0) / math.sqrt(40)
    assert ((ratio.mean(0) - 1).abs() < 5 * error).all()
    assert error.max() < 0.3
    found = torch.logsumexp(weights, 0) - math.log(40)
    assert (found - truth).abs().max() < 0.5
    importance = oracle.model.log_likelihood(x, samples=500).values
    assert (found - importance).mean().abs() < 0.1


class Summed(DiagonalNormal):
    """Made of two normal numbers for each of the code's."""

    def sample(self, eps):
        return super().sample(torch.unflatten(eps, -1, (2, 2)).sum(-2) / math.sqrt(2))


class SummedHead(NormalHead):
    noise_shape = (4,)

    def forward(self, numbers):
        q = super().forward(numbers)
        return Summed(q.mean, q.log_var)


@pytest.mark.parametrize("kind", [SummedHead, HamiltonianHead])
def test_chains_start_at_posteriors_whose_noise_is_of_another_shape_than_codes(linear_gaussian, kind):
    oracle = linear_gaussian(0.3, 1.3)
    m, x = oracle.model, oracle.data(10)
    model = Model(m.spec, m.latent, m.generator, m.likelihood, m.encoder, kind(m.latent), prior=m.prior).eval()
    metric = AIS(AIS.Options(chains=40, steps=40, leaps=4, size=0.3, start="posterior"))
    weights, _ = metric.weights(model, oracle.to_model(x), None, 0)
    found = torch.logsumexp(weights, 0) - math.log(40)
    assert (found - torch.as_tensor(oracle.log_p(x))).abs().max() < 0.5


SMALL = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8}


@pytest.mark.parametrize(
    ("recipe", "given", "reason"),
    [
        ("svae", {"latent.size": 3}, "points on a sphere"),
        ("poincare-vae", {"latent.size": 2, "generator": "gyroplane"}, "points of a hyperbolic ball"),
        ("joint-vae", {}, "normal numbers, then categories"),
        ("categorical-vae", {}, "discrete"),
        ("vae", {"latent.size": 2}, ""),
        ("gamma-vae", {"latent.size": 2}, ""),
    ],
)
def test_annealing_is_refused_where_codes_are_not_any_numbers(recipe, given, reason):
    model = genzoo.create(recipe, DataSpec("vector", (3,)), options=SMALL | given)
    found = AIS().refuses(evidence(model, torch.randn(4, 3)))
    assert reason in found
    assert bool(found) == bool(reason)


def test_annealing_is_refused_where_the_prior_has_a_bound_only(linear_gaussian):
    m = linear_gaussian().model
    model = Model(m.spec, m.latent, m.generator, m.likelihood, m.encoder, m.head, prior=SecondVAE(m.latent))
    assert "a bound in place of a density" in AIS().refuses(evidence(model, torch.randn(4, *m.spec.shape)))


def test_annealing_stays_among_positive_codes():
    torch.manual_seed(0)
    options = SMALL | {"latent.size": 2, "likelihood": "gaussian", "likelihood.sigma": "fixed", "likelihood.value": 1.0}
    model = genzoo.create("gamma-vae", DataSpec("vector", (3,)), options=options).eval()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    importance = model.log_likelihood(x, samples=2000).values
    for start in ("prior", "posterior"):
        metric = AIS(AIS.Options(chains=100, steps=30, leaps=4, size=0.3, start=start))
        weights, accepted = metric.weights(model, x, None, 0)
        assert accepted > 0.4
        assert (torch.logsumexp(weights, 0) - math.log(100) - importance).abs().max() < 0.2


def test_more_steps_lose_less(linear_gaussian):
    oracle = linear_gaussian()
    x = oracle.data(10)
    lost = []
    for steps in (4, 60):
        weights, _ = AIS(AIS.Options(chains=20, steps=steps, leaps=4, size=0.3)).weights(
            oracle.model, oracle.to_model(x), None, 1
        )
        lost.append((torch.as_tensor(oracle.log_p(x)) - weights.mean(0)).mean().item())
    assert lost[1] < 0.2 * lost[0]
    assert lost[1] > -0.1


def test_the_ratio_of_normalizers_is_that_of_two_normals():
    random = torch.Generator().manual_seed(0)
    z = torch.randn(400, 5, 3, generator=random)
    wide = Normal(1.0, 2.0)
    found = anneal(z, lambda z: Normal(0.0, 1.0).log_prob(z).sum(-1), lambda z: wide.log_prob(z).sum(-1) + 1.7,
                   steps=60, leaps=4, size=0.3, seed=3)  # fmt: skip
    each = found.log_w.exp()
    assert abs(each.mean().item() - math.exp(1.7)) < 4 * each.std().item() / math.sqrt(each.numel())
    assert each.std() < 3 * math.exp(1.7)

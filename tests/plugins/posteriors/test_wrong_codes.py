"""Forms of posteriors and priors that published code has, and which the tests of the right ones would find."""

import math

import pytest
import torch
from torch.distributions import Beta, Gamma, kl_divergence

from genzoo.core.math.angles import Angles, log_area
from genzoo.core.model import Model
from genzoo.core.networks import Ports
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.likelihoods.gaussian import Gaussian
from genzoo.plugins.nets.mlp import MLPEncoder, MLPGenerator
from genzoo.plugins.posteriors.categorical import CategoricalHead
from genzoo.plugins.posteriors.gamma import Gammas
from genzoo.plugins.posteriors.normal import HamiltonianHead, Normal
from genzoo.plugins.priors.mixture import Vamp


def test_a_slope_along_accepted_proposals_alone_is_not_that_of_von_mises_fisher():
    """The SVAE authors' code and pythae's let the gradient through the proposal and leave out the acceptance."""
    torch.manual_seed(0)
    d, kappa = 3, torch.tensor(2.0, requires_grad=True)
    root = (4 * kappa**2 + (d - 1) ** 2).sqrt()
    b = (-2 * kappa + root) / (d - 1)
    a = (d - 1 + 2 * kappa + root) / 4
    limit = 4 * a * b / (1 + b) - (d - 1) * math.log(d - 1)
    eps = Beta((d - 1) / 2, (d - 1) / 2).sample((200_000,))
    w, t = (1 - (1 + b) * eps) / (1 - (1 - b) * eps), 2 * a * b / (1 - (1 - b) * eps)
    accepted = (d - 1) * t.log() - t + limit >= torch.rand(200_000).log()
    (wrong,) = torch.autograd.grad(w[accepted].mean(), kappa, retain_graph=True)
    kappa_of = torch.tensor([2.0], requires_grad=True)
    mean = Angles(kappa_of, d).quantile((torch.arange(2000)[:, None] + 0.5) / 2000).cos().mean()
    (right,) = torch.autograd.grad(mean, kappa_of)
    truth = 1 / 4 - 1 / math.sinh(2.0) ** 2  # of coth κ - 1/κ
    assert w[accepted].mean().item() == pytest.approx(mean.item(), abs=0.01)  # the samples are right
    assert right.item() == pytest.approx(truth, rel=1e-3)
    assert wrong.item() == pytest.approx(0.120, abs=0.01)
    assert abs(wrong.item() - truth) > 0.04


def test_a_code_is_scored_by_the_concentration_that_it_was_drawn_with():
    """pythae's SVAE draws by κ + 1 and scores by κ: its weights do not average to the evidence."""
    d, u = 6, (torch.arange(20_000)[:, None] + 0.5) / 20_000
    drawn, scored = (Angles(torch.tensor([kappa]), d) for kappa in (3.0, 2.0))
    cos, uniform = drawn.quantile(u).cos(), -log_area(d)
    assert (uniform - drawn.log_density(cos)).exp().mean().item() == pytest.approx(1, abs=2e-3)
    assert abs((uniform - scored.log_density(cos)).exp().mean().item() - 1) > 0.1


def test_a_variance_that_is_drawn_by_one_form_and_paid_by_another_claims_more_than_the_evidence(linear_gaussian):
    """pythae's HVAE draws by σ = softplus(s) and has ½ Σ s for log σ: seen best at steps of no length."""
    oracle = linear_gaussian(0.0, 1.0)  # the true posterior, whose weights are all p(x)
    model, x = oracle.model, oracle.to_model(oracle.data(1))
    moved = Model(model.spec, model.latent, model.generator, model.likelihood, model.encoder,
                  HamiltonianHead(model.latent, HamiltonianHead.Options(3, 1e-6, 1.0)))  # fmt: skip
    eps, truth = (
        torch.randn(4000, 1, 4, generator=torch.Generator().manual_seed(0)),
        oracle.log_p(oracle.data(1)).item(),
    )
    with torch.no_grad():
        ours = moved.log_weights(x, None, eps).mean().item()
        q, gamma = model.posterior(x), eps[..., 2:]
        std, z = (0.5 * q.log_var).exp(), q.sample(eps[..., :2])
        s, d = std.expm1().log(), z.shape[-1]
        constants = 0.5 * d * (math.log(2 * math.pi) + 1)  # which it leaves out
        joint = model.likelihood.log_prob(model.generator(z.flatten(0, 1)), x.expand(4000, -1))
        joint = joint + model.prior.log_prob(z.flatten(0, 1))
        rho = gamma.flatten(0, 1)
        theirs = (joint - 0.5 * rho.square().sum(1) + 0.5 * d).mean().item() + 0.5 * s.sum().item() + constants
    assert ours == pytest.approx(truth, abs=0.01)
    assert theirs == pytest.approx(truth + (0.5 * s - std.log()).sum().item(), abs=0.15)
    assert theirs > truth + 0.3 * d


def test_a_gamma_divergence_with_rate_and_scale_exchanged_is_none():
    """PyTorch-VAE's takes the inverse scale for the scale, after a softmax of both."""
    a, b, prior = torch.tensor([0.7, 3.0]), torch.tensor([2.0, 0.5]), Gamma(2.0, 1.0)
    truth = Gammas(a[None], b[None], (torch.tensor(2.0), torch.tensor(1.0))).kl()[0]
    torch.testing.assert_close(truth, kl_divergence(Gamma(a, b), prior))
    exchanged = kl_divergence(Gamma(a, 1 / b), prior)
    assert (truth - exchanged).abs().min() > 0.2
    assert (truth - kl_divergence(Gamma(a.softmax(0), b.softmax(0)), prior)).abs().min() > 0.01


def test_a_mixture_of_posteriors_with_a_parenthesis_displaced_integrates_to_anything():
    """PyTorch-VAE's VampPrior has - ½ (log σ² + (z - μ)²) / σ²."""
    torch.manual_seed(0)
    spec, latent = DataSpec("vector", (3,)), Latent(1)
    generator, encoder = MLPGenerator(Ports((1,), (3,))), MLPEncoder(Ports((3,), (2,)))
    prior = Vamp(latent, Vamp.Options(components=4))
    Model(spec, latent, generator, Gaussian(spec), encoder, Normal(latent), prior=prior).eval()
    with torch.no_grad():
        encoder.head.bias[1] = -2.0  # log σ², of all
        line = torch.linspace(-40, 40, 40_001)[:, None]
        mean, log_var = encoder(prior.inputs).unbind(1)
        each = -0.5 * (log_var + (line - mean) ** 2) / log_var.exp()
        wrong = each.exp().mean(1).sum() * 2e-3 / math.sqrt(2 * math.pi)
        right = prior.log_prob(line).exp().sum() * 2e-3
    assert right.item() == pytest.approx(1, abs=1e-3)
    assert abs(wrong.item() - 1) > 0.1


def test_relaxed_codes_are_no_codes_of_a_bound():
    """Where codes stay soft after training, log p(x|z) is of a z that no prior over categories has."""
    head, eps = CategoricalHead(Latent(6), CategoricalHead.Options(codes=3)), torch.randn(50, 6)
    hard = head.eval()(torch.zeros(50, 6)).sample(eps)
    soft = head.train()(torch.zeros(50, 6)).sample(eps)
    assert torch.equal(hard, head.embed(head.tokens_of(hard)))
    assert (soft - head.embed(head.tokens_of(soft))).abs().max() > 0.3

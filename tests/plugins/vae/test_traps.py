"""What public zoos get wrong, each wrong form beside ours: the test holds of one and fails of the other.

The wrong forms are those of pythae 0.1.2 and PyTorch-VAE ("PTV"), as read in their sources.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.math.aggregate import stratified_weights
from genzoo.core.math.kernels import inverse_multiquadric, squared_distances, unbiased_mmd
from genzoo.core.model import Model
from genzoo.core.networks import Encoder, Ports
from genzoo.core.objective import Batch, Networks
from genzoo.core.posterior import DiagonalNormal, normal_kl
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.likelihoods.gaussian import Gaussian
from genzoo.plugins.nets.mlp import MLPGenerator
from genzoo.plugins.posteriors.point import Point, PointHead
from genzoo.plugins.vae.annealed import AnnealedVAE
from genzoo.plugins.vae.dip_vae import DIPVAE
from genzoo.plugins.vae.info_vae import InfoVAE
from genzoo.plugins.vae.iwae import IWAE
from genzoo.plugins.vae.miwae import MIWAE
from genzoo.plugins.vae.rae import RAE

RANDOM = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=RANDOM)


def weights_of(oracle, n, k):
    """Log weights ``(k, n)`` of the oracle, and the noise that made them."""
    eps = normal(n, k, 2)
    batch = Batch(oracle.to_model(oracle.data(n)))
    return oracle.model.log_weights(batch.x, None, eps.transpose(0, 1)).detach(), batch, {"eps": eps}


def test_iwae_reports_the_log_of_the_mean_and_no_weighted_mean(linear_gaussian):
    oracle = linear_gaussian(0.4, 1.4)
    log_w, batch, noise = weights_of(oracle, 4000, 16)
    ours = -IWAE(IWAE.Options(samples=16)).loss("model", oracle.networks(), batch, noise).per_observation().detach()
    truth = torch.as_tensor(oracle.log_p(oracle.data(4000)))
    wrong = (log_w.softmax(0) * log_w).sum(0)  # Σ w̃ log w
    assert (ours - truth).mean() < 0  # a lower bound
    assert (wrong - truth).mean() > 0.01  # is none


def test_iwae_gives_the_best_codes_the_largest_gradients(linear_gaussian):
    """PTV (#34, #53) takes the softmax of the positive loss: the worst code gets all of the gradient."""
    log_w = torch.tensor([-10.0, -1.0, -30.0], requires_grad=True)
    ours = torch.autograd.grad(-(torch.logsumexp(log_w, 0) - math.log(3)), log_w)[0]
    loss = -log_w
    wrong = torch.autograd.grad((F.softmax(loss, 0).detach() * loss).sum(), log_w)[0]
    torch.testing.assert_close(-ours, log_w.softmax(0))
    assert int((-ours).argmax()) == 1
    assert int((-wrong).argmax()) == 2
    assert wrong[1].abs() < 1e-9  # the best code gets none
    oracle = linear_gaussian(0.4, 1.4)
    given, batch, noise = weights_of(oracle, 5, 3)
    scale = torch.ones(3, 5, requires_grad=True)
    oracle.model.weigh = lambda q, x, y, eps: given * scale
    loss = IWAE(IWAE.Options(samples=3)).loss("model", oracle.networks(), batch, noise).per_observation().sum()
    torch.testing.assert_close(torch.autograd.grad(loss, scale)[0], -given.softmax(0) * given)


def test_miwae_takes_the_mean_of_bounds_and_not_the_bound_of_means(linear_gaussian):
    """pythae swaps the two: (M 1, K 10) gives the evidence lower bound there, (M 10, K 1) that of ten codes."""
    oracle = linear_gaussian(0.4, 1.4)
    log_w, batch, noise = weights_of(oracle, 200, 10)
    elbo, iwae = log_w.mean(0), torch.logsumexp(log_w, 0) - math.log(10)

    def swapped(m, k):
        return torch.logsumexp(log_w.view(m, k, -1).mean(1), 0) - math.log(m)

    for m, k, truth in ((10, 1, elbo), (1, 10, iwae)):
        objective = MIWAE(MIWAE.Options(bounds=m, samples=k))
        ours = -objective.loss("model", oracle.networks(), batch, noise).per_observation().detach()
        torch.testing.assert_close(ours, truth)
        assert (swapped(m, k) - truth).abs().mean() > 0.05


def test_info_vae_does_not_maximize_its_discrepancy():
    """pythae's default α = 0, λ = .001 weighs the MMD by -.999."""
    assert InfoVAE().options.alpha + InfoVAE().options.strength - 1 >= 0
    with pytest.raises(UsageError, match="would maximize it"):
        InfoVAE(InfoVAE.Options(alpha=0.0, strength=1e-3)).plan(DataSpec("vector", (2,)))


def test_discrepancies_leave_out_the_diagonal_where_it_does_not_belong_and_only_there():
    """PTV: IMQ without the diagonal of the cross term; RBF of the mean over numbers, divided by B(B - 1) once more."""
    b, d = 16, 3

    def without_cross_diagonal(x, y):
        xx, yy, xy = (inverse_multiquadric(squared_distances(*p), d) for p in ((x, x), (y, y), (x, y)))

        def off(k):
            return (k.sum() - k.diagonal().sum()) / (b * (b - 1))

        return off(xx) + off(yy) - 2 * off(xy)

    def divided_again(x, y):
        return unbiased_mmd(x, y, inverse_multiquadric) / (b * (b - 1))

    far = normal(b, d) + 5
    truth = unbiased_mmd(far, normal(b, d), inverse_multiquadric)
    assert divided_again(far, normal(b, d)) < 0.01 * truth
    # Of paired points, a code beside the one that it should be at, only the whole cross term sees the pair.
    z = normal(b, d)
    assert without_cross_diagonal(z, z) == pytest.approx(0, abs=1e-6)
    assert unbiased_mmd(z, z, inverse_multiquadric).item() < -0.1  # whose mean over draws is 0, as it must be


def test_rows_of_the_total_correlations_weights_sum_to_one():
    """pythae and the authors' code put the strata into columns 0 and 1: one row sums to 1.23, others to .98."""
    b, n = 64, 1000
    m = b - 1
    wrong = torch.full((b, b), 1 / m)
    wrong.view(-1)[:: m + 1] = 1 / n
    wrong.view(-1)[1 :: m + 1] = (n - m) / (n * m)
    wrong[m - 1, 0] = (n - m) / (n * m)
    ours = stratified_weights(b, torch.tensor(float(n)), torch.zeros(())).exp()
    torch.testing.assert_close(ours.sum(1), torch.ones(b))
    assert (wrong.sum(1) - 1).abs().max() > 1e-3


def test_dips_covariance_is_centred_over_the_batch():
    """PTV centres over the numbers of a code and divides by nothing: 1.2e8 where the covariance is the identity."""
    d, b, lam = 8, 512, 10.0
    mean = normal(b, d).double()
    mean = mean - mean.mean(0)
    mean = mean @ torch.linalg.inv(torch.linalg.cholesky(mean.T @ mean / b)).T
    centred = mean - mean.mean(1, keepdim=True)
    cov = centred.T @ centred + torch.ones(())  # and adds a mean variance to every entry
    diagonal = cov.diagonal()
    wrong = lam * (cov - torch.diag(diagonal)).square().sum() + lam * (diagonal - 1).square().sum()
    assert wrong > 1e6

    class Model:
        latent = likelihood = generator = None

    objective, found = DIPVAE(DIPVAE.Options(form="i")), {}
    q = DiagonalNormal(mean.float(), torch.zeros(b, d))
    from genzoo.plugins.vae import vae

    before, vae.plain_bound = vae.plain_bound, lambda *a: vae_loss(b)
    try:
        found = objective.bound(Model(), None, {}, q, q.mean, torch.zeros(b)).terms
    finally:
        vae.plain_bound = before
    assert found["covariances"].abs().max() < 1e-8
    assert found["variances"].abs().max() < 1e-8


def vae_loss(b):
    from genzoo.core.objective import Loss

    return Loss({"nll": torch.zeros(b), "kl": torch.zeros(b)})


def test_a_capacity_is_not_asked_of_every_image(linear_gaussian):
    """pythae takes |KL_i - C| of each observation, which pays for every difference between them."""
    oracle = linear_gaussian()
    mean = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    oracle.model.posterior = lambda x, y=None: DiagonalNormal(mean, torch.zeros(2, 2))
    noise = {"eps": torch.zeros(2, 2), "capacity": torch.tensor(4.0)}
    found = AnnealedVAE().loss("model", oracle.networks(), Batch(torch.zeros(2, 4)), noise)
    kl = normal_kl(mean, torch.zeros(2, 2)).sum(1)
    assert found.terms["off capacity"].abs().max() == 0
    assert (kl - 4).abs().mean() == 4


class Blind(Encoder):
    """An encoder that does not look."""

    def forward(self, x, y=None):
        return 0.0 * x[:, :2] + 1.0


def test_slopes_of_a_decoder_are_by_the_code_and_not_by_the_data():
    """pythae differentiates the summed outputs by x, through the encoder: a blind encoder makes any decoder smooth."""
    torch.manual_seed(0)
    spec, latent, n = DataSpec("vector", (3,)), Latent(2), 20_000
    generator = MLPGenerator(Ports((2,), (3,)), MLPGenerator.Options(depth=0))
    likelihood = Gaussian(spec, Gaussian.Options(sigma="fixed"))
    model = Model(spec, latent, generator, likelihood, Blind(Ports((3,), (2,))), PointHead(latent))
    x = normal(n, 3).requires_grad_()
    (wrong,) = torch.autograd.grad(model.generator(model.posterior(x).mean).sum(), x)
    assert not wrong.any()
    noise = {"v": normal(n, 3)}
    z = torch.ones(n, 2, requires_grad=True)
    model.posterior = lambda x, y=None: Point(z)
    found = RAE(RAE.Options(slopes=1.0)).loss("model", Networks(model), Batch(x.detach()), noise).terms["slopes"]
    w = generator.head.weight
    assert found.mean().item() == pytest.approx(w.square().sum().item(), rel=0.05)
    assert abs(w.sum(0).square().sum().item() - w.square().sum().item()) > 0.1  # nor is it the slope of a sum

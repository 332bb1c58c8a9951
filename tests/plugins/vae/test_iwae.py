"""Importance-weighted bounds: their values, their places between the bound and log p(x), and their gradients."""

import math

import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.objective import Batch
from genzoo.plugins.vae.ciwae import CIWAE
from genzoo.plugins.vae.iwae import IWAE, mean_weight
from genzoo.plugins.vae.miwae import MIWAE, PIWAE
from genzoo.plugins.vae.vae import VAE


def noise(n, k, seed=0):
    return {"eps": torch.randn(n, k, 2, generator=torch.Generator().manual_seed(seed))}


def losses(objective, oracle, x, eps, player="model"):
    return objective.loss(player, oracle.networks(), Batch(oracle.to_model(x)), eps).per_observation().detach()


def test_one_code_is_the_evidence_lower_bound(linear_gaussian):
    oracle = linear_gaussian(0.3, 0.8)
    x, n = oracle.data(1).expand(20_000, 4), 20_000
    found = -losses(IWAE(IWAE.Options(samples=1)), oracle, x, noise(n, 1))
    bound = oracle.log_p(x[:1]).item() - oracle.divergence()
    assert abs(found.mean().item() - bound) < 4 * found.std().item() / math.sqrt(n)
    eps = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    q = oracle.model.posterior(oracle.to_model(x[:50]))
    z, log_q = q.sample_with_log_prob(eps)
    truth = oracle.model.likelihood.log_prob(oracle.model.generator(z), oracle.to_model(x[:50]))
    truth = truth + oracle.model.prior.log_prob(z) - log_q
    torch.testing.assert_close(-losses(IWAE(IWAE.Options(samples=1)), oracle, x[:50], {"eps": eps[:, None]}), truth)


def test_more_codes_are_nearer_to_log_p_and_never_above(linear_gaussian):
    oracle = linear_gaussian(0.3, 1.3)
    x, n = oracle.data(1), 4000
    truth, means, errors = oracle.log_p(x).item(), [], []
    for k in (1, 2, 8, 64):
        found = -losses(IWAE(IWAE.Options(samples=k)), oracle, x.expand(n, 4), noise(n, k))
        means.append(found.mean().item())
        errors.append(found.std().item() / math.sqrt(n))
    for i in range(3):
        assert means[i] < means[i + 1] + 3 * math.hypot(errors[i], errors[i + 1])
    assert means[0] + 0.1 < means[-1] < truth + 3 * errors[-1]
    assert means[-1] == pytest.approx(truth, abs=0.02)


def test_the_others_are_between_the_two(linear_gaussian):
    oracle = linear_gaussian(0.3, 1.3)
    x, eps = oracle.data(30), noise(30, 12)

    def of(objective, player="model"):
        return losses(objective, oracle, x, eps, player)

    elbo = of(MIWAE(MIWAE.Options(bounds=12, samples=1)))
    iwae = of(IWAE(IWAE.Options(samples=12)))
    torch.testing.assert_close(of(MIWAE(MIWAE.Options(bounds=1, samples=12))), iwae)
    torch.testing.assert_close(of(CIWAE(CIWAE.Options(samples=12, beta=1.0))), elbo)
    torch.testing.assert_close(of(CIWAE(CIWAE.Options(samples=12, beta=0.0))), iwae)
    torch.testing.assert_close(of(CIWAE(CIWAE.Options(samples=12, beta=0.3))), 0.3 * elbo + 0.7 * iwae)
    between = of(MIWAE(MIWAE.Options(bounds=3, samples=4)))
    assert (elbo > between).all()
    assert (between > iwae).all()
    log_w = oracle.model.log_weights(oracle.to_model(x), None, eps["eps"].transpose(0, 1))
    by_hand = torch.stack([part.exp().mean(0).log() for part in log_w.chunk(3)]).mean(0)
    torch.testing.assert_close(between, -by_hand.detach(), rtol=1e-4, atol=1e-4)
    piwae = PIWAE(PIWAE.Options(bounds=3, samples=4))
    torch.testing.assert_close(of(piwae, "encoder"), between)
    torch.testing.assert_close(of(piwae, "decoder"), iwae)


def test_each_part_of_a_piwae_follows_its_own_bound(linear_gaussian):
    oracle = linear_gaussian(0.3, 1.3)
    batch, eps = Batch(oracle.to_model(oracle.data(10))), noise(10, 12)
    oracle.model.encoder.shift = torch.nn.Parameter(oracle.model.encoder.shift)
    nets = oracle.networks()
    piwae = PIWAE(PIWAE.Options(bounds=3, samples=4))
    assert [p.moves for p in piwae.players()] == [("encoder", "head"), ("generator", "likelihood", "prior")]
    whole = {"encoder": MIWAE(MIWAE.Options(bounds=3, samples=4)), "decoder": IWAE(IWAE.Options(samples=12))}
    for player in piwae.players():
        moved = [p for name in player.moves for p in nets.part(name).parameters() if p.requires_grad]
        found = torch.autograd.grad(piwae.loss(player.name, nets, batch, eps).total(), moved)
        truth = torch.autograd.grad(whole[player.name].loss("model", nets, batch, eps).total(), moved)
        torch.testing.assert_close(found, truth)


def shifts(oracle, gradient, n, k=8, seed=0):
    """Gradients of the negative bound by the posterior's mean, one of each of n draws, ``(n, 2)``."""
    encoder = oracle.model.encoder
    before = encoder.shift
    encoder.shift = shift = before.expand(n, 2).clone().requires_grad_()
    x = oracle.to_model(oracle.data(1)).expand(n, 4)
    objective = IWAE(IWAE.Options(samples=k, gradient=gradient))
    loss = objective.loss("model", oracle.networks(), Batch(x), noise(n, k, seed))
    (found,) = torch.autograd.grad(loss.per_observation().sum(), shift)
    encoder.shift = before
    return found


def test_doubly_reparametrized_gradients_are_the_plain_ones_on_average_and_quieter(linear_gaussian):
    oracle, n = linear_gaussian(0.3, 1.3), 20_000
    plain, dreg, stl = (shifts(oracle, g, n, seed=i) for i, g in enumerate(("plain", "dreg", "stl")))
    error = (plain.var(0) / n + dreg.var(0) / n).sqrt()
    assert ((plain.mean(0) - dreg.mean(0)).abs() < 4 * error).all()
    assert (error < 0.1 * plain.mean(0).abs()).all()
    assert (dreg.var(0) < 0.6 * plain.var(0)).all()
    # Without the square of the weights it is another gradient: that of "sticking the landing".
    assert ((plain.mean(0) - stl.mean(0)).abs() > 8 * error).any()
    one = [shifts(oracle, g, n, 1, i).mean(0) for i, g in enumerate(("plain", "stl"))]
    torch.testing.assert_close(*one, atol=0.05, rtol=0.1)  # which for one code has no bias


@pytest.mark.parametrize("gradient", ["dreg", "stl"])
def test_at_the_true_posterior_there_is_no_gradient_and_no_noise(linear_gaussian, gradient):
    oracle = linear_gaussian()
    assert shifts(oracle, gradient, 200).abs().max() < 1e-4
    assert shifts(oracle, "plain", 200).std() > 0.05


def test_the_decoders_gradient_is_the_same_by_all_estimators(linear_gaussian):
    oracle = linear_gaussian(0.3, 1.3)
    batch, w = Batch(oracle.to_model(oracle.data(10))), oracle.model.generator.w
    found = [torch.autograd.grad(
        IWAE(IWAE.Options(samples=6, gradient=g)).loss("model", oracle.networks(), batch, noise(10, 6)).total(), w
    )[0] for g in ("plain", "dreg", "stl")]  # fmt: skip
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


def test_held_out_is_the_bound(linear_gaussian):
    oracle = linear_gaussian(0.3, 1.3)
    batch, eps = Batch(oracle.to_model(oracle.data(10))), noise(10, 6)
    for objective in (IWAE(IWAE.Options(samples=6)), PIWAE(PIWAE.Options(bounds=2, samples=3))):
        found = objective.held_out(oracle.networks(), batch, eps)
        log_w = oracle.model.log_weights(batch.x, None, eps["eps"].transpose(0, 1))
        torch.testing.assert_close(found, -mean_weight(log_w))


def test_a_posterior_that_gives_one_code_is_refused():
    small = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8}
    for told in ({"posterior": "vq", "prior": "uniform-codes"}, {"posterior": "point"}):
        with pytest.raises(UsageError, match="objective 'iwae' weighs"):
            genzoo.fit("iwae", "ring8", steps=1, device="cpu", options={**small, **told})
    with pytest.raises(UsageError, match="works with posterior normal, not iaf"):
        genzoo.fit("iwae", "ring8", steps=1, device="cpu",
                   options={**small, "posterior": "iaf", "objective.gradient": "dreg"})  # fmt: skip


@pytest.mark.parametrize("objective", ["iwae", "ciwae"])
@pytest.mark.parametrize(
    ("posterior", "given"),
    [
        ("gumbel-vq", {"prior": "uniform-codes"}),
        ("hrq", {"prior": "uniform-codes"}),
        ("categorical", {"prior": "uniform-codes", "latent.size": 6, "posterior.codes": 3}),
        ("product", {"prior": "product", "latent.size": 5, "posterior.codes": 3, "posterior.normal": 2}),
    ],
)
def test_codes_that_training_softens_are_refused_for_that(objective, posterior, given):
    small = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "posterior": posterior}
    with pytest.raises(UsageError, match=f"posterior '{posterior}' softens its codes in training"):
        genzoo.fit(objective, "ring8", steps=1, device="cpu", options=small | given)


def test_the_bound_of_a_vae_is_what_it_was(linear_gaussian):
    oracle = linear_gaussian(0.3, 1.3)
    batch, eps = Batch(oracle.to_model(oracle.data(10))), {"eps": torch.zeros(10, 2)}
    loss = VAE().loss("model", oracle.networks(), batch, eps)
    torch.testing.assert_close(VAE().held_out(oracle.networks(), batch, eps), loss.per_observation())

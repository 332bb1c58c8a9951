"""The hierarchy: one bound whichever way it is computed, and nothing lost by standardized noise."""

import math

import pytest
import torch
from torch.distributions import Normal

import genzoo
from genzoo.core.build import build
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose, resolver

TINY = {"generator.width": 4, "generator.z": 1, "encoder.width": 4, "encoder.norm": "none"}


def model_of(size=8, layers=(1,), classes=0, spread=0.3, **given):
    torch.manual_seed(0)
    spec = DataSpec.image(1, size, size, levels=None, classes=classes)
    options = TINY | {"generator.layers": layers, "likelihood": "gaussian", "conditional": bool(classes)}
    options |= {"likelihood.sigma": "fixed", "likelihood.value": 1.5} | given
    config = compose(the_registry(), spec, "top-down-vae", options)
    model = build(config, resolver(the_registry(), config))[1].model.eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(spread * torch.randn(p.shape))
    return model


def labels(model, n):
    return torch.arange(n) % model.classes if model.classes else None


@pytest.mark.parametrize("classes", [0, 3])
@torch.no_grad()
def test_the_bound_by_closed_divergences_is_the_bound_by_weights(classes):
    model, k = model_of(layers=(3, 2), size=16, classes=classes), 200
    x, y = torch.rand(2, 1, 16, 16), labels(model, 2)
    eps = torch.randn(k, 2, model.latent.size)
    weights = model.log_weights(x, y, eps)
    closed = []
    for e in eps:
        q = model.posterior(x, y)
        z, kl = model.code(q, e, y)
        assert (kl > 0).all()
        closed.append(model.likelihood.log_prob(model.params(q, z, y), x) - kl)
        torch.testing.assert_close(model.params(q, z, y), model.generator(z, y))
    gap = torch.stack(closed) - weights  # the same samples, so all that differs is how the KL is computed
    error = gap.std(0) / math.sqrt(k)
    assert (gap.mean(0).abs() < 4 * error + 1e-3).all()
    assert (error > 1e-4).all()
    bounds = [torch.logsumexp(weights.view(-1, n, 2), 1).sub(math.log(n)).mean(0) for n in (1, 10, 100)]
    assert (bounds[0] < bounds[1]).all()
    assert (bounds[1] < bounds[2] + 0.05).all()


@torch.no_grad()
def test_weights_average_to_the_evidence_that_the_prior_gives():
    model = model_of(spread=0.2)
    assert model.latent.size == 16
    x, n = torch.rand(1, 1, 8, 8), 20_000
    prior = torch.randn(n, 16)
    log_p = model.likelihood.log_prob(model.generator(prior), x.expand(n, -1, -1, -1)).double()
    weights = model.log_weights(x, None, torch.randn(n, 1, 16)).double().squeeze(1)
    truth = torch.logsumexp(log_p, 0) - math.log(n)
    ratios = [(v - truth).exp() for v in (log_p, weights)]
    errors = [(r.std() / math.sqrt(n)).item() for r in ratios]
    assert max(errors) < 0.03
    assert abs(ratios[1].mean().item() - 1) < 4 * math.hypot(*errors)
    assert model.posterior(x).kl().sum() > 0.1  # not the prior, which would prove nothing


def test_the_density_of_a_code_is_that_of_its_noise_over_the_jacobian():
    model = model_of(layers=(2,))
    x, size = torch.rand(1, 1, 8, 8), model.latent.size
    eps = torch.randn(1, size)
    jacobian = torch.autograd.functional.jacobian(lambda e: model.posterior(x).sample(e), eps).reshape(size, size)
    with torch.no_grad():
        q = model.posterior(x)
        z, log_q = q.sample_with_log_prob(eps)
        expected = Normal(0.0, 1.0).log_prob(eps).sum() - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(log_q.squeeze(), expected, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(q.log_prob(z), log_q, atol=1e-3, rtol=1e-4)
        below = jacobian[16:, :16]  # what the second layer's code takes from the first's noise
        assert below.abs().max() > 1e-3


@torch.no_grad()
def test_at_the_start_the_posterior_is_the_prior_and_every_layer_counts():
    model = model_of(layers=(3, 2), size=16, spread=0.0)
    q = model.posterior(torch.rand(2, 1, 16, 16))
    eps = torch.randn(2, model.latent.size)
    torch.testing.assert_close(q.sample(eps), eps)
    assert q.kl().abs().max() == 0
    torch.manual_seed(1)
    moved = model_of(layers=(3, 2), size=16)
    z = torch.randn(1, moved.latent.size)
    for start, count in ((0, 16), (16, 16), (32, 16), (48, 64), (112, 64)):
        other = z.clone()
        other[:, start : start + count] += 1
        assert (moved.generator(z) - moved.generator(other)).abs().max() > 1e-5


def test_its_ten_layers_follow_the_data_and_what_does_not_fit_is_refused(tmp_path):
    model = genzoo.create("top-down-vae", DataSpec.image(1, 28, 28))
    assert len(model.generator.layers) == 10
    assert model.latent.size == 2 * (6 * 49 + 4 * 196)
    assert genzoo.create("top-down-vae", DataSpec.image(3, 32, 24), options={"generator.width": 4}).sample(1).shape
    with pytest.raises(UsageError, match=r"leave out latent\.size"):
        genzoo.create("top-down-vae", DataSpec.image(1, 28, 28), options={"latent.size": 16})
    with pytest.raises(UsageError, match=r"generator.: .top-down"):
        genzoo.create("top-down-vae", DataSpec.image(1, 28, 28), options={"generator": "conv"})
    run = genzoo.fit("top-down-vae", "fashion-mini", tmp_path / "run", steps=3, batch_size=8, device="cpu",
                     progress=False, options=TINY | {"data.limit": 100, "train.average": 50})  # fmt: skip
    again = genzoo.load(tmp_path / "run")
    torch.testing.assert_close(again.sample(2, truncation=0.5), run.model.sample(2, truncation=0.5))
    x = genzoo.load_data("fashion-mini", split="test").x[:2]
    assert again.reconstruct(x).shape == again.interpolate(again.encode(x), again.encode(x), 2)[:, 0].shape
    assert torch.isfinite(again.log_likelihood(x, samples=2).values).all()

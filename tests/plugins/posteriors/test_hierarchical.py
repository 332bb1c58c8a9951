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
FLAT = {"encoder": "mlp", "encoder.width": 6}
KINDS = {
    "top-down": {"layers": (3, 2), "size": 16},
    "nvae": {"layers": (2, 2), "recipe": "nvae"},
    "two-level": {"recipe": "two-level-vae"},
    "ladder": {"recipe": "ladder-vae"},
    "ladder of images": {"layers": (2, 1), "posterior": "ladder"},
}


def model_of(size=8, layers=(1,), classes=0, spread=0.3, recipe="top-down-vae", **given):
    torch.manual_seed(0)
    spec = DataSpec.image(1, size, size, levels=None, classes=classes)
    options = TINY | {"generator.layers": layers}
    if recipe in ("two-level-vae", "ladder-vae"):
        options = {"generator.width": 6, "generator.sizes": (2, 3, 2), "generator.decoder": "mlp"} | FLAT
    options |= {"likelihood": "gaussian", "conditional": bool(classes)}
    options |= {"likelihood.sigma": "fixed", "likelihood.value": 1.5} | given
    config = compose(the_registry(), spec, recipe, options)
    model = build(config, resolver(the_registry(), config))[1].model.eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(spread * torch.randn(p.shape))
    return model


def labels(model, n):
    return torch.arange(n) % model.classes if model.classes else None


@pytest.mark.parametrize(
    ("kind", "classes"),
    [pytest.param(kind, 0, marks=() if kind in ("nvae", "ladder") else pytest.mark.slow) for kind in KINDS]
    + [pytest.param(kind, 3, marks=() if kind == "top-down" else pytest.mark.slow) for kind in ("top-down", "ladder")],
)
@torch.no_grad()
def test_the_bound_by_closed_divergences_is_the_bound_by_weights(kind, classes):
    model, k = model_of(classes=classes, **KINDS[kind]), 200
    x, y = torch.rand(2, *model.spec.shape), labels(model, 2)
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


@pytest.mark.parametrize("given", [{}, KINDS["two-level"], KINDS["ladder"]], ids=["top-down", "two-level", "ladder"])
@torch.no_grad()
def test_weights_average_to_the_evidence_that_the_prior_gives(given):
    model = model_of(spread=0.2, **given)
    size = model.latent.size
    assert size == (7 if given else 16)
    x, n = torch.rand(1, 1, 8, 8), 20_000
    prior = torch.randn(n, size)
    log_p = model.likelihood.log_prob(model.generator(prior), x.expand(n, -1, -1, -1)).double()
    weights = model.log_weights(x, None, torch.randn(n, 1, size)).double().squeeze(1)
    truth = torch.logsumexp(log_p, 0) - math.log(n)
    ratios = [(v - truth).exp() for v in (log_p, weights)]
    errors = [(r.std() / math.sqrt(n)).item() for r in ratios]
    assert max(errors) < 0.05
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


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("kind", ["top-down", "two-level", "ladder"])
@torch.no_grad()
def test_a_mixture_of_such_posteriors_is_the_mean_of_their_densities_and_has_its_samples(kind, classes):
    model = model_of(classes=classes, prior="vamp", **{"prior.components": 4}, **KINDS[kind])
    n = 2000
    z = model.prior.sample(torch.rand(n, *model.prior.noise_shape, generator=torch.Generator().manual_seed(0)))
    y = torch.arange(4) % 3 if classes else None
    inputs = model.prior.inputs
    each = torch.stack([
        model.posterior(inputs[k : k + 1], None if y is None else y[k : k + 1]).log_prob(z[:, None]).squeeze(1)
        for k in range(4)
    ])  # fmt: skip
    found = model.prior.log_prob(z)
    torch.testing.assert_close(found, torch.logsumexp(each, 0) - math.log(4))
    torch.testing.assert_close(model.prior.log_prob(z.view(n // 2, 2, -1)), found.view(n // 2, 2))
    # Samples are from that density: the mean of another's ratio to it is 1.
    ratio = (each[0] - found).double().exp()
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / math.sqrt(n)
    assert ratio.std() > 0.2


@torch.no_grad()
def test_a_ladder_weighs_data_and_prior_by_their_precision_and_without_data_is_the_prior():
    model = model_of(**KINDS["ladder"])
    head, (features, h) = model.head, torch.randn(2, 4, 6).unbind(0)
    mean, log_std = torch.randn(4, 3), torch.randn(4, 3)
    said, log_var = head.layers[1](features).chunk(2, 1)
    shift, merged = head.ask(1, features, h, mean, log_std)
    of_data, of_prior = torch.exp(-log_var), torch.exp(-2 * log_std)
    variance = 1 / (of_data + of_prior)
    expected = variance * (said * of_data + mean * of_prior)
    torch.testing.assert_close(mean + log_std.exp() * shift, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(merged + 2 * log_std, variance.log(), rtol=1e-4, atol=1e-5)
    for layer in head.layers:
        layer[-1].weight.zero_()
        layer[-1].bias.copy_(
            torch.cat([torch.randn(len(layer[-1].bias) // 2), torch.full((len(layer[-1].bias) // 2,), 60.0)])
        )
    assert model.posterior(torch.rand(2, 1, 8, 8)).kl().abs().max() < 1e-6


def test_spectral_cost_is_the_sum_of_the_largest_singular_values_and_its_gradient_theirs():
    model = model_of(**KINDS["nvae"])
    weights = [m.weight for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    for _ in range(300):
        model.head.after_step({})
    q = model.posterior(torch.rand(3, 1, 8, 8))
    truth = sum(torch.linalg.matrix_norm(w.flatten(1), 2) for w in weights)
    torch.testing.assert_close(q.cost["spectral"], (0.1 * truth).expand(3), rtol=1e-3, atol=0)
    found = torch.autograd.grad(q.cost["spectral"][0], weights)
    expected = torch.autograd.grad(0.1 * truth, weights)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=5e-3)
    assert model_of(**KINDS["top-down"]).posterior(torch.rand(3, 1, 16, 16)).cost == {}


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

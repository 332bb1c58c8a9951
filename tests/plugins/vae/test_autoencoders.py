"""Autoencoders whose codes are points: what they minimize, what is refused, and the prior that is fitted afterwards."""

import math

import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.networks import Ports
from genzoo.core.objective import Batch, Networks
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.likelihoods.gaussian import Gaussian
from genzoo.plugins.nets.mlp import MLPEncoder, MLPGenerator
from genzoo.plugins.posteriors.point import PointHead
from genzoo.plugins.vae.autoencoder import Autoencoder
from genzoo.plugins.vae.rae import RAE

SMALL = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8}


def networks(d=6, code=2, depth=0):
    torch.manual_seed(0)
    spec, latent = DataSpec("vector", (d,)), Latent(code)
    generator = MLPGenerator(Ports((code,), (d,)), MLPGenerator.Options(depth=depth, width=16, activation="silu"))
    encoder = MLPEncoder(Ports((d,), (code,)), MLPEncoder.Options(depth=depth, width=16, activation="silu"))
    likelihood = Gaussian(spec, Gaussian.Options(sigma="fixed"))
    return Networks(Model(spec, latent, generator, likelihood, encoder, PointHead(latent)))


def test_a_linear_autoencoder_spans_the_subspace_of_pca():
    nets, random = networks(), torch.Generator().manual_seed(1)
    scale = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.3, 0.1])
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=random))
    x = (torch.randn(400, 6, generator=random) * scale) @ turn.T
    x = x - x.mean(0)
    optimizer = torch.optim.LBFGS(nets.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        total = Autoencoder().loss("model", nets, Batch(x), {}).total()
        total.backward()
        return total

    optimizer.step(closure)
    found, _ = torch.linalg.qr(nets.model.generator.head.weight.detach())
    principal = torch.linalg.svd(x, full_matrices=False).Vh[:2].T
    cosines = torch.linalg.svdvals(principal.T @ found)
    assert torch.arccos(cosines.clamp(max=1)).max() < 1e-3
    rest = torch.linalg.svdvals(x)[2:].square().sum() / 400  # and what is lost is what PCA loses
    constant = 3 * math.log(2 * math.pi)
    assert closure().item() == pytest.approx(rest.item() / 2 + constant, abs=1e-4)


def test_the_decay_is_a_term_whose_gradient_is_twice_the_weights():
    nets = networks(depth=1)
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    options = RAE.Options(beta=0.3, decay=0.7)
    loss = RAE(options).loss("model", nets, Batch(x), {})
    w = nets.model.generator.head.weight
    (found,) = torch.autograd.grad((loss.terms["decay"] * loss.weights["decay"]).mean(), w, retain_graph=True)
    torch.testing.assert_close(found, 2 * 0.7 * w)
    z = nets.model.posterior(x).mean
    torch.testing.assert_close(loss.terms["codes"], z.square().sum(1) / 2)
    expected = loss.terms["nll"] + 0.3 * loss.terms["codes"] + 0.7 * loss.terms["decay"]
    torch.testing.assert_close(loss.per_observation(), expected)
    # Of both halves of a batch alike: nothing of it goes by the batch.
    torch.testing.assert_close(loss.total(), RAE(options).loss("model", nets, Batch(torch.cat([x, x])), {}).total())


def test_slopes_are_the_decoders_squared_jacobian_by_chance():
    nets, n = networks(depth=0), 20_000
    x = torch.randn(1, 6, generator=torch.Generator().manual_seed(0)).expand(n, 6)
    v = torch.randn(n, 6, generator=torch.Generator().manual_seed(1))
    found = RAE(RAE.Options(slopes=1.0)).loss("model", nets, Batch(x), {"v": v}).terms["slopes"].detach()
    truth = nets.model.generator.head.weight.square().sum().item()  # of a linear decoder: ‖W‖², whatever the encoder
    assert abs(found.mean().item() - truth) < 4 * found.std().item() / math.sqrt(n)
    assert found.std().item() / math.sqrt(n) < 0.02 * truth


def test_slopes_are_differentiated_as_what_they_are():
    nets = networks(depth=1)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    v = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    objective = RAE(RAE.Options(slopes=1.0))
    # The second derivative reaches decoder and encoder.
    for p in (nets.model.generator.head.weight, nets.model.encoder.head.weight):
        (gradient,) = torch.autograd.grad(objective.loss("model", nets, Batch(x), {"v": v}).terms["slopes"].sum(), p)
        i = int(gradient.abs().argmax())
        values = []
        with torch.no_grad():
            for step in (1e-2, -1e-2):
                p.view(-1)[i] += step
                with torch.enable_grad():
                    values.append(objective.loss("model", nets, Batch(x), {"v": v}).terms["slopes"].sum().item())
                p.view(-1)[i] -= step
        assert (values[0] - values[1]) / 2e-2 == pytest.approx(gradient.view(-1)[i].item(), rel=0.01)


@pytest.mark.parametrize("shape", ["image", "vector"])
def test_a_spectrally_normalized_decoder_has_no_singular_value_above_one(shape):
    from genzoo.core.build import build
    from genzoo.registry import the_registry
    from genzoo.registry.recipes.compose import compose, resolver

    spec = DataSpec.image(1, 8, 8) if shape == "image" else DataSpec("vector", (3,))
    config = compose(the_registry(), spec, "rae-sn", {"generator.width": 8, "encoder.width": 8})
    _, nets = build(config, resolver(the_registry(), config))
    layers = [m for m in nets.model.generator.modules() if isinstance(m, (torch.nn.Linear, torch.nn.ConvTranspose2d))]
    assert len(layers) > 1
    for _ in range(40):  # power iterations
        nets.model.generator.train()(torch.zeros(2, *nets.model.latent.shape))
    nets.model.generator.eval()
    for layer in layers:
        dim = 1 if isinstance(layer, torch.nn.ConvTranspose2d) else 0
        matrix = layer.weight.transpose(0, dim).flatten(1)
        assert torch.linalg.svdvals(matrix).max().item() == pytest.approx(1, abs=0.02)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoder") / "run"
    run = genzoo.fit("rae-l2", "ring8", folder, steps=3, batch_size=16, device="cpu", progress=False, options=SMALL)
    return run, folder


def test_it_samples_once_a_prior_was_fitted(trained, tmp_path):
    run, folder = trained
    with pytest.raises(UsageError, match="fit one with genzoo prior fit"):
        genzoo.load(folder).sample(4)
    assert genzoo.load(folder).reconstruct(torch.zeros(3, 2)).shape == (3, 2)
    second = genzoo.fit_prior(folder, "mixture", tmp_path / "both", steps=3, device="cpu", progress=False)
    assert second.model.sample(5).shape == (5, 2)
    x = torch.randn(4, 2)
    torch.testing.assert_close(second.model.encode(x), run.model.encode(x))


def test_what_needs_no_samples_is_told_of_it(trained, tmp_path):
    run, _ = trained
    found = genzoo.diagnose(run, device="cpu")
    assert found["posterior-collapse"].status in ("healthy", "problem", "hint")
    assert "trained without a prior" in found["mode-collapse"].says
    with pytest.raises(UsageError, match="paths start from data"):
        genzoo.interpolate(run.model, tmp_path / "ways.png", 2)


def test_its_likelihood_is_refused_and_its_kl_is_no_metric(trained):
    run, folder = trained
    with pytest.raises(UsageError, match="no likelihood, and no bound on it"):
        run.model.log_likelihood(torch.zeros(3, 2))
    report = genzoo.evaluate(folder, "ring8", n=100, device="cpu", progress=False)
    assert not {"log-likelihood", "elbo", "posterior-kl", "kid"} & {r.metric for r in report.results}
    assert "active-units" in {r.metric for r in report.results}


def test_points_are_refused_where_their_density_is_asked_for():
    with pytest.raises(UsageError, match=r"are points: use posterior=.normal"):
        genzoo.fit("vae", "ring8", steps=1, device="cpu", options={**SMALL, "posterior": "point"})
    with pytest.raises(UsageError, match="works with posterior point, not normal"):
        genzoo.fit("ae", "ring8", steps=1, device="cpu", options={**SMALL, "posterior": "normal"})
    with pytest.raises(UsageError, match="its codes are points"):
        genzoo.fit("ae", "ring8", steps=1, device="cpu", options={**SMALL, "prior": "vamp"})
    with pytest.raises(UsageError, match=r"generator\.norm.: .layer"):
        genzoo.fit("rae-gp", "ring8", steps=1, device="cpu", options={**SMALL, "generator.norm": "batch"})

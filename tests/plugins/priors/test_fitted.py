"""Priors that are fitted to the codes of a trained model: by EM, by flows, by a second VAE, by a PixelCNN, by class."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.priors import normals
from genzoo.plugins.priors.autoregressive_flows import MAF, NSF, InverseMAF
from genzoo.plugins.priors.normals import Mixture
from genzoo.plugins.priors.second_vae import SecondVAE, normals_of

SMALL = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def shaken(module, scale=0.3):
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn(p.shape, generator=random))
    return module


def of_three(n, seed=0):
    """Points of three correlated normals in the plane, of a scale that no standard normal has."""
    random = torch.Generator().manual_seed(seed)
    means, factors = 20 * torch.randn(3, 2, generator=random), 3 * torch.randn(3, 2, 2, generator=random)
    k = torch.randint(3, (n,), generator=random)
    return means[k] + torch.einsum("bij,bj->bi", factors[k], torch.randn(n, 2, generator=random))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@torch.no_grad()
def test_stepwise_em_finds_what_em_finds(covariance):
    from sklearn.mixture import GaussianMixture

    x = of_three(3000)
    kind = "diag" if covariance == "diagonal" else "full"
    best = GaussianMixture(3, covariance_type=kind, n_init=5, random_state=0).fit(x.numpy()).score(x.numpy())
    prior = Mixture(Latent(2), Mixture.Options(3, covariance))
    random = torch.Generator().manual_seed(1)
    for _ in range(400):
        prior.after_step(prior.sums(x[torch.randint(3000, (100,), generator=random)], None))
    assert prior.log_prob(x).mean().item() == pytest.approx(best, abs=0.05)
    drawn = prior.sample(torch.rand(20_000, 3, generator=random))
    assert np.allclose(drawn.mean(0), x.mean(0), atol=1.5)
    assert np.allclose(np.cov(drawn.T), np.cov(x.T), rtol=0.15, atol=15)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@torch.no_grad()
def test_components_live_in_codes_of_many_numbers(covariance):
    random = torch.Generator().manual_seed(0)
    centres = torch.randn(12, 16, generator=random)
    x = centres[torch.randint(12, (3000,), generator=random)] + torch.randn(3000, 16, generator=random)
    torch.manual_seed(0)
    prior = Mixture(Latent(16), Mixture.Options(12, covariance))
    for _ in range(250):
        prior.after_step(prior.sums(x[torch.randint(3000, (100,), generator=random)], None))
    assert (prior.logits.softmax(0) > 1 / 48).sum() >= 11
    whole = torch.logsumexp(-torch.cdist(x, centres).square() / 2, 1).mean() - math.log(12) - 8 * math.log(2 * math.pi)
    assert prior.log_prob(x).mean() > whole - 0.05


def test_sums_of_parts_move_a_mixture_as_those_of_the_batch(monkeypatch):
    monkeypatch.setattr(normals, "_PARTING", 2)  # one step of k-means, and then expectation maximization
    x, found = of_three(60), []
    for parts in (1, 3):
        torch.manual_seed(0)
        prior = Mixture(Latent(2), Mixture.Options(4))
        for batch in x.chunk(4):
            each = [prior.sums(part, None) for part in batch.chunk(parts)]
            prior.after_step({k: sum(s[k] for s in each) for k in each[0]})
        found.append(prior.state_dict())
    for k, v in found[0].items():
        torch.testing.assert_close(v, found[1][k], rtol=1e-3, atol=1e-3)


class Unconditional:
    classes = conditions = 0


@pytest.mark.parametrize("flow", [MAF, InverseMAF, NSF])
def test_flows_of_zuko_score_samples_by_base_and_jacobian(flow):
    prior = flow(Latent(3), flow.Options(depth=2, width=8))
    prior.attach(Unconditional())
    prior.center.copy_(torch.tensor([5.0, -3.0, 0.0]))
    prior.spread.copy_(torch.tensor([2.0, 0.1, 7.0]))
    shaken(prior.flow)
    base = torch.randn(1, 3, generator=torch.Generator().manual_seed(0))
    jacobian = torch.autograd.functional.jacobian(prior, base).reshape(3, 3)
    expected = Normal(0.0, 1.0).log_prob(base).sum() - torch.linalg.slogdet(jacobian).logabsdet
    with torch.no_grad():
        torch.testing.assert_close(prior.log_prob(prior(base)).squeeze(), expected, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(prior.base(prior(base))[0], base, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_flows_standardize_by_the_first_batch_alone():
    prior, x = NSF(Latent(2)), of_three(500)
    for batch in x.chunk(5):
        prior.after_step(prior.sums(batch, None))
    first = x.chunk(5)[0]
    torch.testing.assert_close(prior.center, first.mean(0))
    torch.testing.assert_close(prior.spread, first.std(0, correction=0), rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_the_second_stages_bound_is_exact_where_its_decoder_says_nothing():
    prior = SecondVAE(Latent(3), SecondVAE.Options(width=8, depth=1))
    prior.attach(Unconditional())
    prior.center.copy_(torch.tensor([5.0, -3.0, 0.0]))
    prior.spread.copy_(torch.tensor([2.0, 0.5, 7.0]))
    prior.log_gamma.fill_(0.3)
    for net in (prior.encoder, prior.decoder):
        net[-1].weight.zero_()
        net[-1].bias.zero_()
    z = torch.randn(6, 3)
    truth = Normal(prior.center, prior.spread * prior.log_gamma.exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(prior.bound(z, None, torch.randn(6, 3)), truth, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prior.log_prob(z), truth, atol=1e-4, rtol=1e-4)
    shaken(prior)
    bounds = torch.stack([prior.bound(z, None, torch.randn(6, 3)) for _ in range(400)])
    assert (bounds.mean(0) <= prior.log_prob(z) + 1.0).all()  # of one draw, below that of 16


@torch.no_grad()
def test_every_code_has_draws_of_its_own_in_the_second_stages_bound():
    z = torch.randn(4000, 3, generator=torch.Generator().manual_seed(1))
    eps = normals_of(z, 16)
    torch.testing.assert_close(normals_of(z[5:7], 16), eps[:, 5:7])  # whatever codes are beside it
    torch.testing.assert_close(normals_of(z.view(40, 100, 3), 16).flatten(1, 2), eps)
    flat = eps.transpose(0, 1).flatten(1)  # (4000, 48), each column of which the shared draws had constant
    assert flat.mean(0).abs().max() < 0.08
    assert (flat.std(0) - 1).abs().max() < 0.06
    assert (torch.corrcoef(flat.T) - torch.eye(48)).abs().max() < 0.08
    prior = SecondVAE(Latent(3), SecondVAE.Options(width=8, depth=1))
    prior.attach(Unconditional())
    shaken(prior)
    many = torch.stack([prior.bound(z, None, normals_of(z + i, 1)[0]) for i in range(50)]).mean()
    assert many < prior.log_prob(z).mean()  # the bound of 16 draws is above that of one, both below log p(z)


def test_a_second_stage_is_not_trained_beside_the_first(game):
    with pytest.raises(UsageError, match="fitted to the codes of a trained model"):
        game("vae", prior="second-vae")


@torch.no_grad()
def test_a_prior_by_class_is_a_normal_for_each(game):
    model = game("vae", prior="conditional", conditional=True).nets.model
    prior = shaken(model.prior, 0.5)
    y, z = torch.tensor([0, 2, 1]), torch.randn(4, 3, 2)
    numbers = prior.net.weight if hasattr(prior.net, "weight") else prior.net[-1].weight
    moments = (numbers[:, y].T + prior.net[-1].bias).view(3, 2, 2)
    truth = Normal(moments[:, 0], (0.5 * moments[:, 1]).exp())
    torch.testing.assert_close(prior.log_prob(z, y), truth.log_prob(z).sum(-1), atol=1e-4, rtol=1e-4)
    drawn = prior.sample(torch.rand(9000, 2), torch.arange(9000) % 3)
    for k, i in enumerate(y.tolist()):
        torch.testing.assert_close(drawn[i::3].mean(0), truth.mean[k], atol=0.1, rtol=0)
    with pytest.raises(UsageError, match="labels or conditions"):
        game("vae", prior="conditional")


@pytest.fixture
def gridded(game):
    def make(**more):
        options = {"latent__size": 4, "latent__grid": 4, "posterior__codes": 5, "prior__depth": 2, "prior__width": 8,
                   "prior__kernel": 3, "generator": "conv", "encoder": "conv", **more}  # fmt: skip
        model = game("vq-vae", DataSpec.image(1, 16, 16, classes=3), prior="pixelcnn", **options).nets.model
        shaken(model.prior, 0.2)
        return model.eval()

    return make


class Told(torch.nn.Module):
    def __init__(self, vectors):
        super().__init__()
        self.vectors = vectors

    def forward(self, tokens):
        return self.vectors.expand(len(tokens), -1, -1)


def test_a_pixelcnn_sees_all_tokens_before_a_place_and_none_after(gridded):
    """∂ logits_t / ∂ token_s is 0 for s ≥ t, and no token before is in a blind spot (arXiv:1606.05328, figure 1)."""
    prior = gridded(prior__depth=4).prior
    vectors = torch.randn(1, 16, 8, requires_grad=True)
    prior.tokens = Told(vectors)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(prior, "_labels", lambda n, y: torch.zeros(n, dtype=torch.long))
        logits = prior.logits(torch.zeros(1, 16, dtype=torch.long))
    for t in range(16):
        (slope,) = torch.autograd.grad(logits[0, :, t].square().sum(), vectors, retain_graph=True, allow_unused=True)
        seen = slope[0].abs().sum(1) > 0
        assert seen.tolist() == [s < t for s in range(16)]


@pytest.mark.parametrize("grid", [True, False])
@torch.no_grad()
def test_a_pixelcnn_draws_what_it_says_place_by_place(gridded, grid):
    model = gridded(conditional=True, **({} if grid else {"latent__grid": 0, "posterior__dim": 1}))
    prior, places = model.prior, model.head.places
    u, y = torch.rand(6, places), torch.arange(6) % 3
    tokens = prior.head.tokens_of(prior.sample(u, y))
    share = prior.logits(tokens, y).softmax(1).cumsum(1)
    torch.testing.assert_close(tokens, (share[:, :-1] <= u[:, None] * share[:, -1:]).sum(1))
    assert (prior.logits(tokens, y) - prior.logits(tokens, (y + 1) % 3)).abs().max() < 1e-6 or prior.classes == 3


@pytest.mark.parametrize("prior", ["mixture", "nsf", "maf", "second-vae"])
def test_parts_of_a_batch_fit_a_prior_as_the_batch(tmp_path, prior):
    genzoo.fit("vae", "ring8", tmp_path / "first", steps=2, device="cpu", progress=False, options=SMALL)
    small = {} if prior == "mixture" else {"prior.width": 8, "prior.depth": 2}
    found = []
    for parts in (1, 2):
        run = genzoo.fit_prior(tmp_path / "first", prior, tmp_path / str(parts), steps=3, device="cpu", progress=False,
                               options=small | {"train.accumulate": parts})  # fmt: skip
        found.append(run.model.state_dict())
        assert torch.isfinite(run.model.sample(4)).all()
    for k, v in found[0].items():
        torch.testing.assert_close(v, found[1][k], atol=2e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["mixture", "nsf", "maf", "real-nvp"])
def test_a_fitted_prior_has_a_better_bound(tmp_path, prior):
    wide = {"generator": "mlp", "encoder": "mlp", "train.lr": 5e-3, "objective.beta": 0.05, "train.validation": 200}
    genzoo.fit("beta-vae", "ring8", tmp_path / "first", steps=300, device="cpu", progress=False, options=wide)
    run = genzoo.fit_prior(tmp_path / "first", prior, steps=400, device="cpu", progress=False,
                           options={"train.lr": 3e-3})  # fmt: skip
    x = genzoo.load_data("ring8", split="test").x[:500]
    before = genzoo.load(tmp_path / "first", device="cpu")
    old, new = (m.log_likelihood(x, samples=20).values.mean().item() for m in (before, run.model))
    assert new > old + 0.1


@pytest.mark.slow
def test_a_pixelcnn_learns_tokens_that_go_together(tmp_path):
    genzoo.fit("vq-vae", "ring8", tmp_path / "first", steps=150, batch_size=64, device="cpu", progress=False,
               options=SMALL | {"latent.size": 2, "posterior.codes": 8, "posterior.dim": 1, "train.lr": 5e-3,
                                "train.validation": 200})  # fmt: skip
    run = genzoo.fit_prior(tmp_path / "first", "pixelcnn", tmp_path / "second", steps=200, device="cpu", progress=False,
                           options={"prior.width": 16, "prior.depth": 1, "train.lr": 5e-3})  # fmt: skip
    assert run.metrics["held-out loss"] < 2 * torch.tensor(8.0).log().item() - 0.3
    assert genzoo.verify(tmp_path / "second").ok

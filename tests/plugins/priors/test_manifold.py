"""The prior that follows a metric's volume: a density that integrates to one, which its chains draw from."""

import math

import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec


@pytest.fixture
def prior():
    torch.manual_seed(0)
    options = {"posterior": "riemannian", "prior": "manifold", "latent.size": 2, "posterior.centroids": 3}
    model = genzoo.create("vae", DataSpec("vector", (2,)), options=options)
    made, head = model.prior, model.head
    with torch.no_grad():
        head.centers.copy_(torch.tensor([[1.5, 0.0], [-1.5, 1.0], [0.0, -2.0]]))
        head.metrics.copy_(torch.diag_embed(torch.tensor([[0.5, 0.02], [0.1, 0.3], [0.2, 0.2]])))
        made.mean.copy_(torch.tensor([0.3, -0.2]))
        made.log_std.copy_(torch.tensor([0.2, 0.4]))
    return model, made


@torch.no_grad()
def test_it_integrates_to_one_and_is_the_volume_in_a_normal(prior):
    model, made = prior
    line = torch.linspace(-10, 10, 401)
    z, cell = torch.cartesian_prod(line, line), (line[1] - line[0]).item() ** 2
    p = made.log_prob(z).double().exp() * cell
    assert p.sum().item() == pytest.approx(1, abs=0.04)  # by 1,024 points
    # From one code to another it changes as √det G⁻¹ and the normal do, which is no constant here.
    a, b = torch.tensor([[1.4, 0.2]]), torch.tensor([[3.0, 2.0]])
    volumes = [0.5 * torch.linalg.slogdet(model.head.inverse(v)).logabsdet for v in (a, b)]
    normal = torch.distributions.Normal(made.mean, made.log_std.exp())
    expected = volumes[0] - volumes[1] + (normal.log_prob(a) - normal.log_prob(b)).sum(-1)
    torch.testing.assert_close(made.log_prob(a) - made.log_prob(b), expected, atol=1e-4, rtol=1e-4)
    assert abs((volumes[0] - volumes[1]).item()) > 0.5


def test_its_chains_draw_from_it(prior):
    _, made = prior
    line = torch.linspace(-10, 10, 201)
    z = torch.cartesian_prod(line, line)
    with torch.no_grad():
        p = made.log_prob(z).double().softmax(0)
    n = 4000
    u = torch.rand(n, *made.noise_shape, generator=torch.Generator().manual_seed(0))
    drawn = made.sample(u)
    assert torch.equal(drawn[:50], made.sample(u[:50]))
    assert not drawn.requires_grad
    for power in (1, 2):
        truth = (p[:, None] * z**power).sum(0)
        error = ((p[:, None] * z ** (2 * power)).sum(0) - truth**2).div(n).sqrt()
        assert ((drawn.double() ** power).mean(0) - truth).abs().div(error).max() < 4.5
    normal = made.mean + made.log_std.exp() * torch.randn(n, 2)  # where chains start: another distribution
    assert (normal.square().mean(0) - drawn.square().mean(0)).abs().max() > 0.3


def test_its_slope_is_that_of_its_density(prior):
    _, made = prior
    x = torch.randn(5, 2, dtype=torch.float64).float()
    energy, slope = made._energy(x)
    step = 1e-2
    for i in range(2):
        off = torch.zeros(2)
        off[i] = step
        found = (made._energy(x + off)[0] - made._energy(x - off)[0]) / (2 * step)
        torch.testing.assert_close(found, slope[:, i], atol=5e-3, rtol=5e-3)
    with torch.no_grad():
        gap = energy + made.log_prob(made._outward(x))
    torch.testing.assert_close(gap, gap[:1].expand(5), atol=1e-4, rtol=1e-4)
    assert math.isfinite(gap[0].item())


def test_it_is_fitted_to_a_model_with_a_metric_and_to_no_other(tmp_path):
    small = {"generator.width": 8, "encoder.width": 8}
    genzoo.fit("riemannian-vae", "ring8", tmp_path / "a", steps=2, batch_size=16, progress=False, options=small)
    run = genzoo.fit_prior(tmp_path / "a", "manifold", tmp_path / "b", steps=2, batch_size=16, progress=False,
                           options={"prior.moves": 2})  # fmt: skip
    assert run.model.sample(3).shape == (3, 2)
    assert run.model.prior.mean.abs().max() > 0  # it moved
    genzoo.fit("vae", "ring8", tmp_path / "c", steps=2, batch_size=16, progress=False, options=small)
    with pytest.raises(UsageError, match="riemannian"):
        genzoo.fit_prior(tmp_path / "c", "manifold", tmp_path / "d", steps=2, progress=False)
    with pytest.raises(UsageError, match="truncation"):
        run.model.sample(3, truncation=1.0)

"""FactorVAE: its critic tells the total correlation, and each player's turn moves only what is its own."""

import math

import pytest
import torch
from torch import nn

import genzoo
from genzoo.core.likelihood import Likelihood
from genzoo.core.model import Model
from genzoo.core.networks import Encoder, Ports
from genzoo.core.objective import Batch, Networks
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.likelihoods.gaussian import Gaussian
from genzoo.plugins.nets.mlp import MLPCritic, MLPGenerator
from genzoo.plugins.posteriors.normal import Normal
from genzoo.plugins.vae.factor_vae import FactorVAE, permuted


class Passes(Encoder):
    """Codes are the data, all but certain."""

    def forward(self, x, y=None):
        return torch.cat([self.scale * x, torch.full_like(x, -12.0)], 1)

    def __init__(self, ports):
        super().__init__(ports)
        self.scale = nn.Parameter(torch.ones(()))


def networks():
    spec = DataSpec("vector", (2,))
    likelihood: Likelihood = Gaussian(spec)
    generator = MLPGenerator(Ports((2,), (2,)))
    model = Model(spec, Latent(2), generator, likelihood, Passes(Ports((2,), (4,))), Normal(Latent(2)))
    return Networks(model, {"critic": MLPCritic(Ports((2,), (1,)), MLPCritic.Options(width=64))})


def correlated(n, rho, seed):
    u = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return torch.stack([u[:, 0], rho * u[:, 0] + math.sqrt(1 - rho**2) * u[:, 1]], 1)


def test_permuting_keeps_every_marginal_and_nothing_else():
    random = torch.Generator().manual_seed(0)
    z, order = correlated(2000, 0.9, 1).view(2000, 2, 1), torch.rand(2000, 2, generator=random)
    mixed = permuted(z, order)
    assert mixed.shape == z.shape
    assert torch.equal(mixed.flatten(1).sort(0).values, z.flatten(1).sort(0).values)
    assert abs(torch.corrcoef(mixed.flatten(1).T)[0, 1].item()) < 0.1
    assert torch.corrcoef(z.flatten(1).T)[0, 1].item() > 0.85


def test_a_trained_critic_tells_the_total_correlation():
    torch.manual_seed(0)
    nets, objective, rho = networks(), FactorVAE(), 0.8
    truth = -0.5 * math.log(1 - rho**2)
    optimizer = torch.optim.Adam(nets.critic.parameters(), 3e-3)
    for step in range(500):
        random = torch.Generator().manual_seed(step)
        noise = {"eps": torch.randn(512, 2, generator=random), "order": torch.rand(512, 2, generator=random)}
        loss = objective.loss("critic", nets, Batch(correlated(512, rho, step)), noise)
        optimizer.zero_grad()
        loss.total().backward()
        optimizer.step()
    assert nets.model.encoder.scale.grad is None  # the critic's turn does not reach the encoder
    batch = Batch(correlated(5000, rho, 10_000))
    found = objective.loss("model", nets, batch, {"eps": torch.zeros(5000, 2)})
    assert found.terms["total correlation"].mean().item() == pytest.approx(truth, abs=0.1)
    assert found.weights["total correlation"] == 10
    # The model's turn lowers it through the codes: the gradient is γ times that of the critic's mean score.
    (slope,) = torch.autograd.grad(found.terms["total correlation"].mean(), nets.model.encoder.scale)
    z = batch.x
    with torch.no_grad():
        difference = (nets.critic(1.01 * z) - nets.critic(0.99 * z)).mean().item() / 0.02
    assert slope.item() == pytest.approx(difference, rel=0.1, abs=0.02)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_recipe_trains_in_two_turns(tmp_path, conditional):
    small = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "critic.width": 8}
    run = genzoo.fit("factor-vae", "ring8", tmp_path / "run", steps=5, batch_size=16, device="cpu", progress=False,
                     options=small | {"conditional": conditional, "train.log_every": 1})  # fmt: skip
    named = {k for record in run.history for k in record}
    assert any("total correlation" in k for k in named)
    assert any("permuted codes" in k for k in named)
    assert len(genzoo.load(tmp_path / "run").sample(3)) == 3

"""GECO: the constraint is met, and its multiplier follows the whole batch and goes with a checkpoint."""

import copy
import math

import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.geco import GECO


def test_at_a_strength_of_one_it_is_the_bound_of_a_gaussian(linear_gaussian):
    oracle = linear_gaussian(0.2, 1.1)
    x = oracle.to_model(oracle.data(20))
    objective = GECO(GECO.Options(error=oracle.sigma))
    eps = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    found = objective.loss("model", oracle.networks(), Batch(x), {"eps": eps, "strength": torch.ones(())})
    q = oracle.model.posterior(x)
    nll = -oracle.model.likelihood.log_prob(oracle.model.generator(q.sample(eps)), x)
    constant = 4 * (math.log(oracle.sigma) + 0.5 * math.log(2 * math.pi)) + oracle.model.likelihood.log_volume
    mine = found.terms["constraint"] * found.weights["constraint"] + 2  # ½ D
    torch.testing.assert_close(mine, nll - constant, rtol=1e-4, atol=1e-4)
    slope = torch.autograd.grad(found.total(), oracle.model.generator.w)[0]
    truth = torch.autograd.grad(nll.mean(), oracle.model.generator.w)[0]
    torch.testing.assert_close(slope, truth, rtol=1e-4, atol=1e-5)  # the detached nll adds nothing


def test_the_constraint_is_met_on_the_linear_model(linear_gaussian):
    oracle = linear_gaussian()
    objective, nets = GECO(GECO.Options(error=0.5, rate=0.05, decay=0.9)), oracle.networks()
    encoder = oracle.model.encoder
    encoder.shift, encoder.log_var = (torch.nn.Parameter(t) for t in (encoder.shift, encoder.log_var))
    encoder.a = torch.nn.Parameter(encoder.a)
    x = oracle.to_model(oracle.data(512))
    optimizer, errors = torch.optim.Adam(nets.parameters(), 0.01), []
    for step in range(300):
        noise = objective.draw("model", Draws(512, "cpu", steps=500).at(0, step, 0), oracle.model)
        found = objective.loss("model", nets, Batch(x), noise)
        optimizer.zero_grad()
        found.total().backward()
        optimizer.step()
        objective.after_step("model", nets, {"constraint": found.terms["constraint"].mean().detach()})
        errors.append(found.terms["constraint"].mean().item())
    error = 1 + sum(errors[-100:]) / 100  # E[error]/κ²
    assert error == pytest.approx(1.0, abs=0.05)
    assert abs(objective.log_strength.item() - 2 * math.log(0.5)) > 0.05


def test_the_multiplier_follows_what_was_seen_and_is_saved():
    objective = GECO(GECO.Options(rate=0.1, decay=0.9))
    for value in (3.0, 0.2, -0.4):
        objective.after_step("model", type("Nets", (), {"model": type("Model", (), {"head": None})})(),
                             {"constraint": torch.tensor(value)})  # fmt: skip
    mean, log = 0.0, 2 * math.log(0.1)
    for t, value in enumerate((3.0, 0.2, -0.4), 1):
        mean = 0.9 * mean + 0.1 * value
        log += 0.1 * max(-1.0, min(1.0, mean / (1 - 0.9**t)))
    assert objective.log_strength.item() == pytest.approx(log, rel=1e-5)
    again = GECO(GECO.Options(rate=0.1, decay=0.9))
    again.load_state_dict(copy.deepcopy(objective.state_dict()))
    assert again.log_strength == objective.log_strength
    assert again.turns == 3
    assert objective.watched == ("constraint",)


def test_slopes_of_a_mean_are_refused_where_values_are_drawn_in_turn():
    spec = DataSpec.image(1, 8, 8)
    with pytest.raises(UsageError, match=r"'geco' goes by slopes of the mean.*'pixelcnn' draws value after value"):
        genzoo.create("geco", spec, options={"likelihood": "pixelcnn"})
    assert genzoo.create("vae", spec, options={"likelihood": "pixelcnn"}).likelihood.sampled

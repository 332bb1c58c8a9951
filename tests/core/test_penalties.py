"""Gradient penalties against closed forms and finite differences."""

import pytest
import torch
from torch import nn

from genzoo.core.math.penalties import gradient_norm, input_gradient, squared_norm
from genzoo.core.networks import Critic, Ports
from genzoo.core.objective import Batch
from genzoo.core.regularizer import Judged
from genzoo.plugins.gan.r3gan import R3GAN
from genzoo.plugins.gan.wgan import WGANGP
from genzoo.plugins.nets.mlp import MLPCritic
from genzoo.plugins.regularizers.slopes import Lipschitz

SHAPES = [(2,), (7,), (1, 4, 5), (3, 4, 5), (4, 2, 2), (2, 3, 2, 2)]


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def smooth(shape=(3, 2, 2), dtype=torch.float64):
    torch.manual_seed(0)
    return MLPCritic(Ports(shape, (1,), per_observation=True), MLPCritic.Options(width=6, activation="silu")).to(dtype)


def one_centred(critic, real, fake, mix):
    """The Lipschitz penalty at given mixing numbers, before its weight."""

    def score(x, side):
        found = critic(x)
        return found.squeeze(1) if found.dim() > 1 else found

    judged = Judged(score, Batch(real), fake, (), together=True)
    judged.noise = {"mix": mix}
    return Lipschitz().term(judged)


class Quadratic(Critic):
    """½ xᵀAx + bᵀx, whose gradient is Ax + b (for a symmetric A)."""

    def __init__(self, d):
        super().__init__(Ports((d,), (1,), per_observation=True))
        a = randn(d, d, seed=4)
        self.a, self.b = nn.Parameter(a + a.T), nn.Parameter(randn(d, seed=5))

    def forward(self, x, y=None, beside=None):
        return (0.5 * (x @ self.a * x).sum(1) + x @ self.b)[:, None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_a_linear_critic_of_unit_slope_has_no_penalty(shape, n):
    direction = randn(*shape)
    direction /= direction.norm()

    def critic(x):
        return (x * direction).flatten(1).sum(1, keepdim=True)

    real, fake = randn(n, *shape, seed=1), randn(n, *shape, seed=2)
    mix = torch.rand(n, 1, generator=torch.Generator().manual_seed(3))
    penalty = one_centred(critic, real, fake, mix)
    assert penalty.shape == (n,)
    torch.testing.assert_close(penalty, torch.zeros(n), atol=1e-10, rtol=0)
    torch.testing.assert_close(one_centred(lambda x: 3 * critic(x), real, fake, mix), torch.full((n,), 4.0))
    torch.testing.assert_close(squared_norm(input_gradient(lambda x: 3 * critic(x), real)[1]), torch.full((n,), 9.0))


def test_a_zero_critic_has_a_penalty_and_finite_gradients():
    critic = MLPCritic(Ports((3, 4, 4), (1,), per_observation=True), MLPCritic.Options(width=4))
    for p in critic.parameters():
        nn.init.zeros_(p)
    real, fake = randn(5, 3, 4, 4), randn(5, 3, 4, 4, seed=1)
    penalty = one_centred(critic, real, fake, torch.rand(5, 1))
    torch.testing.assert_close(penalty, torch.ones(5))
    penalty.mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())
    assert gradient_norm(torch.zeros(2, 3)).tolist() == [0, 0]


def test_every_pair_has_its_own_mixing_number():
    """With D = ½‖x‖² the slope is the point itself, so the penalty tells where it was taken."""
    real, fake = randn(6, 2, 3), randn(6, 2, 3, seed=1) + 4
    mix = torch.linspace(0, 1, 6)[:, None]
    found = one_centred(lambda x: 0.5 * x.square().flatten(1).sum(1), real, fake, mix)
    points = real + mix[:, :, None] * (fake - real)
    torch.testing.assert_close(found, (points.flatten(1).norm(dim=1) - 1).square())
    torch.testing.assert_close(points[0], real[0])
    torch.testing.assert_close(points[-1], fake[-1])


def test_slopes_equal_finite_differences_in_float64():
    critic, x, h = smooth(), randn(4, 3, 2, 2, dtype=torch.float64), 1e-6
    scores, gradient = input_gradient(critic, x)
    assert gradient.dtype == torch.float64  # nothing is rounded on the way
    torch.testing.assert_close(scores, critic(x))
    numeric = torch.empty_like(x).flatten(1)
    for i in range(x[0].numel()):
        e = torch.zeros(x[0].numel(), dtype=x.dtype)
        e[i] = h
        step = e.view(x.shape[1:])
        numeric[:, i] = ((critic(x + step) - critic(x - step)) / (2 * h))[:, 0].detach()
    torch.testing.assert_close(gradient.flatten(1), numeric, atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(gradient_norm(gradient), numeric.norm(dim=1), atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(squared_norm(gradient), numeric.square().sum(1), atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("compiling", [False, True])
def test_gradients_of_the_penalty_equal_finite_differences(monkeypatch, compiling):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    critic, dtype, h = smooth(), torch.float64, 1e-6
    real, fake = randn(4, 3, 2, 2, dtype=dtype), randn(4, 3, 2, 2, seed=1, dtype=dtype)
    mix = torch.rand(4, 1, dtype=dtype, generator=torch.Generator().manual_seed(2))

    def loss():
        return one_centred(critic, real, fake, mix).mean()

    parameters = list(critic.parameters())
    found = torch.autograd.grad(loss(), parameters, allow_unused=True)
    assert found[-1] is None or (found[-1] == 0).all()  # the last bias has no slope
    checked = 0
    for p, gradient in zip(parameters[:-1], found, strict=False):
        for i in (0, p.numel() // 2, p.numel() - 1):
            flat, before = p.data.view(-1), p.data.view(-1)[i].item()
            flat[i] = before + h
            up = loss().item()
            flat[i] = before - h
            down = loss().item()
            flat[i] = before
            assert gradient.view(-1)[i].item() == pytest.approx((up - down) / (2 * h), abs=1e-8, rel=1e-5)
            checked += abs(up - down) > 1e-9
    assert checked > 5


@pytest.mark.parametrize("recipe", ["wgan-gp", "r3gan"])
def test_the_way_that_compiles_gives_the_same_loss_and_gradients(monkeypatch, game, recipe):
    built = game(recipe, conditional=True)
    batch = Batch(randn(12, 2), torch.arange(12) % 3)
    noise = built.noise("critic", 12)
    found = []
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda way=compiling: way)
        loss = built.objective.loss("critic", built.nets, batch, noise)
        found.append([loss.total(), *built.gradients("critic", loss.total())])
    assert sum(g.abs().sum() for g in found[0][1:]) > 0.1
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["wgan-gp", "r3gan", "vae"])
def test_a_compiled_run_is_the_same_run(trainer, recipe):
    found = []
    for compiled in (False, True):
        # Not Adam, which would turn the rounding of a gradient that is zero into a whole step.
        run = trainer(recipe, train__steps=3, train__optimizer="sgd", train__lr=0.05)
        if compiled:
            for playing in run.player_states:
                playing.turn = torch.compile(playing.turn, fullgraph=True)
        run.train()
        found.append(torch.cat([p.detach().flatten() for p in run.nets.parameters()]))
    torch.testing.assert_close(*found, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.1, 10.0])
def test_r1_and_r2_have_their_closed_form(game, gamma):
    built = game("r3gan", objective__gamma=gamma)
    critic = built.nets.critics["critic"] = Quadratic(2)
    x, noise = randn(9, 2, seed=7), built.noise("critic", 9)
    loss = R3GAN(R3GAN.Options(gamma=gamma)).loss("critic", built.nets, Batch(x), noise)
    fake = built.nets.model.mean(noise["z"]).detach()
    for name, at in (("r1", x), ("r2", fake)):
        expected = gamma / 2 * (at @ critic.a + critic.b).square().sum(1)
        torch.testing.assert_close(loss.terms[name], expected)
    torch.testing.assert_close(loss.shown["real"], critic(x)[:, 0])
    torch.testing.assert_close(loss.shown["fake"], critic(fake)[:, 0])
    total = sum(t.mean() for t in loss.terms.values())
    torch.testing.assert_close(loss.total(), total)


def test_the_penaltys_weight_weighs_its_gradient(game):
    built, batch = game("wgan-gp"), Batch(randn(10, 2) * 3)
    noise = built.noise("critic", 10)

    def gradients(weight):
        objective = WGANGP(WGANGP.Options(gp_weight=weight))
        return built.gradients("critic", objective.loss("critic", built.nets, batch, noise).total())

    none, one, ten = gradients(0.0), gradients(1.0), gradients(10.0)
    assert max((b - a).abs().max() for a, b in zip(none, one, strict=True)) > 0.1
    for a, b, c in zip(none, one, ten, strict=True):
        torch.testing.assert_close(c - a, 10 * (b - a), atol=1e-5, rtol=1e-4)


def test_penalties_stay_in_float32_under_autocast():
    critic = smooth(dtype=torch.float32)
    x = randn(4, 3, 2, 2)
    expected = input_gradient(critic, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = input_gradient(critic, x.bfloat16().float())
        assert critic(x).dtype == torch.bfloat16
        half = input_gradient(critic, x.bfloat16())
    for a in (*found, *half):
        assert a.dtype == torch.float32
    torch.testing.assert_close(found, half)
    torch.testing.assert_close(found[1], expected[1], atol=0.02, rtol=0.05)

"""Adversarial losses against their closed forms, and the mistakes that are often made instead."""

import math

import pytest
import torch
from torch.nn import BatchNorm1d, BatchNorm2d
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.objective import Batch, Player
from genzoo.core.spec import DataSpec
from genzoo.core.training.optimizers import Rates, make_optimizer
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.gan.r3gan import R3GAN
from genzoo.plugins.gan.wgan import WGAN, WGANGP
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

IMAGE = DataSpec.image(1, 8, 8, classes=3)
SWEEP = torch.linspace(-100, 100, 401, dtype=torch.float64)


def derivative(f, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x).sum(), x)[0]


def test_the_articles_double_sigmoid_cannot_learn_and_ours_can():
    sure, other = torch.tensor([60.0]), torch.tensor([-60.0])  # a perfect critic: real and fake scores

    def articles(real, fake):  # a sigmoid at the end of the critic, and then BCE with logits
        bce = F.binary_cross_entropy_with_logits
        return bce(real.sigmoid(), torch.ones(1)) + bce(fake.sigmoid(), torch.zeros(1))

    floor = math.log1p(math.exp(-1)) + math.log(2)
    assert floor == pytest.approx(1.0064, abs=5e-5)
    assert articles(sure, other).item() == pytest.approx(floor, abs=1e-6)
    assert GAN().critic_loss(sure, other).item() < 1e-20

    wrong = torch.tensor([-8.0])  # a real observation that the critic is sure is fake
    zero = torch.zeros(1)
    assert derivative(lambda d: articles(d, zero), wrong).item() == pytest.approx(-0.00017, abs=1e-5)
    assert derivative(lambda d: GAN().critic_loss(d, zero), wrong).item() == pytest.approx(-0.99966, abs=1e-5)


def test_losses_and_gradients_over_logits_from_minus_to_plus_100():
    zero, sigmoid = torch.zeros_like(SWEEP), torch.sigmoid(SWEEP)
    minimax, saturating = GAN(GAN.Options(loss="minimax")), GAN()
    log_sigmoid = torch.where(SWEEP < -30, SWEEP, sigmoid.clamp(min=1e-30).log())  # log σ(d) = d far down
    log_other = torch.where(SWEEP > 30, -SWEEP, torch.sigmoid(-SWEEP).clamp(min=1e-30).log())
    cases = [
        (lambda d: saturating.critic_loss(d, zero) - math.log(2), -log_sigmoid, sigmoid - 1),
        (lambda d: saturating.critic_loss(zero, d) - math.log(2), -log_other, sigmoid),
        (lambda d: saturating.generator_loss(d, None), -log_sigmoid, sigmoid - 1),
        (lambda d: minimax.generator_loss(d, None), log_other, -sigmoid),
        (lambda d: R3GAN().critic_loss(d, zero), -log_sigmoid, sigmoid - 1),
        (lambda d: R3GAN().generator_loss(d, zero), -log_sigmoid, sigmoid - 1),
        (lambda d: WGAN().critic_loss(d, zero), -SWEEP, zero - 1),
        (lambda d: WGANGP().critic_loss(zero, d), SWEEP, zero + 1),
        (lambda d: WGANGP().generator_loss(d, None), -SWEEP, zero - 1),
    ]
    for loss, value, slope in cases:
        # torch's softplus is the identity beyond 20, which costs 2e-9.
        torch.testing.assert_close(loss(SWEEP), value, atol=3e-9, rtol=1e-9)
        torch.testing.assert_close(derivative(loss, SWEEP), slope, atol=3e-9, rtol=1e-9)


@pytest.mark.parametrize("recipe", ["gan", "wgan", "wgan-gp", "r3gan"])
def test_a_turn_is_made_of_scores_of_the_right_networks(game, recipe):
    """Each player's loss from the critic's scores alone; labels go to both networks."""
    built = game(recipe, conditional=True)
    nets, objective = built.nets, built.objective
    x, y = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    noise = built.noise("critic", 6)
    fake = nets.model.generator(noise["z"], y)
    real_score, fake_score = nets.critic(x, y)[:, 0], nets.critic(fake, y)[:, 0]
    critic = objective.loss("critic", nets, Batch(x, y), noise)
    torch.testing.assert_close(critic.terms["adversarial"], objective.critic_loss(real_score, fake_score))
    generator = objective.loss("generator", nets, Batch(x, y), noise)
    torch.testing.assert_close(generator.terms["adversarial"], objective.generator_loss(fake_score, real_score))
    other = objective.loss("generator", nets, Batch(x, (y + 1) % 3), noise)
    assert (other.total() - generator.total()).abs() > 1e-6
    # The critic's turn holds the generator fixed.
    parameters = list(nets.model.generator.parameters())
    assert all(g is None for g in torch.autograd.grad(critic.total(), parameters, allow_unused=True))


def test_only_the_relativistic_generator_looks_at_the_real_batch(game):
    a, b = (torch.randn(6, 2, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    for recipe, depends in (("gan", False), ("wgan", False), ("wgan-gp", False), ("r3gan", True)):
        built = game(recipe)
        noise = built.noise("generator", 6)
        first, second = (
            torch.cat([g.flatten() for g in built.gradients("generator", loss.total())])
            for loss in (built.objective.loss("generator", built.nets, Batch(x), noise) for x in (a, b))
        )
        assert first.abs().max() > 1e-4
        assert torch.equal(first, second) != depends, recipe


def test_pairs_are_judged_pair_by_pair():
    """Relativistic pairing is not a comparison of means: exchanging partners changes it."""
    real, fake = torch.tensor([3.0, -3.0]), torch.tensor([3.0, -3.0])
    loss = R3GAN().critic_loss
    torch.testing.assert_close(loss(real, fake), torch.full((2,), math.log(2)))
    crossed = loss(real, fake.flip(0))
    torch.testing.assert_close(crossed, F.softplus(torch.tensor([-6.0, 6.0])))


def test_clipping_clips_after_every_turn_of_the_critic(trainer):
    run = trainer("wgan", train__steps=2, train__lr=1e-2, objective__clip=0.03)
    critic, generator = run.nets.critic, run.nets.model.generator
    assert max(p.abs().max() for p in critic.parameters()) > 0.1
    widest, clip = [], run.objective.after_step

    def after(player, nets, seen):
        clip(player, nets, seen)
        widest.append((player, max(p.abs().max().item() for p in critic.parameters())))

    run.objective.after_step = after
    run.train()
    assert [p for p, _ in widest] == (["critic"] * 5 + ["generator"]) * 2
    assert all(w == pytest.approx(0.03) for _, w in widest)
    assert max(p.abs().max() for p in generator.parameters()) > 0.1  # only the critic's


@pytest.mark.parametrize("recipe", ["wgan-gp", "r3gan"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_batch_norm_under_a_penalty_is_refused_with_the_reason(recipe, network):
    config = compose(the_registry(), IMAGE, recipe, {"critic": network, "critic.norm": "batch"})
    with pytest.raises(UsageError, match=r"norm=batch.*gradient penalty.*own observation.*norm.*layer"):
        initialize(config, 0)


@pytest.mark.parametrize("recipe", ["gan", "wgan"])
def test_batch_norm_sees_real_and_fake_apart_where_it_is_allowed(game, recipe):
    built = game(recipe, critic__norm="batch", critic__spectral_norm=False)
    x, noise = torch.randn(16, 2, generator=torch.Generator().manual_seed(0)), built.noise("critic", 16)
    shown = built.objective.loss("critic", built.nets, Batch(x), noise).shown
    torch.testing.assert_close(shown["real"], built.nets.critic(x)[:, 0])
    fake = built.nets.model.mean(noise["z"])
    torch.testing.assert_close(shown["fake"], built.nets.critic(fake)[:, 0])


def test_one_pass_over_both_halves_gives_the_scores_of_two(game):
    built = game("wgan-gp", conditional=True)
    x, y = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    noise = built.noise("critic", 5)
    shown = built.objective.loss("critic", built.nets, Batch(x, y), noise).shown
    torch.testing.assert_close(shown["real"], built.nets.critic(x, y)[:, 0])
    torch.testing.assert_close(shown["fake"], built.nets.critic(built.nets.model.mean(noise["z"], y), y)[:, 0])


def test_recipes_build_the_optimizers_that_papers_used():
    expected = {
        ("wgan-gp", IMAGE): (torch.optim.Adam, (0.0, 0.9), 2e-4),
        ("wgan-gp", DataSpec("vector", (2,))): (torch.optim.Adam, (0.5, 0.9), 1e-3),
        ("gan", IMAGE): (torch.optim.Adam, (0.5, 0.999), 2e-4),
        ("r3gan", IMAGE): (torch.optim.Adam, (0.0, 0.99), 2e-4),
        ("wgan", IMAGE): (torch.optim.RMSprop, None, 5e-5),
    }
    for (recipe, spec), (kind, betas, lr) in expected.items():
        options = compose(the_registry(), spec, recipe).train
        optimizer = make_optimizer(
            [torch.nn.Parameter(torch.zeros(1))], options, Rates.of(Player("model", ()), options)
        )
        assert type(optimizer) is kind
        assert optimizer.param_groups[0]["lr"] == lr
        assert optimizer.param_groups[0].get("betas") == betas


def test_batch_norm_has_the_usual_numbers_not_the_articles():
    """``BatchNorm2d(c, 0.8)`` sets ε, which was meant to be the momentum."""
    assert BatchNorm2d(4, 0.8).eps == 0.8
    for network, options in (("mlp", {"generator.norm": "batch"}), ("conv", {})):
        config = compose(the_registry(), IMAGE, "wgan-gp", {"generator": network, "critic": network, **options})
        nets = initialize(config, 0)[1]
        layers = [m for m in nets.model.modules() if isinstance(m, (BatchNorm1d, BatchNorm2d))]
        assert layers
        assert all((m.eps, m.momentum) == (1e-5, 0.1) for m in layers)
        assert not any(isinstance(m, (BatchNorm1d, BatchNorm2d)) for m in nets.critics.modules())


def test_two_time_scales_give_the_critic_its_own_rate(trainer):
    run = trainer("gan", objective__critic_lr=4e-4, train__lr=1e-4, train__schedule="constant")
    run.train()
    assert [s.optimizer.param_groups[0]["lr"] for s in run.player_states] == [4e-4, 1e-4]


@pytest.mark.parametrize("loss", ["gan", "ebgan", "reacgan", "vae-gan"])
def test_critics_have_decay_rates_of_their_own(loss):
    given = {"objective.critic_betas": (0.0, 0.9), "objective.critic_decay": 0.01, "train.betas": (0.5, 0.99),
             "conditional": loss == "reacgan"}  # fmt: skip
    spec = DataSpec.image(1, 8, 8, classes=2)
    objective, _ = initialize(compose(the_registry(), spec, loss, given), 0)
    critic, *others = objective.players()
    assert (critic.betas, critic.weight_decay) == ((0.0, 0.9), 0.01)
    assert all((p.betas, p.weight_decay) == (None, None) for p in others)

"""Losses at their optimum on a few points, where it is known; and critics of energies, pairs, packs and classes."""

import itertools
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.core.networks import Ports
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.ali import ALI
from genzoo.plugins.gan.dual_contrastive import DualContrastive
from genzoo.plugins.gan.energy import pulling_away
from genzoo.plugins.gan.fgan import FGAN, FORMS
from genzoo.plugins.gan.fisher_gan import FisherGAN
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.gan.gan_qp import GANQP
from genzoo.plugins.gan.hinge import Hinge
from genzoo.plugins.gan.lsgan import LSGAN
from genzoo.plugins.gan.pacgan import PacGAN
from genzoo.plugins.gan.r3gan import R3GAN
from genzoo.plugins.gan.relativistic import RaGAN, RpGAN
from genzoo.plugins.gan.wgan import WGAN, WGANGP, WGANDiv
from genzoo.plugins.nets.mlp import MLPCritic

P = torch.tensor([0.5, 0.2, 0.2, 0.1], dtype=torch.float64)
Q = torch.tensor([0.1, 0.3, 0.2, 0.4], dtype=torch.float64)
FREE = torch.zeros(4, dtype=torch.float64)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def least(value, start):
    """The least of a function of free numbers, and where it is."""
    x = start.clone().requires_grad_()
    search = torch.optim.LBFGS([x], lr=0.5, max_iter=150, tolerance_grad=1e-12, tolerance_change=1e-15)

    def closure():
        search.zero_grad()
        loss = value(x)
        loss.backward()
        return loss

    search.step(closure)
    return value(x).item(), x.detach()


def expected(objective, p, q):
    """What the critic minimizes on two distributions over a few points, by its score of each."""
    zero = torch.zeros_like(p)
    parts = objective.critic_loss(zero, zero)

    def value(d):
        real, fake = objective.critic_loss(d, zero) - parts / 2, objective.critic_loss(zero, d) - parts / 2
        return (p * real + q * fake).sum()

    return value


def test_the_critics_optimum_is_the_log_ratio():
    value, d = least(expected(GAN(), P, Q), FREE)
    torch.testing.assert_close(torch.sigmoid(d), P / (P + Q), atol=1e-6, rtol=1e-6)
    middle = (P + Q) / 2
    js = ((P * (P / middle).log()).sum() + (Q * (Q / middle).log()).sum()) / 2
    assert value == pytest.approx(2 * math.log(2) - 2 * js.item(), abs=1e-10)


def test_smoothing_is_on_the_side_of_the_data():
    """Smoothing both would have its peaks where fakes are."""
    _, d = least(expected(GAN(GAN.Options(smoothing=0.1)), P, Q), FREE)
    torch.testing.assert_close(torch.sigmoid(d), 0.9 * P / (P + Q), atol=1e-6, rtol=1e-6)
    zero = torch.zeros(4)
    by_hand = 0.9 * torch.nn.functional.softplus(-P) + 0.1 * torch.nn.functional.softplus(P)
    torch.testing.assert_close(GAN(GAN.Options(smoothing=0.1)).critic_loss(P, zero) - math.log(2), by_hand)


@pytest.mark.parametrize(("a", "b", "c"), [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_least_squares_optimum_and_its_divergence(a, b, c):
    objective = LSGAN(LSGAN.Options(targets=(a, b, c)))
    _, d = least(expected(objective, P, Q), FREE)
    torch.testing.assert_close(d, (b * P + a * Q) / (P + Q), atol=1e-6, rtol=1e-6)
    if c == 0:  # twice the loss over p + q is Pearson's divergence of p + q from 2 q
        found = 2 * ((P + Q) * objective.generator_loss(d, None)).sum().item()
        assert found == pytest.approx(((P - Q).square() / (P + Q)).sum().item(), abs=1e-6)
        assert found == pytest.approx(0.466667, abs=1e-6)


PHI = {
    "kl": lambda u: u * u.log(),
    "reverse-kl": lambda u: -u.log(),
    "pearson": lambda u: (u - 1) ** 2,
    "neyman": lambda u: (1 - u) ** 2 / u,
    "hellinger": lambda u: (u.sqrt() - 1) ** 2,
    "jensen-shannon": lambda u: -(u + 1) * ((1 + u) / 2).log() + u * u.log(),
    "gan": lambda u: u * u.log() - (u + 1) * (u + 1).log(),
    "total-variation": lambda u: (u - 1).abs() / 2,
}


@pytest.mark.parametrize("name", PHI)
def test_f_gans_bound_is_tight(name):
    objective = FGAN(FGAN.Options(divergence=name))
    value, d = least(expected(objective, P, Q), FREE)
    assert -value == pytest.approx((Q * PHI[name](P / Q)).sum().item(), abs=1e-6)
    minimax = FGAN(FGAN.Options(divergence=name, loss="minimax"))
    torch.testing.assert_close((Q * minimax.generator_loss(d, None)).sum(), value_of_fakes(name, d))


def value_of_fakes(name, d):
    return -(Q * FORMS[name][1](d)).sum()


def test_no_divergence_overflows_or_goes_flat():
    for name in PHI:
        objective = FGAN(FGAN.Options(divergence=name))
        for score in (-1000.0, 1000.0):
            v = torch.tensor([score], requires_grad=True)
            loss = objective.critic_loss(v, v.detach()) + objective.critic_loss(v.detach(), v)
            (slope,) = torch.autograd.grad(loss.sum(), v)
            assert torch.isfinite(loss).all(), name
            assert torch.isfinite(slope).all(), name
            flat = name == "total-variation" or (name, score) == ("neyman", 1000.0)  # by themselves
            assert flat or slope * score > 0, name


@pytest.mark.parametrize("apart", [0.2, 0.7])
def test_the_quadratic_potential_between_two_points(apart):
    """The optimum is λ d, and the critic's loss there -λ d / 2, d a mean over dimensions."""
    objective = GANQP(GANQP.Options(scale=3.0))
    x = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    potential = objective.regularizers["potential"]

    def value(d):
        judged = SimpleNamespace(real=Batch(x), fake=x + apart, real_score=d[:1], fake_score=d[1:],
                                 joined=lambda v: v, each=lambda v: v)  # fmt: skip
        return (objective.critic_loss(d[:1], d[1:]) + potential.term(judged)).sum()

    found, d = least(value, torch.zeros(2, dtype=torch.float64))
    assert found == pytest.approx(-3 * apart / 2, abs=1e-6)
    assert (d[0] - d[1]).item() == pytest.approx(3 * apart, abs=1e-4)


def test_the_wasserstein_divergence_between_two_points():
    """A linear critic's slope at the optimum is (d / (k p)) to the power 1 / (p - 1)."""
    objective, start = WGANDiv(), torch.ones(1, dtype=torch.float64)
    penalty = objective.regularizers["slopes"]

    def value(slope):
        judged = SimpleNamespace(squared_slopes=lambda side: slope.square())
        return (objective.critic_loss(0.7 * slope, 0 * slope) + penalty.options.weight * penalty.term(judged)).sum()

    assert least(value, start)[1].item() == pytest.approx(0.566478, abs=1e-5)


def test_pairs_without_penalty_are_r3gans():
    r, f = randn(5), randn(5, seed=1)
    objective = R3GAN(R3GAN.Options(gamma=0.0))
    assert torch.equal(RpGAN().critic_loss(r, f), objective.critic_loss(r, f))
    assert torch.equal(RpGAN().generator_loss(f, r), objective.generator_loss(f, r))


def test_the_hinges_optimum_is_the_total_variation():
    d = torch.linspace(-3, 3, 601, dtype=torch.float64)  # every score that a critic may give; points are apart
    zero = torch.zeros_like(d)
    real, fake = Hinge().critic_loss(d, zero) - 1, Hinge().critic_loss(zero, d) - 1
    costs = P[:, None] * real + Q[:, None] * fake
    assert costs.min(1).values.sum().item() == pytest.approx(2 * (1 - 0.5 * (P - Q).abs().sum().item()))
    assert costs.min(1).values.sum().item() == pytest.approx(1.2)
    assert d[costs.argmin(1)].abs().max() <= 1 + 1e-9


def test_the_hinge_stops_at_its_margin():
    scores = torch.tensor([-3.0, -1.5, -0.5, 0.5, 1.5, 3.0], requires_grad=True)
    zero = torch.zeros(6)
    (real,) = torch.autograd.grad(Hinge().critic_loss(scores, zero).sum(), scores)
    (fake,) = torch.autograd.grad(Hinge().critic_loss(zero, scores).sum(), scores)
    assert real.tolist() == [-1, -1, -1, -1, 0, 0]
    assert fake.tolist() == [0, 0, 1, 1, 1, 1]
    # A hinge of the batch's mean would be 0 here.
    assert Hinge().critic_loss(torch.tensor([5.0, -3.0]), torch.tensor([-5.0, 3.0])).mean() == 4


@pytest.mark.parametrize("m", [1, 2, 4])
def test_packs_are_judged_as_the_product_of_distributions(m):
    """P is one of two points, Q always the first: TV(Pᵐ, Qᵐ) = 1 - 2⁻ᵐ, and the optimum is known with it."""
    hinge, gan = Hinge(Hinge.Options(pack=m)), PacGAN(PacGAN.Options(pack=m))
    (plan,) = gan.plan(DataSpec("vector", (1,))).critics
    assert (plan.inputs, plan.pack, plan.beside) == ("data", m, 0)
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=m)), dtype=torch.float64).view(-1, 1)
    table = torch.zeros(2**m, dtype=torch.float64)  # a critic that may say anything of any pack

    def value(objective, d):
        def critic(x, y):
            return d[(x @ (2.0 ** torch.arange(m, dtype=x.dtype))).long()][:, None]

        real, fake = (objective._outputs(critic, x, None, {}, "real") for x in (everything, 0 * everything))
        assert real.shape == (m * 2**m,)
        loss = objective._by_packs(objective.critic_loss, real, fake)
        assert loss.shape == real.shape
        return loss.mean()

    share = 2.0**-m  # of real packs that are like the fake one
    middle = (1 + share) / 2
    js = 0.5 * (share * math.log(share / middle) + (1 - share) * math.log(2)) + 0.5 * math.log(1 / middle)
    assert least(lambda d: value(gan, d), table)[0] == pytest.approx(2 * math.log(2) - 2 * js, abs=1e-4)
    best = torch.ones(2**m, dtype=torch.float64)
    best[0] = -1  # the hinge's optimum is the sign of p - q
    assert value(hinge, best).item() == pytest.approx(2 * share)


@pytest.mark.parametrize("loss", ["dual-contrastive", "ragan", "softmax-gan", "wgan-gp", "gan-qp", "r3gan"])
def test_any_loss_of_packs_is_that_of_their_scores(game, loss):
    """A loss that compares a whole batch counts each pack once, and penalties are of packs."""
    built = game("gan", objective=loss, objective__pack=3, critic__spectral_norm=False)
    x, noise = randn(12, 2), built.noise("critic", 12)
    found = built.objective.loss("critic", built.nets, Batch(x), noise)
    fake = built.nets.model.mean(noise["z"])
    real, made = (built.nets.critic(v.view(4, 6))[:, 0] for v in (x, fake))
    expected = built.objective.critic_loss(real, made)
    torch.testing.assert_close(found.terms["adversarial"], expected.expand(4).repeat_interleave(3))
    if loss == "gan-qp":
        apart = (x - fake).view(4, 6).abs().mean(1)
        potential = (real - made).square() / (20 * apart)
        torch.testing.assert_close(found.terms["potential"], potential.repeat_interleave(3))
    made = built.objective.loss("generator", built.nets, Batch(x), built.noise("generator", 12))
    assert made.terms["adversarial"].shape == (12,)


@pytest.mark.parametrize("loss", ["ali", "acgan", "began", "mmd-gan", "infogan", "vae-gan"])
def test_critics_that_say_or_are_told_more_take_no_packs(loss):
    from genzoo.registry import the_registry
    from genzoo.registry.recipes.compose import compose
    from genzoo.registry.verbs.initialize import initialize

    spec = DataSpec.image(1, 8, 8, classes=3)
    given = {"conditional": loss == "acgan", "objective.pack": 2}
    with pytest.raises(UsageError, match="packs are for losses whose critic gives a score"):
        initialize(compose(the_registry(), spec, loss, given), 0)


def test_packs_of_one_are_the_plain_loss(trainer):
    found = []
    for given in ({}, {"objective": "pacgan", "objective__pack": 1}):
        run = trainer("gan", train__steps=3, **given)
        run.train()
        found.append(torch.cat([p.detach().flatten() for p in run.nets.parameters()]))
    assert torch.equal(*found)


def test_packs_keep_sides_and_labels_together(game):
    built = game("gan", objective="pacgan", objective__pack=2, conditional=True)
    x, y, noise = randn(6, 2), torch.tensor([0, 1, 2, 0, 1, 1]), built.noise("critic", 6)
    loss = built.objective.loss("critic", built.nets, Batch(x, y), noise)
    hot = torch.nn.functional.one_hot(y, 3).float()
    score = built.nets.critic(x.view(3, 4), None, hot.view(3, 6))[:, 0]
    torch.testing.assert_close(loss.shown["real"], score.repeat_interleave(2))
    assert all(t.shape == (6,) for t in loss.terms.values())
    with pytest.raises(UsageError, match=r"\(5\) must be a multiple of objective.pack \(2\)"):
        built.objective.loss("critic", built.nets, Batch(x[:5], y[:5]), {"z": noise["z"][:5]})


def test_packs_are_told_conditions_with_their_labels(game):
    """Numbers beside labels, or alone: a pack is told those of each of its observations."""
    spec = DataSpec("vector", (2,), classes=3, conditions=("a", "b"), condition_scale=(1.0, 1.0),
                    condition_shift=(0.0, 0.0))  # fmt: skip
    from genzoo.registry import the_registry
    from genzoo.registry.recipes.compose import compose
    from genzoo.registry.verbs.initialize import initialize

    given = {"conditional": True, "objective.pack": 2, "generator.width": 4, "critic.width": 4}
    objective, nets = initialize(compose(the_registry(), spec, "hinge", given), 0)
    assert nets.critic.ports.beside == 2 * (3 + 2)
    assert nets.critic.ports.inputs == (4,)
    x, labels, numbers = randn(4, 2), torch.tensor([0, 2, 1, 1]), randn(4, 2, seed=3)
    y = torch.cat([labels[:, None].float(), numbers], 1)
    found = objective.loss("critic", nets, Batch(x, y, numbers), {"z": randn(4, nets.model.latent.size)})
    told = torch.cat([torch.nn.functional.one_hot(labels, 3).float(), numbers], 1).view(2, -1)
    nets.eval()
    torch.testing.assert_close(found.shown["real"], nets.critic(x.view(2, 4), None, told)[:, 0].repeat_interleave(2))


def test_penalties_on_packs_are_per_pack(game):
    from genzoo.plugins.regularizers.slopes import R1, Lipschitz

    built = game("gan", objective="pacgan", objective__pack=2, critic__spectral_norm=False)
    built.objective.regularizers.update({"r1": R1(), "lipschitz": Lipschitz()})
    x, noise = randn(6, 2), built.noise("critic", 6)
    loss = built.objective.loss("critic", built.nets, Batch(x), noise)

    def slopes(v):
        v = v.detach().requires_grad_()
        return torch.autograd.grad(built.nets.critic(v).sum(), v)[0]

    real, fake = x.view(3, 4), built.nets.model.mean(noise["z"]).view(3, 4)
    expected = slopes(real).square().sum(1) / 2
    torch.testing.assert_close(loss.terms["r1"], expected.repeat_interleave(2))
    mix = noise["lipschitz.mix"][::2]
    between = (slopes(torch.lerp(real, fake, mix)).norm(dim=1) - 1).square() * 10
    torch.testing.assert_close(loss.terms["lipschitz"], between.repeat_interleave(2))


def test_pulling_away_of_codes_that_are_known():
    assert pulling_away(torch.eye(4)).item() == pytest.approx(0, abs=1e-7)
    same = torch.ones(4, 3)
    assert pulling_away(same).item() == pytest.approx(1, abs=1e-6)
    opposite = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    assert pulling_away(opposite).item() == pytest.approx(1, abs=1e-6)
    codes = randn(5, 3)
    torch.testing.assert_close(pulling_away(codes * torch.arange(1, 6)[:, None]), pulling_away(codes))
    by_hand = [torch.cosine_similarity(codes[i], codes[j], 0) ** 2 for i in range(5) for j in range(5) if i != j]
    assert pulling_away(codes).item() == pytest.approx(sum(by_hand).item() / 20, abs=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert pulling_away(codes).dtype == torch.float32


def test_ebgans_margin_is_each_observations_own(game):
    """Energies 0 and 2m: the mean of hinges is m/2, the hinge of the mean 0."""
    built = game("gan", objective="ebgan", objective__margin=0.5)
    energies = torch.tensor([0.0, 1.0, 0.0, 1.0])
    built.objective.energy = lambda nets, x, y: (energies, x)
    loss = built.objective.loss("critic", built.nets, Batch(randn(4, 2)), built.noise("critic", 4))
    assert loss.terms["fake"].tolist() == [0.5, 0, 0.5, 0]
    generator = built.objective.loss("generator", built.nets, Batch(randn(4, 2)), built.noise("generator", 4))
    assert generator.terms["adversarial"].tolist() == energies.tolist()
    assert generator.coupled == {"pull": True}


def test_the_generator_is_taught_by_the_autoencoder(game):
    """The target of the reconstruction is not held fixed: both ways to the sample carry its gradient."""
    built = game("gan", objective="ebgan", objective__pull=0.0)
    noise = built.noise("generator", 4)
    found = built.gradients(
        "generator", built.objective.loss("generator", built.nets, Batch(randn(4, 2)), noise).total()
    )
    coder, decoder = built.nets.critics["coder"], built.nets.critics["decoder"]
    made = built.nets.model.mean(noise["z"])
    by_hand = built.gradients("generator", (decoder(coder(made)) - made).abs().mean(1).mean())
    for a, b in zip(found, by_hand, strict=True):
        torch.testing.assert_close(a, b)


def test_no_critic_tells_a_true_posteriors_pairs_apart(linear_gaussian):
    """Pairs of the oracle with its posterior have one distribution: the loss of any critic is at least 2 ln 2."""
    exact, n = linear_gaussian(), 2000
    values = {}
    for name, oracle in (("true", exact), ("off", linear_gaussian(off=1.5))):
        model, spec = oracle.model, oracle.spec
        critic = MLPCritic(Ports(spec.shape, (1,), beside=2), MLPCritic.Options(width=32))
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
        objective = ALI()

        def pairs(seed, oracle=oracle, model=model):
            random = torch.Generator().manual_seed(seed + 10**6)
            x, z = oracle.to_model(oracle.data(n, seed)), torch.randn(n, 2, generator=random)
            code = model.posterior(x).sample(torch.randn(n, 2, generator=random)).detach()
            eps = oracle.sigma * torch.randn(n, 4, generator=random)
            return x, code, (model.mean(z) + eps).detach(), z

        def loss(x, code, made, z, critic=critic, objective=objective):
            return objective.critic_loss(critic(x, None, code)[:, 0], critic(made, None, z)[:, 0]).mean()

        for step in range(120):
            optimizer.zero_grad()
            loss(*pairs(step)).backward()
            optimizer.step()
        with torch.no_grad():
            values[name] = loss(*pairs(9999)).item()
    assert values["true"] > 2 * math.log(2) - 0.02
    assert values["off"] < 2 * math.log(2) - 0.2


def test_a_critic_of_pairs_sees_how_they_depend():
    """XOR: x and z alone tell nothing, and a head that adds what it says of each cannot separate the pairs."""
    x = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]])
    z = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])
    real = (x * z)[:, 0] > 0
    torch.manual_seed(0)
    critic = MLPCritic(Ports((1,), (1,), beside=1), MLPCritic.Options(width=16))
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        scores = critic(x, None, z)[:, 0]
        GAN().critic_loss(scores[real], scores[~real]).mean().backward()
        optimizer.step()
    assert ((critic(x, None, z)[:, 0] > 0) == real).all()


def test_ali_judges_codes_with_data_and_samples_with_their_codes(game):
    built = game("gan", objective="ali")
    assert built.nets.critic.ports.beside == 2
    x, noise = randn(5, 2), built.noise("critic", 5)
    loss = built.objective.loss("critic", built.nets, Batch(x), noise)
    code = built.nets.model.posterior(x).sample(noise["eps"])
    real = built.nets.critic(x, None, code)[:, 0]
    fake = built.nets.critic(built.nets.model.mean(noise["z"]), None, noise["z"])[:, 0]
    torch.testing.assert_close(loss.terms["adversarial"], GAN().critic_loss(real, fake))
    model = built.objective.loss("model", built.nets, Batch(x), noise)
    torch.testing.assert_close(model.terms["adversarial"], GAN().critic_loss(-real, -fake))
    # Neither of the two terms of the model is dropped.
    for part in ("generator", "encoder"):
        parameters = list(built.nets.model.get_submodule(part).parameters())
        total = built.objective.loss("model", built.nets, Batch(x), noise).total()
        assert any(g.abs().sum() > 0 for g in torch.autograd.grad(total, parameters))


@pytest.mark.parametrize(
    "loss",
    [GAN, Hinge, PacGAN, R3GAN, WGAN, WGANGP, RpGAN, RaGAN, DualContrastive, FisherGAN, GANQP, WGANDiv]
    + [partial(FGAN, FGAN.Options(divergence=name)) for name in PHI],
)
def test_the_generator_wants_higher_scores_and_the_critic_lower_ones(loss):
    objective, real = loss(), torch.zeros(1)
    fake = torch.linspace(-0.9, 0.9, 7)
    wanted = torch.cat([objective.generator_loss(f[None], real) for f in fake])
    judged = torch.cat([objective.critic_loss(real, f[None]) for f in fake])
    assert (wanted.diff() < 0).all()
    assert (judged.diff() > 0).all()

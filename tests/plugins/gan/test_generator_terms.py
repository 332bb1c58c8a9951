"""Regularizers of the generator's turn, and those that change what the critic says, against what they should be."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch
from genzoo.core.regularizer import Made
from genzoo.core.spec import DataSpec
from genzoo.plugins.nets.blocks import normalize_spectrally
from genzoo.plugins.regularizers.consistency import BalancedConsistency, Consistency, LatentConsistency, moved
from genzoo.plugins.regularizers.diversity import Diversity, ModeSeeking
from genzoo.plugins.regularizers.feature_matching import FeatureMatching
from genzoo.plugins.regularizers.gradient_normalization import GradientNormalization
from genzoo.plugins.regularizers.orthogonal import Orthogonal
from genzoo.plugins.regularizers.slopes import R1
from genzoo.plugins.regularizers.topk import TopK
from genzoo.registry import the_registry

ALL = ("gn", "zcr", "mode-seeking", "diversity", "orthogonal", "topk", "feature-matching", "wgan-div")


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def made(generate, z, score=lambda x: x.flatten(1).sum(1), real=None, noise=None, **nets):
    """A generator's turn of functions."""
    fake = generate(z)
    model = SimpleNamespace(mean=lambda z, y=None: generate(z))
    nets = SimpleNamespace(model=model, **nets)
    found = Made(
        nets, Batch(fake if real is None else real), z, fake, score(fake), score(fake), lambda x, side: (x, None)
    )
    found.noise = noise or {}
    return found


# Gradient normalization.


def test_a_normalized_score_and_its_gradient():
    """Of a piecewise linear D, D / (‖∇D‖ + |D|) has the gradient ∇D ‖∇D‖ / (‖∇D‖ + |D|)²."""
    w, v = randn(6, 16, seed=1), randn(16, seed=2)
    x = randn(50, 6).requires_grad_()
    critic = lambda x: (x @ w).relu() @ v  # noqa: E731
    score = critic(x)
    (slope,) = torch.autograd.grad(score.sum(), x)
    size = slope.norm(dim=1)
    found = GradientNormalization().rescaled(critic, x)
    torch.testing.assert_close(found, score / (size + score.abs()))
    assert found.abs().max() < 1
    (gradient,) = torch.autograd.grad(found.sum(), x)
    torch.testing.assert_close(gradient, slope * (size / (size + score.abs()) ** 2)[:, None], atol=1e-14, rtol=1e-12)


def test_the_normalized_scores_gradient_goes_through_the_slope():
    """Where D is curved its slope changes with x and with the weights: by finite differences."""
    x, w = randn(3, 4).requires_grad_(), randn(4, seed=1).requires_grad_()
    normalized = lambda x, w: GradientNormalization().rescaled(lambda v: (v @ w).tanh() + v.sum(1) ** 2, x)  # noqa: E731
    assert torch.autograd.gradcheck(normalized, (x, w))
    still = GradientNormalization().rescaled(lambda v: 0 * v.sum(1), torch.zeros(3, 2))
    assert still.tolist() == [0, 0, 0]
    w = torch.zeros(2, requires_grad=True)
    found = GradientNormalization().rescaled(lambda v: v @ w + 1, torch.ones(3, 2))
    (first,) = torch.autograd.grad(found.sum(), w, create_graph=True)
    assert torch.autograd.grad(first.sum(), w)[0].isfinite().all()  # a critic that looks ahead needs it


def test_both_turns_and_further_outputs_are_normalized(game):
    built = game("gan", objective="hinge", regularizer=["gn"], critic__spectral_norm=False)
    assert built.nets.critic.ports.per_observation
    x, part = randn(8, 2, dtype=torch.float32), GradientNormalization()
    for player in ("critic", "generator"):
        noise = built.noise(player, 8)
        fake = built.nets.model.mean(noise["z"])
        loss = built.objective.loss(player, built.nets, Batch(x), noise)
        said = part.rescaled(lambda v: built.nets.critic(v).squeeze(1), fake)
        if player == "critic":
            torch.testing.assert_close(loss.shown["fake"], said)
        else:
            torch.testing.assert_close(loss.terms["adversarial"], -said)
            assert not torch.allclose(loss.terms["adversarial"], -built.nets.critic(fake).squeeze(1))
            assert any(g.abs().sum() > 0 for g in built.gradients(player, loss.total()))
    outputs = part.rescaled(lambda v: torch.stack([3 * v[:, 0], v[:, 1]], 1), x)
    torch.testing.assert_close(outputs[:, 1], x[:, 1])
    torch.testing.assert_close(outputs[:, 0], 3 * x[:, 0] / (3 + 3 * x[:, 0].abs()))


# Consistency.


class Scores:
    """A critic's turn of a function."""

    def __init__(self, score, real, fake, noise, z=None, generate=None):
        self.score, self.real, self.fake, self.noise, self.z = score, Batch(real), fake, noise, z
        self.real_score, self.fake_score = score(real), score(fake)
        self.nets = SimpleNamespace(model=SimpleNamespace(mean=lambda z, y=None: generate(z)))

    def scores_at(self, x, side):
        return self.score(x)


def test_mirroring_and_shifting():
    x = randn(64, 2, 8, 8)
    assert torch.equal(moved(x, torch.full((64, 3), 0.5)), x)
    u = torch.full((64, 3), 0.5)
    u[:, 0] = 0.1
    assert torch.equal(moved(x, u), x.flip(3))
    u[:, 0], u[:, 2] = 0.9, 0.99
    assert torch.equal(moved(x, u)[..., 1:], x[..., :-1])
    assert not moved(x, u)[..., 0].any()


@pytest.mark.parametrize(("part", "sides"), [(Consistency(), ("real",)), (BalancedConsistency(), ("real", "fake"))])
def test_consistency_of_a_linear_critic(part, sides):
    """The term is the square of what the change makes of the score, and its gradient goes through both branches."""
    real, fake, w = randn(5, 3, 8, 8, seed=1), randn(5, 3, 8, 8, seed=2), randn(3, 8, 8, seed=3).requires_grad_()
    noise = {k: torch.rand(5, 3, generator=torch.Generator().manual_seed(i)).double() for i, k in enumerate(sides)}
    turn = lambda noise: Scores(lambda x: (x * w).flatten(1).sum(1), real, fake, noise)  # noqa: E731
    term = part.term(turn(noise))
    changes = [x - moved(x, noise[k]) for k, x in (("real", real), ("fake", fake)) if k in sides]
    torch.testing.assert_close(term, sum((d * w).flatten(1).sum(1).square() for d in changes))
    (gradient,) = torch.autograd.grad(term.sum(), w)
    expected = sum((2 * (d * w).flatten(1).sum(1).view(-1, 1, 1, 1) * d).sum(0) for d in changes)
    torch.testing.assert_close(gradient, expected)
    still = {k: torch.full((5, 3), 0.5) for k in sides}
    assert part.term(turn(still)).tolist() == [0] * 5


def test_codes_near_each_other():
    """The critic is told to see no difference, and the generator to make one."""
    part, a, w = LatentConsistency(), randn(4, 3, seed=1).requires_grad_(), randn(4, seed=2)
    z, change = randn(6, 3, seed=3), randn(6, 3, seed=4)
    generate, score = lambda z: z @ a.T, lambda x: x @ w
    noise = {"change": change}
    term = part.term(Scores(score, generate(z), generate(z).detach(), noise, z, generate))
    torch.testing.assert_close(term, (change @ a.T @ w).square())
    assert not term.requires_grad  # the generator has no part in it
    term = part.generator_term(made(generate, z, score, noise=noise))
    torch.testing.assert_close(term, -(change @ a.T).square().mean(1))
    (gradient,) = torch.autograd.grad(term.mean(), a)
    wider = a - 0.01 * gradient
    assert (change @ wider.T).square().mean() > (change @ a.T).square().mean()
    draws = part.draw(Draws(20_000, "cpu").at(0, 0, 0), SimpleNamespace(latent=SimpleNamespace(shape=(3,))))
    assert draws["change"].std().item() == pytest.approx(0.05, rel=0.02)
    assert (part.weight("critic"), part.weight("generator")) == (20.0, 0.5)


# Different codes, different samples.


@pytest.mark.parametrize("a", [2.0, -0.5])
def test_distances_of_samples_over_those_of_codes(a):
    z, other = randn(8, 3), randn(8, 3, seed=1)
    turn = made(lambda z: a * z, z, noise={"z": other})
    torch.testing.assert_close(ModeSeeking().generator_term(turn), torch.full((8,), 1 / (abs(a) + 1e-5)).double())
    torch.testing.assert_close(Diversity().generator_term(turn), torch.full((8,), -min(abs(a), 1.0)).double())


def test_mode_seeking_is_a_ratio_of_means_and_diversity_of_pairs():
    """The mean of ratios is another number: the reference takes the ratio of the batch's means."""
    z, other = randn(8, 3), randn(8, 3, seed=1)
    turn = made(torch.exp, z, noise={"z": other})
    samples, codes = (z.exp() - other.exp()).abs().mean(1), (z - other).abs().mean(1)
    term = ModeSeeking().generator_term(turn)
    torch.testing.assert_close(term, (1 / (samples.mean() / codes.mean() + 1e-5)).expand(8))
    assert not torch.allclose(term, 1 / ((samples / codes).mean() + 1e-5))
    far = Diversity(Diversity.Options(most=100.0)).generator_term(turn)
    torch.testing.assert_close(far, -samples / codes)


# Orthogonal weights.


def with_rows(rows, layer):
    layer.weight.data = rows.view_as(layer.weight)
    return nn.Sequential(layer.double())


def test_rows_at_right_angles_cost_nothing_whatever_their_length():
    q, _ = torch.linalg.qr(randn(12, 4))
    rows = q.T * torch.tensor([0.1, 1.0, 3.0, 7.0])[:, None]
    for layer in (nn.Linear(12, 4), nn.Conv2d(3, 4, 2)):
        assert Orthogonal.penalty(with_rows(rows, layer)) < 1e-20
    up = nn.ConvTranspose2d(3, 4, 2)  # (inputs, outputs, …): a row is what one output is made of
    assert Orthogonal.penalty(with_rows(rows.view(4, 3, 2, 2).transpose(0, 1).contiguous(), up)) < 1e-20
    w = randn(5, 12, seed=1)
    gram = w @ w.T
    expected = gram.square().sum() - gram.diagonal().square().sum()
    net = with_rows(w, nn.Linear(12, 5))
    torch.testing.assert_close(Orthogonal.penalty(net), expected)
    (gradient,) = torch.autograd.grad(Orthogonal.penalty(net), net[0].weight)
    torch.testing.assert_close(gradient, 4 * (gram - gram.diagonal().diag()) @ w)
    normalize_spectrally(net)  # weights are taken before it, and no pass of it is made
    before = {k: v.clone() for k, v in net.state_dict().items()}
    torch.testing.assert_close(Orthogonal.penalty(net), expected)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    torch.testing.assert_close(Orthogonal.penalty(nn.Sequential(*net, nn.Embedding(3, 5).double())), expected)


@pytest.mark.parametrize(("network", "turns"), [("generator", "g"), ("critic", "c"), ("both", "cg")])
def test_whose_weights(game, network, turns):
    options = {"regularizer.orthogonal.network": network}
    built = game("gan", objective="hinge", regularizer=["orthogonal=1"], **options)
    for player in ("critic", "generator"):
        loss = built.objective.loss(player, built.nets, Batch(randn(8, 2).float()), built.noise(player, 8))
        assert ("orthogonal" in loss.terms) is (player[0] in turns)
        if player[0] in turns:
            net = built.nets.critic if player == "critic" else built.nets.model.generator
            torch.testing.assert_close(loss.terms["orthogonal"], Orthogonal.penalty(net).expand(8))


# The best k samples.


def top(share, n=8):
    w = torch.arange(1.0, n + 1, dtype=torch.float64).requires_grad_()
    turn = made(lambda z: z * w[:, None], torch.ones(n, 1).double(), noise={"share": torch.tensor(share)})
    turn.loss = -turn.score
    return w, turn, TopK().generator_term(turn)


def test_the_best_count_more_and_the_rest_not_at_all():
    w, turn, term = top(0.5)
    torch.testing.assert_close(turn.loss + term, torch.tensor([0.0] * 4 + [-10, -12, -14, -16]).double())
    (gradient,) = torch.autograd.grad((turn.loss + term).mean(), w)
    assert gradient.tolist() == [0.0] * 4 + [-0.25] * 4
    assert gradient.sum() == -1  # as much as the plain loss's
    _, turn, term = top(1.0)
    assert not term.any()  # bit for bit the plain loss


def test_k_falls_by_epochs_to_its_floor():
    part = TopK(TopK.Options(gamma=0.5, floor=0.2))
    shares = []
    for step in range(0, 40, 5):
        draws = Draws(10, "cpu", population=100).at(0, step, 0)
        shares.append(part.draw(draws, None)["share"].item())
    assert shares == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2])


# Features.


class Linear(nn.Module):
    ports = SimpleNamespace(classes=0, condition=0)

    def features(self, x, y=None):
        return 2 * x


def test_features_are_matched_on_average():
    real, z = randn(8, 3, seed=5), randn(8, 3)
    turn = lambda z: made(lambda z: z, z, real=real, critic=Linear())  # noqa: E731
    term = FeatureMatching().generator_term(turn(z))
    torch.testing.assert_close(term, (2 * (z.mean(0) - real.mean(0))).square().sum().expand(8))
    torch.testing.assert_close(FeatureMatching().generator_term(turn(z[torch.randperm(8)])), term)
    assert FeatureMatching().generator_term(turn(real.flip(0))).max() < 1e-20
    pairs = lambda z: (2 * (z - real)).square().mean(1)  # what an implementation in use does  # noqa: E731
    assert not torch.allclose(pairs(real.flip(0)), torch.zeros(8).double())


def test_a_critic_without_features_is_refused_when_it_is_built():
    class Plain(Critic):
        def forward(self, x, y=None, beside=None):
            return x

    with pytest.raises(UsageError, match=r"feature-matching needs a critic with features: .*mlp.*has them"):
        FeatureMatching().fits(SimpleNamespace(critic=Plain(None)))
    nets = SimpleNamespace(model=SimpleNamespace(generator=nn.Embedding(3, 2)), critic=None)
    with pytest.raises(UsageError, match="for linear and convolution layers, and this generator has none"):
        Orthogonal().fits(nets)


# All of them in training.


@pytest.mark.parametrize("loss", ["hinge", "r3gan", "wgan", "pacgan", "ali"])
@pytest.mark.parametrize("part", ALL)
def test_each_trains_with_each_loss(trainer, loss, part):
    run = trainer("gan", objective=loss, regularizer=[part], train__steps=3, critic__spectral_norm=False)
    start = [p.detach().clone() for p in run.nets.model.generator.parameters()]
    run.train()
    named = [k for k in run.history[-1] if k.endswith(f"/{part}")]
    assert len(named) == len(run.objective.regularizers[part].plays)
    assert all(math.isfinite(run.history[-1][k]) for k in named)
    assert any(not torch.equal(a, p) for a, p in zip(start, run.nets.model.generator.parameters(), strict=True))


@pytest.mark.parametrize("loss", ["hinge", "acgan", "r3gan"])
@pytest.mark.parametrize("part", ["cr", "bcr", "gn", "feature-matching"])
def test_images_with_labels(trainer, loss, part):
    spec = DataSpec.image(3, 8, 8, classes=3)
    from genzoo.plugins.apps.kit.cases import small_data

    run = trainer("gan", small_data(spec), objective=loss, regularizer=[part], augmentation="diffaugment",
                  conditional=True, train__steps=2, critic__spectral_norm=False)  # fmt: skip
    run.train()
    if part != "gn":
        player = "generator" if part == "feature-matching" else "critic"
        assert math.isfinite(run.history[-1][f"{player}/{part}"])


@pytest.mark.parametrize("part", ["zcr", "diversity", "orthogonal"])
def test_a_lazy_term_of_the_generator_keeps_its_expectation(game, part):
    def totals(every):
        options = {f"regularizer.{part}.every": every}
        built = game("gan", objective="hinge", regularizer=[part], **options)
        for step in range(4):
            noise = built.noise("generator", 8, seed=0, step=step)
            noise |= {k: v for k, v in built.noise("generator", 8).items() if k in noise}  # the same at every step
            loss = built.objective.loss("generator", built.nets, Batch(randn(8, 2).float()), noise)
            yield loss.terms.get(part, torch.zeros(8))

    always, lazy = list(totals(1)), list(totals(4))
    assert [bool(t.any()) for t in lazy] == [True, False, False, False]
    torch.testing.assert_close(sum(lazy), sum(always))


@pytest.mark.parametrize("part", ["gn", "zcr", "diversity", "orthogonal"])
def test_parts_of_a_batch_are_the_whole(trainer, toy, part):
    ended = []
    for accumulate in (1, 2):
        run = trainer("gan", toy(60), objective="hinge", regularizer=[part], train__batch_size=16, train__steps=20,
                      train__optimizer="sgd", train__lr=0.02, train__accumulate=accumulate,
                      critic__spectral_norm=False)  # fmt: skip
        run.train()
        ended.append(run.nets.state_dict())
    for name, a in ended[0].items():
        assert (a - ended[1][name]).norm() <= 1e-5 * a.norm() + 1e-7, name


@pytest.mark.parametrize("part", ["mode-seeking", "topk", "feature-matching"])
def test_whole_batches_are_not_computed_in_parts(trainer, part):
    run = trainer("gan", regularizer=[part], train__accumulate=2, train__steps=1)
    with pytest.raises(UsageError, match=rf"the terms {part} depend on the whole batch"):
        run.train()


@pytest.mark.parametrize("loss", ["vae-gan", "vq-gan"])
def test_turns_that_add_no_terms_refuse_those_that_have_some(loss):
    plan = the_registry().load(the_registry().get("objective", loss))()
    plan.regularizers["r1"] = R1()
    plan.plan(DataSpec.image(1, 8, 8))
    plan.regularizers["zcr"] = LatentConsistency()
    with pytest.raises(UsageError, match="'zcr' has a term in the generator's turn, and this objective adds none"):
        plan.plan(DataSpec.image(1, 8, 8))

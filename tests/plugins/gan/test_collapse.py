"""What is there against collapse: looking ahead, encoders beside the generator, critics that compare, path lengths."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Ports
from genzoo.core.objective import Batch
from genzoo.core.regularizer import Made
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit.cases import small_data
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.gan.unrolled import Unrolled
from genzoo.plugins.nets.deviation import Comparison
from genzoo.plugins.nets.mlp import MLPCritic
from genzoo.plugins.nets.styled import StyledGenerator
from genzoo.plugins.regularizers.path_length import PathLength, lengths
from genzoo.registry import the_registry


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Unrolled.


class Slope(Critic):
    """D(x) = d x."""

    def __init__(self, d):
        super().__init__(Ports((1,), (1,)))
        self.d = nn.Parameter(torch.tensor(d, dtype=torch.float64))

    def forward(self, x, y=None, beside=None):
        return self.d * x


class Bilinear(Unrolled):
    """f(g, d) = d g - d²/2 is what the critic wants much of, and the generator little, at x = 1 and G(z) = g."""

    paired = True

    def critic_loss(self, real, fake):
        return real**2 / 2 - fake

    def generator_loss(self, fake, real):
        return fake - real**2 / 2


def ahead(steps, objective=Bilinear):
    g, critic = torch.tensor(0.8, dtype=torch.float64, requires_grad=True), Slope(0.1)
    model = SimpleNamespace(mean=lambda z, y=None: g * torch.ones_like(z))
    nets, one = SimpleNamespace(model=model, critic=critic), torch.ones(4, 1).double()
    critic.requires_grad_(False)
    loss = objective(Bilinear.Options(steps=steps, rate=0.3)).loss("generator", nets, Batch(one), {"z": one})
    return torch.autograd.grad(loss.total(), g)[0].item(), loss, critic


def test_the_generators_gradient_goes_through_the_critics_steps():
    """Closed form: d after K steps is g - (g - d) (1 - η)^K, and f's slope d + (g - d) (1 - (1 - η)^K)."""
    far = 0.7**5
    found, loss, critic = ahead(5)
    last = 0.8 - 0.7 * far
    assert found == pytest.approx(last + (0.8 - last) * (1 - far), abs=1e-12)
    assert found == pytest.approx(0.780227, abs=1e-6)
    assert abs(found - last) > 0.09  # .682351, what is left without the path through the steps
    assert loss.coupled == {"adversarial": True}
    assert critic.d.item() == pytest.approx(0.1)  # it stays where it was
    assert critic.d.grad is None


def test_no_step_ahead_is_the_plain_gan(game):
    x = randn(8, 2).float()
    plain, unrolled, looking = (
        game("gan", objective=name, **more)
        for name, more in (("gan", {}), ("unrolled", {"objective.steps": 0}), ("unrolled", {"objective.steps": 3}))
    )
    terms = [
        g.objective.loss("generator", g.nets, Batch(x), g.noise("generator", 8)) for g in (plain, unrolled, looking)
    ]
    assert torch.equal(terms[0].total(), terms[1].total())
    assert not torch.allclose(terms[0].total(), terms[2].total())
    assert not terms[1].coupled
    assert isinstance(unrolled.objective, GAN)


@pytest.mark.parametrize("more", [{}, {"critic__spectral_norm": True}, {"regularizer": ["r1", "topk", "zcr"]},
                                  {"conditional": True, "critic__condition": "concat"}])  # fmt: skip
def test_unrolled_trains(trainer, more):
    run = trainer("unrolled", objective__steps=2, train__steps=3, **{"critic__spectral_norm": False, **more})
    run.train()
    assert math.isfinite(run.history[-1]["generator/adversarial"])


def test_normalized_scores_are_not_looked_ahead_at(game):
    with pytest.raises(UsageError, match="'gn' takes slopes of what this loss takes slopes of"):
        game("unrolled", regularizer=["gn"])


# Encoders beside the generator.


def test_who_learns_from_what_in_veegan(game):
    """The encoder learns to give codes back and nothing else; the generator that, and what the critic says."""
    built = game("veegan")
    x = randn(8, 2).float()
    turns = {p: built.objective.loss(p, built.nets, Batch(x), built.noise(p, 8)) for p in ("generator", "encoder")}
    assert set(turns["encoder"].terms) == {"code"}
    assert set(turns["generator"].terms) == {"adversarial", "code"}
    model, z = built.nets.model, built.noise("generator", 8)["z"]
    fake = model.mean(z)
    error = (z - model.encoder(fake)).square().sum(1)
    torch.testing.assert_close(turns["generator"].terms["code"], error)
    torch.testing.assert_close(turns["generator"].terms["adversarial"], -built.nets.critic(fake, None, z).squeeze(1))
    moves = {p.name: p.moves for p in built.objective.players()}
    assert moves == {"critic": ("critic",), "generator": ("generator",), "encoder": ("encoder",)}
    grads = torch.autograd.grad(turns["encoder"].total(), list(model.generator.parameters()), allow_unused=True)
    assert all(g is None for g in grads)


def test_a_perfect_inverse_costs_nothing(game):
    built = game("veegan")
    model = built.nets.model
    model.generator.forward = lambda z, y=None: 3 * z
    model.encoder.forward = lambda x, y=None: x / 3
    for player in ("generator", "encoder"):
        loss = built.objective.loss(player, built.nets, Batch(randn(8, 2).float()), built.noise(player, 8))
        assert loss.terms["code"].max() < 1e-10


def test_bigans_codes_are_points(game):
    built = game("bigan")
    x, noise = randn(8, 2).float(), built.noise("critic", 8)
    loss = built.objective.loss("critic", built.nets, Batch(x), noise)
    score = built.nets.critic(x, None, built.nets.model.encoder(x)).squeeze(1)
    torch.testing.assert_close(loss.shown["real"], score)


@pytest.mark.parametrize("recipe", ["bigan", "veegan"])
@pytest.mark.parametrize("parts", [[], ["r1=0.1", "gn"], ["zcr", "mode-seeking", "feature-matching"]])
def test_encoders_train_with_regularizers(trainer, recipe, parts):
    run = trainer(recipe, regularizer=parts, train__steps=3, critic__spectral_norm=False)
    run.train()
    assert all(math.isfinite(v) for v in run.history[-1].values())


@pytest.mark.parametrize("critic", ["mlp", "conv", "resnet"])
def test_a_critic_sees_dependence(critic):
    """A sum of what is said of x and of what is said of z has no mixed difference, and sees no dependence."""
    made, shape = the_registry().load(the_registry().get("critic", critic)), (2,) if critic == "mlp" else (1, 8, 8)
    torch.manual_seed(0)
    net = made(Ports(shape, (1,), beside=3), made.Options(width=8))
    (a, b), (y, z) = randn(2, 1, *shape, dtype=torch.float32), randn(2, 1, 3, seed=1, dtype=torch.float32)
    mixed = net(a, None, y) - net(a, None, z) - net(b, None, y) + net(b, None, z)
    assert mixed.abs() > 1e-3


# Critics that compare.


def comparison(features=6):
    torch.manual_seed(0)
    return Comparison("discrimination", features, 1)


def test_like_observations_count_each_other_and_not_themselves():
    part = comparison()
    same = randn(1, 6, dtype=torch.float32).expand(7, -1)
    torch.testing.assert_close(part.alike(same), torch.full((7, 32), 6.0))
    far = 1e4 * randn(7, 6, dtype=torch.float32)
    assert part.alike(far).abs().max() < 1e-5
    h = randn(5, 6, dtype=torch.float32)
    m = (h @ part.kernels.weight.detach().T).view(5, 32, 5)
    expected = [[sum((-(m[i, k] - m[j, k]).abs().sum()).exp() for j in range(5) if j != i) for k in range(32)]
                for i in range(5)]  # fmt: skip
    torch.testing.assert_close(part.alike(h), torch.tensor(expected))


@pytest.mark.parametrize("form", ["deviation", "discrimination"])
def test_the_head_is_told(form):
    torch.manual_seed(0)
    critic = MLPCritic(Ports((2,), (1,), per_observation=True), MLPCritic.Options(width=8, minibatch=form))
    assert critic.mixes
    assert not MLPCritic(Ports((2,), (1,))).mixes
    x = randn(8, 2, dtype=torch.float32)
    torch.testing.assert_close(critic(x), critic.head(critic.features(x)) + critic.comparison(critic.features(x)))
    collapsed = x[:1].expand(8, -1)
    assert critic.comparison(critic.features(collapsed)).var() < 1e-10
    assert not torch.allclose(critic(collapsed)[0], critic(x)[0])  # the same observation in other company


@pytest.mark.parametrize("form", ["deviation", "discrimination"])
@pytest.mark.parametrize("critic", ["mlp", "conv", "resnet"])
def test_comparing_critics_train_under_a_penalty(trainer, form, critic):
    data = small_data(DataSpec.image(1, 8, 8)) if critic != "mlp" else None
    extra = {"critic__depth": 1} if critic == "mlp" else {}
    run = trainer("gan", data, objective="hinge", critic=critic, critic__minibatch=form, critic__spectral_norm=False,
                  regularizer=["r1"], train__steps=3, **extra)  # fmt: skip
    run.train()
    assert math.isfinite(run.history[-1]["critic/r1"])
    with pytest.raises(UsageError, match="depend on the whole batch"):
        trainer("gan", data, critic=critic, critic__minibatch=form, train__accumulate=2, train__steps=1).train()


# Path length.


class Flat(StyledGenerator):
    """G(w) = w Q, the same for each of two layers' sums."""

    layers = 2

    def __init__(self, q):
        nn.Module.__init__(self)
        self.q = q

    def styles(self, z, y=None):
        return z[:, None].expand(-1, 2, -1)

    def from_styles(self, w):
        return (w.sum(1) @ self.q.T).view(len(w), 1, 4, 3)


def styled(q):
    generator = Flat(q)
    return SimpleNamespace(generator=generator, likelihood=SimpleNamespace(mean=lambda x: x))


def test_lengths_of_a_linear_generator():
    """Of G(w) = s Q w, Q of orthonormal columns, the length is s ‖Qᵀy‖ over the root of the pixels."""
    q, _ = torch.linalg.qr(randn(12, 5))
    z, y = randn(6, 5), randn(6, 1, 4, 3, seed=1)
    found = lengths(styled(3 * q), z, None, y)
    torch.testing.assert_close(found, 3 * (y.flatten(1) @ q).norm(dim=1) / math.sqrt(12))


def test_equal_lengths_cost_nothing_and_the_mean_follows():
    q = randn(12, 5).requires_grad_()
    model, z, y = styled(q), randn(6, 5), randn(6, 1, 4, 3, seed=1)
    made = Made(SimpleNamespace(model=model), Batch(y), z, y, y, y, lambda x, side: (x, None))
    made.noise, part = {"y": y}, PathLength()
    assert not part.generator_term(made).any()  # nothing is known before the first term
    expected = made.shown["path_length"].detach()
    part.after_step({"path_length": expected.mean().float()})
    term = part.generator_term(made)
    torch.testing.assert_close(term, (expected - expected.mean()).square(), atol=1e-6, rtol=1e-5)
    assert torch.autograd.grad(term.mean(), q)[0].abs().sum() > 0
    same = y[:1].expand(6, -1, -1, -1)
    made.noise = {"y": same}
    for _ in range(2000):
        part.after_step({"path_length": lengths(model, z, None, same).mean().detach().float()})
    assert part.generator_term(made).max() < 1e-6


def test_path_length_in_training_and_where_it_is_refused(trainer, game):
    data = small_data(DataSpec.image(1, 8, 8))
    run = trainer("gan", data, generator="stylegan2", generator__width=4, generator__styles=6,
                  critic__spectral_norm=False, regularizer=["path-length"], train__steps=5)  # fmt: skip
    run.train()
    part = run.objective.regularizers["path-length"]
    assert part.terms == 2  # at every fourth step
    assert part.mean > 0
    with pytest.raises(UsageError, match=r"path-length needs a generator with styles: .*stylegan2"):
        game("gan", DataSpec.image(1, 8, 8), regularizer=["path-length"])

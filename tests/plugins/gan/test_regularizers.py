"""Regularizers on critics whose penalties are known, and with losses of every kind."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Ports
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch
from genzoo.core.regularizer import Judged
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.gan import GAN
from genzoo.plugins.gan.hinge import Hinge
from genzoo.plugins.gan.r3gan import R3GAN
from genzoo.plugins.gan.wgan import WGAN, WGANGP
from genzoo.plugins.regularizers.lecam import LeCam
from genzoo.plugins.regularizers.slopes import DRAGAN, R1, R2, Divergence, Lipschitz

SHAPES = [(2,), (1, 4, 5), (3, 4, 5), (4, 2, 2)]


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def judged(score, real, fake, sides=(), noise=None, **how):
    found = Judged(lambda x, side: score(x), Batch(real), fake, sides, **{"together": True, **how})
    found.noise = noise or {}
    return found


def linear(shape, slope=1.0):
    direction = randn(*shape, seed=9)
    direction *= slope / direction.norm()
    return lambda x: (x * direction).flatten(1).sum(1)


def noise_of(part, n, spec, seed=3):
    return part.draw(Draws(n, "cpu").at(seed, 0, 1), type("M", (), {"spec": spec})())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [1, 4, 64])
def test_a_linear_critic_has_one_slope_everywhere(shape, n):
    real, fake, spec = randn(n, *shape, seed=1), randn(n, *shape, seed=2), DataSpec("vector", shape)
    same = {1.0: 0.0, 3.0: 4.0, 0.5: 0.25}
    for slope, cost in same.items():
        for part in (Lipschitz(), DRAGAN()):
            if isinstance(part, DRAGAN) and n == 1 and math.prod(shape) == 1:
                continue
            term = part.term(judged(linear(shape, slope), real, fake, noise=noise_of(part, n, spec)))
            torch.testing.assert_close(term, torch.full((n,), cost), atol=1e-5, rtol=1e-5)
        one = Lipschitz(Lipschitz.Options(one_sided=True))
        term = one.term(judged(linear(shape, slope), real, fake, noise=noise_of(one, n, spec)))
        torch.testing.assert_close(term, torch.full((n,), cost if slope > 1 else 0.0), atol=1e-5, rtol=1e-5)
        both = judged(linear(shape, slope), real, fake, ("real", "fake"))
        for part in (R1(), R2()):
            torch.testing.assert_close(part.term(both), torch.full((n,), slope**2 / 2))


def test_the_wasserstein_divergences_slope_between_two_points():
    """Of points at a distance d, -d s + k sᵖ is least at the slope s = (d / kp)^(1 / (p - 1))."""
    d, part, s = 0.7, Divergence(), torch.tensor(0.566478, dtype=torch.float64, requires_grad=True)
    real, fake = torch.full((4, 1), d).double(), torch.zeros(4, 1).double()
    found = judged(lambda x: s * x[:, 0], real, fake, ("real", "fake"))
    term = 2 * part.term(found)
    torch.testing.assert_close(term, (2 * s**6).expand(4))
    (slope,) = torch.autograd.grad((found.fake_score - found.real_score + term).mean(), s)
    assert abs(slope.item()) < 1e-5


@pytest.mark.parametrize("sides", [("real",), ("fake",), ("real", "fake")])
@pytest.mark.parametrize("together", [False, True])
def test_r1_and_r2_of_a_quadratic_critic(sides, together):
    """D = ½ xᵀAx has the slope Ax, wherever and in however many passes it is taken."""
    a = randn(5, 5, seed=3, dtype=torch.float64)
    a = a + a.T
    real, fake = randn(7, 5, seed=1, dtype=torch.float64), randn(7, 5, seed=2, dtype=torch.float64)
    found = judged(lambda x: ((x @ a) * x).sum(1) / 2, real, fake, sides, together=together)
    for part, side, x in ((R1(), "real", real), (R2(), "fake", fake)):
        if side in sides:
            torch.testing.assert_close(part.term(found), (x @ a).square().sum(1) / 2)
    torch.testing.assert_close(found.real_score, ((real @ a) * real).sum(1) / 2)
    torch.testing.assert_close(found.fake_score, ((fake @ a) * fake).sum(1) / 2)


class Recorder(Critic):
    """½ ‖x‖², which keeps what it was shown."""

    def __init__(self, d, mixes=False):
        super().__init__(Ports((d,), (1,), per_observation=True))
        self.scale, self.mixes, self.shown = nn.Parameter(torch.ones(())), mixes, []

    def forward(self, x, y=None, beside=None):
        self.shown.append(x.detach().clone())
        return self.scale * x.flatten(1).square().sum(1, keepdim=True) / 2


def test_wgan_gp_takes_its_slopes_evenly_between_real_and_fake(game):
    """The slope of ½ ‖x‖² is the point itself: the term tells where between 2 and 12 each was taken."""
    built, n = game("wgan-gp", DataSpec("vector", (1,))), 4096
    built.nets.critics["critic"] = Recorder(1)
    built.nets.model.generator.forward = lambda z, y=None: torch.full((len(z), 1), 12.0)
    loss = built.objective.loss("critic", built.nets, Batch(torch.full((n, 1), 2.0)), built.noise("critic", n))
    share = ((loss.terms["penalty"] / built.objective.options.gp_weight).sqrt() - 1) / 10
    assert share.min() >= 0
    assert share.max() > 0.999
    assert stats.kstest(share.detach().numpy(), "uniform").pvalue > 0.01
    # Each pair has a number of its own, and the same in the draw as in the term.
    torch.testing.assert_close(share, built.noise("critic", n)["penalty.mix"][:, 0], atol=1e-5, rtol=1e-5)


def test_dragans_points_are_within_half_a_deviation():
    x, n = randn(4096, 1) * 3 + 20, 4096
    part = DRAGAN()
    noise = noise_of(part, n, DataSpec("vector", (1,)))
    found = judged(lambda v: v.square().sum(1) / 2, x, x, noise=noise)
    far = (part.term(found).sqrt() + 1 - x[:, 0]) / (0.5 * x.std())
    torch.testing.assert_close(far, noise["far"][:, 0] * noise["around"][:, 0], atol=1e-3, rtol=1e-3)
    assert far.min() > -1e-3
    assert 0.9 < far.max() < 1.001
    noise["far"].zero_()
    torch.testing.assert_close(part.term(found), (x[:, 0] - 1).square())


def test_lecam_of_constant_scores():
    part, a, b = LeCam(), 1.5, -0.5
    real, fake = torch.full((4,), a), torch.full((4,), b)

    class Scores:
        real_score, fake_score = real, fake

    assert part.term(Scores).tolist() == [0] * 4  # nothing is known before the first step
    part.after_step({"real": torch.tensor(a), "fake": torch.tensor(b)})
    torch.testing.assert_close(part.term(Scores), torch.full((4,), 2 * (a - b) ** 2))  # means are exact after one step
    Scores.real_score, Scores.fake_score = fake, real
    for _ in range(500):
        part.after_step({"real": torch.tensor(b), "fake": torch.tensor(a)})
    real_mean, fake_mean = (part.means / (1 - 0.99**part.turns)).tolist()
    assert real_mean == pytest.approx(b, abs=0.02)
    assert fake_mean == pytest.approx(a, abs=0.02)
    assert part.term(Scores).abs().max() < 1e-2  # scores that agree with the other side's cost nothing
    late, means = LeCam(LeCam.Options(start=3)), {"real": torch.tensor(a), "fake": torch.tensor(b)}
    costs = []

    class First:
        real_score, fake_score = real, fake

    for _ in range(4):
        costs.append(late.term(First)[0].item())
        late.after_step(means)
    assert costs == pytest.approx([0, 0, 0, 2 * (a - b) ** 2])  # the means are followed from the first turn on


@pytest.mark.parametrize("loss", [WGAN, WGANGP, R3GAN])
def test_what_reads_zero_is_refused_where_zero_is_anywhere(loss):
    objective = loss()
    real, fake = randn(5), randn(5, seed=1)
    torch.testing.assert_close(objective.critic_loss(real + 3, fake + 3), objective.critic_loss(real, fake))
    objective.regularizers["lecam"] = LeCam()
    with pytest.raises(UsageError, match=r"'lecam' goes by the sign of the critic's scores.*such as gan or hinge"):
        objective.plan(DataSpec("vector", (2,)))


def test_a_penalty_makes_the_critic_judge_one_by_one():
    spec = DataSpec("vector", (2,))
    for make, penalized in ((GAN, False), (WGANGP, True), (R3GAN, True)):
        assert make().plan(spec).critics[0].penalized is penalized
    hinge = Hinge()
    hinge.regularizers["r1"] = R1()
    assert hinge.plan(spec).critics[0].penalized
    hinge.regularizers.clear()
    hinge.regularizers["lecam"] = LeCam()
    assert not hinge.plan(spec).critics[0].penalized


def with_part(game, objective, part, n=8):
    """A game of the loss with one regularizer, and a critic whose slope is the point."""
    built = game("gan", objective=objective)
    built.objective.regularizers["part"] = part
    built.nets.critics["critic"] = Recorder(2)
    return built


def test_the_weight_weighs(game):
    for part in (R1, R2, Lipschitz, DRAGAN, Divergence):
        terms = []
        for weight in (1.0, 2.0):
            built = with_part(game, "hinge", part(part.Options(weight=weight)))
            loss = built.objective.loss("critic", built.nets, Batch(randn(8, 2)), built.noise("critic", 8))
            terms.append(loss.terms["part"])
        assert terms[0].abs().sum() > 0
        torch.testing.assert_close(terms[1], 2 * terms[0])


@pytest.mark.parametrize("part", [R1, Lipschitz])
def test_a_lazy_term_keeps_its_expectation(game, part):
    x = randn(8, 2)

    def terms(every):
        built = with_part(game, "hinge", part(part.Options(weight=3.0, every=every)))
        for step in range(4):
            noise = built.noise("critic", 8, seed=0, step=step)
            noise["z"] = randn(8, 2, seed=4)
            if "part.mix" in noise:
                noise["part.mix"] = torch.full((8, 1), 0.25)
            loss = built.objective.loss("critic", built.nets, Batch(x), noise)
            yield loss.terms.get("part", torch.zeros(8))

    always, lazy = list(terms(1)), list(terms(4))
    assert [bool(t.any()) for t in lazy] == [True, False, False, False]
    torch.testing.assert_close(sum(lazy), sum(always))


def test_penalties_act_on_what_comes_before_the_augmentation(game):
    """Through a linear augmentation T the slope of D is Tᵀ∇D(Tx)."""
    t = torch.tensor([[2.0, 1.0], [0.0, 0.5]])
    built = with_part(game, "hinge", R1())
    built.objective.view = lambda x, noise, side: x @ t.T
    x, noise = randn(8, 2), built.noise("critic", 8)
    loss = built.objective.loss("critic", built.nets, Batch(x), noise)
    torch.testing.assert_close(loss.terms["part"], (x @ t.T @ t).square().sum(1) / 2)
    fake = built.nets.model.mean(noise["z"])
    for player in ("critic", "generator"):  # both turns show the view
        built.nets.critic.shown.clear()
        built.objective.loss(player, built.nets, Batch(x), noise)
        torch.testing.assert_close(built.nets.critic.shown[-1], fake @ t.T)


def test_a_critic_that_compares_observations_sees_sides_apart_and_is_coupled(game):
    built = with_part(game, "hinge", R1())
    built.nets.critics["critic"] = Recorder(2, mixes=True)
    x, noise = randn(8, 2), built.noise("critic", 8)
    loss = built.objective.loss("critic", built.nets, Batch(x), noise)
    assert [s.shape for s in built.nets.critic.shown] == [(8, 2)] * 2
    assert loss.coupled == {"adversarial": True, "part": True}


@pytest.mark.parametrize("loss", ["hinge", "gan", "r3gan"])
@pytest.mark.parametrize("part", [R1, R2, Lipschitz, DRAGAN, LeCam])
def test_each_trains_with_each_loss(trainer, loss, part):
    run = trainer("gan", objective=loss, train__steps=3, critic__spectral_norm=False)
    if part.reads_zero and run.objective.shift_invariant:
        pytest.skip("refused: see above")
    run.objective.regularizers["part"] = part()
    run.nets.critic.ports = Ports((2,), (1,), per_observation=True)
    run.train()
    assert run.history[-1]["critic/part"] >= 0


def test_a_penalty_comes_beside_the_loss(game):
    """The critic's gradient is the loss's plus the penalty's, as many times as it weighs."""
    found, x = [], randn(8, 2)
    for parts in ([], ["dragan=0"], ["dragan=1"], ["dragan=2"]):
        built = game("hinge", regularizer=parts, critic__spectral_norm=False)
        loss = built.objective.loss("critic", built.nets, Batch(x), built.noise("critic", 8))
        found.append(torch.cat([g.flatten() for g in built.gradients("critic", loss.total())]))
    assert found[0].norm() > 0.1
    torch.testing.assert_close(found[1], found[0])
    assert (found[2] - found[0]).norm() > 0.01
    torch.testing.assert_close(found[3] - found[0], 2 * (found[2] - found[0]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("step", [0, 1, 4])
def test_r3gan_every_so_often_is_rpgan_with_both_penalties_as_often(game, step):
    x, lazy = randn(8, 2), {"regularizer.r1.every": 4, "regularizer.r2.every": 4}
    built = game("r3gan", objective__gamma=0.5, objective__every=4)
    other = game("rpgan", regularizer=["r1=0.5", "r2=0.5"], **lazy)
    losses = [
        g.objective.loss("critic", g.nets, Batch(x), g.noise("critic", 8, step=step)).total() for g in (built, other)
    ]
    assert torch.equal(*losses)
    every = game("r3gan", objective__gamma=0.5)
    whole = every.objective.loss("critic", every.nets, Batch(x), every.noise("critic", 8, step=step))
    rest = whole.terms["adversarial"].mean()
    penalty = whole.total() - rest
    assert penalty > 0
    torch.testing.assert_close(losses[0] - rest, 4 * penalty if step % 4 == 0 else 0 * penalty)


def test_images_are_squashed_in_both_turns(game):
    """The critic never sees what the generator puts out, but the observations that it stands for."""
    built = game("gan", DataSpec.image(1, 8, 8))
    for p in built.nets.model.generator.parameters():
        p.data *= 20
    seen, noise = [], built.noise("critic", 6)
    forward = built.nets.critic.forward
    built.nets.critic.forward = lambda x, y=None: (seen.append(x.detach()), forward(x, y))[1]
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    raw, expected = built.nets.model.generator(noise["z"]), built.nets.model.mean(noise["z"])
    assert raw.abs().max() > 1.5
    for player in ("critic", "generator"):
        seen.clear()
        built.objective.loss(player, built.nets, Batch(x), noise)
        torch.testing.assert_close(seen[-1], expected)
        assert max(s.abs().max() for s in seen) <= 1

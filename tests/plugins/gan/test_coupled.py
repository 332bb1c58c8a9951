"""Losses that compare whole batches: against loops and closed forms, in parts of a batch, and their gradients."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.linalg import vector_norm

from genzoo.core.errors import UsageError
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan import dual_contrastive, feature_critics, fisher_gan, relativistic, softmax_gan
from genzoo.plugins.gan.dual_contrastive import DualContrastive
from genzoo.plugins.gan.feature_critics import CramerGAN, kernel, squared_mmd
from genzoo.plugins.gan.fisher_gan import FisherGAN, SobolevGAN
from genzoo.plugins.gan.relativistic import RaGAN, RpGAN
from genzoo.plugins.gan.softmax_gan import SoftmaxGAN
from genzoo.plugins.regularizers.slopes import MaxSlope

IMAGE = DataSpec.image(1, 8, 8)
P = torch.tensor([0.5, 0.2, 0.2, 0.1], dtype=torch.float64)
Q = torch.tensor([0.1, 0.3, 0.2, 0.4], dtype=torch.float64)
REAL, FAKE = torch.tensor([0] * 5 + [1] * 2 + [2] * 2 + [3]), torch.tensor([0] + [1] * 3 + [2] * 2 + [3] * 4)
FORMS = {
    "ragan": RaGAN(),
    "ragan-ls": RaGAN(RaGAN.Options(loss="least-squares")),
    "ragan-hinge": RaGAN(RaGAN.Options(loss="hinge")),
    "softmax": SoftmaxGAN(),
    "dual": DualContrastive(DualContrastive.Options(loss="mirrored")),
    "dual-minimax": DualContrastive(),
    "fisher": FisherGAN(FisherGAN.Options(rho=0.5)),
}
FORMS["fisher"].regularizers["moment"].multiplier.fill_(0.3)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scores(n=6):
    return randn(n).double(), randn(n, seed=1).double() - 0.5


def log_sum_exp(values):
    return math.log(sum(math.exp(v) for v in values))


def sp(v):
    return math.log1p(math.exp(v))


def by_hand(name, r, f, player):
    """The mean loss of a player, one number at a time."""
    r, f = r.tolist(), f.tolist()
    n, r_mean, f_mean = len(r), sum(r) / len(r), sum(f) / len(f)
    if name.startswith("ragan"):
        if player == "generator":
            r, f, r_mean, f_mean = f, r, f_mean, r_mean
        of = {"ragan": lambda u: sp(-u), "ragan-ls": lambda u: (u - 1) ** 2, "ragan-hinge": lambda u: max(0, 1 - u)}
        return sum(of[name](x - f_mean) + of[name](r_mean - y) for x, y in zip(r, f, strict=True)) / (2 * n)
    if name == "softmax":
        whole = log_sum_exp(r + f)
        return whole - r_mean if player == "critic" else whole - (r_mean + f_mean) / 2
    if name.startswith("dual"):
        sign = 1
        if player == "generator":
            r, f, sign = (f, r, 1) if name == "dual" else (r, f, -1)
        against, hidden = log_sum_exp(f), log_sum_exp([-x for x in r])
        return sign * sum(sp(against - x) + sp(hidden + y) for x, y in zip(r, f, strict=True)) / n
    if player == "generator":
        return -f_mean
    c = 1 - sum(x * x + y * y for x, y in zip(r, f, strict=True)) / (2 * n)
    return f_mean - r_mean - 0.3 * c + 0.25 * c * c


def played(objective, r, f, player):
    if player == "generator":
        return objective.generator_loss(f, r)
    moments = objective.regularizers.values()
    judged = SimpleNamespace(real_score=r, fake_score=f, shown={})
    return objective.critic_loss(r, f) + sum(moment.term(judged) for moment in moments)


@pytest.mark.parametrize("player", ["critic", "generator"])
@pytest.mark.parametrize("name", FORMS)
def test_losses_of_whole_batches_are_those_of_loops(name, player):
    r, f = scores()
    found = played(FORMS[name], r, f, player)
    assert found.shape == (6,)
    assert found.mean().item() == pytest.approx(by_hand(name, r, f, player), abs=1e-6)


@pytest.mark.parametrize("player", ["critic", "generator"])
@pytest.mark.parametrize("name", FORMS)
def test_gradients_go_through_what_the_batch_shares(name, player):
    """By finite differences: a mean that is held fixed would have another gradient."""
    objective = FORMS[name]
    inputs = tuple(x.requires_grad_() for x in scores(5))
    assert torch.autograd.gradcheck(lambda r, f: played(objective, r, f, player), inputs)


class Gather:
    """all_gather as two processes see it: what the whole batch was, in the order of the calls."""

    def __init__(self):
        self.whole, self.calls = [], None

    def __call__(self, x):
        if self.calls is None:
            self.whole.append(x)
            return x
        self.calls += 1
        return self.whole[self.calls - 1]


@pytest.mark.parametrize("player", ["critic", "generator"])
@pytest.mark.parametrize("name", FORMS)
def test_halves_of_a_batch_are_played_as_the_whole(name, player, monkeypatch):
    gather, objective = Gather(), FORMS[name]
    for module in (relativistic, softmax_gan, dual_contrastive, fisher_gan):
        monkeypatch.setattr(module, "all_gather", gather)
    r, f = scores()
    whole = played(objective, r, f, player)
    halves = []
    for part in (slice(0, 3), slice(3, 6)):
        gather.calls = 0
        halves.append(played(objective, r[part], f[part], player))
    torch.testing.assert_close(torch.cat(halves), whole)
    assert objective.coupled or objective.regularizers["moment"].coupled


@pytest.mark.parametrize("player", ["critic", "generator"])
@pytest.mark.parametrize("name", FORMS)
def test_what_is_said_of_the_zero_of_scores_is_true(name, player):
    """A constant on all scores changes no gradient of losses that say so, and that of Fisher's critic."""
    found = []
    for shift in (0.0, 3.0):
        r, f = (x.requires_grad_() for x in scores())
        loss = played(FORMS[name], r + shift, f + shift, player).mean()
        found.append(
            torch.cat([g if g is not None else r * 0 for g in torch.autograd.grad(loss, (r, f), allow_unused=True)])
        )
    same = torch.allclose(*found, atol=1e-9)
    assert same == (FORMS[name].shift_invariant or player == "generator")


@pytest.mark.parametrize("name", ["ragan", "softmax-gan", "dual-contrastive", "fisher-gan", "mmd-gan"])
def test_parts_of_a_batch_are_refused(name, trainer):
    with pytest.raises(UsageError, match="depend on the whole batch"):
        trainer("gan", objective=name, train__accumulate=2, critic__spectral_norm=False).train()


@pytest.mark.parametrize("name", ["mmd-gan", "cramer-gan"])
def test_distances_of_features_in_a_game(name, game):
    """Both players' terms against a few lines by hand: real features of the batch, two samples, the witness' slope."""
    built = game("gan", objective=name, objective__features=5, critic__spectral_norm=False)
    x, noise = randn(7, 2), built.noise("critic", 7)
    h, mean = built.nets.critic, built.nets.model.mean
    made, second = mean(noise["z"]).detach(), mean(noise.get("second", noise["z"])).detach()
    real, fake, other = h(x), h(made), h(second)
    between = torch.lerp(x, made, noise["mix"]).requires_grad_()
    if name == "mmd-gan":
        far = squared_mmd(real, fake)
        witness = kernel(h(between), real).mean(1) - kernel(h(between), fake).mean(1)
    else:
        assert not torch.equal(made, second)

        def u(v):
            return vector_norm(v - other, dim=1) - vector_norm(v, dim=1)

        far, witness = (u(real) - u(fake)).mean(), u(h(between))
    (slope,) = torch.autograd.grad(witness.sum(), between)
    loss = built.objective.loss("critic", built.nets, Batch(x), noise)
    weight = built.objective.options.gp_weight
    torch.testing.assert_close(loss.terms["adversarial"].mean(), -far)
    torch.testing.assert_close(loss.terms["penalty"], weight * (vector_norm(slope, dim=1) - 1).square())
    assert not any(g.abs().sum() for g in built.gradients("generator", loss.total()))
    generator = built.objective.loss("generator", built.nets, Batch(x), noise)
    if name == "cramer-gan":
        far = (real - fake).norm(dim=1) + (real - other).norm(dim=1) - (fake - other).norm(dim=1)
    torch.testing.assert_close(generator.total(), far.mean())
    assert all(g.abs().sum() > 0 for g in built.gradients("generator", generator.total()))


def test_features_on_two_processes(game, monkeypatch):
    built = game("gan", objective="mmd-gan", objective__features=5, critic__spectral_norm=False)
    gather = Gather()
    monkeypatch.setattr(feature_critics, "all_gather", gather)
    x, noise = randn(8, 2), built.noise("critic", 8)
    for player in ("critic", "generator"):
        gather.whole, gather.calls = [], None
        whole = built.objective.loss(player, built.nets, Batch(x), noise).per_observation()
        halves = []
        for part in (slice(0, 4), slice(4, 8)):
            gather.calls = 0
            mine = {k: v[part] for k, v in noise.items()}
            halves.append(built.objective.loss(player, built.nets, Batch(x[part]), mine).per_observation())
        torch.testing.assert_close(torch.cat(halves), whole)


def test_the_unbiased_estimate_is_that_of_a_loop():
    x, y = randn(4, 3).double(), randn(5, 3, seed=1).double() + 0.5

    def k(a, b):
        return (a @ b + sum((1 + (a - b).square().sum() / (2 * c)) ** -c for c in (0.2, 0.5, 1.0, 2.0, 5.0))).item()

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    within = [mean(k(a, b) for i, a in enumerate(v) for j, b in enumerate(v) if i != j) for v in (x, y)]
    expected = sum(within) - 2 * mean(k(a, b) for a in x for b in y)
    assert squared_mmd(x, y).item() == pytest.approx(expected, abs=1e-9)
    assert torch.autograd.gradcheck(squared_mmd, (x.requires_grad_(), y.requires_grad_()))


def test_only_the_largest_slope_of_a_batch_costs():
    """A critic x ↦ Σ x³/3: its slope at x is ‖x²‖; halves of a batch see the largest of the whole."""
    part, x = MaxSlope(), randn(6, 2)
    judged = SimpleNamespace(
        real=Batch(x), fake=x, noise={"mix": torch.zeros(6, 1)}, one=lambda v: v, slopes_at=lambda v: (v**2).norm(dim=1)
    )
    term = part.term(judged)
    torch.testing.assert_close(term, (x**2).norm(dim=1).max().square().expand(6))
    assert part.coupled
    assert part.penalized


def test_kernels_are_float32_under_autocast():
    x, y = randn(6, 5), randn(6, 5, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        found = squared_mmd(x, y)
    assert found.dtype == torch.float32
    assert found == squared_mmd(x, y)


def test_losses_of_features_refuse_what_reads_a_score(game):
    for given, why in (
        ({"regularizer": ["r1"]}, "mmd-gan"),
        ({"augmentation": ["ada"]}, "sign of the critic's scores"),
    ):
        with pytest.raises(UsageError, match=why):
            game("gan", objective="mmd-gan", **given)


def test_fishers_optimum_has_unit_second_moment():
    """Multiplier and scores find the constrained optimum: √(Σ (p - q)² / ½ (p + q))."""
    objective, d = FisherGAN(FisherGAN.Options(rho=4.0)).double(), torch.full((4,), 0.1, dtype=torch.float64)
    for _ in range(40):
        d = d.clone().requires_grad_()
        search = torch.optim.LBFGS([d], max_iter=50, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def closure(d=d, search=search):
            search.zero_grad()
            loss = played(objective, d[REAL], d[FAKE], "critic").mean()
            loss.backward()
            return loss

        search.step(closure)
        d = d.detach()
        c = 1 - (P * d.square() + Q * d.square()).sum() / 2
        objective.follow("critic", None, {"constraint": c})
    assert ((P - Q) * d).sum().item() == pytest.approx(0.966092, abs=1e-5)
    assert c.item() == pytest.approx(0, abs=1e-5)


def test_sobolevs_optimum_between_two_points():
    """A linear critic between two points at distance d gains d w where its slope w is 1."""
    objective = SobolevGAN(SobolevGAN.Options(rho=1.0))
    (moment,) = objective.regularizers.values()
    slope = torch.tensor(0.2, dtype=torch.float64)
    for _ in range(60):  # the critic's least loss in closed form would need the root of a cubic: gradient descent
        for _ in range(60):
            slope = slope.detach().requires_grad_()
            judged = SimpleNamespace(squared_slopes=lambda side, slope=slope: slope.square()[None], shown={})
            loss = objective.critic_loss(0.7 * slope[None], 0 * slope[None]) + moment.term(judged)
            slope = slope - 0.1 * torch.autograd.grad(loss.sum(), slope)[0]
        moment.after_step({"constraint": judged.shown["constraint"].mean()})
    assert slope.item() == pytest.approx(1, abs=1e-3)
    assert moment.multiplier.item() == pytest.approx(0.35, abs=1e-3)  # half the distance: the slope's price


def test_fishers_multiplier_of_a_constant_constraint():
    objective = FisherGAN(FisherGAN.Options(rho=0.01))
    for _ in range(50):
        objective.follow("critic", None, {"constraint": torch.tensor(0.4)})
        objective.follow("generator", None, {})
    assert objective.regularizers["moment"].multiplier.item() == pytest.approx(-0.01 * 50 * 0.4)


def test_fishers_constraint_is_the_batchs(game):
    built = game("gan", objective="fisher-gan", objective__rho=0.5, critic__spectral_norm=False)
    built.objective.regularizers["moment"].multiplier.fill_(0.3)
    x, noise = randn(8, 2), built.noise("critic", 8)
    loss = built.objective.loss("critic", built.nets, Batch(x), noise)
    r, f = (built.nets.critic(v)[:, 0] for v in (x, built.nets.model.mean(noise["z"])))
    c = 1 - (r.square().mean() + f.square().mean()) / 2
    torch.testing.assert_close(loss.total(), f.mean() - r.mean() - 0.3 * c + 0.25 * c.square())
    torch.testing.assert_close(loss.shown["constraint"].mean(), c.detach())


def test_softmax_of_scores_that_are_known():
    objective, same = SoftmaxGAN(), torch.full((4,), 0.7)
    for loss in (objective.critic_loss(same, same), objective.generator_loss(same, same)):
        torch.testing.assert_close(loss, torch.full((4,), math.log(8)))
    far = objective.critic_loss(same, same - 300)
    torch.testing.assert_close(far, torch.full((4,), math.log(4)))
    assert far[0].item() == pytest.approx(1.386294, abs=1e-6)
    torch.testing.assert_close(objective.critic_loss(same + 300, same), far)


def test_dual_contrast_of_scores_that_are_known():
    same = torch.full((8,), -0.4)
    for loss in ("mirrored", "minimax"):
        objective = DualContrastive(DualContrastive.Options(loss=loss))
        torch.testing.assert_close(objective.critic_loss(same, same), torch.full((8,), 2 * math.log(9)))
        one, other = torch.tensor([0.3]), torch.tensor([1.1])
        torch.testing.assert_close(objective.critic_loss(one, other), 2 * RpGAN().critic_loss(one, other))


@pytest.mark.parametrize("loss", ["standard", "least-squares", "hinge"])
def test_relativistic_averages_of_one_are_pairs(loss):
    objective, r, f = RaGAN(RaGAN.Options(loss=loss)), randn(1), randn(1, seed=1)
    u = r - f
    of = {"standard": RpGAN().critic_loss(r, f), "least-squares": (u - 1) ** 2, "hinge": (1 - u).relu()}
    torch.testing.assert_close(objective.critic_loss(r, f), of[loss])
    torch.testing.assert_close(objective.generator_loss(f, r), objective.critic_loss(f, r))


def test_cramers_distance_of_normals():
    """Where all are alike it is E‖X - X'‖ = 2 σ / √π, so that the energy distance is 0."""
    n, sigma = 200_000, 1.3
    x, a, b = (sigma * randn(n, 1, seed=i) for i in range(3))
    found = CramerGAN().distance(x, a, b)
    assert found.mean().item() == pytest.approx(2 * sigma / math.sqrt(math.pi), abs=4 * found.std().item() / n**0.5)
    # The critic's difference of witnesses has the mean of the energy distance, where it is not zero either.
    apart = CramerGAN().critic_distance(x + 2, a, b) - CramerGAN().distance(x + 2, a, b)
    expected = -vector_norm(x + 2, dim=1) + vector_norm(a, dim=1) - vector_norm(x + 2 - a, dim=1)
    torch.testing.assert_close(apart, expected, atol=1e-4, rtol=1e-4)


def test_mmd_between_normals():
    """Unbiased: the mean over draws is the kernels' expectation, by quadrature, and 0 where both sides are alike."""
    t = torch.linspace(-12, 12, 24001, dtype=torch.float64)

    def mean_kernel(shift, variance):  # of X - Y ~ N(shift, variance), without the dot product
        density = torch.exp(-((t - shift) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        k = sum((1 + t.square() / (2 * alpha)) ** -alpha for alpha in (0.2, 0.5, 1.0, 2.0, 5.0))
        return (density * k).sum().item() * (t[1] - t[0]).item()

    for shift, scale in ((0.0, 1.0), (0.8, 1.5)):
        exact = mean_kernel(0, 2) + mean_kernel(0, 2 * scale**2) - 2 * mean_kernel(shift, 1 + scale**2) + shift**2
        draws = randn(500, 2, 8, 1).double()
        found = torch.stack([squared_mmd(x, shift + scale * y) for x, y in draws])
        assert found.mean().item() == pytest.approx(exact, abs=4 * found.std().item() / len(found) ** 0.5)
        assert (found < 0).any()
    assert kernel(randn(3, 5), randn(4, 5)).shape == (3, 4)


def test_distances_have_derivatives_where_there_is_no_distance():
    """Of a critic whose features are all alike too, where the second derivative of a norm is none."""
    from genzoo.plugins.gan.feature_critics import distances

    for norm, finite in ((distances, True), (lambda a, b: torch.linalg.vector_norm(a - b, dim=1), False)):
        x = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.float64).requires_grad_()
        (slope,) = torch.autograd.grad(norm(x, torch.zeros_like(x)).sum(), x, create_graph=True)
        torch.testing.assert_close(slope, x / x.norm(dim=1, keepdim=True).clamp(min=1e-9))
        (second,) = torch.autograd.grad(slope.square().sum(), x)
        assert second.isfinite().all() == finite

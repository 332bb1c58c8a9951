"""Games of autoencoders: what their critics come to say, and that each player's gradient is that of its own loss."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Ports
from genzoo.core.objective import Batch, Networks
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.aae import AAE
from genzoo.plugins.vae.avb import AVB
from genzoo.plugins.vae.intro_vae import IntroVAE, SoftIntroVAE
from genzoo.plugins.vae.vq_gan import VQGAN, balance

VECTOR = DataSpec("vector", (2,), classes=3)
SMALL = {"generator": "mlp", "encoder": "mlp", "generator__width": 8, "encoder__width": 8, "critic": "mlp",
         "critic__width": 8, "critic__depth": 2, "latent__size": 2}  # fmt: skip
GAMES = ("aae", "wae-gan", "avb", "vae-gan", "soft-intro-vae", "intro-vae", "vq-gan")
CRITICS = {"aae", "wae-gan", "avb", "vae-gan", "vq-gan"}


def given(recipe, **more):
    return {k: v for k, v in SMALL.items() if recipe in CRITICS or not k.startswith("critic")} | more


@pytest.fixture
def float64(monkeypatch):
    """For finite differences: nothing is rounded to float32."""
    monkeypatch.setattr(torch.Tensor, "float", lambda x: x)


def batch(n=16, seed=0, y=None):
    return Batch(torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)), y)


class Quadratic(Critic):
    """Weighted monomials up to the second degree of what it is shown and told: enough for ratios of normals."""

    def __init__(self, inputs, beside=0):
        super().__init__(Ports((inputs,), (1,), beside=beside))
        n = inputs + beside
        self.linear = nn.Linear(n + n * (n + 1) // 2, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x, y=None, beside=None):
        x = x if beside is None else torch.cat([x, beside], 1)
        i, j = torch.triu_indices(x.shape[1], x.shape[1])
        return self.linear(torch.cat([x, x[:, i] * x[:, j]], 1))


def trained_critic(objective, nets, data, noise):
    """On one batch and noise: the loss of logistic regression is convex."""
    optimizer = torch.optim.LBFGS(nets.critic.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = objective.loss("critic", nets, data, noise).total()
        loss.backward()
        return loss

    optimizer.step(closure)


def test_the_critic_of_codes_becomes_the_ratio_of_two_normals(linear_gaussian):
    oracle, n = linear_gaussian(off=0.4, wide=1.3), 10_000
    nets, objective = Networks(oracle.model, {"critic": Quadratic(2)}), AAE()
    x = oracle.to_model(oracle.data(n))
    random = torch.Generator().manual_seed(7)  # not that of the data
    noise = {"eps": torch.randn(n, 2, generator=random), "prior": torch.randn(n, 2, generator=random)}
    trained_critic(objective, nets, Batch(x), noise)
    # Codes of all data: normal too, of mean `off` and the variance of means and noise together.
    variance = (1 - oracle.variance) + oracle.variance * oracle.wide**2
    at = torch.tensor([[0.0, 0.0], [1.0, -1.0], [-1.5, 0.5], [0.3, 1.8]])
    truth = Normal(0.0, 1.0).log_prob(at).sum(1) - Normal(oracle.off, variance.sqrt()).log_prob(at).sum(1)
    torch.testing.assert_close(nets.critic(at).squeeze(1), truth, atol=0.1, rtol=0)
    assert all(p.grad is None for p in oracle.model.encoder.parameters())  # the critic's turn stays with the critic
    found = objective.loss("model", nets, Batch(x), noise)
    score = nets.critic(oracle.model.posterior(x).sample(noise["eps"])).squeeze(1)
    torch.testing.assert_close(found.terms["adversarial"], torch.log1p(torch.exp(-score)))
    torch.testing.assert_close(found.terms["nll"], -oracle.model.likelihood.log_prob(
        oracle.model.generator(oracle.model.posterior(x).sample(noise["eps"])), x))  # fmt: skip


def test_the_critic_of_codes_has_logits(linear_gaussian):
    """Through a sigmoid twice the loss stays above 1, and a code that the critic is sure of has no slope."""
    oracle, objective = linear_gaussian(), AAE()
    nets = Networks(oracle.model, {"critic": Quadratic(2)})
    noise = {"eps": torch.zeros(4, 2), "prior": torch.zeros(4, 2)}
    x = oracle.to_model(oracle.data(4))
    nets.critic.linear.bias.data.fill_(-200.0)
    terms = objective.loss("critic", nets, Batch(x), noise).terms
    assert (terms["codes"].max(), terms["prior"].min()) == (0, 200)
    found = objective.loss("model", nets, Batch(x), noise).terms["adversarial"].mean()
    (slope,) = torch.autograd.grad(found, nets.critic.linear.bias)
    assert slope == -1


def test_wae_gan_is_a_twentieth_of_the_squared_error(game):
    made = game("wae-gan", **given("wae-gan"))
    x = batch().x
    noise = made.noise("model", 16)
    loss = made.objective.loss("model", made.nets, Batch(x), noise)
    squared = (x - made.nets.model.mean(made.nets.model.posterior(x).mean)).square().sum(1)
    other = made.objective.loss("model", made.nets, Batch(x + 1), noise)
    moved = (x + 1 - made.nets.model.mean(made.nets.model.posterior(x + 1).mean)).square().sum(1)
    torch.testing.assert_close(other.terms["nll"] - loss.terms["nll"], 0.05 * (moved - squared), atol=1e-5, rtol=1e-4)
    assert loss.weights["adversarial"] == 0.5
    with pytest.raises(UsageError, match="points"):
        made.nets.model.log_likelihood(x)


@pytest.mark.parametrize("contrast", [0, 64])
def test_the_critic_of_pairs_becomes_log_q_less_log_p(linear_gaussian, contrast):
    oracle, n = linear_gaussian(off=0.4, wide=0.8), 10_000
    nets, objective = Networks(oracle.model, {"critic": Quadratic(4, 2)}), AVB(AVB.Options(contrast=contrast))
    data = Batch(oracle.to_model(oracle.data(n)))
    random = torch.Generator().manual_seed(7)  # not that of the data
    noise = {"eps": torch.randn(n, 2, generator=random)}
    noise["other"] = torch.randn(n, 2, generator=random)  # of the prior, or of what takes its place
    if contrast:
        noise["more"] = torch.randn(n, contrast, 2, generator=random)
    trained_critic(objective, nets, data, noise)
    loss = objective.loss("model", nets, data, noise)
    q = oracle.model.posterior(data.x)
    z = q.sample(noise["eps"])
    truth = q.log_prob(z) - oracle.model.prior.log_prob(z)
    # With contrast the critic has next to nothing to say, and the estimate of mean and variance is what is off.
    assert (loss.terms["kl"] - truth).square().mean().sqrt() < (0.4 if contrast else 0.15)
    kl = kl_divergence(Normal(q.mean, q.sample(torch.ones_like(z)) - q.mean), Normal(0.0, 1.0)).sum(1)
    assert loss.terms["kl"].mean().item() == pytest.approx(kl.mean().item(), abs=0.1)
    assert (truth - truth.mean()).std() > 0.8  # it was not flat
    if contrast:
        told = objective.told(nets, data, z)
        assert told.abs().mean() < 0.2


def test_contrast_is_a_constant_and_the_prior_is_known(game):
    made = game("avb", **given("avb", objective__contrast=8))
    model, data, noise = made.nets.model, batch(), made.noise("critic", 16)
    q = model.posterior(data.x)
    mean, log_var = made.objective.contrast(q, noise)
    assert not mean.requires_grad
    draws = q.sample(noise["more"].transpose(0, 1))
    torch.testing.assert_close(mean, draws.mean(0))
    torch.testing.assert_close(log_var.exp(), draws.var(0, correction=0))
    z = q.sample(noise["eps"])
    r = Normal(mean, (0.5 * log_var).exp())
    t = made.objective.told(made.nets, data, (z - mean) / r.scale)
    expected = t + r.log_prob(z).sum(1) - Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(made.objective.loss("model", made.nets, data, noise).terms["kl"], expected)
    # A prior with parameters learns by log p(z), and not where only the critic knows of it.
    assert game("avb", **given("avb", prior="real-nvp")).nets.model.prior
    with pytest.raises(UsageError, match="trains no prior"):
        game("avb", **given("avb", prior="real-nvp", objective__contrast=0))
    with pytest.raises(UsageError, match="trains no prior"):
        game("aae", **given("aae", prior="real-nvp"))


@pytest.mark.parametrize("objective", ["ae", "rae", "wae", "swae", "info-vae"])
def test_a_prior_that_no_term_moves_is_refused(game, objective):
    more = {"objective__alpha": 1.0} if objective == "info-vae" else {"posterior": "point"}
    with pytest.raises(UsageError, match="trains no prior"):
        game("vae", objective=objective, prior="real-nvp", **more)
    assert game("info-vae", prior="real-nvp").nets.model.prior  # by default the KL moves it


@pytest.mark.parametrize(("recipe", "prior"), [("info-vae", "conditional"), ("info-vae", "nsf"), ("vae-gan", "nsf")])
def test_codes_that_are_drawn_before_their_labels_go_by_none(game, recipe, prior):
    with pytest.raises(UsageError, match=f"prior '{prior}' goes by labels"):
        game(recipe, spec=VECTOR, conditional=True, encoder="mlp", encoder__width=8, prior=prior)


# Each player's gradient is that of its own loss


@pytest.mark.parametrize("recipe", GAMES)
def test_a_player_moves_by_the_slope_of_its_own_loss_and_nothing_else_moves(recipe, trainer):
    run = trainer(recipe, train__optimizer="sgd", train__lr=0.01, train__average=0, train__schedule="constant",
                  **given(recipe, **({"objective__start": 0.0} if recipe == "vq-gan" else {})))  # fmt: skip
    x, _ = run.feed.at(0)
    run._watching = run.objective.watching
    for stream, playing in enumerate(run.player_states):
        name = playing.player.name
        run.focus(playing)
        noise, before = run.draw(name, stream), {n: p.detach().clone() for n, p in run.nets.named_parameters()}
        loss = run.objective.loss(name, run.nets, Batch(x), noise).total()
        slopes = torch.autograd.grad(loss, playing.parameters, allow_unused=True, retain_graph=True)
        run._play(playing, x, None, noise)
        lr = playing.optimizer.param_groups[0]["lr"]
        moved = {id(p): s for p, s in zip(playing.parameters, slopes, strict=True)}
        for n, p in run.nets.named_parameters():
            slope = moved.get(id(p))
            expected = before[n] if slope is None else before[n] - lr * slope
            torch.testing.assert_close(p.detach(), expected, atol=1e-6, rtol=1e-5)
        assert any(s is not None and s.abs().max() > 0 for s in slopes), name


def slopes_of(made, player, term, data, noise):
    """Of a term's mean, with respect to the generator."""
    parameters = list(made.nets.model.generator.parameters())
    value = made.objective.loss(player, made.nets, data, noise).terms[term].mean()
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])


def test_vae_gans_generator_goes_against_its_critic(game):
    """Pythae's critic goes backward through the decoder before the decoder's step, which then helps the critic."""
    made = game("vae-gan", regularizer=[], objective__loss="minimax", **given("vae-gan"))
    data, noise = batch(), made.noise("critic", 16)
    model, critic = made.nets.model, made.nets.critic
    z = model.posterior(data.x).sample(noise["eps"])
    judged = nn.functional.softplus(critic(model.mean(z))).squeeze(1).mean()  # what the critic minimizes of them
    theirs = torch.autograd.grad(judged, list(model.generator.parameters()))
    against = -torch.cat([g.flatten() for g in theirs])
    ours = slopes_of(made, "generator", "reconstructions", data, noise)
    torch.testing.assert_close(ours, against)
    as_pythae_has_it = 0.5 * ours + (0.5 + 0.5) * -ours  # its own half, and both halves of the critic's
    assert torch.dot(as_pythae_has_it, against) < 0
    critics = made.objective.loss("critic", made.nets, data, noise).total()
    own = torch.autograd.grad(critics, list(model.generator.parameters()), allow_unused=True)
    assert all(g is None for g in own)  # and here the critic's turn does not reach the generator at all


def test_vae_gan_compares_features_and_not_scores(game):
    made = game("vae-gan", **given("vae-gan"))
    data, noise = batch(), made.noise("encoder", 16)
    model, critic = made.nets.model, made.nets.critic
    again = model.mean(model.posterior(data.x).sample(noise["eps"]))
    loss = made.objective.loss("encoder", made.nets, data, noise)
    apart = critic.features(data.x) - critic.features(again)
    assert apart.shape == (16, 8)  # pythae's default layer is the score: one number for each observation
    one = torch.distributions.Normal(critic.features(again), 1.0)
    expected = one.log_prob(critic.features(again)).sum(1) - one.log_prob(critic.features(data.x)).sum(1)
    torch.testing.assert_close(loss.terms["features"], expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():  # another head, and so other scores, changes nothing
        critic.head.weight.mul_(3)
    same = made.objective.loss("encoder", made.nets, data, noise)
    assert torch.equal(same.terms["features"], loss.terms["features"])


# Introspection


def finite_differences(loss, parameters, slopes, step=1e-4, directions=6):
    """Compare slopes with differences along random directions, in float64."""
    for seed in range(directions):
        random = torch.Generator().manual_seed(seed)
        along = [torch.randn(p.shape, generator=random, dtype=p.dtype) for p in parameters]
        values = []
        for sign in (1, -2, 1):
            with torch.no_grad():
                for p, d in zip(parameters, along, strict=True):
                    p.add_(sign * step * d)
            values.append(loss())
        slope = (values[0] - values[1]) / (2 * step)
        told = sum((s * d).sum() for s, d in zip(slopes, along, strict=True))
        assert told.item() == pytest.approx(slope.item(), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("recipe", ["soft-intro-vae", "intro-vae"])
@pytest.mark.parametrize("player", ["encoder", "generator"])
def test_both_introspective_losses_by_finite_differences(recipe, player, game, float64):
    """Of the published losses, written out once more, what is made being data to the encoder."""
    soft = recipe == "soft-intro-vae"
    strong = {"objective__beta_neg": 2.0, "objective__gamma": 0.3} if soft else {"objective__margin": 4.0}
    made = game(recipe, encoder__activation="silu", generator__activation="silu", **given(recipe, **strong))
    made.nets.double()
    model, x, o = made.nets.model, batch().x.double(), made.objective.options
    noise = {k: v.double() for k, v in made.noise(player, 16).items()}
    s, f = 1 / 2, model.likelihood
    frozen = {}

    def bound(x, eps, z_from=None):
        q = model.posterior(x)
        z = q.sample(eps) if z_from is None else z_from
        return -f.log_prob(model.generator(z), x), q.kl().sum(1)

    def constant(name, make):
        """What the player's loss takes as given, as it was at the start."""
        if name not in frozen:
            with torch.no_grad():
                frozen[name] = make()
        return frozen[name]

    def published():
        codes = model.posterior(x).sample(noise["eps"])
        nll, kl = bound(x, noise["eps"])
        total = o.beta * nll.mean() + kl.mean() if not soft else s * (nll + o.beta * kl).mean()
        for name, z in (("again", codes), ("made", noise["prior"])):
            if player == "encoder":
                fake = constant(name, lambda z=z: model.mean(z))
                nll, kl = bound(fake, noise[name])
                if soft:
                    total = total + 0.25 * torch.exp(-2 * s * (nll + o.beta_neg * kl)).mean()
                else:
                    total = total + o.alpha * (o.margin - kl).relu().mean()
            else:
                z = constant(f"codes {name}", lambda z=z: z)
                fake = model.mean(z)
                given_z = constant(f"z {name}", lambda f=fake, n=name: model.posterior(f).sample(noise[n]))
                given_x = constant(f"x {name}", lambda f=fake: f)
                nll, _ = bound(given_x, noise[name], given_z)
                kl = model.posterior(fake).kl().sum(1)
                total = total + (0.5 * s * (o.beta * kl + o.gamma * nll) if soft else o.alpha * kl).mean()
        return total

    moves = next(p for p in made.objective.players() if p.name == player).moves
    parameters = [p for name in moves for p in made.nets.part(name).parameters()]
    loss = made.objective.loss(player, made.nets, Batch(x), noise)
    with torch.no_grad():
        whole = published()
        kl = 0 if player == "encoder" else (s if soft else 1) * model.posterior(x).kl().sum(1).mean()
    assert loss.total().item() == pytest.approx((whole - kl).item(), rel=1e-6)  # the KL of data is not the generator's
    slopes = torch.autograd.grad(loss.total(), parameters, allow_unused=True)
    slopes = [torch.zeros_like(p) if g is None else g for g, p in zip(slopes, parameters, strict=True)]
    with torch.no_grad():
        finite_differences(published, parameters, slopes)


def test_the_exponent_is_a_mean_over_dimensions_and_does_not_overflow(game):
    made = game("soft-intro-vae", DataSpec.image(1, 8, 8), **given("soft-intro-vae"))
    data = Batch(torch.full((4, 1, 8, 8), 0.3))
    loss = made.objective.loss("encoder", made.nets, data, made.noise("encoder", 4))
    assert loss.weights["nll"] == 1 / 64
    assert all(v.isfinite().all() for v in loss.terms.values())
    o = SoftIntroVAE.Options()
    nll, kl = torch.tensor([-1000.0]), torch.tensor([0.0])  # a very likely one, of 64 numbers
    (weight, value), = SoftIntroVAE(o).made("encoder", "made", nll, kl, 1 / 64).values()  # fmt: skip
    assert (weight, value.item()) == (0.25, pytest.approx(math.exp(2000 / 64)))
    assert torch.exp(-2 * nll).isinf()  # with s forgotten
    (_, pulled), = IntroVAE().made("encoder", "made", nll, torch.tensor([60.0]), 1.0).values()  # fmt: skip
    assert pulled == 0  # beyond the margin


# VQ-GAN


def test_the_balance_is_that_of_the_slopes_by_finite_differences(game, float64):
    made = game("vq-gan", posterior__codes=16, objective__start=0.0, generator__activation="silu",
                critic__activation="silu", **given("vq-gan"))  # fmt: skip
    made.nets.double()
    data = Batch(batch().x.double())
    noise = {k: v.double() for k, v in made.noise("model", 16).items()}
    loss = made.objective.loss("model", made.nets, data, noise)
    last = made.nets.model.generator.head.weight
    norms = []
    for names in (("nll", "features"), ("adversarial",)):
        slope = torch.zeros_like(last)
        for i in range(last.numel()):
            values = []
            for sign in (1, -2, 1):
                with torch.no_grad():
                    last.view(-1)[i] += sign * 1e-5
                    terms = made.objective.loss("model", made.nets, data, noise).terms
                    values.append(sum(terms[name].mean() for name in names))
            slope.view(-1)[i] = (values[0] - values[1]) / 2e-5
        norms.append(slope.norm())
    assert loss.shown["balance"].item() == pytest.approx(0.8 * (norms[0] / (norms[1] + 1e-4)).item(), rel=1e-3)
    assert not loss.shown["balance"].requires_grad
    # What it is for: the adversarial part of the gradient is a share of the rest, whatever the units.
    terms = made.objective.loss("model", made.nets, data, noise).terms
    rest = 5 * (terms["nll"] + terms["features"]).mean()
    found = balance(made.nets.model.generator, rest, terms["adversarial"].mean())
    torch.testing.assert_close(found, 5 / 0.8 * loss.shown["balance"], rtol=1e-6, atol=0)


def test_the_critic_of_vq_gan_waits_and_has_a_margin(game):
    made = game("vq-gan", regularizer=[], posterior__codes=16, **given("vq-gan"))
    data = batch()
    early, late = (made.noise("critic", 16, step=step, steps=8) for step in (1, 2))
    assert "on" not in early  # from a quarter of the training on
    assert late["on"] == 1
    critic = list(made.nets.critic.parameters())
    loss = made.objective.loss("critic", made.nets, data, early)
    assert loss.total() == 0
    assert all((g == 0).all() for g in torch.autograd.grad(loss.total(), critic))
    loss = made.objective.loss("critic", made.nets, data, late)
    again = made.nets.model.mean(made.nets.model.posterior(data.x).mean)
    real, fake = (made.nets.critic(v).squeeze(1) for v in (data.x, again))
    torch.testing.assert_close(loss.terms["adversarial"], (1 - real).relu() + (1 + fake).relu())
    loss = made.objective.loss("model", made.nets, data, made.noise("model", 16, step=1, steps=8))
    assert not {"adversarial", "features"} & set(loss.terms)  # not even computed
    codes = made.nets.model.posterior(data.x)
    torch.testing.assert_close(loss.terms["commitment"], codes.cost["commitment"])
    assert VQGAN.Options().weight == 0.8


def test_in_raves_second_stage_the_generator_alone_moves(game):
    made = game("vq-gan", objective__start=0.0, objective__moves="generator", posterior__codes=16, **given("vq-gan"))
    assert [p.moves for p in made.objective.players()] == [("generator",), ("critic",)]
    loss = made.objective.loss("model", made.nets, batch(), made.noise("model", 16))
    moved, still = (list(part.parameters()) for part in (made.nets.model.generator, made.nets.model.encoder))
    slopes = torch.autograd.grad(loss.total(), [*moved, *still], allow_unused=True)
    assert [g is not None for g in slopes] == [True] * len(moved) + [False] * len(still)
    assert not loss.sums  # nor do the books follow

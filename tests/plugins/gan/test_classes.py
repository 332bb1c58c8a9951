"""What conditional GANs make of classes, against closed forms, loops, and the wrong forms found elsewhere."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from genzoo.core.errors import UsageError
from genzoo.core.networks import Ports
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.gan.acgan import ACGAN
from genzoo.plugins.gan.contragan import ContraGAN, ReACGAN
from genzoo.plugins.gan.infogan import Factors, InfoGAN, Told, parted
from genzoo.plugins.nets.blocks import ConditionalNorm, ToldSequential
from genzoo.plugins.nets.conv import ConvGenerator
from genzoo.plugins.nets.mlp import MLPGenerator
from genzoo.plugins.regularizers.slopes import R1


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Conditional batch norm


def class_normed(cls, classes=3, **given):
    torch.manual_seed(0)
    options = cls.Options(norm="class", width=4, **given)
    return cls(Ports((5,), (2, 9, 16) if cls is ConvGenerator else (2,), classes), options).double()


def norms(net):
    return [m for m in net.modules() if isinstance(m, ConditionalNorm)]


NETS = [(MLPGenerator, {"residual": True, "depth": 3}), (ConvGenerator, {"residual": 1})]


@pytest.mark.parametrize("train", [True, False])
def test_conditional_batch_norm_is_batch_norm_with_a_gain_and_a_shift_for_each_class(train):
    layer, plain = ConditionalNorm(nn.BatchNorm2d(4, affine=False), 4, 3), nn.BatchNorm2d(4, affine=False)
    layer, plain = layer.double().train(train), plain.double().train(train)
    h, y = randn(6, 4, 2, 3) * 2 + 1, torch.arange(6) % 3
    torch.testing.assert_close(layer(h, nn.functional.one_hot(y, 3).double()), plain(h))  # a gain of 1, no shift
    nn.init.normal_(layer.linear.weight)
    gain, shift = layer.linear.weight.T[y].chunk(2, 1)
    expected = plain(h) * (1 + gain[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(layer(h, nn.functional.one_hot(y, 3).double()), expected)


@pytest.mark.parametrize(("cls", "given"), NETS)
def test_with_equal_rows_the_label_has_no_effect_and_with_others_it_has(cls, given):
    net = class_normed(cls, **given).eval()
    assert len(norms(net)) == (3 if cls is MLPGenerator else 4)
    for layer in norms(net):
        nn.init.constant_(layer.linear.weight, 0.3)
    z, y = randn(4, 5), torch.arange(4) % 3
    torch.testing.assert_close(net(z, y), net(z, (y + 1) % 3))
    for layer in norms(net):
        nn.init.normal_(layer.linear.weight)
    assert ((net(z, y) - net(z, (y + 1) % 3)).flatten(1).abs().amax(1) > 1e-6).all()


@pytest.mark.parametrize(("cls", "given"), NETS)
def test_classes_that_are_absent_get_no_gradient(cls, given):
    net = class_normed(cls, **given)
    net(randn(6, 5), torch.tensor([0, 2, 0, 2, 0, 2])).square().sum().backward()
    for layer in norms(net):
        assert (layer.linear.weight.grad[:, 1] == 0).all()
        assert (layer.linear.weight.grad[:, [0, 2]] != 0).any()


def test_shares_of_classes_lie_between_their_gains():
    layer = ConditionalNorm(nn.BatchNorm1d(4, affine=False), 4, 2).double().eval()
    nn.init.normal_(layer.linear.weight)
    h = randn(3, 4)
    ends = [layer(h, torch.eye(2, dtype=torch.float64)[k].expand(3, 2)) for k in (0, 1)]
    torch.testing.assert_close(layer(h, torch.full((3, 2), 0.5, dtype=torch.float64)), (ends[0] + ends[1]) / 2)


@pytest.mark.parametrize("cls", [MLPGenerator, ConvGenerator])
def test_class_norms_need_classes(cls):
    with pytest.raises(UsageError, match="norm=class needs a conditional model"):
        class_normed(cls, classes=0)


def test_only_networks_with_such_norms_pass_on_what_they_are_told():
    for net, told in ((class_normed(ConvGenerator), True), (ConvGenerator(Ports((5,), (1, 8, 8))), False)):
        assert any(isinstance(m, ToldSequential) for m in net.modules()) is told


# Critics that say the class


def test_acgans_classification(game):
    """Untrained it costs ln C, certain and right nothing; another label costs something else."""
    built = game("gan", objective="acgan", conditional=True, objective__weight=2.0)
    x, y, noise = randn(6, 2, dtype=torch.float32), torch.arange(6) % 3, built.noise("critic", 6)
    loss = built.objective.loss("critic", built.nets, Batch(x, y), noise)
    out = built.nets.critic(x)
    torch.testing.assert_close(loss.terms["classify"], 2 * cross_entropy(out[:, 1:], y, reduction="none"))
    fake = built.nets.critic(built.nets.model.mean(noise["z"], y))
    torch.testing.assert_close(loss.terms["adversarial"], (1 - out[:, 0]).relu() + (1 + fake[:, 0]).relu())
    generator = built.objective.loss("generator", built.nets, Batch(x, y), noise)
    torch.testing.assert_close(generator.terms["classify"], 2 * cross_entropy(fake[:, 1:], y, reduction="none"))
    torch.testing.assert_close(generator.terms["adversarial"], -fake[:, 0])
    objective = ACGAN()
    for scale, cost in ((0.0, math.log(3)), (100.0, 0.0)):  # a second softmax could not come below .55
        outputs = torch.cat([torch.zeros(3, 1), scale * torch.eye(3)], 1)
        found = objective.further("critic", outputs, outputs, torch.arange(3))["classify"]
        torch.testing.assert_close(found, torch.full((3,), cost), atol=1e-6, rtol=1e-6)
    with pytest.raises(UsageError, match="needs labels"):
        objective.plan(DataSpec("vector", (2,)))


def test_acgans_penalty_is_on_the_score_alone(game):
    built = game("gan", objective="acgan", conditional=True, critic__spectral_norm=False)
    built.objective.regularizers["r1"] = R1()
    x, y, noise = randn(6, 2, dtype=torch.float32).requires_grad_(), torch.arange(6) % 3, built.noise("critic", 6)
    loss = built.objective.loss("critic", built.nets, Batch(x, y), noise)
    (slope,) = torch.autograd.grad(built.nets.critic(x)[:, 0].sum(), x)
    torch.testing.assert_close(loss.terms["r1"], slope.square().sum(1) / 2)


def acgan(form, **more):
    return ACGAN(ACGAN.Options(form=form, **more))


def of_classes(classify, twin=None):
    """Outputs of a critic: a score of nought, then the logits."""
    parts = [torch.zeros(len(classify), 1, dtype=torch.float64), classify]
    return torch.cat([*parts, *([] if twin is None else [twin])], 1)


def test_softmax_twice_cannot_fall_below_its_floor():
    """Of ten classes told certainly and rightly: nothing here, 1.4612 where probabilities are taken for logits."""
    y, logits = torch.arange(10), 1e3 * torch.eye(10, dtype=torch.float64)
    found = acgan("ac").further("critic", of_classes(logits), of_classes(logits), y)
    assert found["classify"].abs().max() < 1e-12
    wrong = cross_entropy(logits.softmax(1), y)
    assert wrong.item() == pytest.approx(1.4612, abs=5e-5)
    assert wrong.item() == pytest.approx(math.log(math.e + 9) - 1)


def test_samples_are_classified_too_where_the_article_does():
    real, fake, y = randn(4, 3), randn(4, 3, seed=1), torch.tensor([0, 1, 2, 0])
    found = acgan("ac", fakes=True).further("critic", of_classes(real), of_classes(fake), y)
    torch.testing.assert_close(found["twin"], cross_entropy(fake, y, reduction="none"))
    assert acgan("ac", fakes=True).further("generator", None, of_classes(fake), y).keys() == {"classify"}


def test_the_twin_learns_samples_and_takes_back_what_the_classifier_gives():
    """Where it says what the classifier says the generator's terms cancel, to the last bit."""
    objective, y = acgan("tac"), torch.tensor([0, 1, 2, 0])
    real, fake, other = randn(4, 6), randn(4, 3, seed=1), randn(4, 3, seed=2)
    found = objective.further("generator", None, of_classes(fake, fake), y)
    assert torch.equal(found["classify"] + found["twin"], torch.zeros(4, dtype=torch.float64))
    critic = objective.further("critic", of_classes(real), of_classes(other, fake), y)
    torch.testing.assert_close(critic["classify"], cross_entropy(real[:, :3], y, reduction="none"))
    torch.testing.assert_close(critic["twin"], cross_entropy(fake, y, reduction="none"))  # trained on reals it is none


def test_fake_classes_of_adcgan_are_classes_of_their_own():
    objective, y = acgan("adc"), torch.tensor([0, 1, 2, 0])
    same = randn(4, 3)
    found = objective.further("generator", None, of_classes(same, same), y)
    assert torch.equal(found["classify"] + found["twin"], torch.zeros(4, dtype=torch.float64))
    real, fake = randn(4, 6, seed=1), randn(4, 6, seed=2)
    critic = objective.further("critic", of_classes(real), of_classes(fake), y)
    torch.testing.assert_close(critic["classify"], cross_entropy(real, y, reduction="none"))
    torch.testing.assert_close(critic["twin"], cross_entropy(fake, y + 3, reduction="none"))
    made = objective.further("generator", None, of_classes(fake), y)  # the difference of two logits
    expected = fake[torch.arange(4), y + 3] - fake[torch.arange(4), y]
    torch.testing.assert_close(made["classify"] + made["twin"], expected)


def test_another_order_of_the_labels_costs_something_else():
    y, outputs = torch.tensor([0, 1, 2, 0]), of_classes(randn(4, 3), randn(4, 3, seed=1))
    for form in ("tac", "adc"):
        a, b = (sum(acgan(form).further("critic", outputs, outputs, k).values()).mean() for k in (y, (y + 1) % 3))
        assert (a - b).abs() > 1e-2


# Contrastive critics


def sphere(n, d=5, seed=0):
    return nn.functional.normalize(randn(n, d, seed=seed), dim=1)


def two_c(f, w, y, t):
    """ContraGAN's loss in a loop."""
    out = []
    for i in range(len(y)):
        own = math.exp(float(f[i] @ w[i]) / t)
        rest = [(math.exp(float(f[i] @ f[j]) / t), int(y[j] == y[i])) for j in range(len(y)) if j != i]
        out.append(-math.log((own + sum(e for e, k in rest if k)) / (own + sum(e for e, _ in rest))))
    return torch.tensor(out, dtype=torch.float64)


def d2d(f, w, y, t, m):
    """ReACGAN's cross-entropy in a loop."""
    out = []
    for i in range(len(y)):
        p = max(m - float(f[i] @ w[i]), 0) / t
        n = [max(float(f[i] @ f[j]) - (1 - m), 0) / t for j in range(len(y)) if y[j] != y[i]]
        out.append(p + math.log(math.exp(-p) + sum(math.exp(v) for v in n)))
    return torch.tensor(out, dtype=torch.float64)


def shifted_negatives(f, w, y, t, m):
    """The reference's: a row's largest similarity is taken from the negatives only."""
    off = ~torch.eye(len(y), dtype=torch.bool)
    s = ((f @ f.T + m - 1) / t)[off].view(len(y), -1)
    apart = (y[:, None] != y)[off].view(len(y), -1)
    s = s.relu() - s.amax(1, keepdim=True)
    p = (m - (f * w).sum(1)).relu() / t
    return p + torch.log(torch.exp(-p) + (apart * s.exp()).sum(1))


Y = torch.tensor([0, 1, 2, 0, 1, 1, 2, 3])


@pytest.mark.parametrize("t", [1.0, 0.2])
def test_contragans_loss_is_that_of_a_loop(t):
    f, w = sphere(8), sphere(4, seed=1)[Y]
    torch.testing.assert_close(ContraGAN(ContraGAN.Options(temperature=t)).contrast(f, w, Y), two_c(f, w, Y, t))


@pytest.mark.parametrize(("t", "m"), [(0.5, 0.98), (0.1, 0.9), (1.0, 1.0)])
def test_reacgans_loss_is_that_of_a_loop(t, m):
    f, w = sphere(8), sphere(4, seed=1)[Y]
    found = ReACGAN(ReACGAN.Options(temperature=t, margin=m)).contrast(f, w, Y)
    torch.testing.assert_close(found, d2d(f, w, Y, t, m))
    wrong = shifted_negatives(f, w, Y, t, m)
    assert (wrong - found).abs().mean() > 0.05  # the same test finds the reference's slip


@pytest.mark.parametrize("cls", [ContraGAN, ReACGAN])
def test_a_batch_of_one_class_costs_nothing(cls):
    y = torch.zeros(6, dtype=torch.long)
    assert torch.equal(cls().contrast(sphere(6), sphere(1).expand(6, -1), y), torch.zeros(6, dtype=torch.float64))


@pytest.mark.parametrize("cls", [ContraGAN, ReACGAN])
def test_gradients_of_the_contrast_by_finite_differences(cls):
    f, w = sphere(8).requires_grad_(), sphere(4, seed=1)[Y].requires_grad_()
    torch.autograd.gradcheck(lambda a, b: cls().contrast(a, b, Y), (f, w))


def test_easy_negatives_of_reacgan_count_one_each_and_have_no_gradient():
    """An embedding at its proxy, orthogonal to three of other classes: log(1 + 3 e^0)."""
    f = torch.eye(4, 5, dtype=torch.float64).requires_grad_()
    y = torch.arange(4)
    found = ReACGAN().contrast(f, f.detach(), y)
    torch.testing.assert_close(found, torch.full((4,), math.log(4), dtype=torch.float64))
    assert (torch.autograd.grad(found.sum(), f)[0] == 0).all()


@pytest.mark.parametrize("which", ["contragan", "reacgan"])
def test_the_critic_contrasts_real_observations_and_the_generator_samples(game, which):
    built = game("gan", objective=which, conditional=True, objective__dim=4, objective__weight=2.0)
    x, y, noise = randn(6, 2, dtype=torch.float32), torch.arange(6) % 3, built.noise("critic", 6)
    proxies = built.nets.critics["proxies"]
    for player, seen in (("critic", x), ("generator", built.nets.model.mean(noise["z"], y))):
        loss = built.objective.loss(player, built.nets, Batch(x, y), noise)
        f, w = (nn.functional.normalize(v, dim=1) for v in (built.nets.critic(seen)[:, 1:], proxies(y)))
        torch.testing.assert_close(loss.terms["contrast"], 2 * built.objective.contrast(f, w, y))
        assert loss.coupled == {"contrast": True}
    names = [set(p.moves) for p in built.objective.players()]
    assert names == [{"critic", "proxies"}, {"generator"}]
    with pytest.raises(UsageError, match="needs labels"):
        game("gan", objective=which)


def test_proxies_are_trained(trainer):
    run = trainer("gan", objective="reacgan", conditional=True, objective__dim=4)
    before = run.nets.critics["proxies"].weight.detach().clone()
    run.train()
    assert (run.nets.critics["proxies"].weight != before).all()


# Codes that samples must show


def infogan(**given):
    return InfoGAN.Options(**{"categories": 4, "codes": 2, "uniform": 1, **given})


def test_codes_have_the_priors_frequencies():
    prior, n = Factors(Latent(12), infogan()), 20_000
    z = prior.sample(torch.rand(n, *prior.noise_shape, generator=torch.Generator().manual_seed(0)))
    hot, uniform, normal = parted(z, infogan())
    assert (hot.shape, uniform.shape, normal.shape) == ((n, 2, 4), (n, 1), (n, 3))
    assert (hot.sum(-1) == 1).all()
    assert ((hot.mean(0) - 0.25).abs() < 5 * math.sqrt(0.25 * 0.75 / n)).all()
    both = torch.einsum("nk,nl->kl", hot[:, 0], hot[:, 1]) / n  # drawn apart from each other
    assert ((both - 1 / 16).abs() < 5 * math.sqrt(1 / 16 / n)).all()
    assert uniform.abs().max() <= 1
    assert uniform.mean().abs() < 5 / math.sqrt(3 * n)
    assert uniform.square().mean().item() == pytest.approx(1 / 3, abs=0.01)
    torch.testing.assert_close(normal.T.cov(), torch.eye(3), atol=0.04, rtol=0)


def test_the_density_of_codes_is_that_of_their_parts():
    prior = Factors(Latent(12), infogan())
    z = prior.sample(torch.rand(5, *prior.noise_shape, generator=torch.Generator().manual_seed(0)))
    known = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, -3:]).sum(1) - 2 * math.log(4) - math.log(2)
    torch.testing.assert_close(prior.log_prob(z), known)
    assert prior.log_prob(torch.zeros(2, 12)).tolist() == [-math.inf] * 2
    way = prior.path(z[:2], z[2:4], torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(way[:, 0], z[:2])
    torch.testing.assert_close(way[:, 1, :9], (z[:2, :9] + z[2:4, :9]) / 2)


def test_what_the_critic_misses_of_the_code():
    """Nothing where it is certain and right: the bound on the information is then the entropy of the code."""
    prior = Factors(Latent(12), infogan(uniform=0))
    z = prior.sample(torch.rand(6, *prior.noise_shape, generator=torch.Generator().manual_seed(0))).double()
    score = torch.zeros(6, 1, dtype=torch.float64)
    told = Told(infogan(uniform=0)).told
    assert told(torch.cat([score, 100 * z[:, :8]], 1), z).abs().max() < 1e-12
    blind = torch.full((6,), 2 * math.log(4), dtype=torch.float64)
    torch.testing.assert_close(told(torch.zeros(6, 9, dtype=torch.float64), z), blind)
    prior = Factors(Latent(12), infogan())
    z = prior.sample(torch.rand(6, *prior.noise_shape, generator=torch.Generator().manual_seed(0))).double()
    outputs = randn(6, 10)
    expected = sum(cross_entropy(outputs[:, 1 + i : 5 + i], z[:, i : i + 4], reduction="none") for i in (0, 4))
    expected = expected - 0.1 * torch.distributions.Normal(outputs[:, 9], 1).log_prob(z[:, 8])
    torch.testing.assert_close(Told(infogan()).told(outputs, z), expected)


@pytest.mark.parametrize("conditional", [False, True])
def test_both_players_are_told_what_is_missing_in_samples(game, conditional):
    """The generator learns from the term too, which a detached one does not allow."""
    built = game("infogan", conditional=conditional, objective__categories=3, latent__size=6, objective__weight=0.5)
    x, y = randn(6, 2, dtype=torch.float32), torch.arange(6) % 3 if conditional else None
    noise = built.noise("critic", 6)
    model, critic = built.nets.model, built.nets.critic
    for player in ("critic", "generator"):
        loss = built.objective.loss(player, built.nets, Batch(x, y), noise)
        outputs = critic(model.mean(noise["z"], y), y)
        known = 0.5 * Told(built.objective.options).told(outputs, noise["z"])
        torch.testing.assert_close(loss.terms["told"], known)
        torch.testing.assert_close(loss.terms["adversarial"] > 0, torch.ones(6, dtype=torch.bool))
    (found,) = torch.autograd.grad(loss.terms["told"].mean(), next(model.generator.parameters()))
    assert found.abs().max() > 1e-6
    with torch.no_grad():
        detached = model.mean(noise["z"], y)
    assert not torch.autograd.grad(
        Told(built.objective.options).told(critic(detached, y), noise["z"]).sum(),
        next(model.generator.parameters()),
        allow_unused=True,
    )[0]  # the wrong form, which trains the critic only
    codes = parted(model.prior.sample(torch.rand(8, *model.prior.noise_shape)), built.objective.options)[0]
    assert (codes.sum(-1) == 1).all()


def test_codes_that_do_not_fit_are_refused(game):
    with pytest.raises(UsageError, match=r"2 uniform numbers do not fit into a code of 4: .*latent.size.*12"):
        game("infogan", latent__size=4)
    with pytest.raises(UsageError, match="takes no prior"):
        game("infogan", prior="mixture")


def test_rare_classes_are_as_frequent_in_the_draws_of_both_players(trainer, toy):
    """``train.sampling=balanced``: samples are asked for the classes of the batch, so that pairs and packs agree."""
    data = toy(60)
    rare = replace(data, y=(torch.arange(60) % 10 == 0).long() * 2)  # six of class 2, the others of class 0
    asked = {"data": [], "made": []}
    run = trainer("hinge", rare, conditional=True, train__sampling="balanced", train__steps=10)
    critic, model = run.nets.critic.forward, run.nets.model.mean
    run.nets.critic.forward = lambda x, y, *more: (asked["data"].append(y), critic(x, y, *more))[1]
    run.nets.model.mean = lambda z, y: (asked["made"].append(y), model(z, y))[1]
    run.train()
    for labels in asked.values():
        share = torch.cat(labels).eq(2).double().mean().item()
        assert share == pytest.approx(0.5, abs=0.06)

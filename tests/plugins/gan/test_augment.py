"""Augmentations against what they should do to an image."""

import math
from types import SimpleNamespace

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec
from genzoo.plugins.augmentations.adaptive import ADA
from genzoo.plugins.augmentations.diffaugment import DiffAugment, augmented
from genzoo.plugins.augmentations.instance_noise import InstanceNoise
from genzoo.plugins.gan.gan import GAN


def uniform(n=4, k=10, seed=0):
    return torch.rand(n, k, generator=torch.Generator().manual_seed(seed))


def images(n=4, c=3, h=8, w=10, seed=1):
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def only(kind, n=4, **numbers):
    """Numbers under which nothing happens but one kind of change (0 colour, 1 shift, 2 cutout)."""
    u = torch.full((n, 10), 0.5)
    u[:, 7:] = 0.9
    u[:, 7 + kind] = 0.1
    for place, value in numbers.items():
        u[:, int(place[1:])] = value
    return u


def test_probability_zero_changes_no_bit():
    x, u = images(), uniform()
    assert torch.equal(augmented(x, u, 0.0), x)
    assert torch.equal(augmented(x, u, torch.zeros(())), x)
    assert torch.equal(ADA()(x, u), x)  # p starts at 0
    assert not torch.equal(DiffAugment()(x, u), x)


def test_each_image_is_changed_by_its_own_numbers():
    x, u = images(), uniform()
    whole = DiffAugment()(x, u)
    alone = torch.cat([DiffAugment()(x[i : i + 1], u[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(whole, alone)
    same = DiffAugment()(x[:1].expand(4, -1, -1, -1), u)
    assert (same[0] - same[1]).abs().max() > 0.01


def test_colour():
    x = images()
    torch.testing.assert_close(augmented(x, only(0, _0=0.9), 0.5), x + 0.4)  # brightness
    grey = augmented(x, only(0, _1=0.0), 0.5)  # no saturation: all channels are their mean
    torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand_as(x))
    mean = x.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(augmented(x, only(0, _2=0.0), 0.5), mean + (x - mean) / 2)  # half the contrast
    one = images(c=1)
    torch.testing.assert_close(augmented(one, only(0, _1=0.0), 0.5), one)  # saturation is idle on grey


@pytest.mark.parametrize(("u", "by"), [(0.0, -1), (0.5, 0), (0.999, 1)])
def test_a_shift_moves_the_image_and_fills_with_zeros(u, by):
    """An eighth of 8 rows is 1."""
    x = images(h=8, w=8)
    down = augmented(x, only(1, _3=u), 0.5)
    expected = torch.zeros_like(x)
    rows = slice(max(by, 0), 8 + min(by, 0)), slice(max(-by, 0), 8 + min(-by, 0))
    expected[:, :, rows[0]] = x[:, :, rows[1]]
    assert torch.equal(down, expected)
    right = augmented(x, only(1, _4=u), 0.5)
    assert torch.equal(right, augmented(x.transpose(2, 3), only(1, _3=u), 0.5).transpose(2, 3))


def test_the_hole_is_half_the_side_where_it_fits():
    x = torch.ones(200, 2, 8, 12)
    u = uniform(200)
    u[:, 7:] = torch.tensor([0.9, 0.9, 0.1])
    out = augmented(x, u, 0.5)
    assert set(out.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(out[:, 0], out[:, 1])
    rows, columns = (out[:, 0] == 0).any(2).sum(1), (out[:, 0] == 0).any(1).sum(1)
    assert rows.max() == 4
    assert columns.max() == 6
    assert rows.min() >= 2  # at the border it is cut
    middle = augmented(torch.ones(1, 1, 8, 8), only(2, 1, _5=0.45, _6=0.45), 0.5)[0, 0]
    assert (middle == 0).sum() == 16
    assert torch.equal(middle[2:6, 2:6], torch.zeros(4, 4))


def test_gradients_go_through_by_finite_differences():
    x, u = images(n=2, h=8, w=8).double(), uniform(2).double()
    assert torch.autograd.gradcheck(lambda v: augmented(v, u, 1.0), x.requires_grad_(), fast_mode=True)


def test_changes_come_with_their_probability():
    x, u = images(n=1, c=1).expand(4000, -1, -1, -1), uniform(4000, seed=5)
    part = ADA()
    part.p.fill_(0.3)
    out = part(x, u)
    untouched = (out == x).flatten(1).all(1).float().mean().item()
    # No colour, and no shift that moves (8 of 9 do), and no hole.
    assert untouched == pytest.approx(0.7 * 0.7 * (1 - 0.3 * 8 / 9), abs=0.03)


def test_real_and_fake_are_changed_in_both_turns_by_numbers_of_their_own(game):
    built = game("gan", DataSpec.image(1, 8, 8), critic__spectral_norm=False)
    built.objective.augmentations["diffaugment"] = DiffAugment()
    seen, forward = [], built.nets.critic.forward
    built.nets.critic.forward = lambda x, y=None: (seen.append(x), forward(x, y))[1]
    x, turns = images(6, 1, 8, 8), {p: built.noise(p, 6) for p in ("critic", "generator")}
    for player, noise in turns.items():
        assert not torch.equal(noise["diffaugment.real"], noise["diffaugment.fake"])
        seen.clear()
        loss = built.objective.loss(player, built.nets, Batch(x), noise)
        fake = built.nets.model.mean(noise["z"])
        torch.testing.assert_close(seen[-1], augmented(fake, noise["diffaugment.fake"], 1.0))
        if player == "critic":
            torch.testing.assert_close(seen[0], augmented(x, noise["diffaugment.real"], 1.0))
        else:
            assert any(g.abs().sum() > 0 for g in built.gradients(player, loss.total()))


def test_images_only():
    objective = GAN()
    objective.augmentations["diffaugment"] = DiffAugment()
    with pytest.raises(UsageError, match=r"'diffaugment' augments images, not vector data of shape \(2,\)"):
        objective.plan(DataSpec("vector", (2,)))


def test_instance_noise_falls_linearly_to_nothing():
    model, x = SimpleNamespace(spec=DataSpec("vector", (50,))), torch.zeros(400, 50)
    part = InstanceNoise(InstanceNoise.Options(sigma=0.4, until=0.5))
    for step, sigma in ((0, 0.4), (25, 0.2), (49, 0.008), (50, 0.0), (99, 0.0)):
        noise = part.draw(Draws(400, "cpu", steps=100).at(0, step, 0), model)
        assert part(x, noise).std().item() == pytest.approx(sigma, rel=0.02)
    x = images()
    assert torch.equal(part(x, torch.zeros_like(x)), x)


def test_instance_noise_is_fresh_on_both_sides_and_in_both_turns(game):
    built = game("gan", objective="hinge", augmentation="instance-noise", critic__spectral_norm=False)
    shown, forward = [], built.nets.critic.forward
    built.nets.critic.forward = lambda x, y=None: (shown.append(x), forward(x, y))[1]
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    for player in ("critic", "generator"):
        noise = built.noise(player, 8)
        shown.clear()
        built.objective.loss(player, built.nets, Batch(x), noise)
        fake = built.nets.model.mean(noise["z"])
        torch.testing.assert_close(shown[-1], fake + noise["instance-noise.fake"])
        assert noise["instance-noise.fake"].std() > 0.05
        if player == "critic":
            torch.testing.assert_close(shown[0], x + noise["instance-noise.real"])
            assert not torch.equal(noise["instance-noise.real"], noise["instance-noise.fake"])


def pseudo(game, p, **more):
    """A critic's turn in which samples stand for real observations with probability p."""
    built = game("gan", augmentation="apa", critic__spectral_norm=False, **more)
    built.objective.augmentations["apa"].p.fill_(p)
    x, noise = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)), built.noise("critic", 64)
    return built, x, noise, built.objective.loss("critic", built.nets, Batch(x), noise)


def test_samples_stand_for_real_observations(game):
    built, x, noise, loss = pseudo(game, 0.0)
    score = lambda v: built.nets.critic(v).squeeze(1)  # noqa: E731
    assert torch.equal(loss.shown["real"], score(x))  # p = 0 changes nothing
    _, _, _, loss = pseudo(game, 1.0)
    fake = score(built.nets.model.mean(noise["z"]))
    torch.testing.assert_close(loss.shown["real"], fake)  # the loss is that of equal distributions
    built.nets.critic.head.weight.data.zero_(), built.nets.critic.head.bias.data.zero_()
    built.objective.augmentations["apa"].p.fill_(1.0)
    assert built.objective.loss("critic", built.nets, Batch(x), noise).total().item() == pytest.approx(2 * math.log(2))
    built, _, noise, loss = pseudo(game, 0.3)
    taken = noise["apa.real"][:, 0] < 0.3
    assert 8 < taken.sum() < 32
    score = lambda v: built.nets.critic(v).squeeze(1)  # noqa: E731
    mixed = torch.where(taken[:, None], built.nets.model.mean(noise["z"]), x)
    torch.testing.assert_close(loss.shown["real"], score(mixed))
    assert torch.equal(loss.shown["sign"], score(mixed).sign())  # what p follows is what the critic was shown


def test_packs_are_of_one_kind_and_codes_forbid_stand_ins(game):
    built, x, noise, loss = pseudo(game, 0.5, objective="pacgan")
    kinds = (noise["apa.real"][::2, 0] < 0.5).repeat_interleave(2)
    mixed = torch.where(kinds[:, None], built.nets.model.mean(noise["z"]), x)
    said = built.nets.critic(mixed.view(32, 4)).squeeze(1).repeat_interleave(2)
    torch.testing.assert_close(loss.shown["real"], said)
    with pytest.raises(UsageError, match="'apa' lets samples stand for real observations, and this critic is told"):
        game("gan", objective="ali", augmentation="apa")
    with pytest.raises(UsageError, match="'apa' goes by the sign of the critic's scores"):
        game("r3gan", augmentation="apa")


@pytest.mark.parametrize(("loss", "penalty"), [("hinge", "r1"), ("gan", "lipschitz"), ("pacgan", "r2")])
@pytest.mark.parametrize("augmentation", ["apa", "instance-noise"])
def test_each_trains_under_a_penalty(trainer, loss, penalty, augmentation):
    run = trainer("gan", objective=loss, augmentation=augmentation, regularizer=[penalty], train__steps=3,
                  critic__spectral_norm=False)  # fmt: skip
    run.train()
    assert math.isfinite(run.history[-1][f"critic/{penalty}"])

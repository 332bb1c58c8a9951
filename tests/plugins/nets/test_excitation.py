"""FastGAN's networks and loss: gates, paths, and what a critic draws."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.networks import Ports
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.fastgan import FastGAN
from genzoo.plugins.nets.excitation import Excitation, FastGANCritic, FastGANGenerator, Gated

SMALL = {"width": 4, "max_width": 8}


@pytest.mark.parametrize("size", [(4, 4), (7, 5), (16, 8)])
def test_gates_of_one_change_nothing_and_scale_whole_channels(size):
    torch.manual_seed(0)
    layer, h, low = Excitation(3, 5, size), torch.randn(2, 5, 9, 9), torch.randn(2, 3, *size)
    gates = layer.gates(low)
    assert gates.shape == (2, 5, 1, 1)
    assert ((gates > 0) & (gates < 1)).all()
    torch.testing.assert_close(layer(h, low) / h, gates.expand_as(h))
    nn.init.zeros_(layer.weigh.weight)
    nn.init.constant_(layer.weigh.bias, 100.0)
    assert torch.equal(layer(h, low), h)


def test_low_resolutions_excite_those_sixteen_times_as_large():
    def pairs(side):
        net = FastGANGenerator(Ports((4,), (1, side, side)), FastGANGenerator.Options(width=1, max_width=2))
        return {net.sizes[i][0]: net.sizes[j][0] for i, j in net.by.items()}

    assert pairs(256) == {256: 16, 128: 8, 64: 4}  # as published
    assert (pairs(64), pairs(32), pairs(28)) == ({64: 4}, {32: 4}, {28: 7})


def test_a_code_reaches_the_picture_through_the_gates_alone():
    torch.manual_seed(0)
    net, z = FastGANGenerator(Ports((4,), (1, 16, 16)), FastGANGenerator.Options(**SMALL)).eval(), torch.randn(2, 4)
    low = net.blocks[2](net.begin(z, None))
    by_hand = net.blocks[0](F.interpolate(net.blocks[1](F.interpolate(low, (8, 8))), (16, 16)))
    torch.testing.assert_close(net(z), net.out(by_hand * net.excitations["0"].gates(low)))


def test_gated_convolutions_are_half_times_sigmoid_of_half():
    torch.manual_seed(0)
    layer, h = Gated(3, 4, "none"), torch.randn(2, 3, 6, 6)
    first, second = layer.conv(h).chunk(2, 1)
    torch.testing.assert_close(layer(h), first * second.sigmoid())


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 11, 9), (1, 28, 28), (2, 8, 33), (3, 256, 256)])
@pytest.mark.parametrize("classes", [0, 3])
def test_every_size_with_labels_and_without(image, classes):
    torch.manual_seed(0)
    y, options = torch.arange(2) if classes else None, {"width": 2, "max_width": 4}
    made = FastGANGenerator(Ports((6,), image, classes), FastGANGenerator.Options(**options))(torch.randn(2, 6), y)
    assert made.shape == (2, *image)
    for condition in ("projection", "concat"):
        given = FastGANCritic.Options(**options, condition=condition, spectral_norm=condition == "concat")
        net = FastGANCritic(Ports(image, (1,), classes, True, 2), given)
        assert net(made, y, torch.zeros(2, 2)).shape == (2, 1)
    with pytest.raises(UsageError, match="batch norm mixes the batch"):
        FastGANCritic(Ports(image, (1,), per_observation=True), FastGANCritic.Options(norm="batch"))


def test_the_critic_draws_what_it_is_shown():
    """A critic that says score 2 and draws every picture as it is pays the hinge loss alone."""
    objective, spec = FastGAN(FastGAN.Options(weight=3.0)), DataSpec.image(1, 28, 28)
    (plan,) = objective.plan(spec).critics
    assert plan.outputs == 1 + 14 * 14
    x = torch.rand(5, 1, 28, 28) * 2 - 1

    def critic(x, y):
        return torch.cat([torch.full((len(x), 1), 2.0), F.avg_pool2d(x, 2).flatten(1) + 0.25], 1)

    real, fake = objective.score(critic, x, None), objective.score(critic, -x, None)
    torch.testing.assert_close(real, torch.tensor([[2.0, 0.25]]).expand(5, 2))
    torch.testing.assert_close(objective.critic_loss(real, fake), torch.full((5,), 3.0))
    torch.testing.assert_close(objective.generator_loss(fake, None), torch.full((5,), -2.0))
    assert objective.further("critic", real, fake, None)["reconstruction"].tolist() == pytest.approx([0.75] * 5)
    assert objective.further("generator", None, fake, None) == {}
    (plane,) = objective.plan(DataSpec("vector", (2,))).critics
    assert plane.outputs == 3

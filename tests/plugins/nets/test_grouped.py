"""R3GAN's networks: at the start they resample, and keep the variance of features at any depth."""

import pytest
import torch
from torch import nn

from genzoo.core.networks import Ports
from genzoo.plugins.nets.blocks import gain
from genzoo.plugins.nets.grouped import GroupedBlock, R3Critic, R3Encoder, R3Generator
from genzoo.plugins.nets.resample import Resample

SMALL = {"width": 4, "max_width": 8}


def chain(net, h):
    """The network without its blocks."""
    for layer in net.layers:
        if not isinstance(layer, GroupedBlock):
            h = layer(h)
    return h


def test_at_the_start_the_networks_are_their_resampling():
    torch.manual_seed(0)
    made = R3Generator(Ports((6,), (2, 28, 28), 3), R3Generator.Options(**SMALL))
    z, y = torch.randn(3, 6), torch.arange(3)
    start = made.basis * made.linear(torch.cat([z, torch.eye(3)], 1))[:, :, None, None]
    torch.testing.assert_close(made(z, y), made.out(chain(made, start)))
    read, x = R3Critic(Ports((2, 28, 28), (1,)), R3Critic.Options(**SMALL)), torch.randn(3, 2, 28, 28)
    expected = read.head(read.basis(chain(read, read.first(x))).flatten(1))
    torch.testing.assert_close(read(x), expected)


def test_variance_is_flat_over_depth_and_stays_bounded_when_blocks_wake_up():
    torch.manual_seed(0)

    def through(blocks, scale):
        h, found = torch.randn(4, 32, 12, 12), []
        for layer in [GroupedBlock(32, 16, blocks) for _ in range(blocks)]:
            nn.init.normal_(layer.narrow.weight, 0.0, scale / 8)  # the root of 64 inputs
            h = layer(h)
            found.append(h.var().item())
        return found

    assert through(16, 0.0)[-1] / through(16, 0.0)[0] == pytest.approx(1, abs=0.1)
    # With last layers of a natural scale each block adds 1/L of the variance: e times in all, whatever the depth.
    for blocks in (4, 16):
        assert through(blocks, 1.0)[-1] < 3.2
    torch.manual_seed(0)
    layer, h = GroupedBlock(64, 16, 16), torch.randn(4, 64, 16, 16)
    inside = layer.bend(layer.mix(layer.bend(layer.widen(h))))[..., 1:-1, 1:-1]
    # Two layers of L^(-1/4); the first one's input is not rectified yet, and what rectifying leaves is about half.
    assert inside.square().mean().item() == pytest.approx(gain("leaky-relu") ** 2 * 0.52 / 16, rel=0.1)


def test_one_by_one_convolutions_keep_the_second_moment_across_stages():
    torch.manual_seed(0)
    net, found = R3Generator(Ports((4,), (3, 32, 32)), R3Generator.Options(width=64, max_width=256, blocks=1)), []
    h = torch.ones(64, 1, 4, 4) * torch.randn(64, 256, 1, 1)  # the same everywhere, and so kept by resampling
    for layer in net.layers:
        h = h if isinstance(layer, GroupedBlock) else layer(h)
        if isinstance(layer, Resample):
            middle = h.shape[2] // 2  # far from the zeros beyond the border
            found.append(h[:, :, middle, middle].square().mean().item())
            h = h[:, :, middle - 1 : middle + 3, middle - 1 : middle + 3]
    assert found == pytest.approx([1] * 3, rel=0.1)


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 11, 9), (1, 28, 28), (2, 8, 33), (3, 256, 256)])
@pytest.mark.parametrize("classes", [0, 3])
def test_every_size_with_labels_and_without(image, classes):
    torch.manual_seed(0)
    y, options = torch.arange(2) if classes else None, {"width": 2, "max_width": 4, "blocks": 1}
    made = R3Generator(Ports((6,), image, classes), R3Generator.Options(**options))(torch.randn(2, 6), y)
    assert made.shape == (2, *image)
    assert R3Encoder(Ports(image, (5,), classes), R3Encoder.Options(**options))(made, y).shape == (2, 5)
    for condition in ("projection", "concat"):
        given = R3Critic.Options(**options, condition=condition)
        net = R3Critic(Ports(image, (1,), classes, True, 2), given)
        assert net(made, y, torch.zeros(2, 2)).shape == (2, 1)


@pytest.mark.parametrize(
    ("channels", "group", "groups"), [(768, 16, 96), (32, 16, 4), (6, 16, 3), (5, 16, 5), (4, 8, 1)]
)
def test_groups_divide_the_channels(channels, group, groups):
    block = GroupedBlock(channels, group, 1)
    assert block.mix.groups == groups
    assert isinstance(block.bend, nn.LeakyReLU)

"""StyleGAN2's networks, against loops over samples, second moments and published numbers."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.core.networks import Ports
from genzoo.plugins.nets.deviation import MinibatchDeviation
from genzoo.plugins.nets.resample import EqualConv, EqualLinear, Resample
from genzoo.plugins.nets.stylegan2 import Modulated, StyleGAN2Critic, StyleGAN2Generator, unit

SMALL = {"width": 4, "max_width": 8}


def generator(image=(2, 16, 16), classes=0, **given):
    torch.manual_seed(0)
    return StyleGAN2Generator(Ports((6,), image, classes), StyleGAN2Generator.Options(**SMALL, styles=5, **given))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("by", [(1, 1), (2, 2), (2, 1)])
def test_a_modulated_convolution_is_that_of_each_samples_own_weights(n, by):
    torch.manual_seed(0)
    layer = Modulated(4, 6, 3, 5, by).double()
    h, w = torch.randn(n, 4, 7, 5).double(), torch.randn(n, 5).double()
    found = []
    for one, style in zip(h, layer.style(w), strict=True):
        weight = layer.conv.weight * layer.conv.scale * style[None, :, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if by == (1, 1):
            found.append(F.conv2d(one[None], weight, padding=1))
        else:
            up = F.conv_transpose2d(one[None], weight.transpose(0, 1), None, by, layer.pad, 0)
            kernel = layer.filter.expand(6, -1, -1, -1)
            found.append(F.conv2d(up, kernel, None, 1, (by[0] - 1, by[1] - 1), 1, 6))
    out = layer(h, w)
    torch.testing.assert_close(out, torch.cat(found))
    assert out.shape == (n, 6, 7 * by[0], 5 * by[1])


def test_demodulation_keeps_a_variance_of_one_under_any_style():
    torch.manual_seed(0)
    layer, h, w = Modulated(32, 64, 3, 8), torch.randn(16, 32, 18, 18), 3 * torch.randn(16, 8)
    assert layer(h, w)[:, :, 1:-1, 1:-1].square().mean().item() == pytest.approx(1, abs=0.03)
    layer.demodulate = False
    assert layer(h, w)[:, :, 1:-1, 1:-1].square().mean().item() > 2


def test_styles_of_codes_and_pictures_of_styles():
    net, z = generator(classes=3).double(), torch.randn(4, 6).double()
    y = torch.tensor([0, 1, 2, 0])
    w = net.styles(z, y)
    assert w.shape == (4, net.layers, net.style_size) == (4, 6, 5)
    assert torch.equal(net(z, y), net.from_styles(w))
    assert torch.equal(net.styles(3 * z, y), net.styles(z, y)) or (net.styles(3 * z, y) - w).abs().max() < 1e-6
    assert (net.styles(z, y.roll(1)) - w).abs().max() > 1e-6
    # Every layer has its style: the picture depends on each.
    w = w.detach().requires_grad_()
    (slope,) = torch.autograd.grad(net.from_styles(w).sum(), w)
    assert (slope.abs().amax((0, 2)) > 0).all()


def test_truncation_draws_styles_together_where_codes_keep_their_length():
    z = torch.randn(200, 6)

    def spread(net, codes):
        for layer in net.mapping:
            nn.init.normal_(layer.bias, 0.0, 30.0)
        return net.styles(codes).std(0).mean()

    kept, brought = generator(normalize=False), generator(normalize=True)
    assert spread(kept, z / 4) < 0.5 * spread(kept, z)
    torch.testing.assert_close(brought.styles(z / 4), brought.styles(z), rtol=1e-3, atol=1e-4)


def test_equalized_layers_scale_unit_weights():
    torch.manual_seed(0)
    linear, conv = EqualLinear(400, 300, bias=1.0, rate=0.01), EqualConv(64, 48, 3)
    assert linear.weight.std().item() == pytest.approx(100, rel=0.02)
    assert conv.weight.std().item() == pytest.approx(1, rel=0.02)
    x = torch.randn(256, 400)
    assert (linear(x) - 1).square().mean().item() == pytest.approx(1, abs=0.05)
    assert linear(torch.zeros(1, 400)).mean().item() == pytest.approx(1)
    # One step of Adam moves what a weight does by the rate times the step over the root of its fan-in.
    optimizer = torch.optim.Adam(linear.parameters(), 0.1)
    before = (linear.weight * linear.scale).detach()
    linear(x).sum().backward()
    optimizer.step()
    moved = (linear.weight * linear.scale).detach() - before
    torch.testing.assert_close(moved.abs().max().item(), 0.1 * 0.01 / math.sqrt(400), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(("small", "large"), [((4, 4), (8, 8)), ((5, 4), (11, 9)), ((7, 5), (7, 11))])
def test_resampling_interpolates_and_is_its_own_transpose(small, large):
    torch.manual_seed(0)
    up, down = Resample(small, large, up=True).double(), Resample(small, large, up=False).double()
    h, image = torch.randn(2, 3, *small).double(), torch.randn(2, 3, *large).double()
    grown, shrunk = up(h), down(image)
    assert (grown.shape[2:], shrunk.shape[2:]) == (large, small)
    factor = math.prod(up.by)
    torch.testing.assert_close((grown * image).sum(), factor * (h * shrunk).sum())
    even = (2 * small[0] if up.by[0] == 2 else small[0], 2 * small[1] if up.by[1] == 2 else small[1])
    inside = (..., slice(1, even[0] - 1), slice(1, even[1] - 1))
    expected = F.interpolate(h, even, mode="bilinear", align_corners=False)
    torch.testing.assert_close(grown[inside], expected[inside])


def test_deviation_of_the_batch_as_its_authors_compute_it():
    layer = MinibatchDeviation(4)
    numbers = torch.tensor([0, 0, 0, 0, 1, 2, 3, 4, 100, 200, 300, 400.0])
    expected = torch.tensor([86.178, 129.191, 163.557]).repeat(4)
    torch.testing.assert_close(layer.deviations(numbers[:, None]), expected, rtol=1e-5, atol=1e-3)
    wrong = numbers.view(3, 4).std(1, correction=0).repeat_interleave(4)  # members beside each other
    assert (wrong - expected).abs().max() > 1
    assert layer.deviations(torch.randn(6, 5)).unique().numel() == 2  # groups of three: four do not divide six
    assert layer.deviations(torch.randn(1, 5)).tolist() == pytest.approx([1e-4])
    assert layer(torch.randn(6, 5, 2, 3)).shape == (6, 6, 2, 3)
    assert layer(torch.randn(0, 5, 2, 3)).shape == (0, 6, 2, 3)


def test_the_critic_mixes_observations_only_when_it_compares_them():
    for group, mixes in ((4, True), (1, False)):
        torch.manual_seed(0)
        net = StyleGAN2Critic(
            Ports((1, 8, 8), (1,), per_observation=True), StyleGAN2Critic.Options(**SMALL, group=group)
        )
        x = torch.randn(4, 1, 8, 8, requires_grad=True)
        (slope,) = torch.autograd.grad(net(x)[0, 0], x)
        assert net.mixes == mixes
        assert bool(slope[1:].any()) == mixes


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 11, 9), (1, 28, 28), (2, 8, 33), (3, 256, 256)])
@pytest.mark.parametrize("classes", [0, 3])
def test_every_size_with_labels_and_without(image, classes):
    y = torch.arange(2) if classes else None
    made = generator(image, classes)(torch.randn(2, 6), y)
    assert made.shape == (2, *image)
    for condition in ("projection", "concat"):
        options = StyleGAN2Critic.Options(width=2, max_width=4, condition=condition)
        net = StyleGAN2Critic(Ports(image, (1,), classes, True, 2), options)
        assert net(made, y, torch.zeros(2, 2)).shape == (2, 1)


def test_features_keep_their_second_moment_through_the_critic():
    torch.manual_seed(0)
    net, found = StyleGAN2Critic(Ports((3, 64, 64), (1,)), StyleGAN2Critic.Options(width=16, max_width=64)), []
    for block in net.blocks:
        block.register_forward_hook(lambda module, given, out: found.append(out.square().mean().item()))
    net(torch.randn(8, 3, 64, 64))
    assert all(0.1 < value < 3 for value in found)


def test_equalized_layers_are_found_as_layers():
    kinds = {type(m) for m in generator().modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    assert kinds == {EqualLinear, EqualConv}
    assert unit(torch.tensor([[3.0, 4.0]])).square().mean().item() == pytest.approx(1)

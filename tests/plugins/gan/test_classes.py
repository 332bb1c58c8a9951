"""What conditional GANs make of classes, against closed forms, loops, and the wrong forms found elsewhere."""

import pytest
import torch
from torch import nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Ports
from genzoo.plugins.nets.blocks import ConditionalNorm, ToldSequential
from genzoo.plugins.nets.conv import ConvGenerator
from genzoo.plugins.nets.mlp import MLPGenerator


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

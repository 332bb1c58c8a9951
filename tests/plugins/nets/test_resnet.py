"""Residual networks and self-attention, against what is known of them without training."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.networks import Ports
from genzoo.core.spec import DataSpec
from genzoo.plugins.nets.attention import Attention
from genzoo.plugins.nets.biggan import BigGANCritic, BigGANGenerator
from genzoo.plugins.nets.excitation import FastGANGenerator
from genzoo.plugins.nets.grouped import R3Generator
from genzoo.plugins.nets.resnet import Down, ResnetCritic, ResnetEncoder, ResnetGenerator, Up
from genzoo.plugins.nets.stylegan2 import StyleGAN2Generator
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

SMALL = {"width": 4, "max_width": 8}
NAMES = {e.name for e in the_registry().entries("generator") if e.distribution == "genzoo"} - {
    "constant",
    "wave",
}  # no code; no pictures
NAMES -= {"constant", "wave"}  # no code; no pictures


def zero(layer):
    for p in layer.parameters():
        nn.init.zeros_(p)


def test_a_branch_of_zero_leaves_the_resampled_shortcut():
    torch.manual_seed(0)
    h = torch.randn(3, 5, 7, 4)
    up = Up(5, 6, (15, 8), "batch")
    zero(up.last)
    torch.testing.assert_close(up(h), up.shortcut(F.interpolate(h, (15, 8))))
    down = Down(5, 6, (2, 1))
    zero(down.last)
    torch.testing.assert_close(down(h), F.avg_pool2d(down.shortcut(h), (2, 1)))
    stays = Down(5, 5, (1, 1))
    zero(stays.last)
    assert torch.equal(stays(h), h)


def test_the_first_block_sees_what_is_negative():
    """Rectified at once, as the later blocks do, an image would lose its dark half."""
    torch.manual_seed(0)
    x = -torch.rand(2, 1, 8, 8)
    first, other = Down(1, 4, (2, 2), first=True), Down(1, 4, (2, 2))
    other.load_state_dict(first.state_dict())
    zero(first.shortcut)
    zero(other.shortcut)
    assert first(x).flatten(2).std(2).max() > 1e-2
    assert other(x)[..., 1:-1, 1:-1].flatten(2).std(2).max() < 1e-6


def test_scores_are_of_a_sum_over_places():
    torch.manual_seed(0)
    net = ResnetCritic(Ports((1, 16, 16), (1,)), ResnetCritic.Options(**SMALL))
    found = torch.randn(3, net.last, 4, 4)
    net.look = lambda *_: found
    once = net(torch.zeros(3, 1, 16, 16)) - net.head.bias
    found = torch.cat([found, found], 3)
    torch.testing.assert_close(net(torch.zeros(3, 1, 16, 16)) - net.head.bias, 2 * once)


def test_attention_starts_as_the_identity_and_averages_values():
    torch.manual_seed(0)
    net, h = Attention(16), torch.randn(2, 16, 7, 6)
    assert torch.equal(net(h), h)
    # A value that is the same everywhere comes back whatever the weights; what sums to 1 over queries gives another.
    net.value.weight.data.zero_()
    net.value.bias = nn.Parameter(torch.arange(8.0))
    expected = torch.arange(8.0)[None, :, None, None].expand(2, -1, 7, 6)
    torch.testing.assert_close(net.attended(h), expected)
    key, query = F.max_pool2d(net.key(h), 2).flatten(2), net.query(h).flatten(2)
    wrong = (query.transpose(1, 2) @ key).softmax(1)
    assert (wrong.sum(2) - 1).abs().max() > 0.1


def test_attention_stands_at_the_resolution_that_is_asked_for():
    def where(cls, ports, at):
        return list(cls(ports, cls.Options(**SMALL, attention=at)).attention)

    image = (3, 64, 64)
    assert where(ResnetGenerator, Ports((5,), image), 32) == ["1"]
    assert where(ResnetCritic, Ports(image, (1,)), 32) == ["1"]
    assert where(ResnetGenerator, Ports((5,), image), 256) == ["0"]  # the image's own resolution
    assert where(ResnetCritic, Ports(image, (1,)), 256) == ["1"]  # there the critic has no features
    assert where(ResnetCritic, Ports((1, 28, 28), (1,)), 16) == ["1"]
    assert where(ResnetCritic, Ports(image, (1,)), 0) == []


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 11, 9), (1, 28, 28), (2, 33, 48), (3, 256, 256)])
@pytest.mark.parametrize("classes", [0, 3])
def test_every_size_with_labels_and_without(image, classes):
    torch.manual_seed(0)
    y = torch.arange(2) if classes else None
    options = {"width": 2, "max_width": 4, "attention": 8}
    made = ResnetGenerator(Ports((6,), image, classes), ResnetGenerator.Options(**options))(torch.randn(2, 6), y)
    assert made.shape == (2, *image)
    read = ResnetEncoder(Ports(image, (5,), classes), ResnetEncoder.Options(**options))
    assert read(made, y).shape == (2, 5)
    for condition in ("projection", "concat"):
        options_ = ResnetCritic.Options(**options, spectral_norm=True, condition=condition)
        net = ResnetCritic(Ports(image, (1,), classes, True, 2), options_)
        assert net(made, y, torch.zeros(2, 2)).shape == (2, 1)


def test_a_decoder_and_an_encoder_on_a_grid_of_codes():
    torch.manual_seed(0)
    made = ResnetGenerator(Ports((5, 7, 7), (1, 28, 28), 3), ResnetGenerator.Options(**SMALL))
    read = ResnetEncoder(Ports((1, 28, 28), (5, 7, 7), 3), ResnetEncoder.Options(**SMALL))
    y = torch.arange(2)
    assert read(made(torch.randn(2, 5, 7, 7), y), y).shape == (2, 5, 7, 7)
    with pytest.raises(UsageError, match="resnet has codes on a grid of 14x14 or 7x7"):
        ResnetGenerator(Ports((5, 6, 6), (1, 28, 28)))


def test_spectral_norm_is_on_every_weight_of_the_critic():
    net = ResnetCritic(Ports((3, 16, 16), (1,), 3), ResnetCritic.Options(**SMALL, spectral_norm=True, attention=8))
    kinds = (nn.Linear, nn.Conv2d, nn.Embedding)
    layers = {name: m for name, m in net.named_modules() if isinstance(m, kinds)}
    assert {"blocks.0.shortcut", "projection.embed", "head", "attention.1.query"} <= set(layers)
    assert all(hasattr(m, "parametrizations") for m in layers.values())


def test_penalties_differentiate_twice_through_attention():
    torch.manual_seed(0)
    net = ResnetCritic(Ports((1, 8, 8), (1,)), ResnetCritic.Options(width=2, max_width=2, attention=4)).double()
    net.attention["1"].gamma.data.fill_(0.7)
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)

    def penalty():
        return torch.autograd.grad(net(x).sum(), x, create_graph=True)[0].square().sum()

    weight, step = net.attention["1"].query.weight, 1e-6
    (found,) = torch.autograd.grad(penalty(), weight)
    direction, values = torch.randn_like(weight), []
    for sign in (1, -2):
        weight.data += sign * step * direction
        values.append(penalty().item())
    assert (found * direction).sum().item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_chunk_of_the_code_moves_no_layer_before_its_own(classes):
    torch.manual_seed(0)
    options = BigGANGenerator.Options(**SMALL, attention=8, embedding=5)
    net = BigGANGenerator(Ports((10,), (1, 32, 32), classes), options).eval()
    for block in net.blocks:
        for norm in block.norms:
            nn.init.normal_(norm.linear.weight)
    outs = []
    for layer in (net.linear, *net.blocks):
        layer.register_forward_hook(lambda module, given, out: outs.append(out))
    z, y = torch.randn(2, 10), torch.arange(2) if classes else None
    assert net.parts == [3, 3, 2, 2]
    net(z, y)
    before, starts = outs.copy(), [0, 3, 6, 8]
    for k, start in enumerate(starts):
        outs.clear()
        moved = z.clone()
        moved[:, start] += 1
        net(moved, y)
        same = [torch.equal(a, b) for a, b in zip(before, outs, strict=True)]
        assert same == [True] * k + [False] * (len(outs) - k)


def test_the_label_and_the_code_enter_by_gains_that_start_at_one():
    torch.manual_seed(0)
    net = BigGANGenerator(Ports((8,), (1, 16, 16), 3), BigGANGenerator.Options(**SMALL))
    z = torch.randn(6, 8)
    net.eval()
    assert torch.equal(net(z, torch.zeros(6, dtype=torch.long)), net(z, torch.arange(6) % 3))
    assert all(torch.isfinite(p).all() for p in net.state_dict().values())
    # Spectral norm divides by a singular value: what starts at zero must stay without.
    names = [n for n, m in net.named_modules() if hasattr(m, "parametrizations")]
    assert names
    assert not any("norms" in n or n == "shared" for n in names)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_generator_knows_its_last_layer(name, classes):
    given = {"objective": "gan", "critic": "mlp", "generator": name, "conditional": bool(classes)}
    config = compose(the_registry(), DataSpec.image(1, 16, 16, classes=classes), None, given)
    net, ran = initialize(config, 0)[1].model.generator, []
    for module in net.modules():
        if any(p.dim() > 1 for p in module.parameters(recurse=False)):
            module.register_forward_hook(lambda m, *_: ran.append(m))
    net(torch.randn(2, *net.ports.inputs), torch.arange(2) if classes else None)
    assert any(p is net.last_weight for p in ran[-1].parameters())


def test_biggan_has_one_chunk_for_every_resolution():
    with pytest.raises(UsageError, match=r"splits the code into 4 parts.*it has 3 numbers"):
        BigGANGenerator(Ports((3,), (1, 32, 32)))
    assert BigGANCritic(Ports((1, 28, 28), (1,))).attention.keys() == {"1"}


def test_labels_by_norms_of_every_block():
    torch.manual_seed(0)
    net = ResnetGenerator(Ports((4,), (1, 16, 16), 3), ResnetGenerator.Options(**SMALL, norm="class"))
    assert net.linear.in_features == 4
    net.blocks[1].norms[0].linear.weight.data.normal_()
    z = torch.randn(1, 4).expand(3, 4)
    images = net.eval()(z, torch.arange(3))
    assert (images[0] - images[1]).abs().max() > 1e-4
    with pytest.raises(UsageError, match="norm=class needs a conditional model"):
        ResnetGenerator(Ports((4,), (1, 16, 16)), ResnetGenerator.Options(norm="class"))


@pytest.mark.slow
@pytest.mark.parametrize("cls", [BigGANGenerator, FastGANGenerator, R3Generator, ResnetGenerator, StyleGAN2Generator])
def test_generators_are_exported_for_any_batch(cls):
    torch.manual_seed(0)
    net = cls(Ports((8,), (1, 28, 28), 3), cls.Options(**SMALL)).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    z, y = torch.randn(5, 8), torch.arange(5) % 3
    exported = torch.export.export(net, (z[:3], y[:3]), dynamic_shapes=({0: batch}, {0: batch}))
    torch.testing.assert_close(exported.module()(z, y), net(z, y))

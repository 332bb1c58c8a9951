"""Which precision a run takes by default: bfloat16 where the processor computes in it and the networks gain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]

# Multiply-adds of a convolution are many per weight, those of a linear layer one; so work is counted per weight and
# place. Measured by `genzoo bench defaults`: networks of linear layers gain little in bfloat16 on a CPU, or lose.
_LEAST = 0.5  # share of the work that convolutions must do


@dataclass(frozen=True)
class Choice:
    """A precision and why.

    Attributes:
        precision: ``float32`` or ``bfloat16``.
        reason: a sentence for people.
    """

    precision: Precision
    reason: str


def choose(device: torch.device, networks: nn.Module) -> Choice:
    """Choose the precision that networks are trained in on a device, where nobody asked for one.

    bfloat16 (in autocast: losses, penalties, likelihoods and KL stay in float32) where the device has instructions for
    it and convolutions do at least half of the work; else float32.

    Args:
        device: where they are trained.
        networks: all that is trained.
    """
    has, what = _supports(device)
    if not has:
        return Choice("float32", f"float32, since {what} has no instructions for bfloat16")
    share = convolution_share(networks)
    if share < _LEAST:
        return Choice("float32", f"float32, since convolutions do {share:.0%} of the work and bfloat16 speeds up those")
    return Choice("bfloat16", f"bfloat16, since {what} computes in it and convolutions do {share:.0%} of the work")


def convolution_share(networks: nn.Module) -> float:
    """Estimate the share of multiply-adds that convolutions do, from weights alone; 0 where there is no layer.

    A convolution uses each weight at every place of its output. Resolutions are not known here: it is taken to have 16
    places, fewer than any but the last layer of a usual network, so that the share is too small rather than too large.
    """
    convolutions = linear = 0
    for layer in networks.modules():  # sizes and not `weight`: reading a spectrally normalized one would change it
        if isinstance(layer, nn.modules.conv._ConvNd):
            convolutions += 16 * layer.in_channels * layer.out_channels // layer.groups * math.prod(layer.kernel_size)
        elif isinstance(layer, nn.Linear):
            linear += layer.in_features * layer.out_features
    return convolutions / (convolutions + linear) if convolutions else 0.0


def _supports(device: torch.device) -> tuple[bool, str]:
    """Whether a device has instructions for bfloat16, and what it is called in a sentence."""
    if device.type == "cuda":
        # Emulated, it would be slower than float32.
        return torch.cuda.get_device_capability(device) >= (8, 0), torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return _cpu_has_bfloat16(), "this processor"
    return False, f"device {device.type!r}"


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU has AVX-512 BF16 or AMX; False where torch cannot tell."""
    asked: Any = getattr(torch.cpu, "get_capabilities", None)
    if asked is not None:
        has = asked()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    older: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # before torch 2.13
    return bool(older()) if older is not None else False

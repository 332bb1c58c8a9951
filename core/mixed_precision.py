"""Which arithmetic training uses: networks compute in bfloat16 where that is quicker, losses always in float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Literal

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]

# Multiply-adds of a convolution are many per weight, those of a linear layer one; so work is counted per weight and
# place. Measured by `genzoo bench defaults`: networks of linear layers gain little in bfloat16 on a CPU, or lose.
_LEAST = 0.5  # share of the work that convolutions must do

_device = ""  # type of the device on which networks compute in bfloat16 at the moment, "" for none


@contextmanager
def networks_in_bfloat16(device: str, active: bool = True) -> Iterator[None]:
    """Let networks compute in bfloat16 autocast; what is between them, losses above all, stays in float32.

    Networks take float32 and give float32. Their weights are converted once for the whole block. ``active=False`` lets
    networks compute in float32 too (a penalty's pass).
    """
    global _device
    before, _device = _device, device if active else ""
    try:
        with torch.autocast(device, torch.bfloat16, enabled=False):  # the outermost block owns the converted weights
            yield
    finally:
        _device = before


def in_bfloat16(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a network's method compute in bfloat16 within `networks_in_bfloat16`, and give float32.

    `genzoo.core.networks.Network` does this to ``forward`` and ``features``; a likelihood or a prior that is a
    network may do it to its own.
    """

    @wraps(method)
    def call(self: Any, *given: Any, **named: Any) -> Any:
        global _device
        if not _device:
            return method(self, *given, **named)
        device, _device = _device, ""  # methods that this one calls go on in its arithmetic
        try:
            with torch.autocast(device, torch.bfloat16):
                found = method(self, *given, **named)
        finally:
            _device = device
        return found.float()

    return call


def choose_precision(device: torch.device, networks: nn.Module) -> Precision:
    """The precision that networks are trained in where nobody asked for one.

    bfloat16 where the device has instructions for it and convolutions do at least half of the work; else float32.
    """
    return "bfloat16" if _has_bfloat16(device) and convolution_share(networks) >= _LEAST else "float32"


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


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16: emulated, it would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    asked: Any = getattr(torch.cpu, "get_capabilities", None)
    if asked is not None:
        return any(asked().get(name) for name in ("avx512_bf16", "amx_bf16"))
    older: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # before torch 2.13
    return older is not None and bool(older())

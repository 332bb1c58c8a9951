"""Which arithmetic a turn of training uses: networks compute in bfloat16, losses in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch

_device = ""  # type of the device on which networks compute in bfloat16 at the moment, "" for none


@contextmanager
def networks_in_bfloat16(device: str, active: bool = True) -> Iterator[None]:
    """Let networks compute in bfloat16 autocast; what is between them, losses above all, stays in float32.

    Networks take float32 and give float32. Their weights are converted once for the whole block.

    Args:
        device: type of the device, such as ``cuda``.
        active: False lets networks compute in float32 too (a penalty's pass).
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

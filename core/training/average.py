"""Moving averages of a model, with a half-life counted in observations."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from genzoo.core.distributed.sharding import own_part
from genzoo.core.model import Model


class Average:
    """An exponential moving average of all of a model; buffers (batch norm's statistics) are copied.

    A module's buffers that follow what it learned, such as a codebook that is moved by averages, belong to the
    parameters of that moment: those that its attribute ``averaged: tuple[str, ...]`` names are averaged with them.

    The half-life, in observations, grows from zero to its value over the first of them (it is at most a share ``ramp``
    of those seen), so that the average forgets the random initialization; it may be set anew at any time.
    """

    def __init__(self, model: Model, half_life: float, ramp: float = 0.05) -> None:
        self.half_life, self.ramp = half_life, ramp
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.follow(model)

    def follow(self, model: Model) -> None:
        """Follow a model from here on; again after both were split over processes (each averages its part)."""
        self._sources = [own_part(p.detach()) for p in model.parameters()]
        self._targets: list[Tensor] = [own_part(p) for p in self.model.parameters()]
        self._copied: list[tuple[Tensor, Tensor]] = []
        named = _averaged_buffers(model)
        for (name, target), source in zip(self.model.named_buffers(), model.buffers(), strict=True):
            if name in named:
                self._targets.append(target)
                self._sources.append(source)
            else:
                self._copied.append((target, source))

    @torch.no_grad()
    def update(self, seen: int, batch: int) -> None:
        """Move towards the source after a step on ``batch`` observations, ``seen`` so far."""
        half_life = min(self.half_life, self.ramp * seen)
        decay = 0.5 ** (batch / half_life) if half_life > 0 else 0.0
        torch._foreach_lerp_(self._targets, self._sources, 1 - decay)
        for target, source in self._copied:  # of several types, so not in one call
            target.copy_(source)


def _averaged_buffers(model: nn.Module) -> set[str]:
    """Full names of the buffers that modules name as averaged; `AttributeError` if one is no buffer."""
    found = set()
    for path, module in model.named_modules():
        for name in getattr(module, "averaged", ()):
            if name not in module._buffers:
                raise AttributeError(f"{type(module).__name__}.averaged names {name!r}, which is no buffer of it")
            found.add(f"{path}.{name}".lstrip("."))
    return found

"""Generators of several stochastic layers, each of which goes by those above it: what they share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.networks import Generator
from genzoo.core.posterior import normal_kl, normal_log_prob

Ask = Callable[[int, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Descent:
    """What a way down through the layers gives."""

    params: Tensor  # of the data, (B, *ports.outputs)
    code: Tensor  # standardized noise of all layers, (B, numbers)
    kl: Tensor  # of each of its numbers to the prior in nats, given those above, (B, numbers); 0 from the prior
    log_q: Tensor  # log density of the code, (B,); of the prior's, 0


class Hierarchy(Generator):
    """Base of generators whose code is the standardized noise ε of every layer, z = μ(above) + σ(above) ε.

    So its prior is N(0, 1) for any depth, and seeds, truncation and a posterior's KL mean what they always do.
    """

    conditions = True
    shapes: list[tuple[int, ...]]  # of the code of every layer, from the top down

    @property
    def stages(self) -> tuple[int, ...]:  # type: ignore[override]
        """Numbers of every layer's code."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    @abstractmethod
    def feature_shape(self) -> tuple[int, ...]:
        """What an encoder tells a posterior that goes down with it."""

    @abstractmethod
    def by_layer(self, numbers: Tensor) -> list[Tensor]:
        """What each layer of a posterior is told of an encoder's numbers ``(B, *feature_shape)``."""

    @abstractmethod
    def reader(self, layer: int, *, above: bool) -> nn.Module:
        """Make a network from what `by_layer` gives it, beside what comes from above or alone, to twice its code.

        Its last layer starts at 0.
        """

    @abstractmethod
    def begin(self, n: int, y: Tensor | None) -> Tensor:
        """What the first layer goes by, ``(n, …)``."""

    @abstractmethod
    def prior(self, layer: int, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log standard deviation of a layer given what is above, and what goes on beside its sample."""

    @abstractmethod
    def join(self, layer: int, h: Tensor, z: Tensor) -> Tensor:
        """What goes on below a layer, by its sample."""

    @abstractmethod
    def finish(self, h: Tensor, y: Tensor | None) -> Tensor:
        """Data parameters ``(B, *ports.outputs)`` of what comes from the last layer."""

    def at(self, layer: int, h: Tensor) -> Tensor:
        """What comes from above, as a layer's resolution has it."""
        return h

    def descend(self, eps: Tensor, y: Tensor | None, ask: Ask | None = None, given: bool = False) -> Descent:
        """Go down, by normal noise ``eps (B, numbers)``; without a posterior, or if ``given``, it is the code itself.

        A posterior ``ask`` maps a layer's number, what is above, and the prior's mean and log standard deviation to
        mean and log variance of the layer's standardized noise.
        """
        h = self.begin(len(eps), y)
        sizes = [math.prod(shape) for shape in self.shapes]
        codes, shifts, log_vars = [], [], []
        for i, part in enumerate(torch.split(eps, sizes, 1)):
            part, h = torch.unflatten(part, 1, self.shapes[i]), self.at(i, h)
            mean, log_std, below = self.prior(i, h)
            log_std = log_std.clamp(-5, 5)
            if ask is not None:
                shift, log_var = ask(i, h, mean, log_std)
                part = part if given else torch.addcmul(shift, torch.exp(0.5 * log_var), part)
                shifts.append(shift.flatten(1))
                log_vars.append(log_var.flatten(1))
            codes.append(part.flatten(1))
            h = self.join(i, below, torch.addcmul(mean, log_std.exp(), part))
        code = torch.cat(codes, 1)
        if not shifts:
            return Descent(self.finish(h, y), code, torch.zeros_like(code), eps.new_zeros(len(eps)))
        of = torch.cat(shifts, 1), torch.cat(log_vars, 1)  # of all layers at once: each has few numbers
        return Descent(self.finish(h, y), code, normal_kl(*of), normal_log_prob(code, *of).sum(1))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, numbers)`` to data parameters ``(B, *ports.outputs)``."""
        return self.descend(z, y).params


def start_at(last: nn.Conv2d | nn.Linear, scale: float) -> None:
    """Scale the initial weights of a layer; with 0, and its bias, it gives nothing at the start."""
    with torch.no_grad():
        last.weight.mul_(scale)
        if scale == 0 and last.bias is not None:
            last.bias.zero_()

"""Path length: a step of a style of one size shall change samples by one amount."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import running_mean
from genzoo.core.math.penalties import input_gradient
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Networks
from genzoo.core.options import option
from genzoo.core.regularizer import Made, Regularizer
from genzoo.plugins.nets.styled import StyledGenerator
from genzoo.registry import declare


@declare.regularizer("path-length", paper="arXiv:1912.04958", modalities=("image",))
class PathLength(Regularizer):
    """(‖Jᵀy‖ - a)², J the slope of samples in their styles, y normal, a its running mean (StyleGAN2, 1912.04958).

    The square of ‖Jᵀy‖ is summed over a style's numbers, averaged over layers. For generators with styles.
    """

    plays, watched = ("generator",), ("path_length",)

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(2.0, "factor of the term", low=0)
        every: int = option(4, "steps from one of its terms to the next, which weighs as many times more", low=1)
        decay: float = option(0.99, "of the running mean, per term", low=0, high=0.999999)

    options: Options
    mean: Tensor
    terms: Tensor

    def __init__(self, options: Regularizer.Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("terms", torch.zeros(()))

    def fits(self, nets: Networks) -> None:
        if not isinstance(nets.model.generator, StyledGenerator):
            raise UsageError("path-length needs a generator with styles: --generator stylegan2")

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {"y": draws.normal(*model.spec.shape)}

    def generator_term(self, made: Made) -> Tensor:
        length = made.shown["path_length"] = lengths(made.nets.model, made.z, made.real.y, made.noise["y"])
        return (length - running_mean(self.mean, self.options.decay, self.terms)).square() * (self.terms > 0)

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        self.mean.lerp_(seen["path_length"], 1 - self.options.decay)
        self.terms.add_(1)


def lengths(model: Model, z: Tensor, told: Tensor | None, y: Tensor) -> Tensor:
    """‖Jᵀy‖ over the root of the pixels, ``(B,)``, of samples ``(B, C, H, W)`` by directions ``y`` of that shape."""
    generator: StyledGenerator = model.generator  # type: ignore[assignment]

    def along(w: Tensor) -> Tensor:
        return (model.likelihood.mean(generator.from_styles(w)) * y).flatten(1).sum(1)

    _, gradient = input_gradient(along, generator.styles(z, told), attached=True)
    return gradient.square().sum(2).mean(1).sqrt() / math.sqrt(math.prod(y.shape[2:]))

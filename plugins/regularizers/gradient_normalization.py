"""Gradient normalization: the critic's score is divided by its own slope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.math.penalties import input_gradient, squared_norm
from genzoo.core.options import Configured
from genzoo.core.regularizer import Regularizer, score_of
from genzoo.registry import declare


@declare.regularizer("gn", paper="arXiv:2109.02235")
class GradientNormalization(Regularizer):
    """D / (‖∇D‖ + |D|) in place of D, in both players' turns (Wu et al., arXiv:2109.02235).

    A score lies between -1 and 1, and its slope is at most 1 where D is linear. Without spectral norm, for images: in
    the plane, where most slopes vanish far from the data, it loses modes. The generator's turn pays for a second
    derivative too.
    """

    plays = ()
    penalized = True
    rescales = True

    @dataclass(frozen=True)
    class Options(Configured.Options):
        pass

    def rescaled(self, critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        outputs, gradient = input_gradient(critic, x, attached=True)
        score, slope = score_of(outputs), (squared_norm(gradient) + 1e-12).sqrt()  # it has derivatives at 0 too
        score = score / (slope + score.abs()).clamp(min=1e-8)
        return score if outputs.dim() == 1 else torch.cat([score[:, None], outputs[:, 1:]], 1)

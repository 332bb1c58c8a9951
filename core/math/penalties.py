"""Gradient penalties on critics. Every norm is per observation, over all of its dimensions, in float32 at least."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genzoo.core.mixed_precision import networks_in_bfloat16


def input_gradient(critic: Callable[[Tensor], Tensor], x: Tensor, *, attached: bool = False) -> tuple[Tensor, Tensor]:
    """What a critic gives, and the gradients of its scores with respect to its input, differentiable once more.

    The critic maps ``(B, ...)`` to scores ``(B, 1)`` or ``(B,)``, or to ``(B, d)`` numbers whose first is the score. It
    must treat observations one by one, so that the gradient of the summed scores holds each observation's own. Both are
    cut off from what the input was made of, unless they stay ``attached``.
    """
    with torch.autocast(x.device.type, enabled=False), networks_in_bfloat16(x.device.type, False):
        x = (x if attached and x.requires_grad else x.detach()).to(
            torch.promote_types(x.dtype, torch.float32)
        )  # float64 stays what it is
        if torch.compiler.is_compiling():  # autograd.grad with a double backward does not compile

            def summed(x: Tensor) -> tuple[Tensor, Tensor]:
                scores = critic(x)
                return _summed(scores), scores

            gradient, scores = torch.func.grad(summed, has_aux=True)(x)
            return scores, gradient
        x.requires_grad_(True)
        scores = critic(x)
        (gradient,) = torch.autograd.grad(_summed(scores), x, create_graph=True)
        return scores, gradient


def _summed(scores: Tensor) -> Tensor:
    return scores[:, 0].sum() if scores.dim() > 1 and scores.shape[1] > 1 else scores.sum()


def gradient_norm(gradient: Tensor) -> Tensor:
    """‖∇‖₂ per observation ``(B,)``, with a zero gradient (not NaN) where the norm is zero."""
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return norm


def squared_norm(gradient: Tensor) -> Tensor:
    """‖∇‖₂² per observation, ``(B,)``."""
    return gradient.flatten(1).square().sum(1)

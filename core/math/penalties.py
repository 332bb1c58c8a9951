"""Gradient penalties on critics. Every norm is per observation, over all of its dimensions, in float32 at least."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def input_gradient(critic: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of a critic and their gradients with respect to its input, differentiable once more.

    The critic must treat observations one by one, so that the gradient of the summed scores holds each
    observation's own gradient.

    Args:
        critic: maps ``(B, ...)`` to scores ``(B, 1)`` or ``(B,)``.
        x: observations ``(B, ...)``.

    Returns:
        Scores ``(B, 1)`` or ``(B,)`` as the critic gave them, and gradients of the shape of ``x``.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.detach().to(torch.promote_types(x.dtype, torch.float32))  # float64 stays what it is
        if torch.compiler.is_compiling():  # autograd.grad with a double backward does not compile

            def summed(x: Tensor) -> tuple[Tensor, Tensor]:
                scores = critic(x)
                return scores.sum(), scores

            gradient, scores = torch.func.grad(summed, has_aux=True)(x)
            return scores, gradient
        x.requires_grad_(True)
        scores = critic(x)
        (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return scores, gradient


def gradient_norm(gradient: Tensor) -> Tensor:
    """‖∇‖₂ per observation ``(B,)``, with a zero gradient (not NaN) where the norm is zero."""
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return norm


def squared_norm(gradient: Tensor) -> Tensor:
    """‖∇‖₂² per observation, ``(B,)``."""
    return gradient.flatten(1).square().sum(1)


def one_centred(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """WGAN-GP's penalty (‖∇D(x̂)‖ - 1)² per observation, ``(B,)`` (Gulrajani et al., arXiv:1704.00028).

    Args:
        critic: scores one observation at a time.
        real: observations ``(B, ...)``.
        fake: observations ``(B, ...)``.
        mix: uniform numbers, one per observation, ``(B, 1)``: x̂ = real + mix (fake - real).
    """
    between = torch.lerp(real, fake, mix.view(-1, *[1] * (real.dim() - 1)))
    return (gradient_norm(input_gradient(critic, between)[1]) - 1).square()

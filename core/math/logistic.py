"""Multinomial logistic regression, whole-batch and deterministic: the linear judge of several metrics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Logistic:
    """A fitted classifier of features that it standardizes first, to mean 0 and scale 1 where they vary."""

    mean: Tensor  # (D,)
    scale: Tensor  # (D,)
    weight: Tensor  # (classes, D)
    bias: Tensor  # (classes,)

    def predict(self, x: Tensor) -> Tensor:
        """Classes ``(N,)`` of features ``(N, D)``."""
        standard = (x - self.mean.to(x)) / self.scale.to(x)
        return F.linear(standard, self.weight.to(x), self.bias.to(x)).argmax(1)


def fit(x: Tensor, y: Tensor, classes: int, *, decay: float = 1e-3, steps: int = 200) -> Logistic:
    """Minimize mean cross-entropy + decay/2 · ‖W‖² of features ``(N, D)`` and classes ``(N,)`` by L-BFGS.

    The decay is of the weights, not of the bias; scikit-learn's C is 1 / (N · decay).
    """
    mean, scale = x.mean(0), x.std(0, correction=0)
    scale = torch.where(scale > 1e-6 * scale.max().clamp(min=1e-30), scale, torch.ones_like(scale))
    inputs = (x - mean) / scale
    weight = torch.zeros(classes, x.shape[1], dtype=x.dtype, device=x.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, tolerance_grad=1e-6, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(inputs, weight, bias), y) + decay / 2 * weight.square().sum()
        torch.autograd.backward(loss)
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch gives it no type
    return Logistic(mean, scale, weight.detach(), bias.detach())

"""How parameters move: optimizers by name, fused where the device has them, and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.config import TrainOptions
from genzoo.core.distributed.sharding import is_sharded, whole_tensor


def make_optimizer(parameters: Sequence[nn.Parameter], options: TrainOptions, lr: float) -> torch.optim.Optimizer:
    """Build the optimizer that the options name, fused where the device has it."""
    fused = parameters[0].device.type in ("cpu", "cuda", "mps")
    kind, decay, groups = options.optimizer, options.weight_decay, _groups(parameters)
    if kind == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=options.betas, weight_decay=decay, fused=fused)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=options.betas, weight_decay=decay, fused=fused)
    if kind == "sgd":
        fused = fused and not any(map(is_sharded, parameters))  # torch has no such step of what is split
        return torch.optim.SGD(groups, lr=lr, momentum=options.betas[0], weight_decay=decay, fused=fused)
    return torch.optim.RMSprop(groups, lr=lr, weight_decay=decay, foreach=True)


def _groups(parameters: Sequence[nn.Parameter]) -> Any:
    """One group, or two where some are sharded: a fused step takes one kind."""
    kinds = [[p for p in parameters if is_sharded(p) == kind] for kind in (False, True)]
    return [{"params": k} for k in kinds if k]


def lr_factor(options: TrainOptions, step: int, steps: int) -> float:
    """The learning rate at a step, as a factor of its peak."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    t = (step - options.warmup) / max(steps - options.warmup, 1)
    if options.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * t))
    return 1 - t if options.schedule == "linear" else 1.0


def clip_gradients(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scale gradients to a norm of at most ``limit``, if that is positive; returns the norm before, 0-d.

    On several processes the gradients are those of the whole batch already, so all of them scale alike.
    """
    if limit and not any(map(is_sharded, parameters)):
        return nn.utils.clip_grad_norm_(parameters, limit)
    kinds = [[p.grad for p in parameters if p.grad is not None and is_sharded(p) == kind] for kind in (False, True)]
    norms = [whole_tensor(nn.utils.get_total_norm(grads)) for grads in kinds if grads]
    total = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
    if limit:
        for p in parameters:
            if p.grad is not None:
                p.grad.mul_((limit / (total + 1e-6)).clamp(max=1.0))
    return total

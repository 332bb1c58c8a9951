"""How parameters move: optimizers by name, fused where the device has them, and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.config import TrainOptions
from genzoo.core.distributed.sharding import is_sharded, whole_tensor
from genzoo.core.errors import UsageError
from genzoo.core.noise import scheduled
from genzoo.core.objective import Player

Changing = float | tuple[float, float]  # a number, or (start, end) along the schedule


@dataclass(frozen=True)
class Rates:
    """How one player's parameters move: its own values where it has some, the run's elsewhere."""

    lr: Changing
    betas: tuple[float, Changing]
    weight_decay: Changing
    schedule: str

    @classmethod
    def of(cls, player: Player, options: TrainOptions) -> Rates:
        """The rates of a player.

        Raises:
            UsageError: if one should change and the schedule is constant, or belongs to another optimizer.
        """
        betas: tuple[float, Changing] | None = player.betas
        if betas is None:
            betas = options.betas if options.beta2 is None else (options.betas[0], options.beta2)
            if options.beta2 is not None and not options.optimizer.startswith("adam"):
                raise UsageError(f"train.beta2 belongs to adam and adamw, not to {options.optimizer}")
        rates = cls(
            options.lr if player.lr is None else player.lr,
            betas,
            options.weight_decay if player.weight_decay is None else player.weight_decay,
            player.schedule or options.schedule,
        )
        rates.at(options, 0, 1)
        return rates

    @property
    def changing(self) -> bool:
        """Whether more than the learning rate changes."""
        return isinstance(self.betas[1], tuple) or isinstance(self.weight_decay, tuple)

    def lr_at(self, options: TrainOptions, step: int, steps: int) -> float:
        """The learning rate at a step; a single number falls to zero along the schedule."""
        if not isinstance(self.lr, tuple):
            return self.lr * lr_factor(options, step, steps, self.schedule)
        warm = min((step + 1) / options.warmup, 1.0) if options.warmup else 1.0
        return scheduled(self.lr, course(options, step, steps, self.schedule)) * warm

    def at(self, options: TrainOptions, step: int, steps: int) -> dict[str, Any]:
        """What an optimizer's group needs at a step."""
        left = course(options, step, steps, self.schedule)
        return {
            "lr": self.lr_at(options, step, steps),
            "betas": (self.betas[0], scheduled(self.betas[1], left)),
            "weight_decay": scheduled(self.weight_decay, left),
        }

    def apply(self, optimizer: torch.optim.Optimizer, options: TrainOptions, step: int, steps: int) -> None:
        """Set an optimizer to a step."""
        if not self.changing:  # nothing but the learning rate
            lr = self.lr_at(options, step, steps)
            for group in optimizer.param_groups:
                group["lr"] = lr
            return
        now = self.at(options, step, steps)
        for group in optimizer.param_groups:
            group.update({k: v for k, v in now.items() if k in group})


def make_optimizer(
    parameters: Sequence[nn.Parameter], options: TrainOptions, rates: Rates | float
) -> torch.optim.Optimizer:
    """Build the optimizer that the options name, fused where the device has it.

    Args:
        parameters: what it moves.
        options: of the run.
        rates: of the player, or a learning rate beside the run's other rates.
    """
    if not isinstance(rates, Rates):
        rates = Rates.of(Player("", (), lr=rates), options)
    first = rates.at(options, 0, 1)
    lr, betas, decay = (
        rates.lr if not isinstance(rates.lr, tuple) else first["lr"],
        first["betas"],
        first["weight_decay"],
    )
    fused = parameters[0].device.type in ("cpu", "cuda", "mps")
    kind, groups = options.optimizer, _groups(parameters)
    if kind == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=betas, weight_decay=decay, fused=fused)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=betas, weight_decay=decay, fused=fused)
    if kind == "sgd":
        fused = fused and not any(map(is_sharded, parameters))  # torch has no such step of what is split
        return torch.optim.SGD(groups, lr=lr, momentum=betas[0], weight_decay=decay, fused=fused)
    return torch.optim.RMSprop(groups, lr=lr, weight_decay=decay, foreach=True)


def _groups(parameters: Sequence[nn.Parameter]) -> Any:
    """One group, or two where some are sharded: a fused step takes one kind."""
    kinds = [[p for p in parameters if is_sharded(p) == kind] for kind in (False, True)]
    return [{"params": k} for k in kinds if k]


def course(options: TrainOptions, step: int, steps: int, schedule: str = "") -> float | None:
    """How much of the schedule is left at a step: 1 during the warm-up, 0 at the end; None if it is constant."""
    kind, t = schedule or options.schedule, max(step - options.warmup, 0) / max(steps - options.warmup, 1)
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * t))
    return 1 - t if kind == "linear" else None


def lr_factor(options: TrainOptions, step: int, steps: int, schedule: str = "") -> float:
    """The learning rate at a step, as a factor of its peak."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    left = course(options, step, steps, schedule)
    return 1.0 if left is None else left


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

"""How parameters move: rates, optimizers, Adam's step with less around it, clipping, the moving average."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.config import TrainOptions
from genzoo.core.distributed.sharding import is_sharded, own_part, whole_tensor
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
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
        """A player's rates; `UsageError` if one should change on a constant schedule, or is another optimizer's."""
        betas: tuple[float, Changing] | None = player.betas
        if betas is None:
            betas = options.betas if options.beta2 is None else (options.betas[0], options.beta2)
            if options.beta2 is not None and not options.optimizer.startswith("adam"):
                raise UsageError(f"train.beta2 belongs to adam and adamw, not to {options.optimizer}")
        lr = options.lr if player.lr is None else player.lr
        decay = options.weight_decay if player.weight_decay is None else player.weight_decay
        rates = cls(lr, betas, decay, player.schedule or options.schedule)
        rates.at(options, 0, 1)
        return rates

    def at(self, options: TrainOptions, step: int, steps: int) -> dict[str, Any]:
        """What an optimizer's group needs at a step; a learning rate that is one number falls to zero."""
        left = course(options, step, steps, self.schedule)
        lr = scheduled(self.lr, left)
        if left is not None and not isinstance(self.lr, tuple):
            lr *= left
        if step < options.warmup:
            lr *= (step + 1) / options.warmup
        betas = (self.betas[0], scheduled(self.betas[1], left))
        return {"lr": lr, "betas": betas, "weight_decay": scheduled(self.weight_decay, left)}

    def apply(self, optimizer: torch.optim.Optimizer, options: TrainOptions, step: int, steps: int) -> None:
        """Set an optimizer to a step."""
        now = self.at(options, step, steps)
        for group in optimizer.param_groups:
            group.update({k: v for k, v in now.items() if k in group})


def course(options: TrainOptions, step: int, steps: int, schedule: str = "") -> float | None:
    """How much of the schedule is left at a step: 1 during the warm-up, 0 at the end; None if it is constant."""
    kind, t = schedule or options.schedule, max(step - options.warmup, 0) / max(steps - options.warmup, 1)
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * t))
    return 1 - t if kind == "linear" else None


def make_optimizer(parameters: Sequence[nn.Parameter], options: TrainOptions, rates: Rates) -> torch.optim.Optimizer:
    """Build the optimizer that the options name, fused where the device has it."""
    split = [[p for p in parameters if is_sharded(p) == kind] for kind in (False, True)]  # a fused step takes one kind
    groups: Any = [{"params": some} for some in split if some]
    how = rates.at(options, 0, 1)
    lr, betas, decay = how["lr"], how["betas"], how["weight_decay"]
    fused = parameters[0].device.type in ("cpu", "cuda", "mps")
    if options.optimizer == "sgd":
        fused = fused and not split[1]  # torch has no such step of what is split
        return torch.optim.SGD(groups, lr=lr, momentum=betas[0], weight_decay=decay, fused=fused)
    if options.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=lr, weight_decay=decay, foreach=True)
    made = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    return made(groups, lr=lr, betas=betas, weight_decay=decay, fused=fused)


class FusedAdamStep:
    """Does what ``optimizer.step()`` and ``zero_grad(set_to_none=True)`` do, bit for bit.

    `torch.optim.Adam` collects its tensors anew at every step and tells the profiler, which in small networks costs as
    much as the arithmetic. Where it is fused, of one kind of numbers, and every parameter has a gradient, they are kept
    here and handed to the kernel that it runs. In all other cases, and where somebody listens to the step by a
    hook or replaced it, the optimizer's own is called. Its state stays where it is, and may be loaded at any time.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
        group = optimizer.param_groups[0]
        self._plain = (
            type(optimizer) is torch.optim.Adam
            and len(optimizer.param_groups) == 1
            and bool(group["fused"])
            and not any(group.get(k) for k in ("amsgrad", "maximize", "capturable", "differentiable"))
            and not group.get("decoupled_weight_decay")
            and len({(p.device, p.dtype) for p in self._parameters}) == 1
            and not any(p.is_complex() or is_sharded(p) for p in self._parameters)
            and hasattr(torch, "_fused_adam_")  # a name of torch's own
        )
        self._state: Any = None  # the optimizer's, as it was when the lists were made
        self._lists: list[list[Tensor]] = []  # averages, squares, steps

    def __call__(self) -> None:
        """Move the parameters and forget the gradients."""
        gradients: Any = [p.grad for p in self._parameters]
        if not self._plain or self._watched() or any(g is None for g in gradients) or not self._ready():
            self.optimizer.step()
        else:
            group, (averages, squares, steps) = self.optimizer.param_groups[0], self._lists
            with torch.no_grad():
                torch._foreach_add_(steps, 1)
                torch._fused_adam_(
                    self._parameters, gradients, averages, squares, [], steps, lr=group["lr"],
                    beta1=group["betas"][0], beta2=group["betas"][1], weight_decay=group["weight_decay"],
                    eps=group["eps"], amsgrad=False, maximize=False,
                )  # fmt: skip
        for p in self._parameters:
            p.grad = None

    def _watched(self) -> bool:
        """Whether the step is hooked, or replaced on this optimizer."""
        of = vars(self.optimizer)
        return "step" in of or bool(of["_optimizer_step_pre_hooks"] or of["_optimizer_step_post_hooks"])

    def _ready(self) -> bool:
        """Whether every parameter has state, and the lists are of it: loading puts another in its place."""
        state = self.optimizer.state
        if self._state is not state:
            if any(p not in state for p in self._parameters):  # before the first step
                return False
            names = ("exp_avg", "exp_avg_sq", "step")
            self._lists = [[state[p][name] for p in self._parameters] for name in names]
            self._state = state
        return True


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
        for gradient in (g for grads in kinds for g in grads):
            gradient.mul_((limit / (total + 1e-6)).clamp(max=1.0))
    return total


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

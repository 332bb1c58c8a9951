"""A player's turn as a module, what the trainer keeps for each, turns of several processes, the held-out loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genzoo.core.config import TrainOptions
from genzoo.core.data.feed import BINARIZE
from genzoo.core.distributed import sharding
from genzoo.core.distributed.gather import distributed, playing_together, summed
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Objective, Player
from genzoo.core.training.optimizers import FusedAdamStep, Rates, make_optimizer

if TYPE_CHECKING:
    from genzoo.core.training.trainer import Trainer

_HELD_OUT = 4  # stream of randomness
MOST_PACKED = 64  # observations that a critic may judge at once


class Turn(nn.Module):
    """One player's loss as a module: what is compiled, and what a distributed engine wraps."""

    def __init__(self, objective: Objective, nets: Networks, player: str) -> None:
        super().__init__()
        self.objective, self.nets, self.player = objective, nets, player

    def forward(
        self, x: Tensor, y: Tensor | None, noise: Mapping[str, Tensor], weight: Tensor | None = None
    ) -> tuple[Tensor, Loss]:
        """Return what is minimized (0-d) and the loss it came from; ``weight (B,)`` is of each observation."""
        loss = self.objective.loss(self.player, self.nets, _batch(self.nets.model, x, y), noise)
        if weight is None:
            return loss.total(), loss
        each = loss.per_observation()
        if each.shape != weight.shape:
            raise UsageError(
                f"train.class_weights needs a loss for each observation, and that of player {self.player!r} has shape "
                f"{tuple(each.shape)} for {len(weight)}: --set train.class_weights=none"
            )
        return (each * weight).mean(), loss


def _batch(model: Model, x: Tensor, y: Tensor | None) -> Batch:
    return Batch(x, y, None if y is None or y.dim() == 1 else y[:, int(model.classes > 0) :])


@dataclass
class PlayerState:
    """A player with what the trainer keeps for it: the turn that it plays, what that moves, and how."""

    player: Player
    turn: Callable[..., Any]
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    rates: Rates
    skipped: int = 0  # turns left out in a row
    no_sync: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)  # in it, gradients stay one's own
    move: FusedAdamStep = field(init=False)  # the optimizer's step, and its gradients forgotten

    def __post_init__(self) -> None:
        self.move = FusedAdamStep(self.optimizer)

    @classmethod
    def of(
        cls, player: Player, objective: Objective, nets: Networks, options: TrainOptions, *, compiled: bool = False
    ) -> PlayerState:
        """Make the turn and the optimizer of a player."""
        parameters = [p for name in player.moves for p in nets.part(name).parameters()]
        rates, turn = Rates.of(player, options), Turn(objective, nets, player.name)
        optimizer = make_optimizer(parameters, options, rates)
        return cls(player, torch.compile(turn) if compiled else turn, parameters, optimizer, rates)


def refuse_coupled(loss: Loss, parts: int, processes: int) -> None:
    """Raise `UsageError` for terms that would silently be another number where only a part of the batch is seen."""
    if loss.coupled and parts > 1:
        raise UsageError(
            f"the terms {', '.join(loss.coupled)} depend on the whole batch and cannot be computed in "
            "parts: --set train.accumulate=1"
        )
    apart = [name for name, gathered in loss.coupled.items() if not gathered]
    if apart and processes > 1:
        raise UsageError(
            f"the terms {', '.join(apart)} depend on the whole batch, and this objective computes them from each "
            "process's part: train it on one process, or gather them with genzoo.core.distributed.gather.all_gather"
        )


def refuse_single(trainer: Trainer, part: slice) -> None:
    """Raise `UsageError` if batch norm would see a single value of a channel: the turns of a part are rehearsed."""
    norms = {n: m for n, m in trainer.nets.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    if not norms or trainer.runtime.size > 1 or part.stop - part.start > MOST_PACKED:
        return

    def look(name: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if module.training and given[0].numel() == given[0].shape[1]:
            kind = next((w for w in ("generator", "encoder", "critic") if w in name), "network")
            less = f", train.accumulate {trainer.options.accumulate}" if trainer.options.accumulate > 1 else ""
            enough = 2 * trainer.options.batch_size
            raise UsageError(
                f"batch norm in the {kind} norms by the other observations of a batch and sees one at a time "
                f"(train.batch_size {trainer.options.batch_size}{less}): give it 2 or more, --batch-size {enough} "
                f"(batch_size={enough}), or another norm, --set {kind}.norm=layer"
            )

    hooks = [m.register_forward_pre_hook(partial(look, n)) for n, m in norms.items()]
    before = [b.clone() for b in trainer.nets.buffers()]
    x, y = trainer.feed.at(trainer.step * trainer.turns)
    try:
        with torch.random.fork_rng(devices=[]), trainer.autocast():
            for playing in trainer.player_states:
                noise = {k: v[part] if v.dim() else v for k, v in trainer.draw(playing.player.name, 0).items()}
                playing.turn(x[part], y[part] if y is not None and trainer.conditional else None, noise)
    finally:
        for hook in hooks:
            hook.remove()
        restore_buffers(trainer.nets, before)


def seen_in(parts: list[dict[str, Tensor]], sums: set[str], processes: int) -> dict[str, Tensor]:
    """What a turn found over all parts and processes, for `Objective.follow`: means of what is watched, and sums."""
    if not parts[0]:
        return {}
    with playing_together(processes > 1):
        total = summed(parts)
    return {k: v if k in sums else v / processes for k, v in total.items()}


def distribute(trainer: Trainer) -> None:
    """Let each turn's gradients be averaged over all processes; they must call this together."""
    batch = trainer.feed.at(trainer.step * trainer.turns)
    for playing in trainer.player_states:
        trainer.focus(playing)
        idle = _idle(trainer, playing, *batch)
        own = {id(p) for p in playing.parameters if not sharding.is_sharded(p)}
        if own:
            assert isinstance(playing.turn, nn.Module)
            playing.turn = turn = distributed(playing.turn, own, find_unused=idle)
            playing.no_sync = turn.no_sync


def _idle(trainer: Trainer, playing: PlayerState, x: Tensor, y: Tensor | None) -> bool:
    """Whether a turn leaves some of its player's parameters without gradient; the networks stay as they were."""
    before, noise = [b.clone() for b in trainer.nets.buffers()], trainer.draw(playing.player.name, 0)
    turn = Turn(trainer.objective, trainer.nets, playing.player.name)
    with trainer.autocast(), playing_together(True):
        total, _ = turn(x, y if trainer.conditional else None, noise)
    total.backward()
    idle = any(p.grad is None for p in playing.parameters)
    playing.optimizer.zero_grad(set_to_none=True)
    restore_buffers(trainer.nets, before)
    return bool(trainer.runtime.max(torch.tensor([float(idle)])).item())


@torch.no_grad()
def restore_buffers(nets: Networks, buffers: list[Tensor]) -> None:
    """Bring the networks' buffers back to earlier copies."""
    for buffer, before in zip(nets.buffers(), buffers, strict=True):
        buffer.copy_(before)


@torch.no_grad()
def held_out_loss(trainer: Trainer) -> float | None:
    """Mean held-out loss per observation of the kept model, with the same noise every time; None if there is none."""
    data, device, runtime = trainer.held_out, trainer.device, trainer.runtime
    if data is None or len(data) == 0:
        return None
    model, training = trainer.kept, trainer.nets.training
    nets = Networks(
        model, dict(trainer.nets.critics.items())
    )  # the game with the kept model in place of the moving one
    nets.eval()
    name, total, n = trainer.player_states[0].player.name, 0.0, len(data)
    size = min(max(trainer.options.batch_size, 256), n)
    try:
        starts = range(0, n, size)
        # Processes take batches in turns; all go through all of them where the model is split.
        for i in range(len(starts)) if trainer.sharded else runtime.own(len(starts)):
            count = min(size, n - starts[i])
            index = torch.arange(starts[i], starts[i] + count, device=data.device)
            draws = Draws(count, device, population=len(trainer.data)).at(trainer.seed, i, _HELD_OUT)
            # The whole held-out set is judged at the end of all warm-ups and schedules.
            draws.step = draws.steps = 1
            draws.course = None if trainer.options.schedule == "constant" else 0.0
            uniform = None
            if data.dynamic:
                uniform = Draws(count, device).at(trainer.seed, i, BINARIZE).uniform(*data.spec.shape)
                uniform = uniform.to(index.device)
            x, y = data.batch(index, uniform)
            y = y.to(device) if y is not None and trainer.conditional else None
            noise = trainer.objective.draw(name, draws, model)
            value = trainer.objective.held_out(nets, _batch(model, x.to(device), y), noise)
            if value is None:
                return None
            total += value.sum(dtype=torch.float32).item()
        if not trainer.sharded and runtime.size > 1:
            total = runtime.total(torch.tensor([total])).item()
    finally:
        trainer.nets.train(training)
        if trainer.average:
            trainer.average.model.eval()
    return total / n

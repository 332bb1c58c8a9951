"""The held-out loss: of the kept model, with the same noise every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from genzoo.core.data.feed import BINARIZE
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Networks

if TYPE_CHECKING:
    from genzoo.core.training.trainer import Trainer

_HELD_OUT = 4  # stream of randomness


@torch.no_grad()
def held_out_loss(trainer: Trainer) -> float | None:
    """Mean held-out loss per observation of the kept model, or None if there is none."""
    data, device = trainer.held_out, trainer.device
    if data is None or len(data) == 0:
        return None
    model, training = trainer.kept, trainer.nets.training
    # The whole game with the kept model in place of the one that is moving.
    nets = Networks(model, dict(trainer.nets.critics.items()))
    nets.eval()
    name, total, n = trainer.player_states[0].player.name, 0.0, len(data)
    size = min(max(trainer.options.batch_size, 256), n)
    try:
        starts = range(0, n, size)
        # Processes take batches in turns; all go through all of them where the model is split.
        for i in range(len(starts)) if trainer.sharded else trainer.runtime.own(len(starts)):
            start = starts[i]
            count = min(size, n - start)
            index = torch.arange(start, start + count, device=data.device)
            # The whole held-out set is judged at the end of all warm-ups and schedules.
            draws = Draws(count, device, population=len(trainer.data)).at(trainer.seed, i, _HELD_OUT)
            draws.step = draws.steps = 1
            draws.course = None if trainer.options.schedule == "constant" else 0.0
            uniform = None
            if data.dynamic:
                uniform = Draws(count, device).at(trainer.seed, i, BINARIZE).uniform(*data.spec.shape)
                uniform = uniform.to(index.device)
            x, y = data.batch(index, uniform)
            y = y.to(device) if y is not None and trainer.conditional else None
            told = None if y is None or y.dim() == 1 else y[:, int(model.classes > 0) :]
            batch = Batch(x.to(device), y, told)
            noise = trainer.objective.draw(name, draws, model)
            value = trainer.objective.held_out(nets, batch, noise)
            if value is None:
                return None
            total += value.sum(dtype=torch.float32).item()
        if not trainer.sharded and trainer.runtime.size > 1:
            total = trainer.runtime.total(torch.tensor([total])).item()
    finally:
        trainer.nets.train(training)
        if trainer.average:
            trainer.average.model.eval()
    return total / n

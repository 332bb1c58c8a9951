"""Whether two sides do the same work: given the batches and noise that genzoo drew, their updates must agree."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.objective import Batch, Loss, Networks, Objective
from genzoo_bench.cases import Prepared
from genzoo_bench.hand import Source

Turn = tuple[Tensor, Tensor | None, dict[str, Tensor]]

# Adam's ε in the comparison. Its first updates are a gradient over its size, and so nothing but rounding where that is
# small, as with most importance weights; its default of 1e-8 is smaller still.
EPSILON = 1e-5


def taped(objective: Objective) -> deque[Turn]:
    """Keep the batch and noise of every turn that an objective is given from here on."""
    turns: deque[Turn] = deque()
    original = objective.loss

    def loss(player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        turns.append((batch.x.detach().clone(), batch.y, {k: v.clone() for k, v in noise.items()}))
        return original(player, nets, batch, noise)

    objective.loss = loss  # type: ignore[method-assign]
    return turns


class Replay(Source):
    """Gives a hand-written loop what was taped, in the same order."""

    def __init__(self, turns: deque[Turn], size: int) -> None:
        self.turns, self.size, self.noise = turns, size, dict[str, Tensor]()
        self.device = turns[0][0].device
        self.population = int(turns[0][2].get("population", torch.zeros(())))

    def batch(self) -> Tensor:
        """The next turn's."""
        x, self.labels, noise = self.turns.popleft()
        self.noise = {name.rpartition(".")[2]: v for name, v in noise.items()}  # without the regularizer's name
        return x

    def normal(self, name: str, size: int) -> Tensor:
        """This turn's, or where it has been given the next one's, which needs no batch."""
        if name not in self.noise:
            self.batch()
        return self.noise.pop(name)

    def uniform(self, name: str, size: int = 1) -> Tensor:
        """This turn's."""
        return self.noise.pop(name)


def difference(prepared: Prepared, steps: int = 3) -> float:
    """‖Δ‖ between the parameters that genzoo and the hand-written loop arrive at, over the length of the way."""
    assert prepared.case.loop is not None
    trainer = prepared.trainer()
    turns = taped(trainer.objective)
    trainer.steps = steps
    _steady(state.optimizer for state in trainer.player_states)
    trainer.train()
    loop = prepared.case.loop(prepared.fresh(), prepared.config, Replay(turns, prepared.config.train.batch_size))
    _steady(v for v in vars(loop).values() if isinstance(v, torch.optim.Optimizer))
    loop.run(steps)
    if turns:
        raise AssertionError(f"{prepared.case.title}: the hand-written loop does fewer turns than genzoo")
    start, ours, theirs = (_flat(n) for n in (prepared.nets, trainer.nets, loop.nets))
    return float((ours - theirs).norm() / (ours - start).norm())


def _steady(optimizers: Iterable[torch.optim.Optimizer]) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["eps"] = EPSILON


def _flat(nets: nn.Module) -> Tensor:
    parameters: Any = [p.detach().double().flatten() for p in nets.parameters()]
    return torch.cat(parameters)

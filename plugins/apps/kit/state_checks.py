"""A check of objectives whose state follows what training finds."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from genzoo.core.build import build
from genzoo.plugins.apps.kit.cases import Case, attempt, seeded, small_data
from genzoo.plugins.apps.kit.findings import Fault, Skip
from genzoo.plugins.apps.kit.games import Game, N, games, lost
from genzoo.registry.recipes.compose import resolver, with_steps

STEPS, CLOSE = 20, 1e-5


def accumulates(case: Case) -> None:
    """In two parts of a batch it trains what it trains on the whole batch, unless a term is declared coupled."""
    from genzoo.core.training.trainer import Trainer

    def ended(game: Game, parts: int) -> dict[str, Tensor]:
        config = with_steps(game.config, steps=STEPS, epochs=None, batch_size=N)
        # Adam would make whole steps of what is only rounding, where a gradient is zero.
        train = replace(config.train, accumulate=parts, optimizer="sgd", lr=1e-3)
        with seeded(1):
            objective, nets = build(config, resolver(case.registry, config))
        run = Trainer(objective, nets, small_data(game.setting.spec), train, seed=0)
        attempt(run.train, game.setting, "training")
        return {**nets.state_dict(), **{f"objective.{k}": v for k, v in objective.state_dict().items()}}

    looked = False
    for game in games(case):
        mixing = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
        if any(isinstance(m, mixing) for m in game.nets.modules()):
            continue
        if any(lost(game, player, noise).coupled for player, noise in game.turns()):
            continue
        looked, whole, parts = True, ended(game, 1), ended(game, 2)
        for name, a in whole.items():
            a, b = a.double(), parts[name].double()
            if torch.linalg.vector_norm(a - b) > CLOSE * torch.linalg.vector_norm(a) + 1e-7:
                raise Fault(f"the same {name} after {STEPS} steps with train.accumulate=1 and 2",
                            f"values {float((a - b).abs().max()):.2g} apart",
                            "let state follow `seen` in after_step (name it in `watched`, or in Loss.sums), and keep "
                            "nothing in loss()", str(game.setting))  # fmt: skip
    if not looked:
        raise Skip("its terms are coupled")

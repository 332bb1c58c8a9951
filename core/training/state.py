"""The state of training: everything that the next step depends on, as whole tensors and plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genzoo.core.distributed import sharding
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.strict import one_line
from genzoo.core.training.terms import ADVICE, TrainingDiverged

if TYPE_CHECKING:
    from genzoo.core.training.trainer import Trainer

# In the middle of a run: the next step does not depend on them.
_MAY_CHANGE = {"source", "init", "init_partial", "on_nan", "processes"}


def tensors_of(trainer: Trainer) -> dict[str, Tensor]:
    """Critics, the objective's own state, optimizers, and the model that moves where another is kept.

    Not copies. What is split over processes is put together, which all of them must do at once.
    """
    nets, found = trainer.nets, dict[str, Tensor]()
    found |= {f"critics.{k}": v for k, v in nets.critics.state_dict().items()}
    found |= {f"objective.{k}": v for k, v in trainer.objective.state_dict().items()}
    if trainer.average:  # the kept model is the average, so the one that is moving goes here
        found |= {f"model.{k}": sharding.whole_tensor(v) for k, v in nets.model.state_dict().items()}
    found |= {f"best.{k}": v for k, v in (trainer.best or {}).items()}
    for playing in trainer.player_states:
        for i, p in enumerate(playing.parameters):
            for k, v in playing.optimizer.state.get(p, {}).items():
                found[f"optimizer.{playing.player.name}.{i}.{k}"] = sharding.whole_tensor(v)
    return found


def numbers_of(trainer: Trainer) -> dict[str, Any]:
    """Where it stands, and what it must be called with to go on."""
    return {
        "step": trainer.step,
        "steps": trainer.steps,
        "seed": trainer.seed,
        "seconds": trainer.seconds,
        "record": trainer.record,
        "place": trainer.place,
        "data": trainer.data.fingerprint(),
        "history": trainer.history,
        "attempt": trainer.attempt,
        "skipped in a row": {playing.player.name: playing.skipped for playing in trainer.player_states},
        "unrecorded": trainer.terms.state(),
    }


def check(trainer: Trainer) -> None:
    """Raise `TrainingDiverged` for a parameter that is not finite: the loss that led to the update still was."""
    named = [(k, sharding.own_part(p)) for k, p in trainer.nets.named_parameters()]
    bad = torch.stack([~torch.isfinite(p).all() for _, p in named]).cpu()
    if trainer.sharded:
        bad = trainer.runtime.max(bad).bool()
    if bad.any():
        name = named[int(bad.nonzero()[0])][0]
        raise TrainingDiverged(
            f"training broke down at step {trainer.step}: the parameter {name} is not finite after it; {ADVICE}"
        )


def restore(
    trainer: Trainer, kept: Mapping[str, Tensor], tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> None:
    """Bring a trainer to a state; `UsageError` for one of another run, `GenzooError` for one that does not fit."""
    if plain["seed"] != trainer.seed:
        raise UsageError(f"the run has seed {plain['seed']}, not {trainer.seed}: resume it with the same --seed")
    for key, value in trainer.record.items():
        before = plain["record"].get(key)
        if before != value and key not in _MAY_CHANGE:
            raise UsageError(f"the run was started with {key} {before}, not {value}: resume it as it was")
    if plain["data"] != trainer.data.fingerprint():
        raise UsageError("the run was trained on other data than this: resume it with the same --data")
    try:
        _bring(trainer, kept, tensors, plain)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as e:
        if trainer.runtime.size > 1:  # it may be the others' loss
            raise
        raise GenzooError(f"the checkpoint does not fit its run: {one_line(str(e), 200) or type(e).__name__}") from e


def _bring(
    trainer: Trainer, kept: Mapping[str, Tensor], tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> None:
    if "init" in trainer.record:  # what it began from is not said again
        trainer.record["init"] = plain["record"].get("init")
    if "init_partial" in plain["record"]:
        trainer.record["init_partial"] = plain["record"]["init_partial"]
    if "processes" in trainer.record:  # one that was several for a while is no longer what one would have been
        trainer.record["processes"] = max(trainer.record["processes"], plain["record"].get("processes", 1))

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    nets = trainer.nets
    nets.critics.load_state_dict(under("critics."))
    trainer.objective.load_state_dict(under("objective."))
    sharding.load(nets.model, under("model.") if trainer.average else dict(kept))
    if trainer.average:
        sharding.load(trainer.average.model, dict(kept))
    for playing in trainer.player_states:
        # The optimizer counts its parameters by group, the state in the player's order.
        order = [id(p) for group in playing.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in under(f"optimizer.{playing.player.name}.").items():
            i, _, name = key.partition(".")
            p = playing.parameters[int(i)]
            state.setdefault(order.index(id(p)), {})[name] = sharding.split_like(value, p)
        groups = playing.optimizer.state_dict()["param_groups"]
        playing.optimizer.load_state_dict({"state": state, "param_groups": groups})
        playing.skipped = plain.get("skipped in a row", {}).get(playing.player.name, 0)
    trainer.step, trainer.seconds = plain["step"], plain["seconds"]
    trainer.history = list(plain["history"])
    trainer.attempt = plain.get("attempt", 0)
    trainer.best = {k: v.to(trainer.device) for k, v in under("best.").items()} or None
    trainer.terms.load(plain.get("unrecorded", {}))
    trainer.gather()

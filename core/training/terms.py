"""The terms of losses on their way to the log: kept on the device, read when the log is due, and checked there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genzoo.core.distributed.runtime import Runtime
from genzoo.core.errors import GenzooError

ADVICE = "a lower train.lr, train.clip=1 or float32 often cures it"
GRAD = "grad"  # the norm of a player's gradient, in the steps that are logged


class TrainingDiverged(GenzooError):
    """A loss or a parameter is not finite."""


def _means(turns: list[Tensor]) -> Tensor:
    """Mean of a term in each of its turns, in one operation: one for every turn would cost what small networks do."""
    if len({(t.shape, t.dtype) for t in turns}) > 1:
        turns = [t.float().mean() for t in turns]
    together = torch.stack(turns).float()
    return together if together.dim() == 1 else together.flatten(1).mean(1)


class Terms:
    """Terms of the turns since the last record; those of a single player go without its name."""

    def __init__(self, players: list[str], runtime: Runtime) -> None:
        self._players, self._runtime = players, runtime
        self._waiting: list[tuple[int, str, Mapping[str, Tensor]]] = []  # still on the device
        self._read: dict[str, list[float]] = {}
        self.skipped = 0  # turns that were left out

    def add(self, step: int, player: str, terms: Mapping[str, Tensor]) -> None:
        """Keep a turn's terms, ``(B,)`` or 0-d, without waiting for them."""
        self._waiting.append((step, player, terms))

    def take_back(self, turns: int) -> list[str]:
        """Forget the last turns; returns the names of their terms that are not finite, what they spoil last."""
        taken = self._waiting[-turns:]
        del self._waiting[-turns:]
        bad = [name for _, _, terms in taken for name, v in terms.items() if not torch.isfinite(v).all()]
        return sorted(dict.fromkeys(bad), key=lambda name: name == "loss")

    @torch.no_grad()
    def read(self) -> None:
        """Read what is on the device, as means over batch and processes; `TrainingDiverged` if one is not finite."""
        if not self._waiting:
            return
        found: dict[str, list[Tensor]] = {}
        steps: dict[str, list[int]] = {}
        for step, player, terms in self._waiting:
            prefix = "" if len(self._players) == 1 else f"{player}/"
            for name, value in terms.items():
                found.setdefault(prefix + name, []).append(value)
                steps.setdefault(prefix + name, []).append(step)
        self._waiting = []
        values = torch.cat([_means(v) for v in found.values()]).cpu()
        if self._runtime.size > 1:  # so that all see the same, and what is not finite anywhere is seen everywhere
            values = self._runtime.mean(values).float()
        table = dict(zip(found, torch.split(values, [len(v) for v in found.values()]), strict=True))
        bad = [name for name, numbers in table.items() if not torch.isfinite(numbers).all()]
        if bad:
            name = min(bad, key=lambda name: name.endswith("loss"))  # a term is told before the sum it spoils
            first = int((~torch.isfinite(table[name])).nonzero()[0])
            player, _, term = name.rpartition("/")
            raise TrainingDiverged(
                f"training broke down at step {steps[name][first] + 1}: {term} of player "
                f"{player or self._players[0]!r} is {table[name][first].item()}; {ADVICE}"
            )
        for name, numbers in table.items():
            self._read.setdefault(name, []).extend(numbers.tolist())

    def means(self) -> dict[str, float]:
        """The means since the last call, and the number of turns left out if any were; empty if nothing was played."""
        self.read()
        record = {name: torch.tensor(values).mean().item() for name, values in self._read.items()}
        if self.skipped:
            record["skipped turns"] = float(self.skipped)
        self.load({})
        return record

    def state(self) -> dict[str, Any]:
        """What was read and not recorded yet, as plain data."""
        return {"terms": self._read, "skipped": self.skipped}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, forgetting everything else."""
        self._waiting, self.skipped = [], state.get("skipped", 0)
        self._read = {name: list(values) for name, values in state.get("terms", {}).items()}

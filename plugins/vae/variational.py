"""What every VAE shares: an encoder, a likelihood, and a single player who moves all of the model."""

from __future__ import annotations

from genzoo.core.model import Model
from genzoo.core.objective import Objective, Plan, Player
from genzoo.core.spec import DataSpec


class Variational(Objective):
    """Base of objectives that bound the likelihood, with any posterior and any prior.

    A variant says which noise it needs (`draw`) and what it minimizes (`loss`); `genzoo.core.model.Model` has
    the pieces: ``posterior``, ``code``, ``params``, ``likelihood``, and ``log_weights`` for importance-weighted
    bounds.
    """

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(posterior="normal", likelihood=True)

    def players(self) -> tuple[Player, ...]:
        return (Player("model", ("model",)),)


def coupled_terms(model: Model, *names: str) -> tuple[str, ...]:
    """The named terms, if the model's likelihood ties the observations of a batch together; else none."""
    return names if model.likelihood.coupled else ()


def gathered_terms(model: Model, *names: str) -> tuple[str, ...]:
    """Those of `coupled_terms` that are the same on one process as on many."""
    return coupled_terms(model, *names) if model.likelihood.gathered else ()

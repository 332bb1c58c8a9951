"""What training minimizes: a game of one or more players.

An objective is a pure function of (networks, batch, the noise it declared). The trainer draws the noise,
calls `Objective.loss` for each player in turn, and moves that player's parameters; accumulation, precision,
clipping, averaging and schedules are the trainer's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from genzoo.core.model import Model
from genzoo.core.networks import Critic
from genzoo.core.noise import Draws
from genzoo.core.posterior import PosteriorHead
from genzoo.core.spec import DataSpec


@dataclass(frozen=True)
class CriticPlan:
    """A critic that an objective needs.

    Attributes:
        name: key in `Networks.critics`.
        outputs: numbers it gives per observation.
        penalized: whether its input gradients are penalized, so that no layer may mix observations.
    """

    name: str = "critic"
    outputs: int = 1
    penalized: bool = False


@dataclass(frozen=True)
class Plan:
    """What an objective needs built.

    Attributes:
        posterior: the posterior family, which also means an encoder; None for a model without one.
        likelihood: whether the generator puts out the parameters of p(x|z); otherwise it puts out samples.
        critics: the critics trained beside the model.
    """

    posterior: type[PosteriorHead] | None = None
    likelihood: bool = False
    critics: tuple[CriticPlan, ...] = ()


@dataclass(frozen=True)
class Player:
    """Whose parameters move, and how often.

    Attributes:
        name: what `Objective.loss` is told.
        moves: whose parameters: ``model`` for all of the model, a part of it such as ``generator``, or a
            critic's name.
        turns: how many times it plays in a step, each time on a fresh batch where it is the first to play.
        lr: learning rate of its own, None for the run's (two time scales: Heusel et al., arXiv:1706.08500).
    """

    name: str
    moves: tuple[str, ...]
    turns: int = 1
    lr: float | None = None


@dataclass(frozen=True)
class Batch:
    """Observations in model space ``(B, *shape)`` and their labels ``(B,)``, or None if unconditional."""

    x: Tensor
    y: Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """A player's loss: named terms per observation, so that no reduction can be confused.

    What is minimized is the mean over the batch of the weighted sum of the terms.

    Attributes:
        terms: name to ``(B,)``, in nats where they are likelihoods.
        weights: name to factor, 1 where not given.
        coupled: names of terms in which an observation's value depends on the rest of the batch.
        gathered: those among them that are computed from the whole batch on every process that shares it
            (`genzoo.core.distributed.gather.whole`); the others are refused on more than one.
        shown: further numbers to log, ``(B,)`` or 0-d, not minimized.
    """

    terms: Mapping[str, Tensor]
    weights: Mapping[str, float | Tensor] = field(default_factory=dict)
    coupled: tuple[str, ...] = ()
    shown: Mapping[str, Tensor] = field(default_factory=dict)
    gathered: tuple[str, ...] = ()

    def per_observation(self) -> Tensor:
        """The weighted sum of the terms, ``(B,)``."""
        values = []
        for name, value in self.terms.items():
            weight = self.weights.get(name, 1.0)
            # A factor of one would cost an operation on the way there and another on the way back.
            values.append(value if isinstance(weight, (int, float)) and weight == 1 else value * weight)
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total

    def total(self) -> Tensor:
        """What is minimized, 0-d."""
        return self.per_observation().mean()


class Networks(nn.Module):
    """All that is trained: the model, and the critics that are thrown away."""

    def __init__(self, model: Model, critics: Mapping[str, Critic] | None = None) -> None:
        super().__init__()
        self.model = model
        self.critics = nn.ModuleDict(dict(critics or {}))

    @property
    def critic(self) -> Critic:
        """The critic, where there is one."""
        return self.critics["critic"]  # type: ignore[return-value]

    def part(self, name: str) -> nn.Module:
        """The module that a `Player` moves: ``model``, a part of it, or a critic."""
        if name == "model":
            return self.model
        return self.critics[name] if name in self.critics else self.model.get_submodule(name)


class Objective(nn.Module, ABC):
    """Base of objectives. Subclasses declare a nested frozen dataclass ``Options``.

    It is a module so that state of its own (augmentation strength, counters) can be registered as buffers, which
    checkpoints keep; it moves in `after_step`. It has no parameters, and what it knows is no part of the weights.
    """

    @dataclass(frozen=True)
    class Options:
        """No options."""

    options: Options

    def __init__(self, options: Options | None = None) -> None:
        super().__init__()
        self.options = options if options is not None else type(self).Options()

    @abstractmethod
    def plan(self, spec: DataSpec) -> Plan:
        """Say what must be built for this data."""

    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """Say who plays, in order."""

    @abstractmethod
    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Draw all noise of a turn, and compute what changes from step to step."""

    @abstractmethod
    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """Compute the loss of a player's turn."""

    def after_step(self, player: str, nets: Networks) -> None:
        """Act on the networks after a player's parameters moved (weight clipping, a codebook's averages)."""
        return None

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """Loss on held-out data per observation ``(B,)``, lower is better; None if this objective has none.

        The networks are in eval mode; ``noise`` is what `draw` gives the first player at the end of the run.
        """
        return None

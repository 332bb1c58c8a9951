"""What training minimizes: a game of one or more players.

An objective is a pure function of (networks, batch, the noise it declared). The trainer draws the noise,
calls `Objective.loss` for each player in turn, and moves that player's parameters; accumulation, precision,
clipping, averaging and schedules are the trainer's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Literal

from torch import Tensor, nn

from genzoo.core.conditions import labels_of
from genzoo.core.model import Model
from genzoo.core.networks import Critic
from genzoo.core.noise import Draws
from genzoo.core.options import Configured
from genzoo.core.posterior import PosteriorHead
from genzoo.core.prior import Prior
from genzoo.core.spec import DataSpec, Latent


@dataclass(frozen=True)
class CriticPlan:
    """A critic that an objective needs."""

    name: str = "critic"  # key in `Networks.critics`
    outputs: int | tuple[int, ...] = 1  # how many numbers it gives for one input, or their shape
    penalized: bool = False  # its input gradients are: no layer may mix observations (but see `Critic.mixes`)
    inputs: tuple[int, ...] | Literal["data", "codes"] = "data"  # or the shape of something else: packs, a view
    labels: bool = True  # it is told the class of a conditional model; an auxiliary classifier is not
    classes: int = 0  # it is told one of so many classes of the objective's own, in place of the model's
    beside: int | Literal["codes"] = 0  # how many numbers it is told with each input; ``codes``: as many as a code has
    kind: Literal["critic", "encoder", "generator"] = "critic"  # the part it is built from: an autoencoder may judge
    pack: int = 1  # it judges so many as one, along the first axis, and is told their classes as numbers beside them


@dataclass(frozen=True)
class Plan:
    """What an objective needs built. Posterior and prior are what a composition has unless it names others.

    A posterior also means an encoder, and None a model without one; a class instead of a name cannot be replaced.
    ``extras`` makes small modules of the objective's own (class proxies, a head) by name, which the player that names
    them trains, and which are thrown away with the critics.
    """

    posterior: str | type[PosteriorHead] | None = None
    likelihood: bool = False  # the generator puts out the parameters of p(x|z); otherwise it puts out samples
    critics: tuple[CriticPlan, ...] = ()  # trained beside the model
    extras: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    prior: str | Callable[[Latent], Prior] | None = "normal"  # None for an objective without one; or a maker of its own
    posteriors: tuple[str, ...] = ()  # names of the posterior families that it can work with; () for any
    penalized: bool = False  # slopes of the generator are: none of its layers may mix codes
    several: bool = False  # it weighs several codes of an observation: a posterior that gives one is refused
    points: bool = False  # it needs no density of codes, and works with posteriors that are points as well
    draws_prior: bool = False  # it draws codes before it knows their labels: a prior that goes by them is refused
    means: bool = False  # its losses go by slopes of the mean of p(x|z): one that draws value after value is refused
    moves_prior: bool = True  # its losses have slopes of the prior's parameters; where not, a learned one is refused

    def wants(self, kind: str) -> bool:
        """Whether a network of this kind (generator, encoder, critic) is built."""
        first = kind == "generator" or (kind == "encoder" and self.posterior is not None)
        return first or any(c.kind == kind for c in self.critics)


@dataclass(frozen=True)
class Player:
    """Whose parameters move, how often, and by which rates of its own, where they are not the run's (None).

    (start, end) follows the schedule. Two time scales: Heusel et al., arXiv:1706.08500.
    """

    name: str  # what `Objective.loss` is told
    moves: tuple[str, ...]  # ``model`` for all of the model, a part of it such as ``generator``, or a critic's name
    turns: int = 1  # how many times it plays in a step, each time on a fresh batch where it is the first to play
    lr: float | tuple[float, float] | None = None
    betas: tuple[float, float] | None = None
    weight_decay: float | tuple[float, float] | None = None
    schedule: Literal["constant", "cosine", "linear"] | None = None


@dataclass(frozen=True)
class Batch:
    """Observations ``(B, *shape)`` in model space, and what the networks are told of each.

    Networks, priors and posteriors take ``y`` as it is: labels ``(B,)``, or conditions beside or instead of them as
    `genzoo.core.conditions` says; None if the model is unconditional. ``condition`` is the numbers in it, standardized,
    ``(B, K)``.
    """

    x: Tensor
    y: Tensor | None = None
    condition: Tensor | None = None

    @property
    def labels(self) -> Tensor | None:
        """The class labels, int64 ``(B,)``, or None."""
        if self.y is None or self.condition is None:
            return self.y
        return labels_of(self.y) if self.y.shape[1] > self.condition.shape[1] else None


@dataclass(frozen=True)
class Loss:
    """A player's loss: named terms per observation, so that no reduction can be confused.

    What is minimized is the mean over the batch of the weighted sum of the terms. ``coupled`` names those in which an
    observation's value depends on the rest of the batch, and says of each whether it is computed from the batch of all
    processes (`genzoo.core.distributed.gather.all_gather`); one that is not is refused on more than one. ``sums`` are
    detached tensors of any shape, which the trainer adds up over all parts of the batch and all processes, on the
    device, and gives to `Objective.after_step`.
    """

    terms: Mapping[str, Tensor]  # name to (B,), in nats where they are likelihoods
    weights: Mapping[str, float | Tensor] = field(default_factory=dict)  # name to factor, 1 where not given
    coupled: Mapping[str, bool] = field(default_factory=dict)  # name to whether it is gathered
    shown: Mapping[str, Tensor] = field(default_factory=dict)  # further numbers to log, (B,) or 0-d
    sums: Mapping[str, Tensor] = field(default_factory=dict)

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

    def __init__(self, model: Model, critics: Mapping[str, nn.Module] | None = None) -> None:
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


class Objective(Configured, nn.Module, ABC):
    """Base of objectives. Subclasses declare a nested frozen dataclass ``Options``.

    It is a module so that state of its own (counters, a strength) can be buffers, which checkpoints keep; they move in
    `after_step`. It has no parameters, and what it knows is no part of the weights.

    ``regularizers`` and ``augmentations`` are the parts that the composition adds, by name.
    """

    takes: frozenset[str] = frozenset()  # kinds of listed parts that it works with: ``regularizer``, ``augmentation``
    fresh: tuple[str, ...] = ()  # parts of the model that start anew where a run starts from other weights
    compare_with: str = ""  # what its results are to be read beside, in a sentence for cards and pages
    needs_start: bool = False  # it trains a part of a model: what is not trained is as weights have it (``--init``)
    watched: tuple[str, ...] = ()  # names of terms or shown numbers whose means `after_step` is given

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.regularizers, self.augmentations = nn.ModuleDict(), nn.ModuleDict()

    def __init_subclass__(cls, **how: Any) -> None:
        """Let ``plan(spec)`` and ``after_step(player, nets)``, as 0.1 had them, be called with what came later."""
        super().__init_subclass__(**how)
        for name, n in (("plan", 3), ("after_step", 4)):
            if name in cls.__dict__:
                setattr(cls, name, _taking(cls.__dict__[name], n))

    @abstractmethod
    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        """Say what must be built; ``classes`` is how many labels the networks are conditioned on, 0 if none.

        `UsageError` if it cannot be trained on such data, with the reason.
        """

    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """Say who plays, in order."""

    @abstractmethod
    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Draw all noise of a turn, and compute what changes from step to step."""

    @abstractmethod
    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """Compute the loss of a player's turn."""

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        """Act after a player's parameters moved: on the networks (weight clipping), or on state of one's own.

        State that follows what a turn found must follow ``seen``: the means of the turn's `watched` numbers over the
        whole batch, 0-d, and its `Loss.sums`. They are the same on every process and however the batch is computed in
        parts; a number kept in `loss` is not.
        """
        return None

    @property
    def parts(self) -> dict[str, Any]:
        """Regularizers and augmentations by name."""
        return {**self.regularizers._modules, **self.augmentations._modules}

    @property
    def watching(self) -> tuple[str, ...]:
        """What is `watched`, by the objective or by its parts."""
        return (*self.watched, *(name for part in self.parts.values() for name in part.watched))

    def follow(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        """Do what follows a turn: parts that watch something of it move what they remember, then `after_step`."""
        if seen:
            for part in self.parts.values():
                if part.watched and seen.keys() >= set(part.watched):
                    part.after_step(seen)
        self.after_step(player, nets, seen)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """Loss on held-out data per observation ``(B,)``, lower is better; None if this objective has none.

        The networks are in eval mode; ``noise`` is what `draw` gives the first player at the end of the run.
        """
        return None


def _taking(method: Callable[..., Any], n: int) -> Callable[..., Any]:
    """The method itself if it takes ``n`` positional arguments, else one that drops those beyond its own."""
    kinds = [p.kind for p in signature(method).parameters.values()]
    takes = sum(k != Parameter.KEYWORD_ONLY for k in kinds)
    if takes >= n or Parameter.VAR_POSITIONAL in kinds:
        return method

    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        return method(*given[:takes], **named)

    return call

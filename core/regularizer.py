"""Terms that any adversarial loss may be given, in the critic's turn or the generator's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.math.penalties import gradient_norm, input_gradient, squared_norm
from genzoo.core.model import Model
from genzoo.core.networks import Critic
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Networks
from genzoo.core.options import Configured, option

Score = Callable[[Tensor, str], Tensor]


class Judged:
    """A critic's turn: what was judged, the scores, and their gradients, each computed once.

    Observations are those that the critic was given *before* augmentation, and gradients are taken with respect to
    them. Everything has the batch first, also where a critic judges packs: a pack's number stands at each of its
    observations.

    ``score`` gives the critic's outputs for observations of a side, ``real``, ``fake`` or ``both`` (real, then fake
    ones): ``(N,)`` scores or ``(N, d)`` numbers whose first is the score, N the number of packs. At ``sides`` gradients
    are wanted; ``together`` allows one pass for both, which a critic that compares observations cannot be given; a
    critic judges ``pack`` observations as one.

    ``real`` are real observations with their labels, ``fake`` generated ones without gradient, one for each; ``noise``
    is what the regularizer drew. ``real_outputs`` ``(B,)`` or ``(B, d)`` and ``real_score`` ``(B,)`` are what the
    critic says of real ones, ``fake_outputs`` and ``fake_score`` of generated ones. ``critic`` is the network that
    judges, ``nets`` all of them, ``z`` the codes of the fakes; what a term puts into ``shown`` is logged, and may be
    `Regularizer.watched`.
    """

    nets: Networks
    critic: Critic
    z: Tensor

    def __init__(
        self, score: Score, real: Batch, fake: Tensor, sides: tuple[str, ...], *, together: bool, pack: int = 1
    ) -> None:
        self._score, self.real, self.fake, self.pack = score, real, fake, pack
        self.noise: Mapping[str, Tensor] = {}
        self.shown: dict[str, Tensor] = {}
        self._squared: dict[str, Tensor] = {}
        if together and len(sides) != 1:
            x = torch.cat([real.x, fake])
            outputs = self._with_slopes("both", x) if sides else score(x, "both")
            real_outputs, fake_outputs = outputs.chunk(2)
            if sides:
                self._squared["real"], self._squared["fake"] = self._squared["both"].chunk(2)
        else:
            real_outputs, fake_outputs = (
                self._with_slopes(side, x) if side in sides else score(x, side)
                for side, x in (("real", real.x), ("fake", fake))
            )
        self.real_outputs, self.fake_outputs = self.each(real_outputs), self.each(fake_outputs)
        self.real_score, self.fake_score = score_of(self.real_outputs), score_of(self.fake_outputs)

    def _with_slopes(self, side: str, x: Tensor) -> Tensor:
        outputs, gradient = input_gradient(lambda v: self._score(v, side), x)
        self._squared[side] = self.each(squared_norm(self.joined(gradient)))
        return outputs

    def joined(self, x: Tensor) -> Tensor:
        """Of observations ``(B, *shape)``, those of a pack as one."""
        return x if self.pack == 1 else x.reshape(len(x) // self.pack, -1)

    def each(self, x: Tensor) -> Tensor:
        """A number of each pack ``(N,)`` at each of its observations ``(B,)``."""
        return x if self.pack == 1 else x.repeat_interleave(self.pack, 0)

    def one(self, x: Tensor) -> Tensor:
        """Of numbers per observation ``(B, ...)``, the first one of a pack for all of it."""
        return x if self.pack == 1 else self.each(x[:: self.pack])

    def scores_at(self, x: Tensor, side: str) -> Tensor:
        """Scores ``(B,)`` of other observations ``(B, *shape)``, shown to the critic as those of a side are."""
        return self.each(score_of(self._score(x, side)))

    def squared_slopes(self, side: str) -> Tensor:
        """‖∇D‖² at the observations of a side that `Regularizer.slopes` names, ``(B,)``."""
        return self._squared[side]

    def slopes_at(self, x: Tensor) -> Tensor:
        """‖∇D‖ at points ``(B, *shape)``, which are shown to the critic as real observations are, ``(B,)``."""
        gradient = self.joined(input_gradient(lambda v: self._score(v, "real"), x)[1])
        return self.each(gradient_norm(gradient))


@dataclass
class Made:
    """A generator's turn: what it made of codes, and what the critic, whose parameters rest, says of it.

    ``fake`` are observations of codes ``z``, with their gradient, ``outputs`` ``(B,)`` or ``(B, d)`` what the critic
    says of them, ``loss`` ``(B,)`` what the generator minimizes; ``view`` gives what the critic is given of a side:
    what it is shown, and what it is told with it. Noise and ``shown`` are as in `Judged`.
    """

    nets: Networks
    real: Batch
    z: Tensor
    fake: Tensor
    outputs: Tensor
    loss: Tensor
    view: Callable[[Tensor, str], tuple[Any, ...]]
    noise: Mapping[str, Tensor] = field(default_factory=dict)
    shown: dict[str, Tensor] = field(default_factory=dict)

    @property
    def score(self) -> Tensor:
        """Scores of what was made, ``(B,)``."""
        return score_of(self.outputs)

    def remade(self, z: Tensor) -> Tensor:
        """Observations of other codes, one for each, of the same classes."""
        return self.nets.model.mean(z, self.real.y)

    def features(self, side: str) -> Tensor:
        """What the critic's last layer reads of a side's observations, ``(N, F)``, N the number of packs."""
        x, y, *beside = self.view(self.fake if side == "fake" else self.real.x, side)
        ports = self.nets.critic.ports
        features = self.nets.critic.features(x, y if ports.classes or ports.condition else None, *beside)
        return features if features.dtype == torch.float64 else features.float()


def score_of(outputs: Tensor) -> Tensor:
    """The score ``(N,)`` among a critic's outputs ``(N,)`` or ``(N, d)``."""
    return outputs if outputs.dim() == 1 else outputs[:, 0]


class Regularizer(Configured, nn.Module):
    """Terms that go with any loss. What it remembers are buffers, which checkpoints keep.

    A variant names the turns that it ``plays`` in and gives its term in each: `term` in the critic's, `generator_term`
    in the generator's. `after_step` follows what is ``watched``: ``real`` and ``fake``, the mean scores; ``sign``, the
    mean sign of real scores; ``images``, how many observations the turn judged; and what terms put into ``shown``.
    """

    plays: tuple[str, ...] = ("critic",)  # ``critic``, ``generator`` or both
    slopes: tuple[str, ...] = ()  # sides at whose observations it reads the gradient: `Judged.squared_slopes`
    penalized: bool = False  # it reads gradients of the critic at all, so that no layer may mix observations
    coupled: bool = False  # a term depends on the whole batch (`genzoo.core.distributed.gather.all_gather`)
    rescales: bool = False  # it has `rescaled`, in every turn
    watched: tuple[str, ...] = ()
    reads_zero: bool = False  # it depends on where a score is zero, which some losses leave free
    rank: int = 0  # dimensions of an observation that it can work with: 3 for (channels, height, width); 0 for any

    @dataclass(frozen=True)
    class Options(Configured.Options):
        weight: float | tuple[float, float] = option(1.0, "factor of the term; START,END follows train.schedule", low=0)
        every: int = option(1, "steps from one of its terms to the next, which weighs as many times more", low=1)

    options: Options

    def weight(self, turn: str) -> float | tuple[float, float]:
        """Factor of the term in a turn."""
        return self.options.weight

    def fits(self, nets: Networks) -> None:
        """Raise `UsageError`, with the reason, if it cannot work with these networks."""

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Draw the noise of a turn, under names of its own, the batch first."""
        return {}

    def term(self, judged: Judged) -> Tensor:
        """The critic's term before its weight, ``(B,)``."""
        raise NotImplementedError

    def generator_term(self, made: Made) -> Tensor:
        """The generator's term before its weight, ``(B,)``."""
        raise NotImplementedError

    def rescaled(self, critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """What stands for the critic's outputs of what it is shown, and may depend on their gradients there."""
        return critic(x)

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move what is remembered, by 0-d means over the whole batch of what is `watched`."""

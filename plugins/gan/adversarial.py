"""What every GAN shares: a critic that scores, a generator that wants good scores, and their turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.networks import Critic
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, CriticPlan, Loss, Networks, Objective, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec


class Adversarial(Objective):
    """A game of a critic against a generator.

    A variant says what both want of the scores, per observation: `critic_loss` and `generator_loss`; and
    perhaps a `penalty`. Scores are logits, ``(B,)``, real and fake observation of a pair under one index.

    Attributes:
        penalized: whether input gradients of the critic are penalized, so that it may not mix observations.
        paired: whether the generator's loss compares with real observations.
        coupled: whether the two losses compare with the rest of the batch, which then must be the whole of it on
            every process: `genzoo.core.distributed.gather.whole`.
    """

    penalized: bool = False
    paired: bool = False
    coupled: bool = False

    @dataclass(frozen=True)
    class Options(Objective.Options):
        """Options that every GAN has."""

        critic_steps: int = option(1, "turns of the critic for one of the generator", low=1)
        critic_lr: float | None = option(None, "the critic's learning rate, none for the run's (TTUR)", low=0)

    options: Options

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimizes, given its scores ``(B,)``."""
        raise NotImplementedError

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """What the generator minimizes; ``real`` is given if `paired`."""
        raise NotImplementedError

    def penalty(self, critic: Critic, real: Batch, fake: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Further terms of the critic's loss, weighted, ``(B,)`` each."""
        return {}

    def plan(self, spec: DataSpec) -> Plan:
        """One critic with one score."""
        return Plan(critics=(CriticPlan(penalized=self.penalized),))

    def players(self) -> tuple[Player, ...]:
        """The critic first."""
        o = self.options
        return (
            Player("critic", ("critic",), turns=o.critic_steps, lr=o.critic_lr),
            Player("generator", ("generator",)),
        )

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Codes."""
        return {"z": model.prior.draw(draws)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """The loss of a turn."""
        if player == "critic":
            with torch.no_grad():
                fake = nets.model.mean(noise["z"], batch.y)
            return self.judge(nets.critic, batch, fake, noise)
        score = nets.critic(nets.model.mean(noise["z"], batch.y), batch.y).squeeze(1).float()
        real = nets.critic(batch.x, batch.y).squeeze(1).float() if self.paired else None
        coupled = ("adversarial",) if self.coupled else ()
        return Loss({"adversarial": self.generator_loss(score, real)}, coupled=coupled, gathered=coupled)

    def judge(self, critic: Critic, batch: Batch, fake: Tensor, noise: Mapping[str, Tensor]) -> Loss:
        """The critic's turn."""
        real_score, fake_score = both_scores(critic, batch, fake)
        terms = {"adversarial": self.critic_loss(real_score, fake_score)}
        terms |= self.penalty(critic, batch, fake, noise)
        coupled = ("adversarial",) if self.coupled else ()
        return Loss(terms, coupled=coupled, shown={"real": real_score, "fake": fake_score}, gathered=coupled)


def both_scores(critic: Critic, real: Batch, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Scores ``(B,)`` of real and fake observations; fakes carry the labels of the real ones.

    A penalized critic judges observations one by one and sees both in one pass. Any other may have batch
    norm, and sees them apart, each with its own statistics.
    """
    if not critic.ports.per_observation:
        return critic(real.x, real.y).squeeze(1).float(), critic(fake, real.y).squeeze(1).float()
    y = None if real.y is None else torch.cat([real.y, real.y])
    real_score, fake_score = critic(torch.cat([real.x, fake]), y).squeeze(1).float().chunk(2)
    return real_score, fake_score

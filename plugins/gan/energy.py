"""What energy-based GANs share: a critic that is an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.networks import Generator
from genzoo.core.objective import CriticPlan, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.adversarial import Adversarial


class Energy(Adversarial):
    """A critic of two halves, ``coder`` and ``decoder``, built like encoder and generator.

    An observation's energy is the mean absolute error of its reconstruction, over all dimensions.
    """

    takes = frozenset()

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        hidden: int = option(32, "numbers between the halves of the critic", low=1)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        code = (self.options.hidden,)
        halves = (
            CriticPlan("coder", code, kind="encoder"),
            CriticPlan("decoder", spec.shape, inputs=code, kind="generator"),
        )
        return Plan(critics=halves)

    def players(self) -> tuple[Player, ...]:
        critic, generator = super().players()
        return Player("critic", ("coder", "decoder"), critic.turns, critic.lr), generator

    def energy(self, nets: Networks, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Energies ``(B,)`` and codes ``(B, hidden)`` of observations in model space."""
        code = nets.critics["coder"](x, y)
        decoder: Generator = nets.critics["decoder"]  # type: ignore[assignment]
        error = nets.model.likelihood.mean(decoder(code, y)) - x
        return error.abs().flatten(1).float().mean(1), code.float()

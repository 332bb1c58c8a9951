"""GAN-QP: a quadratic potential in place of a Lipschitz constraint."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Regularizer
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.plugins.gan.wgan import Wasserstein
from genzoo.registry import declare


class QuadraticPotential(Regularizer):
    """Δ² / (2 λ d) of pairs of a real and a generated observation, d their mean absolute difference."""

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        scale: float = option(10.0, "λ: how much scores may differ for a distance of 1", low=1e-6)

    options: Options

    def term(self, judged: Judged) -> Tensor:
        apart = judged.joined(judged.real.x - judged.fake).abs().flatten(1).mean(1)
        distance = judged.each(apart).clamp(min=1e-6)
        return (judged.real_score - judged.fake_score).square() / (2 * self.options.scale * distance)


@declare.objective(
    "gan-qp",
    paper="arXiv:1811.07296",
    tags=("gan", "wasserstein"),
    recipe={"like": "gan", "presets": {"image": {"critic.spectral_norm": False}}},
)
class GANQP(Wasserstein):
    """GAN-QP: scores of a pair may differ by as much as the pair does, without a constraint on slopes.

    With Δ = D(x) - D(G(z)) and d the mean absolute difference of x and G(z) the critic minimizes E[-Δ + Δ² / (2 λ d)],
    the generator E[Δ]. Between two points the optimum is Δ = λ d.

    When: a Wasserstein-like loss without second derivatives, and a critic without spectral norm.

    Cost: two turns of the critic for one of the generator.
    """

    @dataclass(frozen=True)
    class Options(Wasserstein.Options):
        critic_steps: int = option(2, "turns of the critic for one of the generator", low=1)
        scale: float = option(10.0, "λ: how much scores may differ for a distance of 1", low=1e-6)

    options: Options

    def __init__(self, options: Adversarial.Options | None = None) -> None:
        super().__init__(options)
        potential = QuadraticPotential(QuadraticPotential.Options(scale=self.options.scale))
        self.regularizers["potential"] = potential

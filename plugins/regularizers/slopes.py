"""Penalties on the gradients of a critic's scores: at observations, around them, and between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Regularizer
from genzoo.registry import declare


@declare.regularizer("r1", paper="arXiv:1801.04406")
class R1(Regularizer):
    """½ ‖∇D(x)‖² at real observations (Mescheder et al., arXiv:1801.04406); the weight is the paper's γ.

    It makes training converge locally with any loss. On images of N×N pixels a weight of .0002 N² / batch is a
    start; every 16th step is often enough (``every``).
    """

    slopes = ("real",)
    penalized = True

    def term(self, judged: Judged) -> Tensor:
        return judged.squared_slopes("real") / 2


@declare.regularizer("r2", paper="arXiv:1801.04406")
class R2(Regularizer):
    """½ ‖∇D(G(z))‖² at generated observations (arXiv:1801.04406); with R1 both take one pass."""

    slopes = ("fake",)
    penalized = True

    def term(self, judged: Judged) -> Tensor:
        return judged.squared_slopes("fake") / 2


@declare.regularizer("lipschitz", paper="arXiv:1704.00028")
class Lipschitz(Regularizer):
    """(‖∇D(x̂)‖ - 1)² on the lines between real and generated observations (Gulrajani et al., arXiv:1704.00028).

    One-sided, it costs only slopes above 1 (WGAN-LP, arXiv:1709.08894).
    """

    penalized = True

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(10.0, "factor λ of the term", low=0)
        one_sided: bool = option(False, "penalize only slopes above 1")

    options: Options

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {"mix": draws.uniform(1)}

    def term(self, judged: Judged) -> Tensor:
        off = self.slopes_between(judged) - 1
        return (off.relu() if self.options.one_sided else off).square()

    @staticmethod
    def slopes_between(judged: Judged) -> Tensor:
        """‖∇D(x̂)‖ at a random point between every pair, ``(B,)``."""
        mix = judged.one(judged.noise["mix"]).view(-1, *[1] * (judged.fake.dim() - 1))
        return judged.slopes_at(torch.lerp(judged.real.x, judged.fake, mix))


@declare.regularizer("max-slope", paper="arXiv:1902.05687")
class MaxSlope(Regularizer):
    """max ‖∇D(x̂)‖² over the whole batch, x̂ as in `lipschitz` (Lipschitz GAN, Zhou et al., arXiv:1902.05687).

    A Lipschitz constant is a maximum: slopes below the largest cost nothing.
    """

    penalized = True
    coupled = True

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(10.0, "factor λ of the term", low=0)

    options: Options

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {"mix": draws.uniform(1)}

    def term(self, judged: Judged) -> Tensor:
        slopes = Lipschitz.slopes_between(judged)
        return all_gather(slopes).max().square().expand(len(slopes))


@declare.regularizer("wgan-div", paper="arXiv:1712.01026")
class Divergence(Regularizer):
    """½ (‖∇D(x)‖ᵖ + ‖∇D(G(z))‖ᵖ), the Wasserstein divergence's (Wu et al., arXiv:1712.01026); the weight is its k."""

    slopes = ("real", "fake")
    penalized = True

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(2.0, "factor k of the term", low=0)
        power: float = option(6.0, "power p of the slopes", low=2)

    options: Options

    def term(self, judged: Judged) -> Tensor:
        real, fake = (judged.squared_slopes(side) ** (self.options.power / 2) for side in self.slopes)
        return (real + fake) / 2


@declare.regularizer("dragan", paper="arXiv:1705.07215")
class DRAGAN(Regularizer):
    """(‖∇D(x + δ)‖ - 1)² around real observations, δ = ½ std(x) α u (Kodali et al., arXiv:1705.07215).

    The standard deviation is the whole batch's; α is one uniform number per observation, u one per dimension.
    """

    penalized = True
    coupled = True

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(10.0, "factor λ of the term", low=0)

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {"far": draws.uniform(1), "around": draws.uniform(*model.spec.shape)}

    def term(self, judged: Judged) -> Tensor:
        x, around = judged.real.x, judged.noise["around"]
        far = judged.noise["far"].view(-1, *[1] * (x.dim() - 1))
        return (judged.slopes_at(x + 0.5 * all_gather(x).std() * far * around) - 1).square()

"""DRAGAN: a gradient penalty around the data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Regularizer
from genzoo.registry import declare


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

    options: Options

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {"far": draws.uniform(1), "around": draws.uniform(*model.spec.shape)}

    def term(self, judged: Judged) -> Tensor:
        x, around = judged.real.x, judged.noise["around"]
        far = judged.noise["far"].view(-1, *[1] * (x.dim() - 1))
        return (judged.slopes_at(x + 0.5 * all_gather(x).std() * far * around) - 1).square()

"""The gradient penalty of WGAN-GP, and its one-sided form, for any loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Regularizer
from genzoo.registry import declare


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
        mix = judged.one(judged.noise["mix"]).view(-1, *[1] * (judged.fake.dim() - 1))
        off = judged.slopes_at(torch.lerp(judged.real.x, judged.fake, mix)) - 1
        return (off.relu() if self.options.one_sided else off).square()

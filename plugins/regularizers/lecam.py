"""LeCam: scores are kept near those that the other side used to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.math.estimates import running_mean
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Regularizer
from genzoo.registry import declare


@declare.regularizer("lecam", paper="arXiv:2104.03310")
class LeCam(Regularizer):
    """relu(D(x) - α_F)² + relu(α_R - D(G(z)))², α the running means of scores (Tseng et al., arXiv:2104.03310).

    For few data: it keeps the critic from being surer and surer. The means are corrected for their start at zero.
    """

    watched = ("real", "fake")
    reads_zero = True

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(0.3, "factor λ of the term", low=0)
        decay: float = option(0.99, "of the running means, per turn of the critic", low=0, high=0.999999)
        start: int = option(1, "turns of the critic before the term counts", low=1)

    options: Options
    means: Tensor
    turns: Tensor

    def __init__(self, options: Regularizer.Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("means", torch.zeros(2))
        self.register_buffer("turns", torch.zeros(()))

    def term(self, judged: Judged) -> Tensor:
        real, fake = running_mean(self.means, self.options.decay, self.turns)
        term: Tensor = (judged.real_score - fake).relu().square() + (real - judged.fake_score).relu().square()
        return term * (self.turns >= self.options.start)

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        self.means.lerp_(torch.stack([seen["real"], seen["fake"]]), 1 - self.options.decay)
        self.turns.add_(1)

"""R1: a zero-centred gradient penalty at real observations."""

from __future__ import annotations

from torch import Tensor

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

"""R2: a zero-centred gradient penalty at generated observations."""

from __future__ import annotations

from torch import Tensor

from genzoo.core.regularizer import Judged, Regularizer
from genzoo.registry import declare


@declare.regularizer("r2", paper="arXiv:1801.04406")
class R2(Regularizer):
    """½ ‖∇D(G(z))‖² at generated observations (arXiv:1801.04406); with R1 both take one pass."""

    slopes = ("fake",)
    penalized = True

    def term(self, judged: Judged) -> Tensor:
        return judged.squared_slopes("fake") / 2

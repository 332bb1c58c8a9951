"""The prior of a model that was trained without one, and waits for it."""

from __future__ import annotations

from torch import Tensor

from genzoo.core.prior import NormalPrior, straight
from genzoo.registry import declare


@declare.prior("unfitted", paper="arXiv:1903.12436", tags=("vae", "autoencoder"))
class Unfitted(NormalPrior):
    """No prior yet: ``genzoo prior fit RUN --prior mixture`` fits one; until then sampling is refused.

    A standard normal stands in where any codes will do, such as in a fingerprint.
    """

    unfitted = "it was trained without a prior; fit one with genzoo prior fit (genzoo.fit_prior), and sample that model"
    family = ""

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return straight(a, b, t)

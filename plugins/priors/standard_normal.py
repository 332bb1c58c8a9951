"""The normal prior, which a composition has unless it names another."""

from __future__ import annotations

from genzoo.core.prior import NormalPrior
from genzoo.registry import declare


@declare.prior("normal", paper="arXiv:1312.6114", tags=("vae",))
class Normal(NormalPrior):
    """Standard normal prior: every number of the code N(0, 1), independent of the others."""

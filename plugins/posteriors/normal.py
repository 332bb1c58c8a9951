"""The normal posterior, which a composition has unless it names another."""

from __future__ import annotations

from genzoo.core.posterior import NormalHead
from genzoo.registry import declare


@declare.posterior("normal", paper="arXiv:1312.6114", tags=("vae",))
class Normal(NormalHead):
    """Diagonal normal posterior: a mean and a variance for every number of the code."""

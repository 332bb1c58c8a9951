"""PacGAN: a critic of several observations at once."""

from __future__ import annotations

from dataclasses import dataclass

from genzoo.core.options import option
from genzoo.plugins.gan.gan import GAN
from genzoo.registry import declare


@declare.objective(
    "pacgan",
    paper="arXiv:1712.04086",
    tags=("gan",),
    recipe={"like": "gan", "presets": {"vector": {"regularizer": ["r1=0.05"]}}},
)
class PacGAN(GAN):
    """The original GAN with packing: the critic judges m observations of one side, stacked along their first axis.

    A generator that drops modes makes packs with less variety than real ones, which is easier to see than in one. Any
    loss whose critic gives a score takes packs, too: ``objective.pack=4``.

    When: a GAN drops modes and gradient penalties are too dear; with them, packing adds little.

    Cost: that of `gan`. The batch must be a multiple of m.
    """

    @dataclass(frozen=True)
    class Options(GAN.Options):
        pack: int = option(2, "observations m that the critic judges as one", low=1, high=64)

    options: Options

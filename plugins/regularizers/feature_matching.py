"""Feature matching: samples shall have, on average, the features of the data."""

from __future__ import annotations

from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic
from genzoo.core.objective import Networks
from genzoo.core.regularizer import Made, Regularizer
from genzoo.registry import declare


@declare.regularizer("feature-matching", paper="arXiv:1606.03498")
class FeatureMatching(Regularizer):
    """‖E h(x) - E h(G(z))‖² for the generator, h what the critic's last layer reads (Salimans et al., 1606.03498).

    The means are the whole batch's. It steadies a generator whose critic is far ahead.
    """

    plays = ("generator",)
    coupled = True

    def fits(self, nets: Networks) -> None:
        if type(nets.critic).features is Critic.features:
            raise UsageError("feature-matching needs a critic with features: --critic mlp or --critic conv has them")

    def generator_term(self, made: Made) -> Tensor:
        real, fake = (all_gather(made.features(side)).mean(0) for side in ("real", "fake"))
        return (fake - real).square().sum().expand(len(made.fake))

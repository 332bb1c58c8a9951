"""Top-k training: the generator learns from the samples that the critic likes best."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.options import option
from genzoo.core.regularizer import Made, Regularizer
from genzoo.registry import declare


@declare.regularizer("topk", paper="arXiv:2002.06224")
class TopK(Regularizer):
    """The generator's loss counts for the k samples of highest score only, B/k-fold (Sinha et al., arXiv:2002.06224).

    k is the batch B times max(γ^epoch, floor). The term is what this changes of the loss, so that it is 0 where k = B.
    """

    plays = ("generator",)
    coupled = True

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(1.0, "share of the change that is made", low=0, high=1)
        gamma: float = option(0.99, "share of k that is left after each epoch", low=0, high=1)
        floor: float = option(0.5, "least share of the batch", low=0.001, high=1)

    options: Options

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        epoch = draws.step * draws.batch // max(draws.population, draws.batch)
        return {"share": draws.number(max(self.options.gamma**epoch, self.options.floor))}

    def generator_term(self, made: Made) -> Tensor:
        scores = all_gather(made.score.detach())
        k = (made.noise["share"] * len(scores)).round().clamp(min=1).long()
        kept = scores.sort(descending=True).values.index_select(0, (k - 1).view(1))
        factor = (made.score >= kept) * (len(scores) / (scores >= kept).sum())
        return (factor - 1) * made.loss

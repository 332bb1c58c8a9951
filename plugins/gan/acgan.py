"""Critics that say the class instead of being told it: ACGAN, and two ways to keep its classes diverse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import cross_entropy

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic
from genzoo.core.objective import Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.hinge import Hinge
from genzoo.registry import declare


class Classifying(Hinge):
    """A hinge loss whose critic is not told the class: it puts out the score, then ``more`` numbers that say it."""

    def more(self, classes: int) -> int:
        """How many numbers come after the score."""
        raise NotImplementedError

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        if not classes:
            raise UsageError(
                "a critic that says the class needs labels: train a conditional model on data that has them"
            )
        return Plan(critics=(self.critic_plan(spec, outputs=1 + self.more(classes), labels=False),))

    def score(self, critic: Critic, x: Tensor, y: Tensor | None, beside: Tensor | None = None) -> Tensor:
        outputs: Tensor = critic(x)
        return outputs.float()

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().critic_loss(real[:, 0], fake[:, 0])

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return super().generator_loss(fake[:, 0], real)


declare.recipe(
    "tacgan",
    summary="ACGAN with a twin classifier of samples",
    paper="arXiv:1907.02690",
    tags=("gan", "conditional"),
    like="acgan",
    options={"objective.form": "tac"},
)
declare.recipe(
    "adcgan",
    summary="ACGAN whose classifier tells real classes from fake ones",
    paper="arXiv:2107.10060",
    tags=("gan", "conditional"),
    like="acgan",
    options={"objective.form": "adc"},
)


@declare.objective(
    "acgan", paper="arXiv:1610.09585", tags=("gan", "conditional"), recipe={"like": "hinge", "conditional": True}
)
class ACGAN(Classifying):
    """Auxiliary classifier GAN: the critic is not told the class, and learns to say it; hinge loss.

    Both players add λ times cross-entropies CE, the generator's of the class y that it was asked for. ``ac``: the
    critic CE(c(x), y), the generator CE(c(G(z)), y), which favours samples that are easy to classify. ``tac``
    (arXiv:1907.02690): a twin t learns samples, critic + CE(t(G(z)), y), generator - CE(t(G(z)), y), which takes this
    back. ``adc`` (arXiv:2107.10060): a classifier of 2 C classes, real y and fake y, the critic CE(x, real y) +
    CE(G(z), fake y), the generator CE(G(z), real y) - CE(G(z), fake y).

    When: few classes that are easy to tell apart. With many, a conditional `hinge`, whose critic is told the class,
    keeps more diversity; of the three forms `adc` does.

    Cost: that of `hinge`.
    """

    @dataclass(frozen=True)
    class Options(Hinge.Options):
        form: Literal["ac", "tac", "adc"] = option("ac", "auxiliary, twin auxiliary or discriminative classifier")
        weight: float = option(1.0, "weight λ of the classification", low=0)
        fakes: bool = option(False, "with ac, the critic classifies samples too, as in the article")

    options: Options

    def more(self, classes: int) -> int:
        return classes if self.options.form == "ac" else 2 * classes

    def further(self, player: str, real: Tensor | None, fake: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """Cross-entropies, in nats: of real observations in the critic's turn, of samples in either."""
        assert y is not None  # the plan refuses what has no labels
        form, judging = self.options.form, real is not None
        terms = {"classify": entropy(form, fake if real is None else real, y, fakes=False)}
        if form != "ac":
            terms["twin"] = entropy(form, fake, y, fakes=True) * (1 if judging else -1)
        elif self.options.fakes and judging:
            terms["twin"] = entropy(form, fake, y, fakes=False)
        return {name: self.options.weight * term for name, term in terms.items()}


def entropy(form: str, outputs: Tensor, y: Tensor, *, fakes: bool) -> Tensor:
    """Cross-entropy ``(B,)`` of what a critic put out with the classes, as real ones or, by the form, as fake ones."""
    logits = outputs[:, 1:].chunk(2, 1)[fakes] if form == "tac" else outputs[:, 1:]
    target = y + logits.shape[1] // 2 if form == "adc" and fakes else y
    return cross_entropy(logits, target, reduction="none")

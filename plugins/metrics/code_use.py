"""How many of a quantizer's codes are used, and how evenly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric, as_floats
from genzoo.core.math.intervals import Estimate
from genzoo.core.posterior import TokenHead
from genzoo.registry import declare


def use(tokens: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """How many codes are used, and the perplexity of their shares exp(-Σ p log p), by level of ``(N, n, levels)``."""
    count = torch.stack([torch.bincount(t, minlength=codes) for t in tokens.flatten(0, 1).T]).double()
    share = count / count.sum(1, keepdim=True)
    return (count > 0).sum(1), torch.special.entr(share).sum(1).exp()


class _Tokens(Metric):
    """Of the tokens of the data."""

    niche = True

    def head(self, evidence: Evidence) -> TokenHead | None:
        head = None if evidence.model is None else evidence.model.head
        return head if isinstance(head, TokenHead) else None

    def refuses(self, evidence: Evidence) -> str:
        return "" if self.head(evidence) is not None else "the model's codes are no tokens: it has no quantizer"

    def found(self, evidence: Evidence) -> tuple[Tensor, Tensor, int, dict[str, Any]]:
        """Codes used and perplexity by level, how many codes there are, and details."""
        model, head = evidence.model, self.head(evidence)
        assert model is not None
        assert head is not None

        def compute() -> tuple[Tensor, Tensor]:
            told = evidence.data.told(model)
            tokens = model.tokens(as_floats(evidence.data), **told, batch_size=evidence.batch_size)
            return use(tokens.view(len(tokens), -1, head.levels).cpu(), head.codes)

        used, perplexity = evidence.once("code use", compute)
        drawn = len(evidence.data) * head.places // head.levels
        details = {"of": head.codes, "tokens": drawn, "used": used.tolist(), "perplexity": perplexity.tolist()}
        return used, perplexity, head.codes, details


@declare.metric(
    "code-use",
    direction="higher",
    unit="",
    needs=("data", "encoder"),
    paper="arXiv:1711.00937",
    tags=("representation", "quantizer"),
)
class CodeUse(_Tokens):
    """Share of a quantizer's codes that held-out data use, of several levels the mean.

    Fewer tokens than codes cannot use them all: the details say how many there were.
    """

    def measure(self, evidence: Evidence) -> Measured:
        used, _, codes, details = self.found(evidence)
        value = used.double().mean().item() / codes
        return Measured(Estimate(value, samples=(len(evidence.data),)), details, why="a count over all codes")


@declare.metric(
    "code-perplexity",
    direction="higher",
    unit="codes",
    needs=("data", "encoder"),
    paper="arXiv:1711.00937",
    tags=("representation", "quantizer"),
)
class CodePerplexity(_Tokens):
    """How many equally used codes have the entropy of a quantizer's on held-out data: exp(-Σ p log p).

    Of several levels the geometric mean.
    """

    def measure(self, evidence: Evidence) -> Measured:
        _, perplexity, _, details = self.found(evidence)
        value = perplexity.log().mean().exp().item()
        return Measured(Estimate(value, samples=(len(evidence.data),)), details, why="a count over all codes")

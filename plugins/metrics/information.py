"""What codes say of data: the KL in its three parts by enumeration, and what swapping codes costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.joint import evaluating
from genzoo.core.likelihood import Implicit
from genzoo.core.math.aggregate import aggregate
from genzoo.core.math.intervals import mean
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal
from genzoo.registry import declare

_ROWS = 64  # codes at a time, each against all posteriors
_PARTS = ("mutual information", "total correlation", "dimension-wise KL")


class _Enumerated(Metric):
    """Parts of the KL to the prior, of one code of each observation, against the posteriors of all of them."""

    covers = "the mean over codes of these observations"
    part: ClassVar[str]

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(2000, "observations, which are the population", low=2)

    def refuses(self, evidence: Evidence) -> str:
        model = evidence.model
        if model is not None and model.head is not None and model.head.point:
            return "codes are points without density"
        return "the prior is over discrete codes" if model is not None and model.prior.discrete else ""

    @torch.no_grad()
    def parts(self, evidence: Evidence) -> dict[str, Tensor]:
        """Values ``(N,)`` in nats by name: they sum to log q(z|x) - log p(z)."""
        model, (x, y) = evidence.model, evidence.in_model_space(self.options.limit)
        assert model is not None
        means, variances, each = [], [], []
        with evaluating(model):
            for i in range(0, len(x), evidence.batch_size):
                part = slice(i, i + evidence.batch_size)
                q = model.posterior(x[part], None if y is None else y[part])
                if not isinstance(q.start, DiagonalNormal) or q.start is not q:
                    raise GenzooError("the marginals of this posterior are not known: it is no diagonal normal")
                means.append(q.mean.flatten(1).double())
                variances.append(q.log_var.flatten(1).double())
            mu, log_var = torch.cat(means), torch.cat(variances)
            eps = torch.randn(mu.shape, generator=generator(evidence.seed, 0x1F0), dtype=mu.dtype).to(mu.device)
            z = mu + torch.exp(0.5 * log_var) * eps
            own = -0.5 * (eps.square() + log_var + math.log(2 * math.pi)).sum(1)
            prior = model.prior.log_prob(z.float().view(-1, *model.latent.shape), y).double()
            weights = mu.new_full((1, len(mu)), -math.log(len(mu)))
            each = [aggregate(rows, mu, log_var, weights) for rows in torch.split(z, _ROWS)]
        joint, apart = torch.cat([a.joint for a in each]), torch.cat([a.each.sum(1) for a in each])
        values = (own - joint, joint - apart, apart - prior)
        return {name: value.cpu() for name, value in zip(_PARTS, values, strict=True)}

    def measure(self, evidence: Evidence) -> Measured:
        found = evidence.once(("parts of the KL", self.options.limit), lambda: self.parts(evidence))
        n = len(found[self.part])
        details = {name: value.mean().item() for name, value in found.items()}
        return Measured(mean(found[self.part]), {**details, "population": n, "log population": math.log(n)}, n_real=n)


@declare.metric(
    "mutual-information",
    direction="higher",
    unit="nats",
    needs=("data", "encoder"),
    paper="Hoffman and Johnson, NIPS workshop 2016",
    tags=("representation",),
)
class MutualInformation(_Enumerated):
    """What codes say of which observation they are of: E[log q(z|x) - log q(z)], by enumeration.

    q(z) is the mean of the posteriors of all observations looked at, so that the number is exact of these but for the
    draw of the codes; at most the logarithm of their count. Near 0 the posterior collapsed, wherever its means lie.
    """

    part = _PARTS[0]


@declare.metric(
    "total-correlation",
    direction="lower",
    unit="nats",
    needs=("data", "encoder"),
    paper="arXiv:1802.04942",
    tags=("representation", "disentanglement"),
)
class TotalCorrelation(_Enumerated):
    """How far the numbers of a code are from independent: KL(q(z) ‖ Π q(z_j)), by enumeration.

    Estimates from minibatches, as training uses, are no measurements of it: they may be off by more than its size. Of
    few observations with narrow posteriors it is large whatever the model, so compare numbers of one ``limit``.
    """

    part = _PARTS[1]


@declare.metric(
    "dimension-wise-kl",
    direction="none",
    unit="nats",
    needs=("data", "encoder"),
    paper="arXiv:1802.04942",
    tags=("representation",),
)
class DimensionWiseKL(_Enumerated):
    """How far each number of all codes together is from the prior: Σ_j KL(q(z_j) ‖ p(z_j)), by enumeration.

    What is left of the KL to the prior beside information and total correlation; with a prior whose numbers depend on
    each other, E[Σ log q(z_j) - log p(z)].
    """

    part = _PARTS[2]


@declare.metric("swap-cost", direction="higher", unit="nats", needs=("data", "encoder"), tags=("representation",))
class SwapCost(Metric):
    """What it costs to decode an observation from another one's code: E[log p(x|z) - log p(x|z')], in nats.

    The decoder is told the observation's own label. Near 0 it does not go by the code, whatever the code says.
    """

    covers = "the mean over unlimited data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(1000, "observations", low=2)

    def refuses(self, evidence: Evidence) -> str:
        if evidence.model is not None and isinstance(evidence.model.likelihood, Implicit):
            return "the model has no likelihood: its generator puts out samples, not a distribution"
        return ""

    @torch.no_grad()
    def measure(self, evidence: Evidence) -> Measured:
        model, (x, y) = evidence.model, evidence.in_model_space(self.options.limit)
        assert model is not None
        parts = [slice(i, i + evidence.batch_size) for i in range(0, len(x), evidence.batch_size)]
        told = [None if y is None else y[part] for part in parts]
        with evaluating(model):
            z = torch.cat([model.posterior(x[p], t).mean for p, t in zip(parts, told, strict=True)])
            scores = []
            for codes in (z, z.roll(1, 0)):
                of = [
                    model.likelihood.log_prob(model.generator(codes[p], t), x[p])
                    for p, t in zip(parts, told, strict=True)
                ]
                scores.append(torch.cat(of).double().cpu())
        return Measured(mean(scores[0] - scores[1]), n_real=len(x))

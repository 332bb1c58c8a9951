"""β-TC-VAE: the KL in three parts, of which the total correlation weighs most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.math.aggregate import aggregate, stratified_weights
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import DIAGONAL, Variational, plain_bound
from genzoo.registry import declare

PARTS = ("mutual information", "total correlation", "dimension-wise kl")


@declare.objective("beta-tc-vae", paper="arXiv:1802.04942", tags=("vae", "disentanglement"), recipe={"like": "vae"})
class BetaTCVAE(Variational):
    """β-TC-VAE: -log p(x|z) + α MI + β TC + γ Σ KL_j, the three parts of the KL, each with a weight of its own.

    MI = log q(z|x) - log q(z), TC = log q(z) - Σ log q(z_j), and the last is Σ log q(z_j) - log p(z): with weights of 1
    they are log q(z|x) - log p(z). The aggregate posterior q(z) is estimated from the batch by stratified weights,
    which see little of a small batch: to measure, not to train, enumerate (`genzoo eval --metrics total-correlation`).

    When: each number of the code should stand for one thing; large batches, of 1,000 or so.

    Cost: that of `vae`, and B² D numbers for a batch of B.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        alpha: float = option(1.0, "α, weight of the information between data and code", low=0)
        beta: float = option(6.0, "β, weight of the total correlation", low=0)
        gamma: float = option(1.0, "γ, weight of each number's KL to the prior", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), posteriors=DIAGONAL)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {**super().draw(player, draws, model), "population": draws.number(draws.population)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """The bound with the KL in its parts, each the mean over the batch."""
        model, o = nets.model, self.options
        q = model.posterior(batch.x, batch.y)
        assert isinstance(q, DiagonalNormal)  # as planned
        z, own = q.sample_with_log_prob(noise["eps"])
        codes, mean, log_var = (all_gather(t.flatten(1)) for t in (z, q.mean, q.log_var))
        of = aggregate(codes, mean, log_var, stratified_weights(len(codes), noise["population"], codes))
        prior, each = model.prior.log_prob(z, batch.y), of.each.sum(1).mean()
        own, prior = all_gather(own).mean(), all_gather(prior).mean()
        parts = (own - of.joint.mean(), of.joint.mean() - each, each - prior)
        found = plain_bound(model, batch, q, z, own - prior)
        terms = {k: v for k, v in found.terms.items() if k != "kl"}
        terms |= {name: part.expand(len(z)) for name, part in zip(PARTS, parts, strict=True)}
        weights = dict(zip(PARTS, (o.alpha, o.beta, o.gamma), strict=True))
        coupled = {**found.coupled, **dict.fromkeys(PARTS, True)}
        return replace(found, terms=terms, weights=weights, coupled=coupled)

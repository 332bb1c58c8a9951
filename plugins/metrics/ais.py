"""Annealed importance sampling: log p(x) with no need of a good posterior."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from genzoo.core.conditions import repeated
from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.joint import evaluating
from genzoo.core.math.estimates import LogLikelihood
from genzoo.core.math.intervals import mean
from genzoo.core.model import Model
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.registry import declare

Density = Callable[[Tensor], Tensor]
SPACES = ("any numbers", "positive numbers")  # with densities by length; a step out of the positive is refused
RAISE, LOWER = 1.02, 0.98  # of a chain's step, after a move that was taken or refused: about half are taken


@dataclass(frozen=True)
class Annealed:
    """Log weights of chains in nats ``(chains, B)``, and the share of moves that were taken."""

    log_w: Tensor
    accepted: float


def anneal(z: Tensor, first: Density, last: Density, *, steps: int, leaps: int, size: float, seed: int) -> Annealed:
    """Move codes ``(chains, B, D)`` from a density that they are drawn from to another, unnormalized one.

    Densities give ``(chains, B)`` nats. On the way they are mixed geometrically, first^(1-t) last^t, and each step is
    one Hamiltonian transition of so many leaps (R. Neal, Statistics and Computing 2001; arXiv:1611.04273). The mean
    weight is the ratio of the normalizers; the size of a chain's leaps follows what it was refused.
    """
    g, log_w = generator(seed, 0xA15), z.new_zeros(z.shape[:2])
    step, accepted = z.new_full(z.shape[:2], size), z.new_zeros(())

    def at(z: Tensor, t: float) -> tuple[Tensor, Tensor, Tensor]:
        """Both log densities, and the slope of the mixed one."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            a, b = first(z), last(z)
            (slope,) = torch.autograd.grad(((1 - t) * a + t * b).sum(), z)
        return a.detach(), b.detach(), slope

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g).to(z)

    a, b, _ = at(z, 0.0)
    for k in range(1, steps + 1):
        t = k / steps
        log_w = log_w + (b - a) / steps
        if k == steps:
            break
        momentum = drawn(*z.shape)
        energy = (1 - t) * a + t * b - momentum.square().sum(-1) / 2
        new, move = z, momentum
        *_, slope = at(new, t)
        for _ in range(leaps):
            move = move + 0.5 * step[..., None] * slope
            new = new + step[..., None] * move
            new_a, new_b, slope = at(new, t)
            move = move + 0.5 * step[..., None] * slope
        after = (1 - t) * new_a + t * new_b - move.square().sum(-1) / 2
        taken = torch.rand(log_w.shape, generator=g).to(z).log() < after - energy  # of no number: refused
        z = torch.where(taken[..., None], new, z)
        a, b = torch.where(taken, new_a, a), torch.where(taken, new_b, b)
        step = (step * torch.where(taken, RAISE, LOWER)).clamp(1e-4, 1.0)
        accepted = accepted + taken.float().mean()
    return Annealed(log_w, accepted.item() / max(steps - 1, 1))


@declare.metric(
    "ais",
    direction="higher",
    unit="nats",
    needs=("data", "likelihood"),
    paper="arXiv:1611.04273",
    tags=("likelihood",),
)
class AIS(Metric):
    """Log-likelihood of held-out data by annealed importance sampling, a lower bound.

    Chains go from prior (or posterior) to log p(x, z) by Hamiltonian transitions; where their number agrees with the
    importance-weighted one, the encoder's posterior is good enough to be judged by. A step takes ten passes.
    """

    covers = "the mean over unlimited data"
    quick: ClassVar[Mapping[str, object]] = {"steps": 20, "leaps": 2}

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(20, "observations", low=1)
        chains: int = option(5, "for each observation", low=1)
        steps: int = option(500, "intermediate densities", low=1)
        leaps: int = option(10, "leapfrog steps in each transition", low=1)
        size: float = option(0.1, "of a leapfrog step at the start", low=1e-5)
        start: Literal["prior", "posterior"] = option("prior", "where chains start")

    def refuses(self, evidence: Evidence) -> str:
        model = evidence.model
        if model is not None and model.exact:
            return "the log-likelihood is exact, not bounded"
        if model is None:
            return ""
        if model.prior.discrete:
            return "its codes are discrete, and have no slope"
        if model.prior.space not in SPACES:
            return f"its codes are {model.prior.space}, which steps in a straight line leave"
        return "its prior has a bound in place of a density" if model.prior.bound_noise else ""

    def measure(self, evidence: Evidence) -> Measured:
        assert evidence.model is not None
        weights, accepted = self.weights(evidence.model, *evidence.in_model_space(self.options.limit), evidence.seed)
        if weights.isnan().any():
            raise GenzooError("the weights of the chains are no numbers")
        found = LogLikelihood.of([weights], evidence.spec.size)
        nats, o = mean(found.values), self.options
        details: dict[str, Any] = {
            "estimator": f"AIS, {o.chains} chains of {o.steps} steps from the {o.start}",
            "bits per dimension": -nats.value / (evidence.spec.size * math.log(2)),
            "standard error of the weights": found.standard_error.square().sum().sqrt().item() / len(found.values),
            "effective samples": found.effective_samples.mean().item(),
            "moves taken": accepted,
        }
        return Measured(nats, details, n_real=len(found.values))

    @torch.no_grad()
    def weights(self, model: Model, x: Tensor, y: Tensor | None, seed: int) -> tuple[Tensor, float]:
        """Log weights ``(chains, B)`` as float64, and the share of moves taken, for observations in model space."""
        o, k, n = self.options, self.options.chains, len(x)
        many, told = x.repeat(k, *[1] * (x.dim() - 1)), repeated(y, k)
        g = generator(seed, 0xA16)

        def shaped(z: Tensor) -> Tensor:
            return z.view(k * n, *model.latent.shape)

        def joint(z: Tensor) -> Tensor:
            log_x = model.likelihood.log_prob(model.generator(shaped(z), told), many)
            return (log_x + model.prior.log_prob(shaped(z), told)).view(k, n)

        with evaluating(model):
            if o.start == "posterior":
                assert model.head is not None
                q = model.posterior(x, y)
                shape = model.head.noise_shape if q.start is q else model.latent.shape  # of what is refined: a normal's
                q, eps = q.start, torch.randn(k, n, *shape, generator=g).to(x.device)
                z = q.sample(eps)

                def first(z: Tensor) -> Tensor:
                    return q.log_prob(z.view(k, n, *model.latent.shape))
            else:
                z = model.prior.sample(torch.rand(k * n, *model.prior.noise_shape, generator=g), told).to(x.device)

                def first(z: Tensor) -> Tensor:
                    return model.prior.log_prob(shaped(z), told).view(k, n)

            found = anneal(z.reshape(k, n, -1), first, joint, steps=o.steps, leaps=o.leaps, size=o.size, seed=seed)
        return found.log_w.double().cpu(), found.accepted

    def title(self, evidence: Evidence) -> str:
        return f"log-likelihood (AIS, {self.options.steps} steps)"

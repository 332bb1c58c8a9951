"""Checks of posteriors and priors inside a model: that they are distributions, and that the bound goes by them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.posterior import TokenHead
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import Case, Subject, accepted, composed, expect, gap, over, shake, shape_text
from genzoo.plugins.apps.kit.findings import Skip

N = 6
IMAGE = DataSpec.image(1, 16, 16, classes=3)
# Codes of two numbers can be enumerated; others lie on a grid, or are as a network wants them. With labels or without.
PLANE = DataSpec("vector", (4,), classes=3)
MODELS: tuple[tuple[DataSpec, dict[str, Any], bool], ...] = (
    (PLANE, {"latent.size": 2}, False),
    (PLANE, {"latent.size": 2}, True),
    (IMAGE, {"latent.size": 2, "latent.grid": 4}, True),
    (IMAGE, {}, False),
)
FEW = {"posterior.codes": 3, "posterior.dim": 1}  # of a quantizer
REACH, FINE = 10.0, 241  # of the plane of codes
AREA = (2 * REACH / (FINE - 1)) ** 2


class Coded(Subject):
    """A model with the part: samples of its posterior, or of its prior, with their densities."""

    def __init__(self, case: Case, where: str, model: Model) -> None:
        self.model, self.kind, g = model, case.entry.kind, torch.Generator().manual_seed(3)
        if self.kind == "prior":
            given = {"noise": torch.rand(N, *model.prior.noise_shape, generator=g)}
        else:
            assert model.head is not None
            noise = torch.randn(N, *model.head.noise_shape, generator=g)
            given = {"noise": noise, "x": cases.observations(model.spec, N)}
        super().__init__(where, model, {**given, "y": cases.labels(N, model.classes)})

    def compute(self, module: Any, given: Mapping[str, Any]) -> Mapping[str, Tensor]:
        noise, y = given["noise"], given["y"]
        if self.kind == "posterior":
            q = module.posterior(given["x"], y)
            z, log_q = q.sample_with_log_prob(noise)
            return {"codes": z, "log density": log_q, "mean": q.mean}
        p, n = module.prior, len(noise)
        z = p.sample(noise, y)
        some = torch.arange(n).roll(1)
        path = p.path(z, z[some], torch.tensor([0.0, 0.5, 1.0]))
        drawn = p.draw(Draws(n, "cpu").at(0, 0, 0), y)
        return {"codes": z, "log density": p.log_prob(z, y), "path": path, "drawn codes": drawn}

    def shape(self, name: str) -> tuple[int, ...]:
        shape = self.model.latent.shape
        return () if name == "log density" else (3, *shape) if name == "path" else shape

    def posterior(self, k: int, n: int) -> tuple[Any, Tensor, Tensor | None]:
        """A posterior of n observations, noise of k samples, and labels."""
        assert self.model.head is not None
        y = cases.labels(n, self.model.classes)
        q = self.model.posterior(cases.observations(self.model.spec, n), y)
        return q, torch.randn(k, n, *self.model.head.noise_shape, generator=torch.Generator().manual_seed(3)), y


def coded(case: Case, options: Any = None, *, thorough: bool = False) -> Iterator[Coded]:
    """The part in small models, each with the first partner that takes it; where none does, in its own recipes."""
    kind, other = case.entry.kind, "prior" if case.entry.kind == "posterior" else "posterior"
    parts = {kind: case.cls and case.entry.address, "generator.width": 8, "encoder.width": 8}
    partners = [e.address for e in case.registry.entries(other) if e.distribution == "genzoo"]
    own = [e.address for e in case.registry.entries("recipe") if e.data.get(kind) == case.entry.name]

    def made(spec: DataSpec, latent: Mapping[str, Any], conditional: bool) -> Coded:
        """A quantizer's book is small, where it may be."""
        asked = {"conditional": conditional}
        ways = [("vae:vae", {**parts, **latent, **few, **asked, other: e}) for e in partners for few in (FEW, {})]
        ways += [(recipe, {**few, **asked}) for recipe in own for few in (FEW, {})]
        model = composed(case.registry, spec, *ways).nets.model.eval()
        shake(model)
        return Coded(case, f"codes {latent}, {cases.setting(spec, 3 * conditional)}", model)

    return accepted((partial(made, *about) for about in MODELS), "a model that it fits")


@over(coded)
@torch.no_grad()
def dense(made: Coded) -> None:
    """Its density is that of its samples, and integrates to one (of two numbers, over the plane)."""
    head, shape = made.model.head, made.model.latent.shape
    if head is None or isinstance(head, TokenHead) or head.noise_shape != shape:
        raise Skip("its noise is not as large as its code, or its codes are discrete")
    q, eps, _ = made.posterior(2, N)
    z, log_q = q.sample_with_log_prob(eps)
    by = gap(log_q, q.log_prob(z))
    mend = "mind the volume of what a sample goes through"
    expect(by <= 1e-2, "one density of a sample", f"log_prob and sample_with_log_prob {by:.2g} apart", mend)
    if shape == (2,):
        q, _, _ = made.posterior(1, 1)
        _sums_to_one(q.log_prob(_plane()[:, None]).squeeze(1), AREA)


@over(coded)
@torch.no_grad()
def bounded(made: Coded) -> None:
    """The KL of the model is the mean of log q - log p over samples, and of the right shape by number."""
    model = made.model
    q, eps, y = made.posterior(400, 2)
    z, log_q = q.sample_with_log_prob(eps)
    each, closed = log_q - model.prior.log_prob(z, y), model.closed(q)
    found = torch.stack([model.code(q, e, y)[1] for e in eps[: 40 if closed else 1]])
    expect(tuple(found.shape[1:]) == (2,), "a KL of shape (B,)", shape_text(found.shape[1:]), "sum over the code")
    truth, error = each[0], each.std(0) * 5 / math.sqrt(400) + 1e-3 * (1 + each.mean(0).abs())
    if closed:
        truth, error = each.mean(0), error + found.std(0) * 5 / math.sqrt(len(found))
        numbers = (2, model.latent.numbers)
        expect(tuple(q.kl().shape) == numbers, f"kl() of shape {shape_text(numbers)}", shape_text(q.kl().shape))
    right = bool(((truth - found.mean(0)).abs() <= error).all())
    mend = "let kl() be of this prior, and closed name a family of priors only if it is exact against it"
    expect(right, f"a KL of {truth.tolist()} nats", found.mean(0).tolist(), mend)


@over(coded)
@torch.no_grad()
def total(made: Coded) -> None:
    """It integrates to one over the plane, or sums to one over all codes, and samples score as its entropy says."""
    p, head, n = made.model.prior, made.model.head, 4000
    if isinstance(head, TokenHead) and head.codes**head.places <= 4096:
        words = torch.cartesian_prod(*[torch.arange(head.codes)] * head.places).view(-1, head.places)
        z, cell = head.embed(words), 1.0
    elif made.model.latent.shape == (2,) and not isinstance(head, TokenHead):
        z, cell = _plane(), AREA
    else:
        raise Skip("no codes that can be enumerated")
    labels = torch.ones(max(n, len(z)), dtype=torch.long) if made.model.classes else None
    log_p = p.log_prob(z, None if labels is None else labels[: len(z)])
    _sums_to_one(log_p, cell)
    some = None if labels is None else labels[:n]
    u = torch.rand(n, *p.noise_shape, generator=torch.Generator().manual_seed(0))
    scores = p.log_prob(p.sample(u, some), some).double()
    expected = (log_p.double().exp() * cell * log_p.double().nan_to_num(neginf=0.0)).sum()
    close = abs(scores.mean() - expected) <= 5 * scores.std() / math.sqrt(n) + 0.01
    mend = "let sample draw from what log_prob says"
    expect(close, f"samples of {expected:.3f} nats on average", f"{scores.mean():.3f}", mend)


def _plane() -> Tensor:
    line = torch.linspace(-REACH, REACH, FINE)
    return torch.cartesian_prod(line, line)


def _sums_to_one(log_p: Tensor, cell: float) -> None:
    found = float(log_p.double().exp().sum() * cell)
    expect(abs(found - 1) < 0.02, "a distribution, which sums to 1", f"{found:.4g}", "mind the normalizer")

"""Checks of posteriors and priors inside a model: that they are distributions, and that the bound goes by them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genzoo.core.build import build
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.posterior import PosteriorHead, TokenHead
from genzoo.core.prior import Prior
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import Case, attempt, gap, seeded, shake, shape_text
from genzoo.plugins.apps.kit.findings import Fault, Skip
from genzoo.registry.recipes.compose import compose, resolver

N = 6
IMAGE = DataSpec.image(1, 16, 16, classes=3)
# Codes of two numbers can be enumerated; others lie on a grid, or are as a network wants them.
LATENTS: tuple[tuple[DataSpec, dict[str, Any]], ...] = (
    (DataSpec("vector", (4,), classes=3), {"latent.size": 2}),
    (IMAGE, {"latent.size": 2, "latent.grid": 4}),
    (IMAGE, {}),
)
FEW = {"posterior.codes": 3, "posterior.dim": 1}  # of a quantizer
REACH, FINE = 10.0, 241  # of the plane of codes


def models(case: Case) -> Iterator[tuple[str, Model]]:
    """The part in small models, with every partner that it takes; where none takes it, in its own recipes."""
    kind, base = case.entry.kind, PosteriorHead if case.entry.kind == "posterior" else Prior
    other = "prior" if kind == "posterior" else "posterior"
    if not issubclass(case.cls, base):
        raise Fault(f"a subclass of {base.__module__}.{base.__name__}", case.cls.__name__, "derive it from that")
    tried: list[tuple[str, dict[str, Any]]] = [
        ("vae:vae", {kind: case.entry.address, other: e.address, "generator.width": 8, "encoder.width": 8})
        for e in case.registry.entries(other)
        if e.distribution == "genzoo"
    ]
    tried += [(e.address, {}) for e in case.registry.entries("recipe") if e.data.get(kind) == case.entry.name]
    taken, refused = 0, ""
    for (spec, latent), conditional in itertools.product(LATENTS, (False, True)):
        # The first partner that takes it will do; a quantizer with a small book, where it has one.
        for (recipe, parts), few in itertools.product(tried, (FEW, {})):
            given = {**parts, **few, "conditional": conditional, **(latent if parts else {})}
            with_ = f"{parts[other]}, codes {latent}" if parts else "as it comes"
            where = f"{recipe} {with_}, {cases.Setting(spec, 3 * conditional)}"
            try:
                config = compose(case.registry, spec, recipe, given)
                with seeded(1):
                    nets = attempt(lambda c=config: build(c, resolver(case.registry, c))[1], where, "to be built")  # type: ignore[misc]
            except UsageError as e:
                refused = str(e)
                continue
            taken += 1
            shake(nets.model)
            yield where, nets.model.eval()
            break
    if not taken:
        raise Fault("a model that it fits", f"a refusal of all: {refused}", "let it be built, or give it a recipe")


def _labels(model: Model, n: int) -> Tensor | None:
    return cases.labels(n, model.classes)


def _draw(model: Model, k: int, n: int = N) -> tuple[Any, Tensor, Tensor, Tensor | None]:
    """A posterior of n observations, noise of k samples, and labels."""
    assert model.head is not None
    x, y = cases.observations(model.spec, n), _labels(model, n)
    g = torch.Generator().manual_seed(3)
    return model.posterior(x, y), torch.randn(k, n, *model.head.noise_shape, generator=g), x, y


@torch.no_grad()
def sampled(case: Case) -> None:
    """Samples have the code's shape and a log density each, the same ones whenever the noise is the same."""
    for where, model in models(case):
        q, eps, x, y = _draw(model, 3)
        z, log_q = attempt(partial(q.sample_with_log_prob, eps), where, "sample_with_log_prob")
        mend = "keep the leading dimensions: (..., B, *latent.shape)"
        for name, made, shape in (("codes", z, (3, N, *model.latent.shape)), ("log densities", log_q, (3, N)),
                                  ("a mean", q.mean, (N, *model.latent.shape))):  # fmt: skip
            if tuple(made.shape) != shape or not torch.isfinite(made).all():
                raise Fault(f"finite {name} {shape_text(shape)}", shape_text(made.shape), mend, where)
        again = model.posterior(x, y)
        if not torch.equal(again.sample(eps), z):
            raise Fault("the same codes from the same noise", "others", "draw nothing: all noise is given", where)
        part = model.posterior(x[:2], None if y is None else y[:2])
        if gap(z[:, :2], part.sample(eps[:, :2])) > 1e-4:
            raise Fault("codes that do not depend on the rest of the batch", "others", "mix no observations", where)


@torch.no_grad()
def dense(case: Case) -> None:
    """Its density is that of its samples, and integrates to one (of two numbers, over the plane)."""
    tried = 0
    for where, model in models(case):
        assert model.head is not None
        if isinstance(model.head, TokenHead) or model.head.noise_shape != model.latent.shape:
            continue
        tried += 1
        q, eps, _, _ = _draw(model, 2)
        z, log_q = q.sample_with_log_prob(eps)
        if gap(log_q, q.log_prob(z)) > 1e-2:
            raise Fault("one density of a sample", "log_prob says another than sample_with_log_prob",
                        "mind the volume of what a sample goes through", where)  # fmt: skip
        if model.latent.shape == (2,):
            q, _, _, _ = _draw(model, 1, 1)
            _sums_to_one(q.log_prob(_plane()[:, None]).squeeze(1), (2 * REACH / (FINE - 1)) ** 2, where)
    if not tried:
        raise Skip("its noise is not as large as its code, or its codes are discrete")


@torch.no_grad()
def bounded(case: Case) -> None:
    """The KL of the model is the mean of log q - log p over samples, and of the right shape by number."""
    for where, model in models(case):
        q, eps, _, y = _draw(model, 400, 2)
        z, log_q = q.sample_with_log_prob(eps)
        each = log_q - model.prior.log_prob(z, y)
        few = 40 if model.closed(q) else 1
        found = torch.stack([model.code(q, e, y)[1] for e in eps[:few]])
        if tuple(found.shape) != (few, 2):
            raise Fault("a KL of shape (B,)", shape_text(found.shape[1:]), "sum over the code", where)
        error, mend = each.std(0) * 5 / math.sqrt(400) + 1e-3 * (1 + each.mean(0).abs()), "the KL must be of this prior"
        truth = each.mean(0) if model.closed(q) else each[0]
        if model.closed(q):
            error = error + found.std(0) * 5 / math.sqrt(few)
            mend = "let closed name a family of priors only if kl() is exact against it"
            numbers = q.kl()
            if tuple(numbers.shape) != (2, model.latent.numbers):
                raise Fault(f"kl() of shape (2, {model.latent.numbers})", shape_text(numbers.shape), "one each", where)
        if not bool(((truth - found.mean(0)).abs() <= error).all()):
            raise Fault(f"a KL of {truth.tolist()} nats", f"{found.mean(0).tolist()}", mend, where)


@torch.no_grad()
def drawn(case: Case) -> None:
    """A prior turns uniform numbers into codes of the latent's shape, the same ones every time, and scores them."""
    for where, model in models(case):
        p, y = model.prior, _labels(model, N)
        u = torch.rand(N, *p.noise_shape, generator=torch.Generator().manual_seed(0))
        before = u.clone()
        for name, make in (
            ("sample", lambda p=p, u=u, y=y: p.sample(u, y)),
            ("draw", lambda p=p, y=y: p.draw(Draws(N, "cpu").at(0, 0, 0), y)),
        ):
            z = attempt(make, where, name)
            if tuple(z.shape) != (N, *model.latent.shape) or not torch.isfinite(z).all():
                raise Fault(f"{name} to give finite codes {shape_text((N, *model.latent.shape))}", shape_text(z.shape),
                            "give (B, *latent.shape)", where)  # fmt: skip
            if not torch.equal(make(), z) or not torch.equal(u, before):
                raise Fault(
                    "the same codes from the same numbers", "others", "draw nothing, and leave what is given", where
                )
            score = p.log_prob(z.expand(2, *z.shape), y)
            if tuple(score.shape) != (2, N) or not torch.isfinite(score).all():
                raise Fault(f"finite log densities (2, {N})", shape_text(score.shape), "sum over the code", where)
        if model.sample(3, noise=True).shape[0] != 3:
            raise Fault("a model that samples", "none", "let it", where)
        path = attempt(partial(p.path, z[:2], z[2:4], torch.tensor([0.0, 0.5, 1.0])), where, "path")
        if tuple(path.shape) != (2, 3, *model.latent.shape):
            raise Fault("a path (N, S, *latent.shape)", shape_text(path.shape), "give a point for every t", where)


@torch.no_grad()
def total(case: Case) -> None:
    """It integrates to one over the plane, or sums to one over all codes, and samples score as its entropy says."""
    tried = 0
    for where, model in models(case):
        p, head = model.prior, model.head
        if isinstance(head, TokenHead):
            if head.codes**head.places > 4096:
                continue
            words = torch.cartesian_prod(*[torch.arange(head.codes)] * head.places).view(-1, head.places)
            z, cell = head.embed(words), 1.0
        elif model.latent.shape == (2,):
            z, cell = _plane(), (2 * REACH / (FINE - 1)) ** 2
        else:
            continue
        tried += 1
        y = None if not model.classes else torch.ones(len(z), dtype=torch.long)
        log_p = p.log_prob(z, y)
        _sums_to_one(log_p, cell, where)
        n = 4000
        u = torch.rand(n, *p.noise_shape, generator=torch.Generator().manual_seed(0))
        scores = p.log_prob(
            p.sample(u, y if y is None else y[:1].expand(n)), y if y is None else y[:1].expand(n)
        ).double()
        expected = (log_p.double().exp() * cell * log_p.double().nan_to_num(neginf=0.0)).sum()
        error = 5 * scores.std() / math.sqrt(n) + 0.01
        if not abs(scores.mean() - expected) <= error:
            raise Fault(f"samples of {expected:.3f} nats on average", f"{scores.mean():.3f}",
                        "let sample draw from what log_prob says", where)  # fmt: skip
    if not tried:
        raise Skip("no codes that can be enumerated")


def _plane() -> Tensor:
    line = torch.linspace(-REACH, REACH, FINE)
    return torch.cartesian_prod(line, line)


def _sums_to_one(log_p: Tensor, cell: float, where: str) -> None:
    found = float(log_p.double().exp().sum() * cell)
    if not abs(found - 1) < 0.02:
        raise Fault("a distribution, which sums to 1", f"{found:.4g}", "mind the normalizer", where)

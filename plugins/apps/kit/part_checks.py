"""Networks, likelihoods, posteriors and priors on small data, and the checks that only they have."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.likelihood import Likelihood
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.networks import Network, Ports
from genzoo.core.noise import Draws
from genzoo.core.posterior import TokenHead
from genzoo.core.prior import Prior
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, Subject, accepted, composed, expect, gap, over, seeded, setting
from genzoo.plugins.apps.kit.findings import Skip

LATENT, N = 6, 6  # numbers in a code, observations in a batch


class Built(Subject):
    """A network with random inputs, built to ports; ``wide`` asks for more numbers, as some objectives do.

    Raises:
        UsageError: if it refuses to be built so.
    """

    to_input: tuple[str, ...] = ("x",)

    def __init__(self, case: Case, spec: DataSpec, classes: int, options: Mapping[str, Any], *, wide: bool = False,
                 apart: bool = False) -> None:  # fmt: skip
        self.cls, self.options = case.cls, case.cls.Options(**options)
        x = cases.observations(spec, N, 3)
        if case.entry.kind == "generator":
            code = case.cls.code_shape(spec, Latent(LATENT), self.options)
            x = torch.randn(N, *((0,) if case.cls.codeless else code), generator=torch.Generator().manual_seed(3))
            outputs = (spec.shape[0] * (1 + wide), *spec.shape[1:])
        else:
            outputs = ((2 + wide) * LATENT,) if case.entry.kind == "encoder" else (1 + 2 * wide,)
        self.ports = Ports(tuple(x.shape[1:]), outputs, classes, apart, levels=spec.levels)
        super().__init__(setting(spec, classes), self.anew(0), {"x": x, "y": cases.labels(N, classes)})
        if self.cls.tokens:
            self.to_input = ()

    def anew(self, seed: int = 1) -> Network:
        with seeded(seed):
            net: Network = self.cls(self.ports, self.options)
        return net

    def compute(self, module: Any, given: Mapping[str, Any]) -> Mapping[str, Tensor]:
        return {"output": module(given["x"], given["y"])}

    def shape(self, name: str) -> tuple[int, ...]:
        return self.ports.outputs


def networks(case: Case, options: Mapping[str, Any] | None = None, *, thorough: bool = False) -> Iterator[Built]:
    """The network for one spec of each modality, with labels (or without, if it must); or for all, in all ways."""
    for kind in cases.kinds(case.entry):
        for spec in kind.examples(CLASSES)[: None if thorough else 1]:
            ways = product((False, True) if thorough else (False,), (CLASSES, 0))
            nets = accepted(partial(Built, case, spec, classes, options or {}, wide=wide) for wide, classes in ways)
            yield from islice(nets, None if thorough else 1)


def builds(case: Case) -> None:
    """It is built for every modality that it says it is for, with labels and without."""
    for kind, classes in product(cases.kinds(case.entry), (0, CLASSES)):
        ways = (partial(Built, case, spec, classes, {}) for spec in kind.examples(CLASSES))
        built = next(accepted(ways, f"to work on {kind.name} data with {classes} classes"))
        mend = "keep layers as attributes, so that torch sees them"
        expect(any(True for _ in built.module.parameters()), "parameters to train", "none", mend)


@over(networks)
def condition(built: Built) -> None:
    """Another label gives another output, and without labels none is needed."""
    if not built.ports.classes:
        raise Skip("it takes no labels: see 'builds'")
    cases.shake(built.module)
    outputs = []
    for k in range(CLASSES):
        built.given["y"] = torch.full((N,), k)
        outputs.append(built.run()["output"])
    mend = "use y where ports.classes is not 0: an embedding, or one-hot numbers beside the input"
    for k in range(CLASSES - 1):
        same = f"the same for labels {k} and {k + 1}"
        expect(gap(outputs[k], outputs[k + 1]) >= 1e-7, "another output for another label", same, mend)


def penalized(case: Case) -> Iterator[Built]:
    """The critic where its gradients are penalized, by default and with each option changed."""
    for kind, (name, options) in product(cases.kinds(case.entry), [("the defaults", {}), *cases.changes(case.cls)]):
        for built in accepted([partial(Built, case, kind.examples(CLASSES)[0], CLASSES, options, apart=True)]):
            built.where += f", {name}"
            yield built


@over(penalized)
def per_observation(built: Built) -> None:
    """Under a gradient penalty no score depends on another observation, or the critic refuses to be built."""
    if getattr(built.module, "mixes", False):
        raise Skip("it declares that it mixes observations")
    cases.shake(built.module)
    built.given["x"].requires_grad_()  # type: ignore[union-attr]
    scores = built.run(training=True)["output"]
    for i in range(N):
        (gradient,) = torch.autograd.grad(scores[i].sum(), built.given["x"], retain_graph=True)  # type: ignore[arg-type]
        others = gradient.flatten(1).abs().sum(1)
        others[i] = 0
        mend = "raise UsageError for batch norm and the like where ports.per_observation is set"
        expect(not others.any(), "∂D(x_i)/∂x_j = 0 for i ≠ j", "a score that depends on its neighbours", mend)


SEVERAL = (
    DataSpec("image", (2, 3, 3), levels=2, scale=(0.5,), shift=(0.5,)),
    DataSpec("image", (2, 3, 3), levels=256, scale=(0.5,), shift=(0.5,)),
    DataSpec("image", (2, 3, 3), scale=(0.5,), shift=(0.5,)),
    DataSpec("vector", (4,), scale=(2.0,)),
)
# A single number, whose distribution can be summed.
ONE = tuple(replace(spec, shape=tuple(1 for _ in spec.shape)) for spec in SEVERAL)


class Likely(Subject):
    """A likelihood with random numbers, as a generator would put them out, and random observations.

    Raises:
        UsageError: if it refuses such data.
    """

    to_input = ("params",)

    def __init__(self, case: Case, spec: DataSpec, options: Mapping[str, Any], spread: float = 1.0) -> None:
        self.cls, self.spec, self.options = case.cls, spec, case.cls.Options(**options)
        self.p: Any = self.anew(0)
        levels = f"{spec.levels} levels" if spec.levels else "real"
        where = f"{spec.modality} of shape {cases.shape_text(spec.shape)}, {levels}"
        self.params, x = self.numbers(N, 0, spread), cases.observations(spec, N).clamp(-1, 1)
        self.modes = (False,) if self.p.coupled else (False, True)
        super().__init__(where, self.p, {"params": self.params, "x": x})

    def anew(self, seed: int = 1) -> nn.Module:
        with seeded(seed):
            made: nn.Module = self.cls(self.spec, self.options)
        return made

    def numbers(self, n: int, seed: int, spread: float = 1.0) -> Tensor:
        """Random parameters for n observations."""
        return spread * torch.randn(n, *self.p.input_shape, generator=torch.Generator().manual_seed(seed))

    def compute(self, module: Any, given: Mapping[str, Any]) -> Mapping[str, Tensor]:
        params = given["params"]
        found = {"log_prob": module.log_prob(params, given["x"]), "mean": module.mean(params)}
        if not params.is_meta:
            found["sample"] = module.sample(params, torch.Generator().manual_seed(9))
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        return () if name == "log_prob" else self.spec.shape

    def coupled(self) -> Collection[str]:
        return ("sample",)


def likelihoods(case: Case, options: Mapping[str, Any] | None = None, *, thorough: bool = False,
                specs: tuple[DataSpec, ...] = SEVERAL) -> Iterator[Likely]:  # fmt: skip
    """The likelihood on whatever data it takes, thoroughly with extreme parameters too."""
    own = [kind for kind in cases.kinds(case.entry) if kind.name not in {s.modality for s in SEVERAL}]
    if specs is SEVERAL and case.entry.modalities:  # of another kind of data
        specs = (*specs, *(spec for kind in own for spec in kind.examples()))
    ways = product([s for s in specs if case.entry.fits(s.modality)], (1.0, 30.0) if thorough else (1.0,))
    makers = (partial(Likely, case, spec, options or {}, spread) for spec, spread in ways)
    return accepted(makers, "data that it fits" if options is None else "")


def single(case: Case) -> Iterator[Likely]:
    """The likelihood of single numbers, in eval mode."""
    if not any(case.entry.fits(spec.modality) for spec in ONE):
        return
    for subject in likelihoods(case, specs=ONE):
        subject.p.eval()
        yield subject


@over(single)
@torch.no_grad()
def normalized(subject: Likely) -> None:
    """Probabilities sum to at most one, densities (in data units) integrate to at most one."""
    p, spec = subject.p, subject.spec
    if not p.normalized:
        raise Skip("it says that it is a distance")
    for numbers in torch.split(subject.numbers(N, 2), 1):
        if p.discrete and spec.levels:
            x, kind, weight = torch.arange(spec.levels) * (2 / (spec.levels - 1)) - 1, "sum", 1.0
        else:
            drawn = p.sample(numbers.expand(200, *numbers.shape[1:]))
            inside = of(spec).bounds and drawn.abs().max() <= 1 + 1e-6  # the density beyond is then nobody's business
            x = torch.linspace(-1, 1, 60_001) * (1.0 if inside else 60.0)
            kind, weight = "integral", float(x[1] - x[0]) * spec.scale[0]
        log_p = p.log_prob(numbers.expand(len(x), *numbers.shape[1:]), x.view(-1, *spec.shape))
        total = float(log_p.double().exp().sum()) * weight
        mend = "add the normalizer (and for densities self.log_volume, which brings data units)"
        expect(total <= 1.01, f"a {kind} of at most 1", f"{total:.4g}", mend)


@over(single)
def gradients(subject: Likely) -> None:
    """Gradients of the log-probability are its slopes, by finite differences."""
    p: Likelihood = subject.p
    x, numbers = cases.observations(subject.spec, 4, 1).clamp(-1, 1), subject.numbers(4, 3).requires_grad_()
    log_p = p.log_prob(numbers, x)
    (gradient,) = torch.autograd.grad(log_p.sum(), numbers)
    flat, step = numbers.detach().flatten(1), 1e-2
    for j in range(flat.shape[1]):
        shift = torch.zeros_like(flat)
        shift[:, j] = step
        right, here, left = (p.log_prob((flat + s * shift).view_as(numbers), x).detach() for s in (1, 0, -1))
        slope, given = (right - left) / (2 * step), gradient.flatten(1)[:, j]
        kink = (right - 2 * here + left).abs() / step > 0.1 * (1 + given.abs())  # no slope to compare with
        off = ((slope - given).abs() / (1 + given.abs())).masked_fill(kink, 0).max()
        found = f"{given.tolist()[:2]} against {slope.tolist()[:2]}"
        expect(off < 0.05, "log_prob's slope as its gradient", found, "mend the formula, or a detach() in it")


@over(single)
@torch.no_grad()
def mean(subject: Likely) -> None:
    """The mean is the mean of samples, within five standard errors (and half a level)."""
    numbers = subject.numbers(3, 4, spread=0.3)
    drawn = subject.p.sample(numbers.repeat_interleave(4000, 0), torch.Generator().manual_seed(1)).view(3, 4000)
    said, found = subject.p.mean(numbers).view(3), drawn.mean(1)
    off = ((found - said).abs() - 1 / max((subject.spec.levels or 1000) - 1, 1)) / (drawn.std(1) / math.sqrt(4000))
    close = off.nan_to_num(0).max() <= 5 or (found - said).abs().max() <= 0.1
    expect(close, "mean(params) to be the mean of sample(params)", f"{said.tolist()} against {found.tolist()}")


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
        return {"log density": (), "path": (3, *shape)}.get(name, shape)

    def posterior(self, k: int, n: int) -> tuple[Any, Tensor, Tensor | None]:
        """A posterior of n observations, noise of k samples, and labels."""
        assert self.model.head is not None
        y = cases.labels(n, self.model.classes)
        q = self.model.posterior(cases.observations(self.model.spec, n), y)
        return q, torch.randn(k, n, *self.model.head.noise_shape, generator=torch.Generator().manual_seed(3)), y


def coded(case: Case, options: Any = None, *, thorough: bool = False) -> Iterator[Coded]:
    """The part in small models, each with the first partner that takes it; where none does, in its own recipes."""
    kind, other = case.entry.kind, "prior" if case.entry.kind == "posterior" else "posterior"
    narrow = {"generator.width": 8, "encoder.width": 8}
    parts = {kind: case.cls and case.entry.address, **narrow}
    partners = [e.address for e in case.registry.entries(other) if e.distribution == "genzoo"]
    own = [e.address for e in case.registry.entries("recipe") if e.data.get(kind) == case.entry.name]

    def made(spec: DataSpec, latent: Mapping[str, Any], conditional: bool) -> Coded:
        """A quantizer's book is small, where it may be."""
        asked = {"conditional": conditional}
        ways = [("vae:vae", {**parts, **latent, **few, **asked, other: e}) for e in partners for few in (FEW, {})]
        ways += [(recipe, {**size, **few, **asked}) for recipe in own for size in (narrow, {}) for few in (FEW, {})]
        if kind == "prior":  # one that is fitted afterwards only
            later = {**parts, **latent, **asked, "objective": "vae:fit-prior"}
            ways += [("vae:vae", {**later, other: e}) for e in partners]
        model = composed(case.registry, spec, *ways, kept=case.kept).nets.model.eval()
        cases.shake(model)
        return Coded(case, f"codes {latent}, {setting(spec, 3 * conditional)}", model)

    return accepted((partial(made, *about) for about in MODELS), "a model that it fits")


@over(coded)
@torch.no_grad()
def dense(made: Coded) -> None:
    """Its density is that of its samples, and integrates to one (of two numbers, over the plane)."""
    head, shape = made.model.head, made.model.latent.shape
    if head is None or isinstance(head, TokenHead) or head.noise_shape != shape or head.space != Prior.space:
        raise Skip("its noise is not as large as its code, or its codes are not any numbers")
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
    cases.shaped("KL", found, (len(found), 2))
    truth, error = each[0], each.std(0) * 5 / math.sqrt(400) + 1e-3 * (1 + each.mean(0).abs())
    if closed:
        truth, error = each.mean(0), error + found.std(0) * 5 / math.sqrt(len(found))
        cases.shaped("kl()", q.kl(), (2, model.latent.numbers))
    right = bool(((truth - found.mean(0)).abs() <= error).all())
    mend = "let kl() be of this prior, and closed name a family of priors only if it is exact against it"
    expect(right, f"a KL of {truth.tolist()} nats", found.mean(0).tolist(), mend)


@over(coded)
@torch.no_grad()
def total(made: Coded) -> None:
    """It integrates to one over the plane, or sums to one over all codes, and samples score as its entropy says."""
    p, head, n = made.model.prior, made.model.head, 4000
    if p.bound_noise:
        raise Skip("its log_prob is a bound on the density")
    if isinstance(head, TokenHead) and head.codes**head.places <= 4096:
        words = torch.cartesian_prod(*[torch.arange(head.codes)] * head.places).view(-1, head.places)
        z, cell = head.embed(words), 1.0
    elif made.model.latent.shape == (2,) and not isinstance(head, TokenHead) and p.space == Prior.space:
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

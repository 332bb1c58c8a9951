"""Checks of metrics and extractors, on evidence of random numbers and a small untrained model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Extractor, Features, Measured, Metric, why_absent
from genzoo.core.math.intervals import Estimate
from genzoo.core.model import Model
from genzoo.core.options import options_of
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, Subject, accepted, composed, expect, over, seeded, setting
from genzoo.registry import Registry

N = 120


class _Numbers(Extractor):
    """The numbers themselves as features, and logits of a fixed linear map."""

    name = "numbers"
    class_names = tuple(f"class {k}" for k in range(CLASSES))

    @classmethod
    def open(cls, spec: DataSpec, path: Any = None) -> _Numbers:
        return cls()

    def extract(self, x: Tensor) -> Features:
        flat = x.flatten(1)
        weight = torch.randn(flat.shape[1], CLASSES, generator=torch.Generator().manual_seed(0)).to(x.device)
        return Features(flat[:, :32], flat @ weight)

    def sha256(self) -> str:
        return "0" * 64


@lru_cache(maxsize=8)
def _model(registry: Registry, spec: DataSpec, conditional: bool) -> Model:
    """An untrained VAE: it has all that a metric may need."""
    small = {"generator": "nets:mlp", "encoder": "nets:mlp", "generator.width": 16, "encoder.width": 16}
    given = {**small, "latent.size": 3, "conditional": conditional}
    return composed(registry, spec, ("vae:vae", given)).nets.model.eval()


def evidence(registry: Registry, spec: DataSpec, conditional: bool) -> Evidence:
    """Data with factors, training data, an extractor, a model: everything that there is to need."""
    data = cases.small_data(spec, N)
    factors = torch.stack([torch.arange(N) % 3, torch.arange(N) // 3 % 4], 1)
    data = Data(spec, data.rows, data.y, name="random numbers", factors=factors, factor_names=("a", "b"))
    model = _model(registry, spec, conditional)

    def draw() -> tuple[Tensor, Tensor | None]:
        return model.sample(N, numbers=True), torch.arange(N) % CLASSES if conditional else None

    training = cases.small_data(spec, 2 * N)
    return Evidence(data, draw, n_fake=N, model=model, asked=conditional, training=lambda: training, has_training=True,
                    extractor=_Numbers())  # fmt: skip


@dataclass
class Measurement:
    """A metric that was measured, on evidence that it takes."""

    where: str
    metric: Metric
    evidence: Evidence
    fresh: Evidence
    before: dict[str, Tensor]
    result: Estimate | Measured

    @property
    def estimate(self) -> Estimate:
        """The number and its interval."""
        return self.result.estimate if isinstance(self.result, Measured) else self.result


def measurements(case: Case) -> list[Measurement]:
    """The metric on all data that it takes, of conditional models and of others; kept for the next check."""
    return case.once("measurements", _measurements)


def _measurements(case: Case) -> Iterator[Measurement]:
    def measured(spec: DataSpec, conditional: bool) -> Measurement:
        metric = case.cls(case.cls.Options(**case.cls.quick))
        used, fresh = (evidence(case.registry, spec, conditional) for _ in range(2))
        absent = why_absent(metric, tuple(case.entry.data.get("needs", ())), used)
        if absent:
            raise UsageError(absent)
        before = {name: getattr(used, name).clone() for name in ("samples", "real")}
        return Measurement(setting(spec, CLASSES * conditional), metric, used, fresh, before, metric.measure(used))

    ways = product([kind.examples(CLASSES)[0] for kind in cases.kinds(case.entry)], (True, False))
    return accepted((partial(measured, *way) for way in ways), skip="it is of other data")


@over(measurements)
def measures(m: Measurement) -> None:
    """It gives an Estimate whose interval holds the number, and plain details."""
    mend = "return genzoo.core.math.intervals.mean(numbers), or Estimate(value)"
    expect(isinstance(m.result, (Estimate, Measured)), "an Estimate or a Measured", type(m.result).__name__, mend)
    value, ends = m.estimate.value, (m.estimate.low, m.estimate.high)
    number = isinstance(value, float) and not math.isnan(value)
    expect(number, "a number", repr(value), "return a float; infinity is a number, NaN is not")
    low, high = (value if math.isnan(end) else end for end in ends)
    around = low <= value + 1e-9 and value <= high + 1e-9
    expect(around, "an interval around the number", f"{value:.4g} with [{low:.4g}, {high:.4g}]")
    if isinstance(m.result, Measured):
        json.dumps(dict(m.result.details))
        odd = [name for name, picture in m.result.pictures.items() if picture.dim() != 4]
        expect(not odd, "pictures (N, C, H, W)", f"others in {odd}")
    title, options = m.metric.title(m.evidence), {i.name for i in options_of(type(m.metric).Options)}
    expect(isinstance(title, str), "a title of text", type(title).__name__, "return '' for the entry's name")
    unknown = sorted(set(m.metric.silent) - options - set(Metric.silent))
    expect(not unknown, "names of options in silent", unknown, f"there are {sorted(options)}")


@over(measurements)
def deterministic(m: Measurement) -> None:
    """The same evidence gives the same number, whatever torch's seed."""
    with seeded(2):
        again = m.metric.measure(m.fresh)
    a, b = m.estimate.value, (again.estimate if isinstance(again, Measured) else again).value
    same = a == b or abs(a - b) < 1e-6 * (1 + abs(a))
    mend = "draw from genzoo.core.noise.generator(evidence.seed, …)"
    expect(same, "the same number twice", f"{a:.6g} and {b:.6g}", mend)


@over(measurements)
def inputs_kept(m: Measurement) -> None:
    """Samples and data, which all metrics share, are as they were afterwards."""
    for name, before in m.before.items():
        same = torch.equal(getattr(m.evidence, name), before)
        expect(same, "the evidence unchanged", f"{name} changed in place", "work on a copy: x.clone()")


class Extracted(Subject):
    """An opened extractor with random observations in data units."""

    def __init__(self, case: Case, spec: DataSpec) -> None:
        self.opened, self.other = case.cls.open(spec), case.cls.open(spec)
        x = torch.rand(6, *spec.shape, generator=torch.Generator().manual_seed(0))
        super().__init__(setting(spec), nn.Module(), {"x": x})

    def compute(self, module: Any, given: Mapping[str, Any]) -> Mapping[str, Tensor]:
        return {"features": self.opened.extract(given["x"]).features.flatten(1)}

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.run()[name].shape[1:])


def extractors(case: Case, options: Any = None, *, thorough: bool = False) -> Iterator[Extracted]:
    """The extractor on images and vectors, as far as it takes them and what it needs is here."""
    specs = (DataSpec.image(1, 28, 28), DataSpec.image(3, 32, 32), DataSpec("vector", (3,)))
    return accepted((partial(Extracted, case, spec) for spec in specs), skip="it cannot be opened here")


@over(extractors)
def extracts(extracted: Extracted) -> None:
    """Its hash is that of the same features every time, and each logit has a class name."""
    one, other = extracted.opened.sha256(), extracted.other.sha256()
    expect(one == other and len(one) == 64, "sha256() of 64 hexadecimal digits, the same every time", one)
    logits, names = extracted.opened.extract(extracted.given["x"]).logits, extracted.opened.class_names
    named = logits is None or logits.shape[1] == len(names)
    expect(named, "a class name for each logit", f"{len(names)} names", "fill in class_names")

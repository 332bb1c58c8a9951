"""Checks of metrics and of what extracts features for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Evidence, Extractor, Features, Measured, Metric, why_absent
from genzoo.core.math.intervals import Estimate
from genzoo.core.model import Model
from genzoo.core.options import options_of
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, attempt, gap, seeded, shape_text
from genzoo.plugins.apps.kit.findings import Fault, Skip
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


@dataclass(frozen=True)
class _Known:
    spec: DataSpec
    data: Data
    fake: Tensor


@lru_cache(maxsize=8)
def _model(registry: Registry, spec: DataSpec, conditional: bool) -> Model:
    """An untrained VAE: it has all that a metric may need."""
    from genzoo.core.build import build
    from genzoo.registry.recipes.compose import compose, resolver

    small = {"generator": "nets:mlp", "encoder": "nets:mlp", "generator.width": 16, "encoder.width": 16}
    config = compose(registry, spec, "vae:vae", {**small, "latent.size": 3, "conditional": conditional})
    with seeded(1):
        return build(config, resolver(registry, config))[1].model.eval()


def evidence(case: Case, spec: DataSpec, conditional: bool = True) -> Evidence:
    """Data with factors, training data, an extractor, a model: everything that there is to need."""
    data = cases.small_data(spec, N)
    factors = torch.stack([torch.arange(N) % 3, torch.arange(N) // 3 % 4], 1)
    data = Data(spec, data.rows, data.y, name="random numbers", factors=factors, factor_names=("a", "b"))
    model = _model(case.registry, spec, conditional)

    def draw() -> tuple[Tensor, Tensor | None]:
        return model.sample(N), torch.arange(N) % CLASSES if conditional else None

    training = cases.small_data(spec, 2 * N)
    return Evidence(data, draw, n_fake=N, model=model, asked=conditional, training=lambda: training, has_training=True,
                    extractor=_Numbers())  # fmt: skip


def measured(case: Case) -> list[tuple[str, Evidence, Estimate | Measured]]:
    """The metric on all data that it takes; one that is of other data is skipped."""
    if not issubclass(case.cls, Metric):
        raise Fault("a subclass of genzoo.core.evaluation.evidence.Metric", case.cls.__name__, "derive it from that")
    needs, found, why = tuple(case.entry.data.get("needs", ())), [], ""
    for kind, conditional in [(k, c) for k in cases.kinds(case.entry) for c in (True, False)]:
        metric, ev = case.cls(case.cls.Options()), evidence(case, kind.examples(CLASSES)[0], conditional)
        where = f"{kind.name}, of a {'conditional' if conditional else 'plain'} model"
        absent = attempt(lambda m=metric, e=ev: why_absent(m, needs, e), where, "refuses")  # type: ignore[misc]
        if absent:
            why = absent
            continue
        try:
            result = attempt(lambda m=metric, e=ev: m.measure(e), where, "measure")  # type: ignore[misc]
        except GenzooError as e:
            why = str(e)
            continue
        found.append((where, ev, result))
    if not found:
        raise Skip(f"it is of other data: {why}")
    return found


def measures(case: Case) -> None:
    """It gives an Estimate whose interval holds the number, and plain details."""
    for where, ev, result in measured(case):
        if not isinstance(result, (Estimate, Measured)):
            raise Fault("an Estimate or a Measured", type(result).__name__,
                        "return genzoo.core.math.intervals.mean(numbers), or Estimate(value)", where)  # fmt: skip
        e = result.estimate if isinstance(result, Measured) else result
        if not isinstance(e.value, float) or math.isnan(e.value):
            raise Fault("a number", repr(e.value), "return a float; infinity is a number, NaN is not", where)
        if not (math.isnan(e.low) or e.low <= e.value + 1e-9) or not (math.isnan(e.high) or e.value <= e.high + 1e-9):
            raise Fault("an interval around the number", f"{e.value:.4g} with [{e.low:.4g}, {e.high:.4g}]",
                        "look at how the interval is made", where)  # fmt: skip
        if isinstance(result, Measured):
            import json

            attempt(lambda r=result: json.dumps(dict(r.details)), where, "details as plain data",  # type: ignore[misc]
                    "turn tensors into numbers and lists")  # fmt: skip
            for name, picture in result.pictures.items():
                if picture.dim() != 4:
                    raise Fault(
                        f"pictures (N, C, H, W), {name!r}", shape_text(picture.shape), "add the missing axes", where
                    )
        if not isinstance(case.cls(case.cls.Options()).title(ev), str):
            raise Fault("a title of text", "something else", "return '' for the entry's name", where)


def deterministic(case: Case) -> None:
    """The same evidence gives the same number, whatever torch's seed."""
    with seeded(1):
        first = measured(case)
    with seeded(2):
        second = measured(case)
    for (where, _, a), (_, _, b) in zip(first, second, strict=True):
        values = [(r.estimate if isinstance(r, Measured) else r).value for r in (a, b)]
        if not (values[0] == values[1] or abs(values[0] - values[1]) < 1e-6 * (1 + abs(values[0]))):
            raise Fault("the same number twice", f"{values[0]:.6g} and {values[1]:.6g}",
                        "draw from genzoo.core.noise.generator(evidence.seed, …)", where)  # fmt: skip


def inputs_kept(case: Case) -> None:
    """Samples and data, which all metrics share, are as they were afterwards."""
    for where, ev, _ in measured(case):
        fresh = evidence(case, ev.spec, ev.has_asked)
        for name in ("samples", "real"):
            if not torch.equal(getattr(ev, name), getattr(fresh, name)):
                raise Fault("the evidence unchanged", f"{name} changed in place", "work on a copy: x.clone()", where)


def protocol(case: Case) -> None:
    """What it calls silent are options of it."""
    names = {i.name for i in options_of(case.cls.Options)}
    own = set(case.cls.silent) - names - set(Metric.silent)
    if own:
        raise Fault("names of options in silent", f"{sorted(own)}", f"there are {sorted(names)}")


def extracts(case: Case) -> None:
    """Features are ``(B, D)`` finite float32 numbers of each observation alone; the hash names them."""
    if not issubclass(case.cls, Extractor):
        raise Fault("a subclass of genzoo.core.evaluation.evidence.Extractor", case.cls.__name__, "derive it from that")
    tried, why = False, ""
    for spec in (DataSpec.image(1, 28, 28), DataSpec.image(3, 32, 32), DataSpec("vector", (3,))):
        try:
            opened = case.cls.open(spec)
        except (UsageError, GenzooError, ImportError) as e:
            why = str(e)
            continue
        tried, where = True, f"{spec.modality} {shape_text(spec.shape)}"
        x = torch.rand(6, *spec.shape, generator=torch.Generator().manual_seed(0))
        before = x.clone()
        with torch.no_grad():
            a = attempt(lambda o=opened, x=x: o.extract(x), where, "extract")  # type: ignore[misc]
            b = opened.extract(x)
            parts = torch.cat([opened.extract(x[i : i + 2]).features.flatten(1) for i in (0, 2, 4)])
        f = a.features.flatten(1)
        if len(f) != 6 or not f.is_floating_point() or not torch.isfinite(f).all():
            raise Fault(
                "finite features (B, D)", shape_text(a.features.shape), "one row of numbers per observation", where
            )
        if not torch.equal(x, before):
            raise Fault("its input unchanged", "it changed in place", "work on a copy", where)
        if gap(f, b.features.flatten(1)) > 1e-6 or gap(f, parts) > 1e-3:
            raise Fault("the same features in every batch", "others", "put the network into eval mode", where)
        if a.logits is not None and a.logits.shape[1] != len(case.cls.class_names or opened.class_names):
            raise Fault("a class name for each logit", f"{len(opened.class_names)} names", "fill in class_names", where)
        if len(opened.sha256()) != 64 or opened.sha256() != case.cls.open(spec).sha256():
            raise Fault(
                "sha256() of 64 hexadecimal digits, the same every time", opened.sha256(), "hash the weights", where
            )
    if not tried:
        raise Skip(f"it cannot be opened here: {why}")

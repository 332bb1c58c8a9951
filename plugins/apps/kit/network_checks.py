"""Generators, encoders and critics, each on its own, and the checks that only they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor

from genzoo.core.networks import Network, Ports
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, Subject, accepted, expect, labels, over, seeded, setting
from genzoo.plugins.apps.kit.findings import Skip

LATENT, N = 6, 6


class Built(Subject):
    """A network with random inputs, built to ports; ``wide`` asks for more numbers, as some objectives do.

    Raises:
        UsageError: if it refuses to be built so.
    """

    to_input = ("x",)

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
        self.ports = Ports(tuple(x.shape[1:]), outputs, classes, apart)
        super().__init__(setting(spec, classes), self.anew(0), {"x": x, "y": labels(N, classes)})

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
        expect(cases.gap(outputs[k], outputs[k + 1]) >= 1e-7, "another output for another label", same, mend)


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

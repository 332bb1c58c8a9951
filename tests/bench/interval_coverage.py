"""How often the interval of each metric holds what it claims to hold, over many simulated evaluations.

    python tests/bench/interval_coverage.py [--repeats 200] [--only kid,mig] [--write]

Each case draws samples and data anew from known distributions and measures the metric as an evaluation does. What is
to be covered is a closed form, the number of a large set under the same conditions, or where the claim is "the
expected value at these counts" the mean over all repeats. ``--write`` puts each row into docs/evaluation.md. About
a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from _tables import with_tables

from genzoo.core.data import Data, KnownModes
from genzoo.core.evaluation.evidence import Evidence, Extractor, Features, Measured, Metric
from genzoo.core.math.intervals import Estimate
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.noise import generator
from genzoo.core.spec import DataSpec
from genzoo.plugins.metrics import codes, disentanglement, fidelity, twosample
from genzoo.plugins.metrics.frechet import frechet
from genzoo.plugins.modalities import alphabet
from genzoo.plugins.modalities.columns import Column, spec_of
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
LARGE = 20_000  # observations that stand for a population
Case = Callable[[int], tuple[Estimate, float | None]]  # of a seed: the estimate, and what it is to cover if known
CASES: dict[tuple[str, str], Case] = {}
TEXTS = of("text").examples()[0]
CLIPS = of("audio").examples()[0]


@dataclass
class Covered:
    """What a case found: how often the truth lay inside, and the interval's half width over the value's true one."""

    share: float
    width: float
    repeats: int
    value: float


class Known(Extractor):
    """The numbers themselves, and the classifier of four classes that is best for `mixture`."""

    name, class_names = "known", ("a", "b", "c", "d")

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Extractor:
        return cls()

    def extract(self, x: Tensor) -> Features:
        return Features(x.flatten(1), -torch.cdist(x.flatten(1), centres(x.flatten(1).shape[1])).square() / 2)

    def sha256(self) -> str:
        return "known"


class Posed(Evidence):
    """Evidence of posteriors that are given rather than computed."""

    posed: dict[str, Any]

    def posterior(self, data: Data | None = None) -> tuple[Tensor, Tensor]:
        return self.posed["training" if data is not None else "posterior"]

    def log_weights(self, samples: int, limit: int) -> Tensor:
        return self.posed["weights"]

    def reconstructions(self, limit: int) -> tuple[Tensor, Tensor]:
        return self.posed["reconstructions"]


def centres(dimensions: int) -> Tensor:
    return 2.5 * torch.eye(4, dimensions)


def mixture(n: int, seed: int, *, dimensions: int = 8, shift: float = 0.0, scale: float = 1.0, weights=(1, 1, 1, 1)):
    """Observations ``(N, D)`` around four centres, and which one each is of."""
    g = generator(seed)
    y = torch.multinomial(torch.tensor(weights, dtype=torch.float), n, replacement=True, generator=g)
    x = torch.randn(n, dimensions, generator=g) * scale + centres(dimensions)[y] + shift / math.sqrt(dimensions)
    return x, y


def posed(x: Tensor, y: Tensor, samples: Tensor, asked: Tensor | None = None, seed: int = 0, **given: Any) -> Posed:
    """Evidence of data and samples ``(N, ...)``."""
    shape = tuple(x.shape[1:])
    names = Known.class_names
    if (spec := given.pop("spec", None)) is not None:
        pass
    elif len(shape) == 3:
        spec = DataSpec.image(*shape, classes=4, class_names=names)
        x = (x * 255).round().to(torch.uint8)
    else:
        spec = DataSpec("vector", shape, classes=4, class_names=names)
    data = Data(spec, x, y, split="test", factors=given.pop("factors", None))
    training = given.pop("train", None)
    evidence = Posed(
        data, lambda: (samples, asked), n_fake=len(samples), asked=asked is not None, extractor=Known(),
        training=lambda: training, has_training=training is not None, seed=seed,
    )  # fmt: skip
    evidence.posed = given
    evidence._kept.update(given.pop("kept", {}))
    return evidence


def measured(name: str, evidence: Evidence, **options: Any) -> Estimate:
    """The estimate of a metric with its default options, but for those given."""
    entry = the_registry().get("metric", name)
    cls: Any = the_registry().load(entry, Metric)
    found = cls(cls.Options(**options)).measure(evidence)
    return found.estimate if isinstance(found, Measured) else found


def case(metric: str, world: str) -> Callable[[Case], Case]:
    def add(f: Case) -> Case:
        CASES[metric, world] = f
        return f

    return add


def differing(seed: int, n: int, m: int, dimensions: int, **how: Any) -> Posed:
    x, y = mixture(m, 2 * seed, dimensions=dimensions)
    fake, _ = mixture(n, 2 * seed + 1, dimensions=dimensions, **how)
    return posed(x, y, fake, seed=seed)


APART: dict[str, Any] = {"shift": 1.0, "scale": 1.2, "weights": (3, 1, 1, 1)}
for metric in ("frechet", "kid", "mmd"):
    for dimensions in (8, 32):
        for words, how in (("differ", APART), ("equal", {})):

            @case(metric, f"n = 300, m = 400, D = {dimensions}, {words}")
            def _(seed: int, metric: str = metric, d: int = dimensions, how: dict[str, Any] = how):
                return measured(metric, differing(seed, 300, 400, d, **how)), None


for words, how in (("differ", APART), ("equal", {})):

    @case("sliced-wasserstein", f"n = 100, m = 150, D = 32, 16 directions, {words}")
    def _(seed: int, how: dict[str, Any] = how):
        return measured("sliced-wasserstein", differing(seed, 100, 150, 32, **how), projections=16), None


for dimensions in (8, 32):
    for words, how in (("differ", APART), ("equal", {})):

        @case("frechet-infinity", f"n = 300, m = 400, D = {dimensions}, {words}")
        def _(seed: int, d: int = dimensions, how: dict[str, Any] = how):
            def everything() -> float:
                fake, real = mixture(10**6, 8, dimensions=d, **how)[0], mixture(10**6, 9, dimensions=d)[0]
                return frechet(fake, real).estimate.value

            return measured("frechet-infinity", differing(seed, 300, 400, d, **how)), _once(f"{d} {how}", everything)


for metric in ("precision", "density", "recall", "coverage"):

    @case(metric, "n = 300, m = 400, D = 8, differ")
    def _(seed: int, metric: str = metric):
        x, y = mixture(400, 2 * seed if metric == "recall" else 5)
        fake, _ = mixture(300, 5 if metric == "recall" else 2 * seed + 1, shift=2.0, scale=1.2)
        if metric == "coverage":
            return measured(metric, posed(x, y, fake)), None

        def everything() -> float:  # the balls stay, and what is judged by them is much more
            if metric == "recall":
                return fidelity.fidelity(fake, mixture(LARGE, 10**6)[0]).recall.value
            return getattr(fidelity.fidelity(mixture(LARGE, 10**6, shift=2.0, scale=1.2)[0], x), metric).value

        return measured(metric, posed(x, y, fake)), _once(metric, everything)


@case("c2st", "n = 300, m = 400, D = 8, differ")
def _(seed: int):
    fitted = []
    fit = twosample.logistic.fit
    twosample.logistic = SimpleNamespace(fit=lambda *a, **k: fitted.append(fit(*a, **k)) or fitted[-1])
    try:
        found = measured("c2st", differing(seed, 300, 400, 8, **APART))
    finally:
        twosample.logistic = sys.modules["genzoo.core.math.logistic"]
    fake, real = mixture(LARGE, 10**6 + 1, **APART)[0], mixture(LARGE, 10**6)[0]
    right = [(fitted[0].predict(v) == i).double().mean().item() for i, v in enumerate((fake, real))]
    return found, sum(right) / 2


for words, how in (("differ", {"weights": (4, 2, 1, 1)}), ("equal", {})):

    @case("class-kl", f"n = 500, 4 classes, {words}")
    def _(seed: int, how: dict[str, Any] = how):
        x, y = mixture(2000, 5)  # the data's shares are given
        return measured("class-kl", posed(x, y, mixture(500, seed, **how)[0], seed=seed)), None

    @case("mode-kl", f"n = 2,500, 25 modes, {words}")
    def _(seed: int, how: dict[str, Any] = how):
        from genzoo.plugins.datasets.toys import Grid25

        g = generator(seed)
        weights = torch.linspace(1, 3 if how else 1, 25)
        y = torch.multinomial(weights, 2500, replacement=True, generator=g)
        x = torch.tensor(Grid25.centres)[y] + 0.05 * torch.randn(2500, 2, generator=g)
        return measured("mode-kl", mixture_evidence(x, seed)), None

    @case("stacked-kl", f"n = 26,000, 1,000 modes, {words}")
    def _(seed: int, how: dict[str, Any] = how):
        weights = torch.linspace(1, 3 if how else 1, 1000)
        modes = torch.multinomial(weights, 26_000, replacement=True, generator=generator(seed))
        evidence = posed(torch.zeros(9, 2), torch.zeros(9, dtype=torch.long), torch.zeros(9, 2), seed=seed)
        evidence._kept["stacked"] = modes, modes
        evidence.data = replace(evidence.data, modes=KnownModes(26_000, classifier="digit-classifier"))
        return measured("stacked-kl", evidence), None


def mixture_evidence(x: Tensor, seed: int) -> Evidence:
    from genzoo.plugins.datasets.toys import Grid25

    source = Grid25()
    data = source.load("test").take(slice(500))
    return Evidence(data, lambda: (x, None), n_fake=len(x), seed=seed)


@case("high-quality", "n = 2,500, 90 %")
def _(seed: int):
    from genzoo.plugins.datasets.toys import Grid25

    g = generator(seed)
    far = torch.rand(2500, generator=g) < 0.1
    x = torch.tensor(Grid25.centres)[torch.randint(25, (2500,), generator=g)]
    x = x + 0.05 * torch.randn(2500, 2, generator=g) + far[:, None] * 1.0
    return measured("high-quality", mixture_evidence(x, seed)), 0.9 * (1 - math.exp(-4.5))


@case("reconstruction-accuracy", "m = 400, 4 classes")
def _(seed: int):
    def again(x: Tensor, seed: int) -> Tensor:
        return x + 0.8 * torch.randn(x.shape, generator=generator(seed))

    x, y = mixture(400, seed)
    big, truth = mixture(LARGE, 10**6)
    right = Known().extract(again(big, 10**6 + 1)).logits.argmax(1) == truth
    evidence = posed(x, y, x, y, seed, reconstructions=(x, again(x, seed + 10**7)))
    return measured("reconstruction-accuracy", evidence), right.double().mean().item()


@case("conditional-accuracy", "n = 500, 4 classes")
def _(seed: int):
    fake, asked = mixture(500, seed, scale=1.5)
    x, y = mixture(400, 5)
    big, truth = mixture(LARGE, 10**6, scale=1.5)
    guess = Known().extract(big).logits.argmax(1)
    return measured("conditional-accuracy", posed(x, y, fake, asked, seed)), (guess == truth).double().mean().item()


@case("classifier-score", "n = 1,000, 4 classes")
def _(seed: int):
    x, y = mixture(10, 5)
    return measured("classifier-score", posed(x, y, mixture(1000, seed, weights=(4, 2, 1, 1))[0], seed=seed)), None


@case("memorization", "n = 500, 10 % copies")
def _(seed: int):
    train, y = mixture(500, 5)

    def draw(n: int, seed: int) -> Tensor:
        g = generator(seed)
        copies = train[torch.randint(500, (n,), generator=g)] + 0.05 * torch.randn(n, 8, generator=g)
        return torch.where(torch.rand(n, 1, generator=g) < 0.1, copies, mixture(n, seed + 7)[0])

    training = Data(DataSpec("vector", (8,), classes=4), train, y)
    x, y = mixture(400, 6)

    def everything() -> float:
        return measured("memorization", posed(x, y, draw(LARGE, 10**6), train=training), limit=LARGE).value

    return measured("memorization", posed(x, y, draw(500, seed), train=training)), _once("memorization", everything)


_known: dict[str, float] = {}


def _once(key: str, compute: Callable[[], float]) -> float:
    if key not in _known:
        _known[key] = compute()
    return _known[key]


for support in (2000, 20_000):

    @case("duplicates", f"n = 1,000 of {support:,} things")
    def _(seed: int, support: int = support):
        things = torch.randn(support, 8, generator=generator(1))
        fake = things[torch.randint(support, (1000,), generator=generator(2, seed))]
        x = torch.randn(1000, 8, generator=generator(3))
        return measured(
            "duplicates", posed(x, torch.zeros(1000, dtype=torch.long), fake, seed=seed), quantile=0.0
        ), float(support)


def pictures(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Blurred noise ``(N, 1, 12, 12)`` around a picture for each of four labels."""
    g = generator(seed)
    y = torch.randint(4, (n,), generator=g)
    base = torch.rand(4, 1, 12, 12, generator=generator(1))
    scale = 0.3 + 0.7 * torch.rand(n, 1, 1, 1, generator=g)
    return (base[y] + 0.3 * scale * torch.randn(n, 1, 12, 12, generator=g)).clamp(0, 1), y


@case("ms-ssim", "n = 200, 4 labels")
def _(seed: int):
    x, y = pictures(200, seed)
    return measured("ms-ssim", posed(x[:40], y[:40], x, y, seed)), None


@case("diversity", "n = 200, m = 300, 4 labels")
def _(seed: int):
    x, y = mixture(300, 2 * seed)
    fake, asked = mixture(200, 2 * seed + 1, scale=0.7)
    spread = 0.7 + torch.rand(200, 1, generator=generator(seed))
    return measured("diversity", posed(x, y, fake * spread, asked, seed)), None


for metric in ("psnr", "ssim"):

    @case(metric, "m = 300")
    def _(seed: int, metric: str = metric):
        x, y = pictures(300, seed)
        noise = torch.randn(x.shape, generator=generator(seed, 1)) * torch.rand(
            300, 1, 1, 1, generator=generator(seed, 2)
        )
        return measured(metric, posed(x, y, x, reconstructions=(x, (x + 0.2 * noise).clamp(0, 1)))), None


for metric in ("log-likelihood", "bits-per-dimension", "elbo"):

    @case(metric, "m = 300, K = 20")
    def _(seed: int, metric: str = metric):
        g = generator(seed)
        weights = 5 * torch.randn(1, 300, generator=g) - 80 + torch.randn(20, 300, generator=g)
        x = torch.zeros(300, 8)
        return measured(metric, posed(x, torch.zeros(300, dtype=torch.long), x, weights=weights)), None


for metric, nats in (("nats-per-character", 1.0), ("bits-per-byte", math.log(2))):

    @case(metric, "m = 300, K = 20, lengths from 1 to 8")
    def _(seed: int, metric: str = metric, nats: float = nats):
        g = generator(seed)
        lengths = torch.randint(1, 9, (300,), generator=g)  # with the end; each character costs 2 nats, give or take
        weights = -(2 * lengths + torch.randn(300, generator=g)).expand(20, -1)
        rows = alphabet.encode(["a" * (n - 1) for n in lengths.tolist()], TEXTS.facts, 8)
        return measured(metric, posed(rows, lengths, rows, spec=TEXTS, weights=weights)), 2.0 / nats


@case("perplexity-per-word", "m = 300, K = 20, 2 to 5 words")
def _(seed: int):
    g = generator(seed)
    words = torch.randint(2, 6, (300,), generator=g)  # with the end; each costs 2 nats, give or take
    weights = -(2 * words + torch.randn(300, generator=g)).expand(20, -1)
    rows = alphabet.encode([" ".join("a" * (n - 1)) for n in words.tolist()], TEXTS.facts, 8)
    return measured("perplexity-per-word", posed(rows, words, rows, spec=TEXTS, weights=weights)), math.exp(2)


@case("valid-molecules", "n = 200, 10 % are none")
def _(seed: int):
    spec = DataSpec("text", (4,), 5, facts={"tokens": "characters", "alphabet": "(C"})
    wrong = (torch.rand(200, generator=generator(seed)) < 0.1).tolist()
    rows = alphabet.encode(["C(" if bad else "CC" for bad in wrong], spec.facts, 4)
    return measured("valid-molecules", posed(rows, torch.zeros(200, dtype=torch.long), rows, spec=spec)), 0.9


def _said(n: int, seed: int) -> torch.Tensor:
    """Rows of texts of 1 to 7 letters, whose first ones tell what others are likely."""
    g = generator(seed)
    count, first = torch.randint(1, 8, (n,), generator=g), torch.randint(3, generator=g, size=(n,))
    odd = torch.rand(n, 7, generator=g) < 0.3
    letters = [["abc "[int(f) if not o else 3 - int(f)] for o in row] for f, row in zip(first, odd, strict=True)]
    rows = ["".join(row[: int(c)]) for row, c in zip(letters, count, strict=True)]
    return alphabet.encode(rows, TEXTS.facts, 8)


for metric in ("forward-lm", "reverse-lm", "valid-words"):

    @case(metric, "n = 200 texts of up to 7 letters")
    def _(seed: int, metric: str = metric):
        fixed, drawn = _said(60, 10**6), _said(200, seed)
        none = torch.zeros(len(drawn), dtype=torch.long)
        train = Data(TEXTS, fixed, None, split="train")
        if metric == "reverse-lm":
            return measured(metric, posed(drawn, none, fixed.float(), spec=TEXTS, train=train)), None
        return measured(metric, posed(drawn, none, drawn.float(), spec=TEXTS, train=train)), None


@case("bleu-n", "n = 200 texts of up to 7 letters, against 60")
def _(seed: int):
    drawn, train = _said(200, seed), Data(TEXTS, _said(60, 10**6 + 1), None, split="train")
    real = _said(60, 10**6).float()
    none = torch.zeros(len(drawn), dtype=torch.long)
    return measured("bleu-n", posed(drawn, none, real, spec=TEXTS, train=train)), None


@case("copied-runs", "n = 200 texts of up to 7 letters, runs of 5")
def _(seed: int):
    drawn, train = _said(200, seed), Data(TEXTS, _said(60, 10**6), None, split="train")
    none = torch.zeros(len(drawn), dtype=torch.long)
    return measured("copied-runs", posed(drawn, none, drawn.float(), spec=TEXTS, train=train), n=5), None


for metric in ("mr-stft", "si-sdr", "snr", "log-spectral-distance", "mel-distance"):

    @case(metric, "m = 200, noise of many levels")
    def _(seed: int, metric: str = metric):
        g = generator(seed)
        x = CLIPS.facts["level"] * torch.randn(200, *of(CLIPS).unit_shape(CLIPS), generator=g)
        noise = CLIPS.facts["level"] * torch.randn(x.shape, generator=g) * torch.rand(200, 1, 1, generator=g)
        evidence = posed(x, torch.zeros(200, dtype=torch.long), x, spec=CLIPS, reconstructions=(x, x + noise))
        return measured(metric, evidence), None


@case("silent-samples", "n = 300, 10 % silent")
def _(seed: int):
    g = generator(seed)
    loud = (torch.rand(300, 1, 1, generator=g) > 0.1) * CLIPS.facts["level"]
    x = loud * torch.randn(300, *of(CLIPS).unit_shape(CLIPS), generator=g)
    return measured("silent-samples", posed(x, torch.zeros(300, dtype=torch.long), x, spec=CLIPS)), 0.1


@case("pitch-accuracy", "n = 100, 80 % right")
def _(seed: int):
    g = generator(seed)
    notes = replace(CLIPS, classes=2, class_names=("A4", "A5"), shape=(1, 512), facts=CLIPS.facts | {
        "samples": 512, "rate": 8000})  # fmt: skip
    asked = torch.randint(2, (100,), generator=g)
    made = torch.where(torch.rand(100, generator=g) < 0.8, asked, 1 - asked)
    x = 0.1 * torch.sin(2 * torch.pi * 440.0 * 2 ** made[:, None, None] * torch.arange(512) / 8000)
    return measured("pitch-accuracy", posed(x, asked, x, spec=notes, asked=asked)), 0.8


def table_rows(n: int, seed: int, shift: float = 0.0) -> Tensor:
    """Codes of a category and two numbers that go by it."""
    g = generator(seed, 7)
    level = torch.multinomial(torch.tensor([0.2, 0.5, 0.3]), n, replacement=True, generator=g)
    age = (torch.rand(n, generator=g) + level + shift).clamp(0, 2.999)
    return torch.stack([level + 0.5, torch.rand(n, generator=g) * 2.999, age], 1)


EDGES = ((0.0, 1.0, 2.0, 3.0), (1 / 3,) * 3)
TABLE = spec_of([
    Column("a", "category", "string", names=("x", "y", "z"), shares=(0.2, 0.5, 0.3)),
    *(Column(name, "number", "double", edges=EDGES[0], shares=EDGES[1]) for name in ("b", "c")),
])  # fmt: skip


def judged(metric: str, fake: Tensor, real: Tensor, train: Tensor, **options: Any) -> Estimate:
    y = torch.zeros(len(real), dtype=torch.long)
    evidence = posed(real, y, fake, spec=TABLE, train=Data(TABLE, train))
    return measured(metric, evidence, **options)


for metric in ("columns", "pairs"):

    @case(metric, "n = 400, m = 500, differ")
    def _(seed: int, metric: str = metric):
        return judged(metric, table_rows(400, 2 * seed, 0.2), table_rows(500, 2 * seed + 1), table_rows(10, 0)), None


@case("row-copies", "n = 500, 10 % copies")
def _(seed: int):
    train, fake = table_rows(500, 1), table_rows(500, seed + 9)
    copied = torch.rand(500, generator=generator(seed, 8)) < 0.1
    return judged("row-copies", torch.where(copied[:, None], train, fake), table_rows(300, 2), train), 0.1


@cache
def of_many(metric: str) -> float:
    """The number of many samples: of a distance with ties the mean over repeats of few is another."""
    fake = torch.cat([table_rows(LARGE // 10, 10**6 + s) for s in range(10)])
    return judged(metric, fake, table_rows(300, 1), table_rows(300, 2), limit=LARGE).value


for metric in ("nearer", "dcr", "nndr"):

    @case(metric, "n = 300, rows that stay")
    def _(seed: int, metric: str = metric):
        return judged(metric, table_rows(300, seed + 9), table_rows(300, 1), table_rows(300, 2)), of_many(metric)


@case("membership", "m = 2 × 200, samples that stay")
def _(seed: int):
    return judged(
        "membership", table_rows(300, 1, 0.2), table_rows(400, 2 * seed + 9), table_rows(200, 2 * seed + 10)
    ), None


@case("posterior-kl", "m = 300")
def _(seed: int):
    kl = torch.randn(300, 4, generator=generator(seed)).exp()
    x = torch.zeros(300, 8)
    evidence = posed(x, torch.zeros(300, dtype=torch.long), x, posterior=(kl, kl))
    return measured("posterior-kl", evidence), 4 * math.exp(0.5)


@cache
def untrained() -> Model:
    """A VAE of 8 numbers as it begins."""
    spec = DataSpec("vector", (8,), classes=4, class_names=Known.class_names)
    given = {"latent.size": 4, "generator.width": 16, "encoder.width": 16}
    return initialize(compose(the_registry(), spec, "vae", given), 0)[1].model.eval()


def with_model(x: Tensor, y: Tensor, seed: int) -> Posed:
    evidence = posed(x, y, x, seed=seed)
    evidence.model = untrained()
    return evidence


for metric in ("mutual-information", "total-correlation", "dimension-wise-kl"):

    @case(metric, "m = 300, these observations")
    def _(seed: int, metric: str = metric):
        return measured(metric, with_model(*mixture(300, 0), seed)), None


for metric, more in (("swap-cost", {}), ("ais", {"limit": 200, "steps": 10, "leaps": 2})):

    @case(metric, "m = 200, an untrained VAE")
    def _(seed: int, metric: str = metric, more: dict[str, Any] = more):
        return measured(metric, with_model(*mixture(200, seed), seed), **more), None


for metric, kind in (("linear-probe", "linear"), ("knn", "neighbours")):

    @case(metric, "1,000 training codes, m = 500")
    def _(seed: int, metric: str = metric, kind: str = kind):
        x, y = mixture(1000, 2 * seed, scale=1.5)
        test, truth = mixture(500, 2 * seed + 1, scale=1.5)
        big, known = mixture(LARGE, 10**6, scale=1.5)
        training = Data(DataSpec("vector", (8,), classes=4), x, y)
        order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
        own = training.take(order).x, training.take(order).y
        evidence = posed(test, truth, test, train=training, posterior=(test, test), training=(own[0], own[0]))
        return measured(metric, evidence), getattr(codes.probe(*own, big, known), kind).value


def factor_codes(n: int, seed: int, noise: float = 0.4) -> tuple[Tensor, Tensor]:
    """Codes ``(N, 5)`` of three factors: one alone, two mixed, one number of noise; and the factors."""
    g = generator(seed)
    v = torch.stack([torch.randint(k, (n,), generator=g) for k in (3, 4, 6)], 1)
    z = v.float() + noise * torch.randn(n, 3, generator=g)
    mixed = z[:, 1:2] + 0.8 * z[:, 2:3]
    return torch.cat([z[:, :2], mixed, z[:, 2:] + torch.randn(n, 1, generator=g), torch.randn(n, 1, generator=g)], 1), v


for metric in ("mig", "sap", "modularity"):

    @case(metric, "m = 1,000, 3 factors")
    def _(seed: int, metric: str = metric):
        z, v = factor_codes(1000, seed)
        x = torch.zeros(1000, 2)
        evidence = posed(x, torch.zeros(1000, dtype=torch.long), x, seed=seed, factors=v, posterior=(z, z))
        return measured(metric, evidence), None


_ballots: list[Tensor] = []


@case("factor-vae", "m = 1,000, 3 factors")
def _(seed: int):
    z, v = factor_codes(1000, 5, 2.0)
    x = torch.zeros(1000, 2)
    evidence = posed(x, torch.zeros(1000, dtype=torch.long), x, seed=seed, factors=v, posterior=(z, z))
    known = disentanglement.known(z, v)
    if not _ballots:
        _ballots.append(disentanglement.ballots(*known, LARGE, 64, 10**6)[1])
    table, _ = disentanglement.ballots(*known, 800, 64, seed)
    return measured("factor-vae", evidence), disentanglement.majority(table, _ballots[0])


def covered(run: Case, repeats: int) -> Covered:
    """Run a case under as many seeds."""
    found = [run(seed) for seed in range(repeats)]
    values = torch.tensor([e.value for e, _ in found], dtype=torch.float64)
    middle = values.mean().item()
    inside = [e.low <= (middle if truth is None else truth) <= e.high for e, truth in found]
    half = torch.tensor([e.high - e.value for e, _ in found], dtype=torch.float64)
    return Covered(
        sum(inside) / repeats, half.median().item() / max(1.96 * values.std().item(), 1e-30), repeats, middle
    )


def rows(repeats: int, only: set[str]) -> Iterator[tuple[str, str, str, Covered]]:
    """Metric, what it was of, what its interval claims to hold, and what came out."""
    registry = the_registry()
    loaded: dict[str, Any] = {metric: registry.load(registry.get("metric", metric), Metric) for metric, _ in CASES}
    for (metric, world), run in CASES.items():
        if only and not any(metric == o or f"{metric} {world}".startswith(o) for o in only):
            continue
        yield metric, world, loaded[metric].covers, covered(run, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--only", default="", help="metrics, comma-separated")
    parser.add_argument("--write", action="store_true", help="put the table into docs/evaluation.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for metric, world, claim, found in rows(asked.repeats, set(filter(None, asked.only.split(",")))):
        line = f"| `{metric}` | {claim} | {world} | {found.share:.1%} of {found.repeats} | {found.width:.2f} |"
        print(line, flush=True)
        if asked.write:
            PAGE.write_text(with_row(PAGE.read_text(encoding="utf-8"), metric, world, line), encoding="utf-8")


def with_row(page: str, metric: str, world: str, line: str) -> str:
    """The page with one case's row in the table; rows of other cases stay, in the order of the cases."""
    old = page.partition("<!-- intervals -->\n")[2].partition("<!-- end -->")[0].splitlines()
    own = {tuple(row.split(" | ")[i].strip("|` ") for i in (0, 2)): row for row in old[2:] if row.startswith("|")}
    own[metric, world] = line
    ordered = [own[case] for case in CASES if case in own]
    head = ["| metric | its interval holds | simulated | held | width |", "| --- | --- | --- | --- | --- |"]
    return with_tables(page, {"intervals": "\n".join([*head, *ordered])})


if __name__ == "__main__":
    main()

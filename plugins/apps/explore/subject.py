"""A model that is explored: what it can do, and each of its answers as something to look at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.coding.codec import scheme_of
from genzoo.core.coding.stack import Stack
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Evidence, as_floats
from genzoo.core.evaluation.feature_cache import FeatureCache
from genzoo.core.math.neighbours import nearest
from genzoo.core.math.traversal import REACH, Traversal, traverse
from genzoo.core.modality import Modality, of
from genzoo.core.model import Model
from genzoo.core.storage.strict import one_line
from genzoo.core.training.runs import columns_for
from genzoo.core.units import size_text
from genzoo.plugins.apps.compare.figures import Figure
from genzoo.plugins.apps.explore.fragments import numbers, table
from genzoo.registry import the_registry
from genzoo.registry.verbs.evaluate import open_extractor
from genzoo.registry.verbs.sample import check_fits
from genzoo.registry.verbs.score import MOST, WORDS, score
from genzoo.registry.verbs.subjects import data_of, open_reference, subset
from genzoo.registry.weights.history import History, history_of
from genzoo.registry.weights.hub import without_asking

ACROSS = 8  # observations in a row
SLIDERS = 6  # numbers of a code that have one
TURNED = 3  # of them that are shown by rows, where nothing is seen at a glance
LARGEST = 64  # observations of a file that are looked at
JUDGED = 200  # unseen observations that a score is held against
Figures = list[Figure]


@dataclass(frozen=True)
class Told:
    """What a conditional model is told: a class by name, and numbers; empty for what the model does by itself."""

    label: str = ""
    condition: str = ""


class Subject:
    """A model, and the data that it is known to come from.

    Args:
        name: what the page calls it.
        model: in eval mode.
        source: the weights' name, by which their record is found; None for a model without any.
        data: what it was trained on, in place of what the record says.
    """

    def __init__(self, name: str, model: Model, source: str | None = None, data: Any = None) -> None:
        self.name, self.model, self.source, self.given = name, model, source, data
        self.spec, self.kind = model.spec, of(model.spec)
        self.lock = threading.Lock()  # a page asks from several threads
        self._sweeps: dict[tuple[int, Told], Traversal] = {}
        self.lacks = {what: self._lack(why) for what, why in self._abilities().items()}

    # What it can do.

    def _abilities(self) -> dict[str, Callable[[], str]]:
        """By the name of a tab, why there is nothing in it; "" if there is."""
        model, unfitted = self.model, self.model.prior.unfitted
        encoder = "" if model.encoder is not None else "the model has no encoder"
        codes = "" if model.latent.size else "the model has no codes"
        discrete = "its codes are tokens, not numbers to turn" if model.prior.discrete else ""
        bent = "" if model.prior.space == "any numbers" else f"its codes are {model.prior.space}"
        return {
            "Samples": lambda: unfitted,
            "Code": lambda: codes or discrete or bent or unfitted,
            "Walk": lambda: codes or (unfitted and encoder),
            "Stages": lambda: codes or unfitted or ("" if model.prior.stages else "its codes are drawn at once"),
            "Reconstruct": lambda: encoder,
            "Neighbours": self._unknown,
            "Score": lambda: "",
            "Compress": self._incompressible,
        }

    @staticmethod
    def _lack(why: Callable[[], str]) -> str:
        try:
            return why()
        except GenzooError as e:
            return one_line(str(e))

    def _unknown(self) -> str:
        return "" if self.training is not None else "the data that it was trained on is not known: name it with --data"

    def _incompressible(self) -> str:
        scheme_of(self.model)
        Stack()
        return ""

    @cached_property
    def truncates(self) -> bool:
        """Whether its prior is made of normal numbers, which a truncation keeps near their mean."""
        try:
            self.model.prior.sample(torch.full((1, *self.model.prior.noise_shape), 0.5), self._labels(1, Told()), 1.0)
        except (GenzooError, RuntimeError):
            return False
        return bool(self.model.latent.size) and not self.lacks["Samples"]

    @property
    def selects(self) -> bool:
        """Whether samples can be asked to meet a condition in words."""
        return type(self.kind).selection is not Modality.selection

    @property
    def classes(self) -> list[str]:
        """Names of the classes that it is told, or their numbers."""
        return [*self.spec.class_names] or [str(i) for i in range(self.model.classes)] if self.model.classes else []

    # Data.

    @cached_property
    def history(self) -> History:
        """How it was made."""
        known = History() if self.source is None else history_of(self.source)
        return known if known.config is not None else replace(known, config=self.model.config)

    @cached_property
    def _splits(self) -> tuple[Data | None, Data | None]:
        """The data that it was trained on, and such that it was not."""
        registry = the_registry()
        try:
            if self.given is not None:
                how = (self.given, None, None, None, [self.source or self.model], [self.model])
                held, training = open_reference(registry, *how)
                found: tuple[Data | None, Data | None] = (training(), held)
            elif self.source is not None:
                with without_asking():  # a page that opens downloads nothing that nobody named
                    found = (data_of(registry, self.source, "train"), data_of(registry, self.source, "test"))
            else:
                return None, None
        except GenzooError:
            if self.given is not None:
                raise
            return None, None
        for data in found:
            if data is not None:
                check_fits(self.model, data.spec)
        return found

    @property
    def training(self) -> Data | None:
        """At most 5,000 of the observations that it was trained on; None if they are not known."""
        found = self._splits[0]
        return None if found is None else subset(found, MOST)

    @property
    def unseen(self) -> Data | None:
        """Observations that it was not trained on, as far as is known."""
        return self._splits[1]

    @cached_property
    def _behind(self) -> Tensor | None:
        data = self.unseen if self.unseen is not None else self.training
        return None if data is None else as_floats(data.take(slice(1000)))

    # Answers.

    def shown(self, x: Tensor, alt: str, caption: str = "", columns: int | None = None) -> Figure:
        """Observations in data units as their kind is looked at; as numbers, where there is no way."""
        x = self.kind.from_storage(self.spec, self.kind.to_storage(self.spec, x))
        found = self.kind.fragment(self.spec, x, columns, None if self.kind.renders else self._behind)
        if found is not None:
            return Figure(found.content, f"{alt}{found.alt}", caption or found.caption)
        return Figure(numbers(x[:LARGEST]), alt, caption)

    def _told(self, n: int, told: Told, *, needed: bool = True) -> dict[str, Any]:
        """The keywords of a model's methods for ``n`` observations that are all told the same."""
        found: dict[str, Any] = {}
        if self.model.classes and (told.label or needed):
            if not told.label:
                raise UsageError(f"{self.name} is told a class: choose one")
            found["labels"] = [told.label] * n
        if self.model.conditions and (told.condition.strip() or needed):
            names = ", ".join(self.spec.conditions)
            try:
                found["condition"] = [float(w) for w in told.condition.replace(",", " ").split()]
            except ValueError:
                raise UsageError(f"these are no numbers ({names}): {told.condition[:60]!r}") from None
            if len(found["condition"]) != self.model.conditions:
                raise UsageError(f"{self.name} is told {self.model.conditions} numbers: {names}")
        return found

    def _labels(self, n: int, told: Told) -> Tensor | None:
        """Classes of ``n`` samples as numbers: the one that is told, or each in turn."""
        if not self.model.classes:
            return None
        if told.label and told.label not in self.classes:
            raise UsageError(f"{self.name} has no class {told.label!r}: its classes are {', '.join(self.classes[:12])}")
        return torch.full((n,), self.classes.index(told.label)) if told.label else torch.arange(n) % self.model.classes

    def samples(self, n: int, seed: int, truncation: float | None, told: Told, where: str = "") -> Figures:
        """Samples of a seed; of a conditional model a class in each column, where none is chosen."""
        how = self._told(n, told, needed=False)
        columns = None if told.label else columns_for(self.model.classes)
        if columns and self.kind.renders:
            n = max(n // columns, 1) * columns
            how = self._told(n, told, needed=False)
        if where.strip() and self.selects:
            how["where"] = where.strip()
        x = self.model.sample(n, seed=seed, truncation=truncation if self.truncates else None, numbers=True, **how)
        each = ", one class in each column" if columns else f" of {told.label}" if told.label else ""
        alt = f"{n:,} {self.kind.many} by {self.name}{each}"
        return [self.shown(x, alt, f"{n:,} samples{each}." if self.kind.renders else "", columns or self._across(n))]

    def _across(self, n: int) -> int | None:
        return min(n, ACROSS) if self.kind.renders else None

    def sweep(self, seed: int, told: Told) -> Traversal:
        """The numbers of a code that matter most, by the KL to the prior or by what comes out, and what each does."""
        if (seed, told) not in self._sweeps:
            labels = self._labels(1, told)
            self._sweeps = {}  # one is kept
            self._sweeps[seed, told] = traverse(
                self.model, SLIDERS, ACROSS + 1, seed=seed, data=self.unseen,
                label=None if labels is None else int(labels[0]),
            )  # fmt: skip
        return self._sweeps[seed, told]

    def start(self, seed: int, told: Told) -> list[float]:
        """Where the sliders stand for the code of a seed."""
        z = self.model.codes(0, 1, seed=seed, labels=self._labels(1, told)).flatten()
        return [min(max(float(z[d]), -REACH), REACH) for d in self.sweep(seed, told).dimensions]

    def turned(self, seed: int, values: list[float], told: Told) -> Figures:
        """What comes of a seed's code when the numbers that matter are set."""
        found = self.sweep(seed, told)
        z = self.model.codes(0, 1, seed=seed, labels=self._labels(1, told)).flatten()
        for d, value in zip(found.dimensions, values, strict=False):
            z[d] = value
        labels = self._labels(1, told)
        told = replace(told, label="" if labels is None else self.classes[int(labels[0])])
        x = self.model.decode(z.view(1, *self.model.latent.shape), numbers=True, **self._told(1, told))
        unit = " nats" if found.measure == "nats" else ""
        order = ", ".join(f"{d} ({a:.3g}{unit})" for d, a in zip(found.dimensions, found.activity, strict=True))
        ends = f"from {found.values[0]:g} to {found.values[-1]:g} standard deviations"
        said = self.shown(x, f"{self.kind.one} by {self.name}", "What the sliders say.")
        if not self.kind.renders:  # lines, rows or players: the most active numbers, each at both ends and between
            at = (0, len(found.values) // 2, len(found.values) - 1)
            there = ", ".join(f"{found.values[i]:g}" for i in at)
            return [said, *(self.shown(row[list(at)], f"what number {d} of the code of {self.name} does",
                                       f"Number {d} at {there} standard deviations.")
                            for d, row in zip(found.dimensions[:TURNED], found.x, strict=False))]  # fmt: skip
        rows = self.shown(
            found.x.flatten(0, 1), f"what {len(found.x)} numbers of the code of {self.name} do, one in each row",
            f"One number of the code in each row, {ends}, the most active first: {order}.", len(found.values),
        )  # fmt: skip
        return [said, rows]

    def walk(
        self, ends: tuple[int | Tensor, int | Tensor], steps: int, labels: tuple[str, str], condition: str = ""
    ) -> Figures:
        """The way from one code to another; a code is that of a seed, or of an observation."""
        first, last = (Told(label or labels[0], condition) for label in labels)
        codes = [
            self.model.codes(0, 1, seed=end, labels=self._labels(1, told)) if isinstance(end, int)
            else self.model.encode(end[:1], **self._told(1, told))
            for end, told in zip(ends, (first, last), strict=True)
        ]  # fmt: skip
        how = self._told(1, first)
        if self.model.classes and last.label != first.label:
            how["to_labels"] = [last.label]
        x = self.model.interpolate(codes[0], codes[1], steps, numbers=True, **how)[0]
        return [self.shown(x, f"{steps} steps of a walk by {self.name}", "From one to the other, through what is "
                           "likely in between.", self._across(steps))]  # fmt: skip

    def stages(self, seed: int, told: Told) -> Figures:
        """What each part of a code decides: the first parts are kept, and the rest is drawn anew in every column."""
        model, sizes = self.model, self.model.prior.stages
        ends = [0, *accumulate(sizes)]
        kept = sorted({round(i * (len(sizes) - 1) / 5) for i in range(6)}) if len(sizes) > 6 else range(len(sizes))
        noise = model.code_noise(0, ACROSS + 1, seed).flatten(1)
        rows = [torch.cat([noise[:1, : ends[k]].expand(ACROSS, -1), noise[1:, ends[k] :]], 1) for k in kept]
        u = torch.cat([noise[:1].expand(1, -1), *rows]).view(-1, *model.prior.noise_shape)
        labels = self._labels(1, told)
        y = None if labels is None else labels.expand(len(u)).to(model.device)
        with torch.no_grad():
            z = model.prior.sample(u, y).to(model.device)
        told = replace(told, label="" if labels is None else self.classes[int(labels[0])])
        x = model.decode(z, numbers=True, **self._told(len(z), told))
        said = ", ".join("none" if k == 0 else f"the first {k}" for k in kept)
        return [
            self.shown(x[:1], f"{self.kind.one} by {self.name}", "The sample of the seed."),
            self.shown(x[1:], f"stages of the prior of {self.name}", f"Of {len(sizes)} stages, {said} as in that "
                       "sample, row by row; the rest is drawn anew.", ACROSS),
        ]  # fmt: skip

    # Answers about observations.

    def reconstruct(self, x: Tensor, told: Told) -> Figures:
        """Observations, and what the model makes of their codes."""
        again = self.model.reconstruct(x, numbers=True, **self._told(len(x), told)).cpu()
        kept = self.kind.from_storage(self.spec, self.kind.to_storage(self.spec, again))
        error = f"Root mean square error {(kept - x).square().mean().sqrt().item():.3g}."
        one = f"{len(x)} {self.kind.many}"
        if not self.kind.renders:
            return [self.shown(x, one, "Given."), self.shown(again, f"{one} by {self.name}", f"Made again. {error}")]
        across = min(len(x), ACROSS)
        rows = [part for i in range(0, len(x), across) for part in (x[i : i + across], again[i : i + across])]
        return [self.shown(torch.cat(rows), f"{one} above what {self.name} makes of them",
                           f"Above: given. Below: made again. {error}", across)]  # fmt: skip

    def neighbours(self, x: Tensor, k: int = ACROSS - 1) -> Figures:
        """Observations, each beside the training observations nearest to it."""
        training = self.training
        if training is None:
            raise GenzooError(self._unknown())
        extractor = open_extractor(the_registry(), self.kind.general, self.spec)
        data = Data(replace(self.spec, classes=0, class_names=(), conditions=(), condition_scale=(),
                            condition_shift=()), self.kind.to_storage(self.spec, x), name="looked at")  # fmt: skip
        evidence = Evidence(data, lambda: (x, None), n_fake=0, training=lambda: training, extractor=extractor,
                            cache=FeatureCache(), device=self.model.device)  # fmt: skip
        k = min(k, len(training))
        distance, index = nearest(evidence.real_features.features, evidence.training_features.features, k)
        found = as_floats(training.take(index.flatten().tolist())).view(len(x), k, *x.shape[1:])
        by = f"by the features of {extractor.name}, of {len(training):,} training observations"
        if self.kind.renders:
            rows = torch.cat([x[:, None], found], 1).flatten(0, 1)
            return [self.shown(rows, f"{len(x)} {self.kind.many}, each before its {k} nearest training observations",
                               f"In each row first what is looked at, then its {k} nearest {by}.", k + 1)]  # fmt: skip
        return [
            self.shown(torch.cat([x[i : i + 1], found[i]]), f"{self.kind.one} and its {k} nearest",
                       f"First what is looked at, then its {k} nearest {by}; distances "
                       f"{', '.join(f'{d:.3g}' for d in distance[i].tolist())}.")
            for i in range(min(len(x), 4))
        ]  # fmt: skip

    @cached_property
    def _usual(self) -> Mapping[str, Any]:
        """Scores of observations that it was not trained on."""
        data = self.unseen
        return {} if data is None else score(self.model, subset(data, JUDGED), training=self.training).columns

    def score(self, x: Tensor, told: Told) -> Figures:
        """How odd observations are to it, beside such that it was not trained on."""
        how = self._told(len(x), told)
        data = Data(replace(self.spec, classes=self.spec.classes if "labels" in how else 0,
                            class_names=self.spec.class_names if "labels" in how else ()),
                    self.kind.to_storage(self.spec, x), self._labels(len(x), told), name="looked at",
                    condition=torch.tensor([how["condition"]] * len(x)) if "condition" in how else None)  # fmt: skip
        found = score(self.model, data, training=self.training)
        head = ["no.", *found.columns]
        rows = [[str(i + 1), *(self._judged(name, float(v[i])) for name, v in found.columns.items())]
                for i in range(len(x))]  # fmt: skip
        absent = "; ".join(f"no {name}: {why}" for name, why in found.record["absent"].items())
        caption = f"Distance to {found.record['distance to']}. " + (f"{absent.capitalize()}." if absent else "")
        if self._usual:
            caption += f" Shares are of {min(JUDGED, len(self.unseen or ()))} unseen observations that are less odd."
        return [Figure(table(head, rows), f"scores by {self.name}", caption.strip())]

    def _judged(self, name: str, value: float) -> str:
        usual = self._usual.get(name)
        if usual is None or not len(usual):
            return f"{value:.4g}"
        return f"{value:.4g} (odder than {np.mean(WORDS[name] * usual < WORDS[name] * value):.0%})"

    def compress(self, x: Tensor, told: Told) -> tuple[Figures, bytes]:
        """Observations as a file whose size is the model's bound on them, and what that came to."""
        labels = self._labels(len(x), told) if self._told(len(x), told).get("labels") else None
        content = self.model.compress(x, labels, name=self.source or self.name)
        raw = self.kind.to_storage(self.spec, x)
        lossy = scheme_of(self.model) == "tokens"
        rows = [["Bytes of the file", f"{len(content):,}"], ["Bytes as stored", f"{raw.nbytes:,}"],
                ["Bits per dimension", f"{8 * len(content) / x.numel():.3f}"],
                ["Scheme", scheme_of(self.model)]]  # fmt: skip
        note = f"What comes back is {'a reconstruction' if lossy else 'exactly what was looked at, which was tried'}."
        figures = [Figure(table(["", ""], rows), f"sizes by {self.name}", f"{size_text(len(content))}. {note}")]
        if lossy:
            figures.append(self.shown(self.model.decompress(content), f"what comes back from {self.name}"))
        return figures, content

    def attempts(self, ask: Callable[[], Figures]) -> Figures:
        """The figures of an answer, or the reason for there being none."""
        try:
            with self.lock:
                return ask()
        except GenzooError as e:
            return [Figure(absent=one_line(str(e)))]
        except Exception as e:  # a page goes on
            return [Figure(absent=f"that did not work: {one_line(str(e) or type(e).__name__, 200)}")]

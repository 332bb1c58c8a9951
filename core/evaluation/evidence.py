"""How a model is judged: what a metric is given (`Evidence`), what it gives back, and what extracts features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from genzoo.core.conditions import given
from genzoo.core.data import Data, to_model
from genzoo.core.data.labels import renumbered
from genzoo.core.data.observations import HASHED
from genzoo.core.distributed.runtime import Runtime
from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.feature_cache import FeatureCache, digest
from genzoo.core.likelihood import Implicit
from genzoo.core.math.intervals import Estimate
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.options import Configured
from genzoo.core.spec import DataSpec

T = TypeVar("T")
NO_TRAINING = "the training data is not known: name a data set or a path, or give training="


@dataclass(frozen=True)
class Features:
    """What an extractor says of observations: ``features (N, D)``, and ``logits (N, K)`` if it classifies."""

    features: Tensor
    logits: Tensor | None = None


class Extractor(ABC):
    """Base of the registry's kind ``extractor``: turns observations into features that metrics compare."""

    name: str = ""  # what results call it
    class_names: tuple[str, ...] = ()  # what its logits stand for, empty if it does not classify
    inception: bool = False  # whether features are those of FID's own Inception, the only ones that make a "FID"
    version: int = 1  # of the code around the weights: counts up when equal weights give other features

    @classmethod
    @abstractmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Extractor:
        """Get it ready for data of a kind; ``path`` is the user's own file, for extractors that are read from one.

        Raises:
            UsageError: if it does not fit such data, or what it needs is not installed; says which.
        """

    @abstractmethod
    def extract(self, x: Tensor) -> Features:
        """Features of a batch in data units: images ``(B, C, H, W)`` in [0, 1], vectors ``(B, D)``."""

    @abstractmethod
    def sha256(self) -> str:
        """Hash of all that decides the features: weights, and version of the code."""

    def to(self, device: Any) -> Any:
        """Move to a device; extractors that choose their own stay where they are."""
        return self


def hash_of(module: nn.Module, version: int) -> str:
    """The sha256 of a network's names, shapes and numbers, and of its code's version."""
    return digest(module.state_dict(), f"{type(module).__name__} {version}")


@dataclass(frozen=True)
class Measured:
    """What a metric gives back, where a bare `Estimate` does not say it all."""

    estimate: Estimate
    details: Mapping[str, Any] = field(default_factory=dict)  # plain data beyond the number
    pictures: Mapping[str, Tensor] = field(default_factory=dict)  # evidence, by name: see `Evidence.pictured`
    n_real: int | None = None  # observations used, None for all that the evidence holds
    n_fake: int | None = None  # samples used, likewise
    why: str = ""  # reason for there being no interval


class Metric(Configured, ABC):
    """Base of the registry's kind ``metric``: one number of one model.

    The registry's entry says direction, unit and needs (see `NEEDS`); the class computes, from evidence that
    meets those needs. Options that are not named in `silent` are part of the protocol.
    """

    version: ClassVar[int] = 1  # counts up when equal evidence gives another number
    silent: ClassVar[tuple[str, ...]] = ("resamples",)  # options that change the interval only
    covers: ClassVar[str] = ""  # what the interval holds at its level; tests/bench/interval_coverage.py simulates it
    quick: ClassVar[Mapping[str, Any]] = {}  # options by which it costs little, for the conformance suite
    niche: ClassVar[bool] = False  # whether it is of some data only, so that its absence elsewhere is no news

    @abstractmethod
    def measure(self, evidence: Evidence) -> Estimate | Measured:
        """Compute it.

        Raises:
            GenzooError: if it cannot be had of this evidence after all.
        """

    def refuses(self, evidence: Evidence) -> str:
        """Why it cannot be measured here, beyond its needs; "" if it can. Must be cheap."""
        return ""

    def title(self, evidence: Evidence) -> str:
        """What to call the number in a table; "" is the entry's name."""
        return ""


class Evidence:
    """What metrics are given: samples, data, model; each computed at the first use and then shared.

    `data` are the reference observations that were chosen, `spec` is what one of them is, `model` None where samples
    alone are judged, `seed` that of sampling and of every random choice, and `device` where networks run: what is kept
    is on the CPU. `strange` is a class that some samples were asked to be of and that the data lack, if others are not.
    """

    def __init__(
        self,
        data: Data,
        draw: Callable[[], tuple[Tensor, Tensor | None]],
        *,
        n_fake: int,
        model: Model | None = None,
        asked: bool = False,
        strange: str = "",
        training: Callable[[], Data | None] = lambda: None,
        has_training: bool = False,
        extractor: Extractor | None = None,
        why_no_extractor: str = "no extractor was given",
        cache: FeatureCache | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        batch_size: int = 256,
        runtime: Runtime | None = None,
    ) -> None:
        self.spec, self.data, self.model, self.seed = data.spec, data, model, seed
        self.device, self.batch_size, self.n_fake = torch.device(device), batch_size, n_fake
        self.extractor, self.why_no_extractor = extractor, why_no_extractor
        self.has_training, self.has_asked, self.strange = has_training, asked, strange
        self._draw, self._training, self._cache = draw, training, cache
        self._runtime = runtime or Runtime()
        self._kept: dict[Any, Any] = {}

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """What ``compute`` returned when this key was first asked for: metrics of one kind share their work."""
        if key not in self._kept:
            self._kept[key] = compute()
        found: T = self._kept[key]
        return found

    def share_out(self, needs: Collection[str]) -> None:
        """Make with all processes what metrics of these needs share; what comes after, each makes alone.

        Process 0 then has it all, and is the one to measure.
        """
        if self._runtime.size > 1 and "samples" in needs:
            _ = self._drawn
        if self._runtime.size > 1 and "features" in needs:
            if "samples" in needs:
                _ = self.fake_features
            _ = self.real_features
        self._runtime = Runtime()

    # Observations, in data units.

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor | None]:
        x, asked = self._draw()
        return of(self.spec).to_storage(self.spec, x), asked

    @property
    def samples(self) -> Tensor:
        """Samples ``(N, *spec.shape)``: images in [0, 1] rounded to 8 bits, as a saved picture would be."""
        return self.once("samples", lambda: of(self.spec).from_storage(self.spec, self._drawn[0]))

    @property
    def asked(self) -> Tensor | None:
        """Labels that the samples were asked to have, ``(N,)``; None of an unconditional model."""
        return self._drawn[1]

    @property
    def real(self) -> Tensor:
        """Observations of the data ``(M, *spec.shape)``, as `samples`."""
        return self.once("real", lambda: as_floats(self.data))

    @property
    def labels(self) -> Tensor | None:
        """The data's labels ``(M,)``."""
        return self.data.y

    @cached_property
    def training(self) -> Data | None:
        """The training split, if there is one."""
        return self._training()

    def pictured(self, x: Tensor) -> Tensor | None:
        """A small picture ``(N, C, H, W)`` in [0, 1] of each observation in data units; None where there is none."""
        return of(self.spec).render(self.spec, x)

    # Features.

    @property
    def inception(self) -> bool:
        """Whether features are those of FID's own Inception."""
        return self.extractor is not None and self.extractor.inception

    @property
    def fake_features(self) -> Features:
        return self.once("fake features", lambda: self._extract(self._drawn[0]))

    @property
    def real_features(self) -> Features:
        """Of the data; kept on disk between evaluations."""
        return self.once("real features", lambda: self._cached(self.data))

    def labelled_training(self, limit: int) -> tuple[Tensor, Tensor]:
        """Numbers ``(K,)`` of training observations of the data's classes, shuffled, and their labels as the data's.

        Raises:
            GenzooError: if there are none.
        """
        training = self.training
        if training is None or training.y is None:
            raise GenzooError("the training data have no labels to fit a classifier on")
        y = renumbered(training.y, training.spec, self.spec).cpu()
        order = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))
        order = order[y[order] >= 0][:limit]
        if not len(order):
            raise GenzooError("the training data have none of the data's classes to fit a classifier on")
        return order, y[order]

    @property
    def training_features(self) -> Features:
        """Of the training split; kept on disk between evaluations."""
        training = self.training
        assert training is not None
        return self.once("training features", lambda: self._cached(training))

    def features_of(self, x: Tensor) -> Features:
        """Of any observations in data units ``(N, *spec.shape)``."""
        return self._extract(of(self.spec).to_storage(self.spec, x))

    def _cached(self, data: Data) -> Features:
        assert self.extractor is not None
        if self._cache is None or len(data) > HASHED:  # whose fingerprint does not see every row
            return self._extract(as_floats(data, whole=False))
        key = f"{data.fingerprint()} {data.spec.levels} {data.dynamic} {self.extractor.name} {self.extractor.sha256()}"
        first = self._runtime.first
        found = self._cache.get(key) if first else None
        if not self._runtime.broadcast(found is not None):  # of process 0, which alone needs them
            made = self._extract(as_floats(data, whole=False))
            if first:
                self._cache.put(key, {k: v for k, v in made.__dict__.items() if v is not None})
            return made
        return Features(**found) if found else Features(torch.empty(0))

    @torch.no_grad()
    def _extract(self, x: Tensor) -> Features:
        assert self.extractor is not None
        extractor, parts = self.extractor, torch.split(x, self.batch_size)
        extractor.to(self.device)

        def extracted(part: Tensor) -> tuple[Tensor, Tensor | None]:
            found = extractor.extract(of(self.spec).from_storage(self.spec, part).to(self.device))
            return found.features.flatten(1).float().cpu(), None if found.logits is None else found.logits.float().cpu()

        own = (extracted(parts[i]) for i in self._runtime.own(len(parts)))
        found = list(self._runtime.in_order(own, len(parts)))
        logits = [scores for _, scores in found if scores is not None]
        features = torch.cat([f for f, _ in found] or [torch.empty(0)])
        return Features(features, torch.cat(logits) if logits else None)

    # Codes.

    def log_weights(self, samples: int, limit: int) -> Tensor:
        """Importance weights of the first ``limit`` observations, ``(K, N)`` in nats: see `Model.log_weights`."""
        assert self.model is not None
        model = self.model

        def compute() -> Tensor:
            x, told = self._given(limit)
            parts = model.importance_weights(x, **told, samples=samples, seed=self.seed)
            return torch.cat([w.cpu() for w in parts], 1)

        return self.once(("log weights", samples, limit), compute)

    def posterior(self, data: Data | None = None) -> tuple[Tensor, Tensor]:
        """Posterior means ``(M, D)`` and KL to the prior ``(M, D)`` in nats, of the data or of other data."""
        assert self.model is not None
        model, chosen = self.model, self.data if data is None else data

        def compute() -> tuple[Tensor, Tensor]:
            told = chosen.told(model)
            means, divergences = model.posterior_numbers(as_floats(chosen), **told, batch_size=self.batch_size)
            return means.cpu(), divergences.cpu()

        return self.once(("posterior", id(chosen)), compute)

    def reconstructions(self, limit: int) -> tuple[Tensor, Tensor]:
        """The first ``limit`` observations and what the model makes of them, 8-bit as `samples`."""
        assert self.model is not None
        model = self.model

        def compute() -> tuple[Tensor, Tensor]:
            x, told = self._given(limit)
            again = model.reconstruct(x, **told, batch_size=self.batch_size, numbers=True).cpu()
            return x, of(self.spec).from_storage(self.spec, of(self.spec).to_storage(self.spec, again))

        return self.once(("reconstructions", limit), compute)

    def _given(self, limit: int) -> tuple[Tensor, dict[str, Any]]:
        assert self.model is not None
        return self.real[:limit], self.data.take(slice(limit)).told(self.model)

    def in_model_space(self, limit: int) -> tuple[Tensor, Tensor | None]:
        """The first ``limit`` observations in model space, and what the networks are told of them, on its device."""
        assert self.model is not None
        x, told = self._given(limit)
        y = given(self.model, told.get("labels"), told.get("condition"), len(x))
        x = to_model(self.model.spec, x.to(self.model.device))  # which may see the same data otherwise
        return x, None if y is None else y.to(self.model.device)

    # What is missing.

    def lacks(self, need: str) -> str:
        """Why a need of `genzoo.core.evaluation.report.NEEDS` is not met, "" if it is."""
        if need in ("encoder", "likelihood"):
            return self._lacks_of_model(need)
        unfitted = "" if self.model is None else self.model.prior.unfitted
        if unfitted and need in ("samples", "conditional"):
            return unfitted
        has, why = {
            "images": (of(self.spec).pixels, f"it is of images, and this is {self.spec.modality} data"),
            "features": (self.extractor is not None, self.why_no_extractor),
            "labels": (self.labels is not None, "the data has no labels"),
            "training": (self.has_training, NO_TRAINING),
            "conditional": (self.has_asked, self._unasked),
            "factors": (self.data.factors is not None, "the factors behind this data are not known"),
        }.get(need, (True, ""))
        return "" if has else why

    @property
    def _unasked(self) -> str:
        if not self.strange:
            return "the samples were not asked to be of classes of the data"
        return f"some samples were asked to be of class {self.strange!r}, which is none of the data's"

    def _lacks_of_model(self, need: str) -> str:
        model = self.model
        if model is None:
            return "these are samples without their model"
        if need == "likelihood" and isinstance(model.likelihood, Implicit):
            return "the model has no likelihood: a GAN's generator puts out samples, not a distribution"
        if need == "likelihood" and not model.likelihood.normalized:
            return "what the model is trained by is a distance, whose exponential is no density: it has no likelihood"
        if need == "likelihood" and model.head is not None and model.head.point:
            return "the model's codes are points without density: it has no bound on the likelihood"
        if model.encoder is None and not (need == "likelihood" and model.exact):
            return "the model has no encoder"
        return "the model is conditional and the data has no labels" if model.classes and self.labels is None else ""


def as_floats(data: Data, *, whole: bool = True) -> Tensor:
    """Observations of a data set in data units; images rounded to 8 bits, as pixels unless ``whole``.

    Of dynamically binarized data the pixels are drawn once, by seed 0.
    """
    kept = of(data.spec).judged(data)
    return of(data.spec).from_storage(data.spec, kept) if whole else kept


def why_absent(metric: Metric, needs: tuple[str, ...], evidence: Evidence) -> str:
    """Why a metric cannot be measured, "" if it can."""
    for need in needs:
        reason = evidence.lacks(need)
        if reason:
            return reason
    try:
        return metric.refuses(evidence)
    except GenzooError as e:
        return str(e)

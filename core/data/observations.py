"""A data set: how its observations are stored, chosen among, and brought to model space."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from genzoo.core.conditions import joined, no_class, standardized
from genzoo.core.data.labels import renumbered
from genzoo.core.data.rows import Picked, Rows, chunks, device_of, in_memory, pick, read, row_bytes
from genzoo.core.data.summary import UNKNOWN, Read
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.core.units import free_bytes, size_text

HASHED, SPACED = 2**24, 2**16  # observations that are all hashed, and of more those that are


@dataclass(frozen=True)
class KnownModes:
    """The modes of data whose distribution is known, and how many samples its published protocol judges by them.

    They are equally likely Gaussians of means ``centres`` and standard deviation ``sigma`` along each axis, or
    combinations of the classes of an image's channels, which the extractor named ``classifier`` tells.
    """

    samples: int
    centres: tuple[tuple[float, ...], ...] = ()
    sigma: float = 0.0
    classifier: str = ""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, with what it is.

    Attributes:
        spec: what one observation is.
        rows: observations ``(N, *spec.shape)`` in storage form: uint8 holding 0 … levels − 1 where
            ``spec.levels`` is set, float32 in data units otherwise. A tensor, or rows that are read as they
            are needed (`genzoo.core.data.rows.Rows`).
        y: class labels, int64 ``(N,)``, or None.
        condition: numbers that a conditional model is told, in data units, float32 ``(N, K)``, or None; the spec
            names them. `conditioned` sets both.
        name: for people and records.
        license: of the data.
        split: ``train``, ``test`` or ``held-out``.
        dynamic: the rows are grey values (uint8 0 … 255, or floats in [0, 1]) and every batch draws its
            0/1 pixels anew; ``spec.levels`` is 2.
        factors: what made each observation, whole numbers from 0, int64 ``(N, K)``, where that is known.
        factor_names: what they are called; those that end in ``*`` are names without an order.
        modes: the modes of their distribution, where these are known.
        read: what was found and what was left out where they were read, and the names of their files.
    """

    spec: DataSpec
    rows: Tensor | Rows
    y: Tensor | None = None
    name: str = ""
    license: str = ""
    split: str = "train"
    dynamic: bool = False
    factors: Tensor | None = None
    factor_names: tuple[str, ...] = ()
    condition: Tensor | None = None
    modes: KnownModes | None = None
    read: Read = UNKNOWN

    def __post_init__(self) -> None:
        shape = None if self.condition is None else tuple(self.condition.shape)
        if shape is not None and shape != (len(self), len(self.spec.conditions)):
            raise UsageError(f"conditions have the shape {(len(self), len(self.spec.conditions))}, not {shape}")

    def __len__(self) -> int:
        return self.rows.shape[0]

    @cached_property
    def x(self) -> Tensor:
        """All observations in storage form as one tensor; what is not in memory is read, if it fits."""
        size = len(self) * row_bytes(self.rows)
        if not isinstance(self.rows, Tensor) and size > free_bytes(self.device):
            raise UsageError(
                f"{self.name or 'the data set'} needs {size_text(size)} of memory, more than is free: take a part of it"
            )
        return read(self.rows, self.device)

    @property
    def device(self) -> torch.device:
        """Where rows are indexed and where batches come out: the CPU for what is read as needed."""
        return device_of(self.rows)

    @property
    def in_memory(self) -> bool:
        """Whether the observations are in memory, of whatever device, rather than read as needed."""
        return in_memory(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of observations and labels, in memory or not."""
        return len(self) * row_bytes(self.rows) + (0 if self.y is None else self.y.nbytes)

    @cached_property
    def given(self) -> Tensor | None:
        """What a conditional model is told of each observation, as `genzoo.core.conditions` says, or None."""
        return joined(self.y, None if self.condition is None else standardized(self.spec, self.condition))

    def told(self, model: Any) -> dict[str, Any]:
        """The keywords ``labels`` and ``condition`` of a model's methods: what it takes of what is here.

        Raises:
            UsageError: if the model knows classes, and an observation is of none of them.
        """
        return {"labels": self._in_classes_of(model) if model.classes else None} | (
            {"condition": self.condition} if model.conditions else {}
        )

    def _in_classes_of(self, model: Any) -> Tensor | None:
        """Labels as a model numbers its classes, by name."""
        if self.y is None:
            return None
        y = renumbered(self.y, self.spec, model.spec)
        if (y < 0).any():
            k = int(self.y[y < 0][0])
            raise no_class(model.spec, self.spec.classes_called[k], model.called)
        return y

    def conditioned(self, condition: Any, names: Sequence[str] = (), like: DataSpec | None = None) -> Data:
        """The same observations, with numbers ``(N, K)`` or ``(N,)`` in data units that a conditional model is told.

        ``names`` are those of the K numbers, "condition 1" and on if there are none; ``like`` is a spec whose scale is
        taken (a test set takes that of the training set), None standardizes them. Raises `UsageError` unless they are
        finite and as many as observations and names.
        """
        numbers = torch.as_tensor(condition, dtype=torch.float32, device=self.device)
        numbers = numbers.unsqueeze(1) if numbers.dim() == 1 else numbers
        names = tuple(names) or tuple(f"condition {i + 1}" for i in range(numbers.shape[-1]))
        if numbers.shape != (len(self), len(names)) or not torch.isfinite(numbers).all():
            raise UsageError(
                f"conditions are finite numbers ({len(self)}, {len(names)}), one row per observation and one column "
                f"per name, not of shape {tuple(numbers.shape)}"
            )
        if like is None:
            sd = numbers.double().std(0, correction=0)
            scale = tuple(torch.where(sd > 0, sd, 1.0).tolist())
            shift = tuple(numbers.double().mean(0).tolist())
        else:
            names, scale, shift = like.conditions, like.condition_scale, like.condition_shift
        spec = replace(self.spec, conditions=names, condition_scale=scale, condition_shift=shift)
        return replace(self, spec=spec, condition=numbers)

    def fingerprint(self) -> str:
        """The sha256 of shapes, types and bytes of observations and labels in hexadecimal; computed once.

        Of more than `HASHED` observations it takes the bytes of `SPACED`, from first to last at equal distances.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for rows in (r for r in (self.rows, self.y, self.condition) if r is not None):
            digest.update(f"{tuple(rows.shape)} {rows.dtype} ".encode())
            if len(rows) > HASHED:
                spaced = torch.arange(SPACED, device=device_of(rows)) * (len(rows) - 1) // (SPACED - 1)
                rows = Picked(rows, spaced)
            for part in chunks(rows):
                digest.update(part.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def take(self, indices: Tensor | Sequence[int] | slice) -> Data:
        """Return the observations at ``indices``, in that order.

        Most of a tensor's rows, or any that are read as needed, are not copied, only remembered.
        """
        if isinstance(indices, slice):
            if isinstance(self.rows, Tensor):
                return self._with(self.rows[indices], indices)
            indices = torch.arange(len(self))[indices]
        index = torch.as_tensor(indices, dtype=torch.int64, device=self.device)
        index = torch.where(index < 0, index + len(self), index)
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(self)):
            raise IndexError(f"observations are numbered 0 to {len(self) - 1}")
        few = 2 * len(index) <= len(self)
        rows = pick(self.rows, index) if few and self.in_memory else Picked(self.rows, index)
        return self._with(rows, index)

    def _with(self, rows: Tensor | Rows, chosen: Tensor | slice) -> Data:
        y, factors, condition = (None if t is None else t[chosen] for t in (self.y, self.factors, self.condition))
        found = self.read.taken(chosen)
        return replace(self, rows=rows, y=y, factors=factors, condition=condition, read=found)

    def hold_out(self, n: int, seed: int) -> tuple[Data, Data]:
        """Split into what remains and ``n`` observations held out, by a seeded permutation; neither may be empty."""
        if not 0 < n < len(self):
            raise UsageError(f"cannot hold out {n} of {len(self)} observations: one must be left on either side")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        held, rest = (
            self._with(Picked(self.rows, o), o) for o in (order[:n].to(self.device), order[n:].to(self.device))
        )
        return rest, replace(held, split="held-out")  # both look into the same memory

    def to(self, device: torch.device | str) -> Data:
        """Return the data in the memory of ``device``, in storage form."""
        y, condition = (None if t is None else t.to(device) for t in (self.y, self.condition))
        rows = self.rows
        if isinstance(rows, Picked) and isinstance(rows.base, Tensor):  # most of a tensor: no second copy
            return replace(self, rows=Picked(rows.base.to(device), rows.index.to(device)), y=y, condition=condition)
        return replace(self, rows=read(rows, device), y=y, condition=condition)

    def stored(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return observations ``index`` in storage form, as a tensor of their own, and what is `given` of them."""
        return pick(self.rows, index), None if self.given is None else self.given.index_select(0, index)

    def convert(self, x: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Bring stored observations ``(B, *spec.shape)`` to model space, float32; they may be changed on the way.

        ``uniform`` are numbers in [0, 1) of the same shape and device, that decide the pixels if ``dynamic``.
        """
        if self.dynamic:
            if uniform is None:
                raise GenzooError("dynamically binarized data need uniform numbers for every batch")
            x = torch.lt(uniform * 255 if x.dtype == torch.uint8 else uniform, x)
        return of(self.spec).from_rows(self.spec, x)

    def batch(self, index: Tensor, uniform: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Observations ``index``, int64 ``(B,)`` on the data's `device`, in model space; what is `given` of them."""
        x, y = self.stored(index)
        return self.convert(x, uniform), y


def to_model(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring observations to model space, as their modality does: see `genzoo.core.modality.Modality.to_model`."""
    return of(spec).to_model(spec, x)


def to_units(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring model space ``(B, *spec.shape)`` to data units: [0, 1] for images, their own for vectors."""
    return of(spec).to_units(spec, x)


def to_pixels(spec: DataSpec, x: Tensor) -> Tensor:
    """Round data units of images, clipped to [0, 1], to 8-bit pixels 0 … 255, uint8 of the same shape."""
    if not of(spec).pixels:
        raise UsageError(f"only images have pixels, and this is {spec.modality} data")
    whole = x.to(torch.float32).clamp(0, 1).mul_(255).round_()
    return whole.to(torch.int32).to(torch.uint8)  # straight to 8 bits is several times as slow on a CPU

"""Data sets to compressed files and back, by the name of weights."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.arguments import checked
from genzoo.core.coding.codec import scheme_of
from genzoo.core.coding.container import Header, identity, read_header
from genzoo.core.coding.verified import compressed, decompressed, keeps
from genzoo.core.data import Data, to_model, to_units
from genzoo.core.data.labels import in_arrays
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.storage.files import given_path, write_bytes
from genzoo.core.storage.npz import write_arrays
from genzoo.registry import the_registry
from genzoo.registry.verbs.data import open_data
from genzoo.registry.verbs.load import load
from genzoo.registry.verbs.sample import check_fits, observations

Out = str | os.PathLike[str]


@dataclass(frozen=True)
class Shrunk:
    """A compressed file: how its observations were coded, and what they came to."""

    path: Path
    scheme: str  # ``bits-back``, ``direct``, or ``tokens``, which alone is lossy
    count: int  # rows that the model coded
    size: int  # bytes of the file, header included
    bits: float  # of the file for a unit of what was given
    unit: str  # ``dimension``, ``character`` or ``row``
    distortion: float  # mean squared error in data units, 0 of what is lossless

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"path": str(self.path)}


@checked
def compress(
    weights: Model | Out,
    data: Any,
    out: Out,
    n: int = 0,
    *,
    portable: bool = True,
    verify: bool = True,
    name: str = "",
    data_options: Mapping[str, Any] | None = None,
) -> Shrunk:
    """Write data as a file whose size is the bound that a model puts on their likelihood.

    Needs the package constriction (``pip install 'genzoo[compress]'``), and computes on the CPU.

    Args:
        weights: a model with a discrete likelihood, or whose codes are tokens, or what `genzoo.load` takes.
        data: a `Data`, or what `genzoo.load_data` takes: its test split, or all where that is not its own.
        out: the file.
        n: how many observations, from the start of the data; 0 for all.
        portable: networks run in float64, so that other machines read it; otherwise this one, by the same settings.
        verify: decode it before it is written.
        name: what the file calls the weights; default as they were given.
        data_options: of the data set by name; ``{"size": "28"}`` brings a folder's pictures to the model's form, and
            the file then holds these, not the originals.

    Raises:
        UsageError: for data of another form than the model's, and a model that cannot code.
    """
    path, model = given_path(out), weights if isinstance(weights, Model) else load(weights, device="cpu")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a new file")
    scheme_of(model)
    x, told = _given(model, data, n, data_options)
    called = name or ("" if isinstance(weights, Model) else os.fspath(weights))
    known = None if isinstance(weights, Model) or name or called not in _numbered() else _number(called)
    found = compressed(model, x, told.get("labels"), portable=portable, verify=verify, name=called, number=known)
    write_bytes(path, found.content)
    size = len(found.content)
    return Shrunk(path, found.scheme, found.count, size, found.bits, found.unit, found.distortion)


def _number(name: str) -> int:
    """What a small file holds in place of the name of weights that are installed."""
    return zlib.crc32(name.encode()) & 255


def _numbered() -> list[str]:
    return [entry.name for entry in the_registry().entries("weights")]


def _weights_of(header: Header, file: str) -> Model:
    """Those that a file says it was compressed by."""
    if not isinstance(header.name, int):
        if header.name:
            return load(header.name, device="cpu")
        raise UsageError(f"{file} does not say by which weights it was compressed: name them with --weights")
    models = [load(name, device="cpu") for name in _numbered() if _number(name) == header.name]
    if not models:
        raise UsageError(f"{file} was compressed by weights that are not installed here: name them with --weights")
    return next((m for m in models if identity(m).startswith(header.weights)), models[0])


def _given(model: Model, data: Any, n: int, options: Mapping[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """What is compressed, and what a conditional model is told of it."""
    kind = of(model.spec)
    if keeps(model) and not n and not options and not model.classes and not isinstance(data, Data):
        path = Path(data).expanduser() if isinstance(data, (str, os.PathLike)) else None
        if path is None or (kind.opens(path) and path.is_file()):
            return data if path is None else path, {}  # all that is in it
    if keeps(model) and n and isinstance(data, (str, os.PathLike)) and Path(data).expanduser().is_file():
        raise UsageError("-n is not for a file of which everything comes back: cut the file, or leave out -n")
    opened = open_data(the_registry(), data, options, split=None)  # as they are: resized ones would not be exact
    if keeps(model) and of(opened.spec) is kind:
        some = opened.take(slice(n or len(opened)))
        if model.classes and some.y is None:
            raise UsageError("the model is conditional and the data has no labels: give data with labels")
        return some, some.told(model)
    check_fits(model, opened.spec)
    return observations(model, opened, n or len(opened))


@checked
def decompress(file: Out, out: Out, weights: Model | Out | None = None) -> Path:
    """Write the data of a compressed file as ``.npz``, or as what else their kind is written to (a folder of pictures).

    Args:
        file: what `compress` wrote.
        out: where to; nothing is there if anything is wrong with the file.
        weights: those that it was compressed by; default what the file calls them.
    """
    path, source = given_path(out), given_path(file)
    try:
        content = source.read_bytes()
    except OSError as e:
        raise GenzooError(f"cannot read {source}: {(e.strerror or str(e)).lower()}") from e
    header, _ = read_header(content)
    if isinstance(weights, Model):
        model = weights
    else:
        model = load(weights, device="cpu") if weights else _weights_of(header, source.name)
    kind, suffix = of(model.spec), path.suffix.lower()
    places = [*kind.suffixes] if keeps(model) else [".npz", *("a folder" if s == "/" else s for s in kind.suffixes)]
    if (suffix or "a folder") not in places:
        raise UsageError(f"cannot tell what to write from {path.name!r}: use {' or '.join(places)}")
    held, y = decompressed(model, content)
    if keeps(model):
        kind.write_whole(path, model.spec, held)
        return path
    found, labels = held.rows, in_arrays(y, model.spec)
    if suffix != ".npz":
        kind.write(path, model.spec, len(found), iter([(_units(model, found), y)]))
    elif found.dtype == torch.uint8:
        write_arrays(path, samples=found.numpy(), **labels)
    else:
        write_arrays(path, samples=kind.to_array(model.spec, found), **labels)
    return path


def _units(model: Model, x: Tensor) -> Tensor:
    """Data units of rows as stored, or in them already."""
    return to_units(model.spec, to_model(model.spec, x)) if x.dtype == torch.uint8 else x

"""From what a user calls data, a name, a path, arrays or a torch data set, to `Data`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core import modality
from genzoo.core.distributed import env
from genzoo.core.errors import UsageError, did_you_mean, in_words
from genzoo.core.options import coerce_all, typed
from genzoo.core.text import tell
from genzoo.registry.entries import Entry
from genzoo.registry.registry import Registry

if TYPE_CHECKING:
    from genzoo.core.data import Data, DataSource, Split

PICTURE = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
PathLike = str | os.PathLike[str]


def looks_like_path(name: str) -> bool:
    """Whether a string can only be a path: it starts like one, holds a separator, or ends like a file."""
    return name.startswith((".", "/", "~")) or os.sep in name or name.endswith((".npy", ".npz", ".zip", ".parquet"))


def open_data(
    registry: Registry,
    data: Any,
    options: Mapping[str, Any] | None = None,
    *,
    labels: Any = None,
    split: Split | None = "train",
    memory: int | None = None,
    trained_on: Callable[[DataSource, Data], bool] = lambda source, whole: False,
    kinds: Sequence[str] = (),
) -> Data:
    """Open data; raises `UsageError` for what is no data, and `GenzooError` for what cannot be read.

    ``data`` is a data set's name; a path of a folder of images, an ``.npy`` or an ``.npz`` file; a tensor or an array,
    with ``labels``; a pair of observations and labels; a torch Dataset or DataLoader; or a `Data`. ``options`` are the
    data set's by name (``binarize``, ``limit``, …; ``layout``, ``modality`` of arrays). ``memory`` is the bytes that
    observations may take, beyond which they are read as they are needed (those of files, folders and map-style data
    sets); None is half of what is free. A split of None is ``test`` where the data have splits of their own, or where
    ``trained_on`` says of their source, and of all that it holds, that what is to be judged was trained on a part of
    it; otherwise it is ``all``. ``kinds`` are those that are wanted, by which the sentence about an empty folder goes.
    """
    import torch

    from genzoo.core.data import ArrayOptions, Data, DataSource, Parts, finished, from_arrays, from_torch
    from genzoo.core.options import options_of
    from genzoo.core.units import free_bytes

    options = {k.removeprefix("data."): v for k, v in (options or {}).items()}
    if labels is False:
        options["labels"], labels = "none", None
    memory = free_bytes() // 2 if memory is None else memory
    named, torches = isinstance(data, (str, os.PathLike)), (torch.utils.data.Dataset, torch.utils.data.DataLoader)
    if isinstance(data, Mapping) and "train" in data:  # splits by their names, as the package datasets gives them
        data = data["train" if split in ("train", None, "all") else "test" if "test" in data else "validation"]
    pair = isinstance(data, (tuple, list)) and len(data) == 2 and hasattr(data[0], "shape")
    items = isinstance(data, torches) or _has_items(data)
    if labels is not None and (named or pair or items or isinstance(data, Data)):
        raise UsageError(
            "labels go with arrays: a data set, a pair or a torch Dataset brings its own labels, or has none "
            "(labels=False leaves them out)"
        )
    if named:
        entry, implied = entry_for(registry, data)
        if implied and kinds:
            _check_holds_some(Path(implied["path"]), kinds)
        if "path" in implied and "path" in options:
            raise UsageError(f"the path was given twice: leave out --set data.path={options['path']}")
        cls = registry.load(entry, DataSource)
        chosen = coerce_all(registry.options(entry), {**options, **implied}, "data")
        source: DataSource = cls(cls.Options(**chosen))  # type: ignore[attr-defined]
        source.memory = memory
        if split is not None or source.own_splits():
            return source.load(split or "test")
        whole = source.load("all")
        if not trained_on(source, whole):
            return whole
        held = source.load("test")
        note = "the model was trained on the rest of these data: --split all takes all of them"
        return replace(held, read=held.read.noting(note))
    kind = None if named or items or pair else next((m for m in modality.every() if m.held and m.takes(data)), None)
    if kind is not None:
        if labels is not None:
            raise UsageError(f"labels of {kind.many} are one of their columns: options={{'data.labels': 'NAME'}}")
        if "path" in options:
            raise UsageError(f"data are given in memory: leave out the file, data.path={options['path']}")
        entry = registry.get("dataset", kind.held)
        made = registry.load(entry, DataSource)
        source = made(made.Options(**coerce_all(registry.options(entry), options, "data")))  # type: ignore[attr-defined]
        source.held = data
        return source.load("train")
    if isinstance(data, Data):
        return finished(
            data, DataSource.Options(**coerce_all(options_of(DataSource.Options), options, "data")), "train"
        )
    how = ArrayOptions(**coerce_all(options_of(ArrayOptions), options, "data"))
    if items:
        parts = Parts(how.x, how.y or ("" if how.labels in ("auto", "none") else how.labels), how.labels != "none")
        found = from_torch(data, memory=memory, limit=how.limit, parts=parts, **how.reading())
    elif pair:
        found = from_arrays(data[0], data[1], memory=memory, **how.reading())
    elif hasattr(data, "shape") or any(m.takes(data) for m in modality.every()):
        found = from_arrays(data, labels, memory=memory, **how.reading())
    else:
        raise UsageError(
            f"data is a name, a path, a tensor or array, a pair (x, y), a torch Dataset or DataLoader, "
            f"not {type(data).__name__}"
        )
    return finished(found, how, "train")


def _has_items(data: Any) -> bool:
    """Whether something that is no torch data set has items like one: a list of pictures, what datasets gives."""
    if isinstance(data, (list, tuple)):
        return bool(data) and (hasattr(data[0], "getbands") or isinstance(data[0], Mapping))
    return hasattr(data, "features") and hasattr(data, "__iter__") and not hasattr(data, "shape")


def meant_of_data(registry: Registry, name: str, value: Any) -> str:
    """`` (did you mean --set data.size=32?)`` for what is an option of some data set, or nearly; or nothing."""
    known = {i.name for e in registry.entries("dataset") for i in registry.options(e)}
    known = {name} if name in known else known
    return did_you_mean(name, known, lambda n: f"--set data.{n}={typed(value)}")


def announce(
    data: Data, first: bool = True, quiet: bool = False, validation: int = 0, steps: int = 0
) -> dict[str, Any]:
    """Say on stderr what was read, a line more for each surprise, which ``quiet`` leaves; the same as plain data.

    Only the ``first`` process speaks; ``validation`` and ``steps`` are those of training.
    """
    from genzoo.core.data.summary import surprises, was_read

    found = was_read(data, validation=validation, steps=steps)
    for line in (surprises(found) if quiet else found["said"]) if first else ():
        tell(in_words(line))
    return found


def announcing(quiet: bool) -> Callable[[Data], object]:
    """What says of data that were opened what was read, on process 0."""
    return lambda data: announce(data, env.rank() == 0, quiet)


def entry_for(registry: Registry, data: PathLike) -> tuple[Entry, dict[str, Any]]:
    """The data set that a name or path means, and the options that the path implies; imports no torch."""
    text = os.fspath(data)
    if not text:
        raise UsageError("the data has no name: give a data set ('genzoo list dataset' shows them), a folder or a file")
    names = {e.name for e in registry.entries("dataset")}
    # ``dist/plugin:name`` is a name too, though it has a separator.
    bare = text.rpartition(":")[2] if isinstance(data, str) and not text.startswith((".", "/", "~")) else ""
    path = Path(text).expanduser()
    if bare in names:
        entry = registry.get("dataset", text)
        if not (os.path.exists(path) and any(o.name == "path" for o in registry.options(entry))):
            return entry, {}  # but a folder that is called as what reads folders is data itself
    if not os.path.exists(path):
        if bare.lower() in names:  # a folder of that very name comes first
            return registry.get("dataset", text), {}
        if looks_like_path(text) or not isinstance(data, str):
            try:
                beside = os.listdir(path.parent)
            except OSError:
                beside = []
            near = did_you_mean(path.name, beside)
            raise UsageError(f"there is no file or folder {text}{near}")
        raise UsageError(
            f"there is no data set and no file or folder {text!r}{did_you_mean(text, names)}; "
            "'genzoo list dataset' shows the data sets"
        )
    return _for_path(registry, path)


def _check_holds_some(path: Path, kinds: Sequence[str]) -> None:
    """Raise `UsageError`, in words of the kinds that are wanted, for a folder that holds nothing folders are read for.

    What is wanted may be pictures: of those the data set that reads them says more.
    """
    wanted, folders = [modality.of(k) for k in kinds], [m for m in modality.every() if "/" in m.suffixes]
    if not path.is_dir() or any(m.opens(path) for m in wanted):
        return
    known = {*PICTURE, ".zip", ".parquet", *(s for m in folders for s in m.suffixes)}
    if any(p.suffix.lower() in known for p in path.rglob("*")):
        return
    many = " or ".join(m.many for m in wanted)
    own = ", ".join(dict.fromkeys(s for m in wanted for s in m.suffixes if s != "/")) or ".npy, .npz"
    if any(m in folders for m in wanted):
        raise UsageError(f"{path} has no files that {many} are read from: {own}")
    raise UsageError(f"{path} is a folder, and {many} are read from a file: {own}")


def _for_path(registry: Registry, path: Path) -> tuple[Entry, dict[str, Any]]:
    """The data set that reads what is there, as the modalities say."""
    if (path / "config.json").is_file() and (path / "model.safetensors").is_file():
        raise UsageError(
            f"{path} holds a trained model, not data: 'genzoo eval {path} --data DATA' measures it by data"
        )
    if not path.is_dir() and not path.is_file():
        raise UsageError(f"{path} is no file and no folder, so nothing is read from it")
    known = modality.every()
    found = {name: m for m in known if (name := m.opens(path))}
    if not found and (path.parent / "config.json").is_file():
        raise UsageError(f"{path} is a file of a trained model, not data: give a folder of images, or a file of data")
    if not found and any("/" in m.suffixes and m.opens(path.parent) and path.suffix.lower() in PICTURE for m in known):
        raise UsageError(f"{path} is one picture: give its folder, {path.parent}")
    if not found and path.suffix.lower() in (".pt", ".pth", ".ckpt", ".pkl", ".h5", ".mat", ".tfrecord"):
        raise UsageError(
            f"{path} is of a format that is not read: write its arrays to a .npz file, numpy.savez(path, x=…, y=…), "
            "or give them in Python"
        )
    if not found:
        raise UsageError(
            f"{path} is no data: give a folder of images (or a .zip or .parquet of them), or a .npy or .npz file"
        )
    brought = {name: m for name, m in found.items() if registry.get("dataset", name).distribution != "genzoo"}
    if len(brought) == 1:  # the package of a kind of data knows its files: it comes before CSV files in general
        found = brought
    if len(found) > 1:
        ways = " or ".join(f"--data {name} --set data.path={path}" for name in found)
        raise UsageError(f"{path} could be {' or '.join(m.many for m in found.values())}: say which, {ways}")
    return registry.get("dataset", next(iter(found))), {"path": str(path)}

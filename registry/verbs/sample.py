"""Results as files: samples, reconstructions, interpolations, codes. Each is one command of the command line."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from genzoo.core.arguments import checked
from genzoo.core.conditions import labels_for, numbered
from genzoo.core.data import Data, to_model, to_units
from genzoo.core.data.labels import in_arrays
from genzoo.core.distributed.init import init_runtime
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.likelihood import drawing
from genzoo.core.modality import Modality, of
from genzoo.core.model import Model
from genzoo.core.noise import generator
from genzoo.core.notebook import visible
from genzoo.core.pictures import grids as pictures
from genzoo.core.spec import DataSpec
from genzoo.core.storage.files import given_path
from genzoo.core.storage.npz import Batches, write_arrays, write_samples
from genzoo.core.training.runs import columns_for
from genzoo.registry import the_registry
from genzoo.registry.verbs.initialize import pick_device
from genzoo.registry.verbs.load import load
from genzoo.registry.verbs.outputs import output_kind, save_picture
from genzoo.registry.verbs.per_observation import by_name, named, write_table
from genzoo.registry.verbs.selecting import search
from genzoo.registry.verbs.subjects import open_reference

Out = str | os.PathLike[str]
PathKind = Literal["prior", "spherical", "straight"]


@checked
def sample(
    weights: Model | Out,
    out: Out,
    n: int = 64,
    *,
    seed: int = 0,
    labels: int | str | Sequence[int | str] | None = None,
    condition: Sequence[float] | None = None,
    truncation: float | None = None,
    noise: bool = False,
    where: str | None = None,
    max_draws: int | None = None,
    allow_fewer: bool = False,
    temperature: float | None = None,
    top_p: float | None = None,
    batch_size: int = 256,
    device: str = "auto",
    progress: bool | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Path:
    """Write samples to a file or a folder.

    In processes of one job (torchrun, srun, ``--devices``), all of them compute and process 0 writes, the same
    bytes as one would.

    Args:
        weights: a model, or what `genzoo.load` takes.
        out: ``.png`` (or another picture) for a grid, ``.npz`` for arrays ``samples``, ``labels`` and ``class_names``
            (images channels first and 8-bit, or float32 where the model's data has no levels), a new folder for
            one picture of each image, or what else the model's kind of data is written to. All but pictures are
            streamed: memory does not grow with ``n``.
        n: how many.
        seed: the same seed gives the same samples.
        labels: class of all of them, or of each, by name or number, for a conditional model; default cycles through
            the classes.
        condition: numbers in data units that all are conditioned on; default draws them by the training data's spread.
        truncation: keep codes within ± this many standard deviations.
        noise: draw from the likelihood instead of giving its mean.
        where: a condition that all rows of a table meet, such as ``"age > 40 AND sex = 'F'"``.
        max_draws: draws to look for them among; default 1,000 for each, at least a million.
        allow_fewer: write what was found where that is less than asked for, instead of nothing.
        temperature: of a model that draws value after value, as models of texts do: below 1 likelier values.
        top_p: of such a model: the likeliest values that together have this share of the probability.
        batch_size: samples at a time.
        device: where to compute.
        progress: show a bar on stderr; None shows it where somebody can see it, at a terminal or in a notebook.
        say: is told how many were found among how many draws.
    """
    path = given_path(out)
    if n < 1:
        raise UsageError(f"the number of samples must be at least 1, not {n}")
    runtime = init_runtime(weights.device if isinstance(weights, Model) else pick_device(device))
    with runtime.failing_together():
        model = weights if isinstance(weights, Model) else load(weights, device=runtime.device)
        kind = runtime.on_rank_zero(lambda: output_kind(path, model.spec, n))
        share = (runtime.rank, runtime.size)
        how: dict[str, Any] = {"seed": seed, "labels": labels, "condition": condition, "truncation": truncation}
        if wanted := of(model.spec).selection(model.spec, where):
            how["noise"] = noise
            with drawing(model.likelihood, temperature, top_p):  # which tables refuse
                pass
            n, own, found = search(model, n, wanted, max_draws, allow_fewer, batch_size, share, how)
        elif max_draws is not None or allow_fewer:
            raise UsageError("--max-draws and --allow-fewer go with --where: without a condition no draw is in vain")
        else:
            own = model.sample_batches(n, **how, noise=noise, temperature=temperature, top_p=top_p,
                                       batch_size=batch_size, share=share)  # fmt: skip
        # What is asked wrongly shows before a file is begun.
        drawn = runtime.in_order(chain(islice(own, 1), own), model.batches_of(n, batch_size))
        batches = _shown(chain([next(drawn)] if runtime.first else [], drawn), n, visible(progress) and runtime.first)
        if not runtime.first:
            deque(batches, maxlen=0)
        elif kind == "npz":
            write_samples(path, model.spec, n, batches)
        elif kind == "own":
            of(model.spec).write(path, model.spec, n, batches)
        else:
            across = columns_for(model.classes) if labels is None else None  # a column for each class
            save_picture(model.spec, torch.cat([x for x, _ in batches]), path, across)
        if wanted and runtime.first and wanted.text:
            say(found.words(of(model.spec).many, wanted.text))
        runtime.barrier()
    return path


@checked
def shown(weights: Model | Out, n: int = 8, *, device: str = "auto", **how: Any) -> list[str]:
    """Samples as a terminal shows them; ``how`` are keywords of `genzoo.core.model.Model.sample`."""
    kind = of((model := open_model(weights, device)).spec)
    if type(kind).lines is not Modality.lines:
        return kind.lines(model.spec, model.sample(n, **how, numbers=True))
    suffix = (*kind.suffixes, ".png")[0]
    raise UsageError(f"{kind.many} are not shown in a terminal: name a file, --out samples{suffix}")


@checked
def reconstruct(
    weights: Model | Out, data: Any, out: Out, n: int = 16, *, seed: int | None = None, device: str = "auto"
) -> Path:
    """Write a picture of observations above their reconstructions, or both as ``.npz``.

    To another file of the data's own kind the reconstructions are written alone, in the order of the data; of one
    sound file by a model that takes any length, all of it.

    Args:
        weights: a model with an encoder, or what `genzoo.load` takes.
        data: a `Data`, or what `genzoo.load_data` takes: its test split, or all where that is not its own
            and the model was not trained on it.
        out: ``.png``, ``.npz``, or a file of the data's own kind.
        n: how many, from the start of the data.
        seed: draw codes from the posterior by this seed, instead of taking its mean.
        device: where to compute.
    """
    path, model = given_path(out), open_model(weights, device)
    spec, modality = model.spec, of(model.spec)
    kind = output_kind(path, spec, 2 * n, folders=False)
    if wrote_whole(model, data, path, seed):
        return path
    x, told = observations(model, open_fitting(model, data), n)
    again = model.reconstruct(x, **told, sample=seed is not None, seed=seed or 0, numbers=True)
    before = to_units(spec, to_model(spec, x.to(model.device)))
    if kind == "npz":
        write_arrays(path, data=modality.to_array(spec, before), reconstructions=modality.to_array(spec, again))
        return path
    if kind == "own":
        modality.write(path, spec, len(again), iter([(again, told.get("labels"))]))
        return path
    above, below = (modality.render(spec, v) for v in (before, again))
    if above is None or below is None:
        save_picture(spec, again, path, None, before)
        return path
    columns = min(len(x), 16)
    rows = [part for i in range(0, len(x), columns) for part in (above[i : i + columns], below[i : i + columns])]
    rows = [torch.cat([r, torch.ones(columns - len(r), *r.shape[1:], device=r.device)]) for r in rows]
    pictures.save(pictures.grid(torch.cat(rows), columns), path)
    return path


def wrote_whole(model: Model, data: Any, path: Path, seed: int | None, options: Sequence[str] | None = ()) -> bool:
    """Whether ``data`` is a file that this model reconstructs whole; it is written then."""
    return seed is None and not options and of(model.spec).whole(model, data, path)


@checked
def interpolate(
    weights: Model | Out,
    out: Out,
    n: int = 8,
    *,
    steps: int = 10,
    path: PathKind = "prior",
    seed: int = 0,
    data: Any = None,
    label: int | str | None = None,
    from_label: int | str | None = None,
    to_label: int | str | None = None,
    device: str = "auto",
) -> Path:
    """Write a picture with one path between two codes per row, or an array ``(n, steps, …)`` as ``.npz``.

    Args:
        weights: a model, or what `genzoo.load` takes.
        out: ``.png`` or ``.npz``.
        n: how many paths.
        steps: points on each, both ends included.
        path: ``prior`` (great circles, where that is normal), ``spherical`` or ``straight``.
        seed: of the codes at both ends.
        data: observations whose codes are the ends, instead of random ones (needs an encoder).
        label: class of all paths, by name or number, for a conditional model; default gives each row another class,
            or with data the class of the observation that it starts from.
        from_label: class that all paths start from, in place of ``label``: of a conditional model, the class changes
            and the code stays, or with data goes from an observation of that class to one of the other.
        to_label: class that they go to.
        device: where to compute.
    """
    where, model = given_path(out), open_model(weights, device)
    kind = output_kind(where, model.spec, n * steps, folders=False)
    x, labels = paths(model, n, steps, path, seed, data, label, (from_label, to_label))
    if kind == "npz":
        found = of(model.spec).to_array(model.spec, x.flatten(0, 1))
        write_arrays(where, interpolations=found.reshape(n, steps, *model.unit_shape))
    elif kind == "own":
        y = None if labels is None else labels.repeat_interleave(steps)
        of(model.spec).write(where, model.spec, n * steps, iter([(x.flatten(0, 1), y)]))
    else:
        save_picture(model.spec, x.flatten(0, 1), where, steps)
    return where


def paths(
    model: Model,
    n: int,
    steps: int,
    path: PathKind,
    seed: int,
    data: Any,
    label: int | str | None,
    ends: tuple[int | str | None, int | str | None] = (None, None),
) -> tuple[Tensor, Tensor | None]:
    """What `interpolate` writes, ``(n, steps, …)`` in data units, and the class of each path."""
    if n < 1:
        raise UsageError(f"the number of paths must be at least 1, not {n}")
    labels, more = None, dict[str, Any]()
    if ends != (None, None):
        return _between(model, n, steps, path, seed, data, label, ends)
    if model.classes:
        labels = torch.arange(n) % model.classes if label is None else labels_for(model, label, n)
    elif label is not None:
        raise UsageError("this model is not conditional: it takes no label")
    if data is None:
        if model.prior.unfitted:
            raise UsageError(f"paths start from data, --data NAME, or from codes of the prior: {model.prior.unfitted}")
        codes = model.codes(0, 2 * n, seed=seed)
    else:
        x, told = observations(model, open_fitting(model, data), 2 * n)
        if len(x) < 2 * n:
            raise UsageError(f"{n} paths need {2 * n} observations, and the data has {len(x)}")
        codes = model.encode(x, **told)
        told = {k: None if v is None else v[:n] for k, v in told.items()}  # a path keeps what it starts from
        labels = told.pop("labels", None) if label is None else labels
        more = {k: v for k, v in told.items() if k != "labels"}
    return model.interpolate(codes[:n], codes[n:], steps, path=path, labels=labels, **more, numbers=True), labels


def _between(
    model: Model, n: int, steps: int, path: PathKind, seed: int, data: Any, label: Any, ends: tuple[Any, Any]
) -> tuple[Tensor, Tensor | None]:
    """Paths from one class to another."""
    if label is not None or None in ends:
        raise UsageError("paths between classes take --from-label and --to-label, and no --label")
    if data is None:
        if not model.classes:
            raise UsageError(
                f"{model.called} is not conditional, so that its codes have no class: give data with classes, --data"
            )
        y: list[Any] = [labels_for(model, end, n) for end in ends]
        codes = [model.codes(0, n, seed=seed, labels=end) for end in y]
    else:
        opened = open_fitting(model, data)
        if opened.y is None:
            raise UsageError("the data has no labels, so there are no paths between its classes: give data with labels")
        y, codes = [], []
        for end in ends:
            number = numbered(opened.spec, end, "the data")
            there = (opened.y == number).nonzero().flatten()[:n]
            if len(there) < n:
                raise UsageError(f"{n} paths need {n} observations of class {end!r}, and the data has {len(there)}")
            x, told = observations(model, opened.take(there), n)
            codes.append(model.encode(x, **told))
            y.append(told.get("labels"))
    if not model.classes:
        return model.interpolate(codes[0], codes[1], steps, path=path, numbers=True), None
    return model.interpolate(codes[0], codes[1], steps, path=path, labels=y[0], to_labels=y[1], numbers=True), y[0]


@checked
def encode(
    weights: Model | Out, data: Any, out: Out, n: int = 0, *, seed: int | None = None, device: str = "auto"
) -> Path:
    """Write the code of each observation, with the names of their files and in the order of these.

    As ``.npz``: ``codes`` ``(N, latent)``, ``files`` or else ``rows`` (numbers from 0), and ``labels`` where the data
    has them, of ``class_names``: those of a conditional model. As ``.csv``: a line for each, its numbers in columns.

    Args:
        weights: a model with an encoder, or what `genzoo.load` takes.
        data: a `Data`, or what `genzoo.load_data` takes: its test split, or all where that is not its own.
        out: an ``.npz`` or a ``.csv`` file.
        n: how many, from the start of the data; 0 for all.
        seed: draw codes from the posterior by this seed, instead of taking its mean.
        device: where to compute.
    """
    path, model = given_path(out), open_model(weights, device)
    if path.suffix.lower() not in (".npz", ".csv"):
        raise UsageError(f"codes are written to an .npz or a .csv file, not to {path.name!r}")
    opened = by_name(open_fitting(model, data, whole=True))
    x, told = observations(model, opened, n or len(opened))
    codes = model.encode(x, **told, sample=seed is not None, seed=seed or 0)
    names, numbers = named(opened, len(x)), codes.cpu().numpy()
    y, spec = (told["labels"], model.spec) if model.classes else (opened.take(slice(len(x))).y, opened.spec)
    names |= in_arrays(y, spec)
    if path.suffix.lower() == ".npz":
        write_arrays(path, codes=numbers, **names)
    else:
        columns = {f"code {i}": column for i, column in enumerate(numbers.reshape(len(numbers), -1).T)}
        write_table(path, {k[:-1]: v for k, v in names.items() if k != "class_names"} | columns)
    return path


def check_fits(model: Model, spec: DataSpec) -> None:
    """Raise `UsageError` unless data of ``spec`` can be given to the model."""
    ours = model.spec
    if not of(ours).alike(ours, spec):
        mine, theirs = (of(s).describe(s).partition(" (")[0] for s in (ours, spec))
        hint, has = "", of(spec).reading(spec)
        if changed := {k: v for k, v in of(ours).reading(ours).items() if k in has and has[k] != v}:
            said = " ".join(f"--set data.{k}={v}" for k, v in changed.items())
            hint = f", or bring a folder's {of(spec).many} to it with {said}"
        raise UsageError(f"the model was trained on {mine} and the data are {theirs}: give data of the same kind{hint}")
    if ours.levels == 2 and spec.levels != 2:
        raise UsageError(
            "the model was trained on binary images and the data has grey values: --set data.binarize=static"
        )
    if ours.levels != 2 and spec.levels == 2:
        raise UsageError("the data is binary and the model was trained on grey values: leave out --set data.binarize=…")


def open_model(weights: Model | Out, device: str) -> Model:
    """A model as it is, or loaded."""
    return weights if isinstance(weights, Model) else load(weights, device=pick_device(device))


def needs_encoder(weights: Out, device: str = "auto") -> Model:
    """Load a model, and refuse one without an encoder before any data is read."""
    model = open_model(weights, device)
    if model.encoder is None:
        name = model.config.recipe if model.config else ""
        raise GenzooError(f"{weights} ({name}) has no encoder: it can sample and interpolate, but not encode")
    return model


def _shown(batches: Batches, n: int, progress: bool) -> Batches:
    with tqdm(total=n, unit="sample", desc="sampling", disable=not progress, delay=1) as bar:
        for x, y in batches:
            yield x, y
            bar.update(len(x))


def open_fitting(model: Model, data: Any, *, whole: bool = False) -> Data:
    """Data as they are, or of what is named what the model was not trained on; `UsageError` if they do not fit it.

    ``whole`` takes all of what has no splits of its own. See `genzoo.registry.verbs.data.open_data`.
    """
    opened, subjects = data, [] if whole else [model]
    if not isinstance(opened, Data):
        opened = open_reference(the_registry(), data, None, None, None, subjects, [model])[0]
    check_fits(model, opened.spec)
    return opened


def observations(model: Model, data: Data, n: int) -> tuple[Tensor, dict[str, Any]]:
    """The first ``n`` observations, and what a conditional model is told of them, as keywords."""
    if n < 1:
        raise UsageError(f"the number of observations must be at least 1, not {n}")
    if model.classes and data.y is None:
        raise UsageError("the model is conditional and the data has no labels: give data with labels")
    if model.conditions and data.condition is None:
        raise UsageError(
            f"the model is conditional: give data with its conditions ({', '.join(model.spec.conditions)})"
        )
    some = data.take(slice(n))
    x = some.x
    if some.dynamic:  # grey values, of which pixels are drawn: here once, by seed 0
        uniform = torch.rand(x.shape, generator=generator(0)).to(x.device)
        x = to_units(some.spec, some.batch(torch.arange(len(some), device=x.device), uniform)[0])
    return x, some.told(model)

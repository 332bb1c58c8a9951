"""Checks of modalities and data sets: forms of data fit together, files are read as written, splits are sound."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import Modality, of
from genzoo.core.pictures.drawing import Drawing
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit.cases import CLASSES, Case, Composed, at, composed, expect, gap, over, shape_text, shaped
from genzoo.plugins.apps.kit.findings import Skip
from genzoo.plugins.apps.kit.statics import imports
from genzoo.registry import PluginRecord

N, LIMIT = 5, 2000  # observations that are made, and of a data set, that are looked at


@dataclass
class Example:
    """The modality on one of its examples, with observations in data units."""

    where: str
    case: Case
    kind: Modality
    spec: DataSpec
    x: Tensor

    def vae(self) -> Composed:
        """A small VAE of such data."""
        widths = {f"{k}.width": 16 for k in ("generator", "encoder") if self.kind.network(k) == "mlp"}
        return composed(self.case.registry, self.spec, (None, {"objective": "vae:vae", **widths}))


def examples(case: Case) -> Iterator[Example]:
    """All examples of the modality."""
    kind: Modality = case.cls()
    expect(kind.name == case.entry.name, f"the name {case.entry.name!r}, as registered", repr(kind.name))
    specs = list(kind.examples(CLASSES))
    right = specs and all(isinstance(of(s), case.cls) and s.classes == CLASSES for s in specs)
    expect(right, "examples of this kind with the classes asked for", repr(specs)[:200])
    for spec in specs:
        where, x = f"{kind.name} {shape_text(spec.shape)}", kind.random(spec, N, 3)
        right = tuple(x.shape) == (N, *spec.shape) and x.dtype == torch.float32
        expect(right, f"random float32 {shape_text((N, *spec.shape))}", f"{x.dtype} {shape_text(x.shape)} in {where}")
        yield Example(where, case, kind, spec, kind.to_units(spec, x))


def light(case: Case) -> None:
    """Its module imports no torch: a spec is looked at where nothing is computed."""
    entry = case.entry
    found = imports(PluginRecord(entry.name, entry.distribution, "", entry.target))
    mend = "import torch inside the methods that compute"
    expect("torch" not in found.heavy, f"{found.module} to import without torch", "it does not", mend)


@over(examples)
def forms(e: Example) -> None:
    """Model space, data units, stored rows and saved arrays are ways of saying the same."""
    kind, spec, x = e.kind, e.spec, e.x
    by = gap(x, kind.to_units(spec, kind.to_model(spec, x))) if kind.exact(spec) else 0.0
    expect(by <= 1e-4, "data units that survive model space", f"a gap of {by:.2g}", "let to_units undo to_model")
    once = kind.from_storage(spec, kind.to_storage(spec, x))
    same = torch.equal(kind.from_storage(spec, kind.to_storage(spec, once)), once)
    expect(same, "rounding that changes nothing twice", "other numbers")
    array, dtype = kind.to_array(spec, x.clone()), kind.array_dtype(spec)
    expect(len(array) == N and str(array.dtype) == dtype, f"arrays of {dtype}", array.dtype)
    if spec.levels is None:
        same = gap(kind.to_model(spec, x), kind.from_rows(spec, x.clone())) <= 1e-4
        expect(same, "the same model space from rows and from data units", "another")
    kind.checked(spec, x, "the model")
    low, high = kind.bounds or (-float("inf"), float("inf"))
    found = f"[{float(x.min()):.3g}, {float(x.max()):.3g}]"
    inside = low <= float(x.min()) and float(x.max()) <= high
    expect(inside, f"numbers in [{low:g}, {high:g}]", found)


@over(examples)
def shows(e: Example) -> None:
    """What it says can be drawn is drawn: small pictures, one picture, a fragment for a page."""
    kind, spec, x = e.kind, e.spec, e.x
    small = kind.render(spec, x)
    expect((small is not None) is kind.renders, f"renders = {small is not None}", kind.renders)
    if small is not None:
        right = small.dim() == 4 and len(small) == N and float(small.min()) >= 0 and float(small.max()) <= 1
        expect(right, "pictures (N, C, H, W) in [0, 1]", shape_text(small.shape))
    picture, drawn = kind.picture(spec, x, behind=x), not kind.undrawn(spec, N)
    agree = isinstance(picture, Image.Image) is drawn
    expect(agree, "a picture, or a reason in undrawn", type(picture).__name__)
    found = kind.fragment(spec, x, 4, x)
    readable = found is None or isinstance(found.content, (str, Drawing, Image.Image))
    expect(readable, "a fragment of a picture, a drawing or HTML", "another")


@over(examples)
def files(e: Example) -> None:
    """Files of its own are read as they were written, those of lossy kinds by count and shape, or refused."""
    kind, spec, x = e.kind, e.spec, e.x
    for suffix, y in itertools.product(kind.suffixes, (None, torch.arange(N) % CLASSES)):
        with tempfile.TemporaryDirectory() as folder, at(f"{e.where}, {suffix}"):
            path = Path(folder, "samples" + suffix.strip("/"))
            batches = iter([(x[:3], None if y is None else y[:3]), (x[3:], None if y is None else y[3:])])
            try:
                kind.write(path, spec, N, batches)
            except UsageError:
                if suffix in kind.lossy:  # which hold some shapes only
                    continue
                raise
            read = kind.read_samples(path, spec)
            ours, theirs = (kind.to_storage(spec, x), kind.judged(read))
            ours, theirs = (_sorted(kind.from_storage(spec, rows)) for rows in (ours, theirs))
            same = kind.alike(spec, read.spec) and ours.shape == theirs.shape
            same = same and (suffix in kind.lossy or gap(ours, theirs) <= 1e-5)
            expect(same, "the samples that were written", f"others, {shape_text(theirs.shape)}")


@over(examples)
def builds(e: Example) -> None:
    """What it names as fitting makes a model whose samples are such data; a spec survives ``config.json``."""
    vae = e.vae()
    same = Config.from_dict(vae.config.to_dict()).data == e.spec
    expect(same, "the same spec from config.json", "another", "let facts be plain data")
    shaped("samples", vae.nets.model.eval().sample(3, numbers=True), (3, *e.kind.unit_shape(e.spec)))
    e.case.registry.get("extractor", e.kind.extractor(e.spec))


def _sorted(x: Tensor) -> Tensor:
    """Observations as rows in an order of their own: files of a folder come shuffled."""
    flat = x.flatten(1).double()
    return flat[flat.sum(1).argsort(stable=True)]


def opened(case: Case, split: Any = "train", limit: int = LIMIT) -> Data:
    """One split; data that is not on this machine is skipped."""
    try:
        data: Data = case.cls(case.cls.Options(limit=limit)).load(split)
    except GenzooError as e:
        raise Skip(f"its {split} split cannot be opened here: {e}") from e
    expect(isinstance(data, Data), "a genzoo.core.data.Data from read()", type(data).__name__)
    return data


def spec(case: Case) -> None:
    """Observations have shape, type and range that the DataSpec says, and labels are classes."""
    data = opened(case)
    about, x, y, levels = data.spec, data.x, data.y, data.spec.levels or 0
    wanted = of(about).unit_shape(about)
    right = tuple(x.shape[1:]) == wanted and len(x) > 0
    expect(right, f"observations of shape (N, {shape_text(wanted)[1:]}", shape_text(x.shape))
    if not data.dynamic and levels <= 256:
        storage = getattr(torch, of(about).stored(about))
        expect(x.dtype == storage, f"rows of {storage} for levels={about.levels}", x.dtype)
    expect(torch.isfinite(x).all(), "finite numbers", "others", "leave those rows out, or fill them")
    if not x.is_floating_point():
        varied = len(x) == 1 or x.float().std() > 0
        expect(varied, "observations that differ", "a constant", "look at what read() reads")
        inside = not levels or data.dynamic or int(x.max()) < levels
        expect(inside, f"levels below {levels}", int(x.max()), "give DataSpec the right levels")
    found = (
        "no labels" if y is None else f"labels of {y.dtype} {shape_text(y.shape)} in {int(y.min())} … {int(y.max())}"
    )
    right = (y is None) == (not about.classes)
    if y is not None and right:
        right = y.dtype == torch.int64 and y.shape == (len(x),) and 0 <= int(y.min()) <= int(y.max()) < about.classes
    mend = "set classes to the number of labels, and number them from 0"
    expect(right, f"int64 labels (N,) of {about.classes} classes", found, mend)
    named = case.entry.modalities
    right = case.entry.fits(about.modality)
    expect(right, f"modality {' or '.join(named)}, as registered", about.modality, "correct one of the two")


def deterministic(case: Case) -> None:
    """Opened twice, it is the same, bit for bit."""
    mend = "draw from a generator with a fixed seed, sort file names"
    same = opened(case).fingerprint() == opened(case).fingerprint()
    expect(same, "the same observations every time", "others", mend)


def splits(case: Case) -> None:
    """Train and test have the same DataSpec and no observation in common."""
    train, test = opened(case), opened(case, "test")
    mend = "take scale and shift from the training split"
    expect(train.spec == test.spec, "one DataSpec for both splits", "two", mend)
    same = len(test) if train.fingerprint() == test.fingerprint() else 0
    possible = (train.spec.levels or 2**24) ** train.spec.size  # where there are few, they recur
    if train.spec.size > 4 and possible > 2**20:
        seen = {hashlib.sha256(row.numpy().tobytes()).digest() for row in train.x}
        same = sum(hashlib.sha256(row.numpy().tobytes()).digest() in seen for row in test.x)
    found = f"{same} of {len(test)} observations in both"
    mend = "read other observations where split is 'test', and split before shuffling or augmenting"
    expect(same <= len(test) / 2, "a test split apart from the training split", found, mend)


def limit(case: Case) -> None:
    """Fewer observations on request are the first ones."""
    few, more = opened(case, limit=5), opened(case, limit=50)
    first = len(few) <= 5 and torch.equal(few.x, more.x[: len(few)])
    expect(first, "the first 5 observations with limit=5", f"{len(few)}, or others", "leave limit to load()")

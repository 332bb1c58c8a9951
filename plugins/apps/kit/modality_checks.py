"""Checks of modalities: that forms of data fit together, that files are read as they were written, that it shows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from genzoo.core.build import build
from genzoo.core.config import Config
from genzoo.core.modality import Modality, of
from genzoo.core.pictures.drawing import Drawing
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit.cases import CLASSES, Case, attempt, gap, seeded, shape_text
from genzoo.plugins.apps.kit.findings import Fault
from genzoo.registry.recipes.compose import compose, resolver

N = 5


def _examples(case: Case) -> Iterator[tuple[Modality, DataSpec, Tensor, str]]:
    """The modality, and on each of its examples observations in data units."""
    if not issubclass(case.cls, Modality):
        raise Fault("a subclass of genzoo.core.modality.Modality", case.cls.__name__, "derive it from that")
    kind: Modality = case.cls()
    if kind.name != case.entry.name:
        raise Fault(f"the name {case.entry.name!r}, as registered", repr(kind.name), "set name in the class")
    specs = attempt(lambda: list(kind.examples(CLASSES)), "", "examples")
    if not specs or any(not isinstance(of(s), case.cls) or s.classes != CLASSES for s in specs):
        raise Fault(
            "examples of this kind with the classes asked for", repr(specs)[:200], "give one small spec or more"
        )
    for spec in specs:
        where = f"{kind.name} {shape_text(spec.shape)}"
        x = attempt(lambda s=spec: kind.random(s, N, 3), where, "random")  # type: ignore[misc]
        if tuple(x.shape) != (N, *spec.shape) or x.dtype != torch.float32:
            raise Fault(
                f"float32 {shape_text((N, *spec.shape))}", f"{x.dtype} {shape_text(x.shape)}", "see random", where
            )
        yield kind, spec, kind.to_units(spec, x), where


def light(case: Case) -> None:
    """Its module imports no torch: a spec is looked at where nothing is computed."""
    module = case.entry.target.partition(":")[0]
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=120)
    if done.returncode:
        raise Fault(f"{module} to import without torch", "it does not", "import torch inside the methods that compute")


def forms(case: Case) -> None:
    """Model space, data units, stored rows and saved arrays are ways of saying the same."""
    for kind, spec, x, where in _examples(case):
        again = kind.to_units(spec, kind.to_model(spec, x))
        if gap(x, again) > 1e-4:
            raise Fault("data units that survive model space", f"a gap of {gap(x, again):.2g}",
                        "let to_units undo to_model", where)  # fmt: skip
        kept = kind.to_storage(spec, x)
        once = kind.from_storage(spec, kept)
        if not torch.equal(kind.from_storage(spec, kind.to_storage(spec, once)), once):
            raise Fault("rounding that changes nothing twice", "other numbers", "see to_storage", where)
        array = kind.to_array(spec, x.clone())
        if len(array) != N or str(array.dtype) != kind.array_dtype(spec):
            raise Fault(f"arrays of {kind.array_dtype(spec)}", f"{array.dtype}", "see array_dtype", where)
        if spec.levels is None and gap(kind.to_model(spec, x), kind.from_rows(spec, x.clone())) > 1e-4:
            raise Fault("the same model space from rows and from data units", "another", "see from_rows", where)
        kind.checked(spec, x, "the model")
        low, high = kind.bounds or (-float("inf"), float("inf"))
        if float(x.min()) < low or float(x.max()) > high:
            raise Fault(
                f"numbers in [{low:g}, {high:g}]", f"[{float(x.min()):.3g}, {float(x.max()):.3g}]", "see bounds", where
            )


def recorded(case: Case) -> None:
    """A spec survives ``config.json``, facts included."""
    for kind, spec, _, where in _examples(case):
        config = compose(case.registry, spec, None, _parts(kind))
        if Config.from_dict(config.to_dict()).data != spec:
            raise Fault("the same spec from config.json", "another", "let facts be plain data", where)


def shows(case: Case) -> None:
    """What it says can be drawn is drawn: small pictures, one picture, a fragment for a page."""
    for kind, spec, x, where in _examples(case):
        small = kind.render(spec, x)
        if (small is not None) is not kind.renders:
            raise Fault(f"renders = {small is not None}", str(kind.renders), "set renders to what render does", where)
        if small is not None and (small.dim() != 4 or len(small) != N or small.min() < 0 or small.max() > 1):
            raise Fault("pictures (N, C, H, W) in [0, 1]", shape_text(small.shape), "see render", where)
        picture, drawn = kind.picture(spec, x, behind=x), not kind.undrawn(spec, N)
        if isinstance(picture, Image.Image) is not drawn:
            raise Fault("a picture, or a reason in undrawn", type(picture).__name__, "let the two agree", where)
        found = kind.fragment(spec, x, 4, x)
        if found is not None and not isinstance(found.content, (str, Drawing, Image.Image)):
            raise Fault("a picture, a drawing or HTML", type(found.content).__name__, "see fragment", where)


def files(case: Case) -> None:
    """Files of its own are read as they were written, and written again the same."""
    for kind, spec, x, where in _examples(case):
        for suffix in kind.suffixes:
            for y in (None, torch.arange(N) % CLASSES):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder, "samples" + suffix.strip("/"))
                    batches = iter([(x[:3], None if y is None else y[:3]), (x[3:], None if y is None else y[3:])])
                    attempt(lambda k=kind, p=path, s=spec, b=batches: k.write(p, s, N, b), where, "write")  # type: ignore[misc]
                    read = attempt(lambda k=kind, p=path, s=spec: k.read_samples(p, s), where, "read_samples")  # type: ignore[misc]
                ours, theirs = (
                    _sorted(kind.from_storage(spec, kind.to_storage(spec, x))),
                    _sorted(kind.from_storage(spec, kind.judged(read))),
                )
                if read.spec.shape != spec.shape or ours.shape != theirs.shape or gap(ours, theirs) > 1e-5:
                    raise Fault(f"the samples that were written to {path.name}", f"others, {shape_text(theirs.shape)}",
                                "let read_samples undo write", where)  # fmt: skip


def builds(case: Case) -> None:
    """What it names as fitting makes a model whose samples are such data."""
    for kind, spec, _, where in _examples(case):
        config = compose(case.registry, spec, None, _parts(kind))
        with seeded():
            model = build(config, resolver(case.registry, config))[1].model.eval()
        x = attempt(lambda m=model: m.sample(3), where, "sample")  # type: ignore[misc]
        if tuple(x.shape) != (3, *spec.shape) or not torch.isfinite(x).all():
            raise Fault(f"finite samples {shape_text((3, *spec.shape))}", shape_text(x.shape), "see network", where)
        case.registry.get("extractor", kind.extractor(spec))


def _parts(kind: Modality) -> dict[str, Any]:
    return {"objective": "vae:vae", **{f"{k}.width": 16 for k in ("generator", "encoder") if kind.network(k) == "mlp"}}


def _sorted(x: Tensor) -> Tensor:
    """Observations as rows in an order of their own: files of a folder come shuffled."""
    flat = x.flatten(1).double()
    return flat[flat.sum(1).argsort(stable=True)]

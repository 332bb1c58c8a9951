"""Trained models as programs for other tools: ONNX, or what torch.export saves."""

from __future__ import annotations

import copy
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from genzoo.core.arguments import checked
from genzoo.core.data.observations import to_model
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.posterior import Posterior
from genzoo.core.storage.files import creating_folder, given_path, sha256, write_bytes, write_json
from genzoo.core.storage.strict import one_line
from genzoo.core.templates import render

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Format = Literal["onnx", "torch-export"]
Part = Literal["generator", "encoder"]
PARTS: tuple[Part, ...] = ("generator", "encoder")
SUFFIX: Mapping[str, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
TOLERANCE = 1e-4  # of the largest number that the original puts out, at least of 1
_BATCHES = (1, 2, 5, 8)  # that every program is tried on
Run = Callable[[Mapping[str, Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Exported:
    """What was written: by part's name its file, inputs, outputs, sha256, and how far from the original it is."""

    folder: Path
    format: str
    parts: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"folder": str(self.folder), "format": self.format, "parts": dict(self.parts)}


@checked
def export(
    weights: Model | str | os.PathLike[str],
    out: str | os.PathLike[str],
    format: Format = "onnx",
    *,
    part: Part | None = None,
    seed: int = 0,
    verbose: bool = True,
) -> Exported:
    """Write a model's generator and encoder as programs that need no genzoo, for any batch size.

    The generator takes codes ``(batch, latent)`` (standard normal) and gives samples in data units; the encoder
    takes observations in data units and gives posterior means, and standard deviations where it has them. A
    conditional model's programs take labels ``(batch,)``, int64, too. Each is compared with the original on random
    inputs of several batch sizes before anything is in its place.

    The new folder ``out`` gets a file for each part (None: all that there are), ``export.json`` and ``README.md``.
    ``onnx`` is what any ONNX runtime reads (``pip install genzoo[onnx]``), ``torch-export`` what `torch.export.load`
    does. The seed is of the inputs; ``verbose`` lets `genzoo.load` say what it downloads.

    Raises:
        UsageError: if there is no such format or part, or the folder is not empty.
        GenzooError: if the model cannot be exported, or the result is not what the original computes.
    """
    from genzoo.registry.verbs.load import load

    path = given_path(out)
    if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is not an empty folder: give a new one, so that nothing is overwritten")
    missing = [n for n in ("onnx", "onnxscript", "onnxruntime") if find_spec(n) is None] if format == "onnx" else []
    if missing:
        raise GenzooError(f"exporting to ONNX needs {' and '.join(missing)}: pip install 'genzoo[onnx]'")
    model = weights if isinstance(weights, Model) else load(weights, verbose=verbose)
    name = (model.config.recipe if model.config else "") or "this model"
    if model.conditions:
        raise UsageError(f"{name} is conditioned on numbers, and such models are not exported yet")
    if part == "encoder" and model.encoder is None:
        raise UsageError(f"{name} has no encoder: export its generator")
    chosen = [p for p in PARTS if part in (None, p) and (p == "generator" or model.encoder is not None)]
    model = model if model.device.type == "cpu" else copy.deepcopy(model).cpu()
    with creating_folder(path) as temporary:
        done: dict[str, dict[str, Any]] = {p: _written(model, p, format, temporary, seed) for p in chosen}
        about = _about(model, format, done)
        write_json(temporary / "export.json", about)
        used = {name for p in done.values() for name in (*p["inputs"], *p["outputs"])}
        page = render(Path(__file__).with_name("readme.md.j2"), {"about": about, "used": used})
        write_bytes(temporary / "README.md", page.encode())
    return Exported(path, format, done)


class _Program(nn.Module):
    """Model space to data units and back, with its numbers as buffers: programs make no tensors on the way."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        spec = model.spec
        self.bounds, self.classes = of(spec).bounds, model.classes
        shape = (-1, *[1] * (len(spec.shape) - 1))
        self.register_buffer("scale", torch.tensor(spec.scale).view(shape))
        self.register_buffer("shift", torch.tensor(spec.shift).view(shape))


class GeneratorProgram(_Program):
    """Codes, and labels, to samples in data units."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.generator, self.likelihood = model.generator, model.likelihood

    def forward(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        """``(batch, *data)`` for codes ``(batch, latent)``."""
        x = self.likelihood.mean(self.generator(code, label)) * self.scale + self.shift
        return x if self.bounds is None else x.clamp(*self.bounds)


class EncoderProgram(_Program):
    """Observations in data units, and labels, to posterior means and standard deviations."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.encoder, self.head = model.encoder, model.head

    def forward(self, observation: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """``(batch, latent)`` each for observations ``(batch, *data)``."""
        assert self.encoder is not None
        assert self.head is not None
        q = self.head(self.encoder((observation - self.shift) / self.scale, label))
        spread = _deviation(q)
        return (q.mean,) if spread is None else (q.mean, spread)


def _inputs(model: Model, part: Part, n: int, seed: int) -> dict[str, Tensor]:
    """Random inputs by name: codes of the prior, or observations; and labels of a conditional model."""
    g = torch.Generator().manual_seed(seed)
    if part == "generator":
        found = {"code": model.codes(0, n, seed=seed)}
    else:
        x = torch.rand(n, *model.spec.shape, generator=g)
        if model.spec.levels == 2:
            x = x.round()
        if of(model.spec).bounds is None:  # what the model takes for data, more or less
            x = model.sample(n, seed=seed, numbers=True) + x - 0.5
        found = {"observation": x}
    if model.classes:
        found["label"] = torch.randint(model.classes, (n,), generator=g)
    return found


def _original(model: Model, part: Part, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What the model itself says, by its public methods."""
    label = inputs.get("label")
    if part == "generator":
        return [model.decode(inputs["code"], label, numbers=True)]
    found = [model.encode(inputs["observation"], label)]
    with torch.no_grad():
        spread = _deviation(model.posterior(to_model(model.spec, inputs["observation"]), label))
    return found if spread is None else [*found, spread]


def _deviation(q: Posterior) -> Tensor | None:
    """Standard deviations of a posterior that has them."""
    log_var: Tensor | None = getattr(q, "log_var", None)
    return None if log_var is None else torch.exp(0.5 * log_var)


def _written(model: Model, part: Part, format: Format, folder: Path, seed: int) -> dict[str, Any]:
    """Write one program, compare it with the original, and say what it is."""
    training = model.training
    module = (GeneratorProgram(model) if part == "generator" else EncoderProgram(model)).eval()
    try:
        file = folder / f"{part}{SUFFIX[format]}"
        examples = _inputs(model, part, 4, seed)
        outputs = ["sample"] if part == "generator" else ["mean", "std"][: len(_original(model, part, examples))]
        batch = torch.export.Dim("batch", min=1, max=2**20)
        with _others(f"this model cannot be exported to {format}"):
            shapes = tuple({0: batch} for _ in examples)
            program = torch.export.export(module, tuple(examples.values()), dynamic_shapes=shapes)
            run = _save_onnx(program, examples, outputs, file) if format == "onnx" else _save_pt2(program, file)
        apart: list[float] = []
        for n in _BATCHES:
            inputs = _inputs(model, part, n, seed + n)
            with _others(f"the exported {part} fails on a batch of {n}"):
                made = run(inputs)
            apart += [_distance(a, b) for a, b in zip(_original(model, part, inputs), made, strict=True)]
        if not all(a <= TOLERANCE for a in apart):  # NaN too
            what = f"the exported {part} is not what the original computes"
            raise GenzooError(f"{what} ({max(apart):.2g} apart): not written")
    finally:
        model.train(training)
    shapes_of = {"sample": model.spec.shape, "mean": model.latent.shape, "std": model.latent.shape}
    return {
        "file": file.name,
        "sha256": sha256(file),
        "bytes": file.stat().st_size,
        "inputs": {k: {"shape": ["batch", *v.shape[1:]], "dtype": str(v.dtype)[6:]} for k, v in examples.items()},
        "outputs": {k: {"shape": ["batch", *shapes_of[k]], "dtype": "float32"} for k in outputs},
        "error": max(apart),
    }


def _save_onnx(program: ExportedProgram, examples: Mapping[str, Tensor], outputs: Sequence[str], file: Path) -> Run:
    import onnxruntime

    made = torch.onnx.export(
        program, input_names=list(examples), output_names=list(outputs), dynamo=True, verbose=False
    )
    assert made is not None
    for node in made.model.graph.all_nodes():
        node.metadata_props.clear()  # where in whose files each was made
    made.save(file, external_data=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = torch.get_num_threads(), 3
    session = onnxruntime.InferenceSession(file.read_bytes(), settings, providers=["CPUExecutionProvider"])
    return lambda given: [torch.from_numpy(o) for o in session.run(None, {k: v.numpy() for k, v in given.items()})]


def _save_pt2(program: ExportedProgram, file: Path) -> Run:
    program._example_inputs = None  # they would be the one pickle in the file
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack"):
            node.meta.pop(key, None)  # where in whose files each was made
    torch.export.save(program, file)
    module = program.module()

    def run(given: Mapping[str, Tensor]) -> list[Tensor]:
        made = module(*given.values())
        return [made] if isinstance(made, Tensor) else list(made)

    return run


def _distance(ours: Tensor, theirs: Tensor) -> float:
    """Greatest difference over the size of the numbers; infinite between different shapes."""
    if ours.shape != theirs.shape:
        return math.inf
    return (ours - theirs).abs().max().item() / max(1.0, ours.abs().max().item())


def _about(model: Model, format: Format, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What ``export.json`` says."""
    from importlib.metadata import version

    spec, config = model.spec, model.config
    return {
        "format": format,
        "recipe": config.recipe if config else "",
        "data": {"name": spec.name, "modality": spec.modality, "shape": list(spec.shape), "levels": spec.levels},
        "units": of(spec).units,
        "latent": {"size": model.latent.size, "shape": list(model.latent.shape), "prior": _prior(model)},
        "classes": model.classes,
        "class_names": list(spec.class_names) if model.classes else [],
        "parts": dict(parts),
        "made with": {"genzoo": version("genzoo"), "torch": torch.__version__},
    }


def _prior(model: Model) -> str:
    """The prior's name; only the standard normal's codes can be drawn without the model."""
    if model.prior.family == "normal":
        return "standard normal"
    part = model.config.parts.get("prior") if model.config else None
    return part.name if part else type(model.prior).__name__


@contextmanager
def _others(what: str) -> Iterator[None]:
    """Run what other libraries do without their warnings, and say in one sentence what failed; no gradients."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except Exception as e:  # the libraries have no base for their errors
        if "specialized it to be a constant" in str(e):
            raise GenzooError(
                "this model cannot be exported for batches of any size: one of its networks takes their number for a "
                "plain one, as len(x) does; in its code, write x.shape[0], flatten and unflatten"
            ) from e
        raise GenzooError(one_line(f"{what} ({type(e).__name__}: {e})", 400)) from e
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)

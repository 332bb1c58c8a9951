"""A run's folder: the weights folder that it grows into, and its checkpoints."""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from genzoo.core import pictures
from genzoo.core.config import Config
from genzoo.core.errors import GenzooError
from genzoo.core.files import MANIFEST, Writer, text_file, update_folder, verify, write_folder, writing
from genzoo.core.model import Model
from genzoo.core.observers import columns_for
from genzoo.core.trainer import Trainer
from genzoo.core.weights import CONFIG, TENSORS, model_files, read_config, write_tensors

CHECKPOINTS, BEST = "checkpoints", "best"
RECORD, CARD, PICTURE = "training.json", "README.md", "samples.png"
_STATE, _PLAIN = "trainer.safetensors", "trainer.json"


def hardware(device: torch.device) -> dict[str, Any]:
    """What a run was trained on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": device.type, "name": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def describe(trainer: Trainer, config: Config, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Everything worth knowing about a run, for ``training.json``; curves are thinned to 500 records."""
    data, history = trainer.data, trainer.history
    every = max(len(history) // 500, 1)
    return {
        "recipe": config.recipe,
        "data": {
            "name": data.name,
            "license": data.license,
            "observations": len(data),
            "held_out": len(trainer.held_out) if trainer.held_out is not None else 0,
            "fingerprint": data.fingerprint(),
        },
        "seed": trainer.seed,
        "called with": trainer.record,
        "steps": trainer.step,
        "of": trainer.steps,
        "seconds": round(trainer.seconds, 1),
        "hardware": hardware(trainer.device),
        "python": sys.version.split()[0],
        "metrics": dict(metrics),
        "curves": history[::every] + (history[-1:] if (len(history) - 1) % every else []),
    }


def card(config: Config, record: Mapping[str, Any], has_picture: bool) -> str:
    """The model card."""
    parts = ", ".join(f"{kind} `{part.name}`" for kind, part in config.parts.items())
    shape = "×".join(map(str, config.data.shape))
    lines = [
        "---",
        "library_name: genzoo",
        f"tags: [genzoo, {config.parts['objective'].name}]",
        "---",
        f"# {config.recipe} on {record['data']['name'] or 'unnamed data'}",
        "",
        f"A {'conditional ' if config.conditional else ''}generative model of {config.data.modality}s of {shape}: "
        f"{parts}. Trained for {record['steps']:,} steps (of {record['of']:,}) on "
        f"{record['data']['observations']:,} observations "
        f"in {record['seconds']:,} s, seed {record['seed']}.",
        "",
    ]
    if has_picture:
        lines += [f"![samples from seed 0]({PICTURE})", ""]
    if record["metrics"]:
        metrics = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in record["metrics"].items()}
        lines += ["| metric | value |", "| --- | --- |"]
        lines += [f"| {k} | {v} |" for k, v in metrics.items()]
        lines += [""]
    lines += [
        "```python",
        "import genzoo",
        "",
        'model = genzoo.load("PATH_OR_NAME")',
        "images = model.sample(64, seed=0)",
        "```",
    ]
    return "\n".join(lines) + "\n"


def weights_files(model: Model, record: Mapping[str, Any]) -> dict[str, Writer]:
    """Everything that a weights folder holds but its manifest: name to writer."""
    assert model.config is not None  # model_files says so politely
    files = model_files(model)
    n = 64 if model.spec.modality == "image" else 2000
    image = pictures.picture(model.spec, model.sample(n), columns_for(model.classes, n))
    if image is not None:
        files[PICTURE] = lambda path: pictures.save(image, path)
    text, plain = card(model.config, record, image is not None), json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    files[CARD] = text_file(text)
    files[RECORD] = text_file(plain)
    return files


def save_weights(folder: Path, model: Model, record: Mapping[str, Any]) -> None:
    """Write a weights folder, or bring the one that is there up to date, as one instant."""
    update_folder(folder, weights_files(model, record))


def save_checkpoint(run: Path, trainer: Trainer, keep: int) -> Path:
    """Write a checkpoint, everything that the next step depends on, and drop the oldest beyond ``keep``."""
    tensors, plain = trainer.state()
    folder = run / CHECKPOINTS / f"step-{trainer.step:08d}"
    if folder.exists():  # the same step saved again: a run stopped right after a checkpoint
        try:
            verify(folder, (CONFIG, TENSORS, _STATE, _PLAIN))
            return folder
        except GenzooError:
            with writing(folder):
                shutil.rmtree(folder)
    text = json.dumps(plain) + "\n"
    write_folder(
        folder,
        model_files(trainer.model)
        | {
            _STATE: lambda path: write_tensors(path, tensors),
            _PLAIN: text_file(text),
        },
    )
    # Those that are no longer kept, and what a process that was killed had begun to write.
    for old in (*checkpoints(run)[:-keep], *folder.parent.glob(".step-*")):
        shutil.rmtree(old, ignore_errors=True)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """A run's checkpoints, oldest first; whether they are whole is found out when they are read."""
    found = ((re.fullmatch(r"step-(\d+)", p.name), p) for p in (run / CHECKPOINTS).glob("step-*"))
    return [p for _, p in sorted((int(m[1]), p) for m, p in found if m and (p / MANIFEST).is_file())]


def read_checkpoint(folder: Path) -> tuple[Config, dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint after verifying every hash: config, kept model, trainer's tensors, trainer's numbers.

    Raises:
        GenzooError: naming what is damaged.
    """
    verify(folder, (CONFIG, TENSORS, _STATE, _PLAIN))
    try:
        plain = json.loads((folder / _PLAIN).read_bytes())
        return read_config(folder), load_file(folder / TENSORS), load_file(folder / _STATE), plain
    except (OSError, ValueError, SafetensorError) as e:
        raise GenzooError(f"{folder} is damaged: {e}") from None


def newest_checkpoint(run: Path) -> tuple[Path, list[str]]:
    """The newest checkpoint that is whole, and what was wrong with newer ones.

    Raises:
        GenzooError: if there is none.
    """
    problems = list[str]()
    for folder in reversed(checkpoints(run)):
        try:
            verify(folder, (CONFIG, TENSORS, _STATE, _PLAIN))
            return folder, problems
        except GenzooError as e:
            problems.append(str(e))
    detail = f": {problems[0]}" if problems else ""
    raise GenzooError(f"{run} has no checkpoint to go on from{detail}")

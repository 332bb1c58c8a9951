"""Make a trained run ready to ship inside a package: stored small, measured as stored, with a card of its own."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.report import Report
from genzoo.core.pictures import grids
from genzoo.core.storage import card, fingerprint
from genzoo.core.storage.files import Writer, given_path, text_file, write_folder
from genzoo.core.storage.weights import model_files
from genzoo.core.training.runs import PICTURE, picture_of
from genzoo.registry.verbs.evaluate import evaluate
from genzoo.registry.verbs.load import load
from genzoo.registry.weights.base import CARD, CONFIG, RECORD, TENSORS
from genzoo.registry.weights.push import ready, with_evaluation


def pack(
    weights: str | os.PathLike[str],
    name: str,
    out: str | os.PathLike[str],
    *,
    data: Any = None,
    metrics: Report | str | os.PathLike[str] | None = None,
    license: str = "",
    storage: Literal["float32", "float16", "bfloat16"] = "float32",
    unfinished: bool = False,
    progress: bool | None = None,
) -> Path:
    """Write a weights folder that a plugin's package can ship, and `publish_all` can publish.

    What is measured (on the test split of ``data``, by the metrics that fit), pictured and fingerprinted is the model
    as it will be loaded, so after it was stored. ``storage`` is how tensors of two and more dimensions are kept.

    Raises:
        GenzooError: if something is missing, damaged or there already; nothing is written then.
    """
    folder = given_path(out)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*", name):
        raise UsageError(f"weights are called recipe/data in small letters, as in vae/fashion-mnist, not {name!r}")
    if storage not in ("float32", "float16", "bfloat16"):
        raise UsageError(f"storage is float32, float16 or bfloat16, not {storage!r}")
    if data is not None and metrics is not None:
        raise UsageError("give data to measure on, or metrics that were measured, not both")
    if folder.exists():
        raise UsageError(f"{folder} is there already: give a new folder, so that nothing is overwritten")
    _, record, licensed, problems = ready(weights, license, unfinished)
    if problems:
        raise UsageError(f"{weights} is not ready to be packed: {'; '.join(problems)}")
    with TemporaryDirectory() as place:
        stored = Path(place, "weights")
        write_folder(stored, model_files(load(weights), storage=None if storage == "float32" else storage))
        model = load(stored)  # as everybody will have it
        if data is not None:
            metrics = evaluate(model, data, name=name, progress=progress)
        record = replace(with_evaluation(record, metrics), fingerprint=fingerprint.take(model))
        record = record if storage == "float32" else replace(record, storage=storage)
        files: dict[str, Writer] = {n: partial(shutil.copyfile, stored / n) for n in (CONFIG, TENSORS)}
        image = picture_of(model)
        if image is not None:
            files[PICTURE] = partial(grids.save, image)
        assert model.config is not None  # it was just read from a file
        text = card.card(model.config, record, picture=PICTURE if PICTURE in files else "", name=name, license=licensed)
        files |= {CARD: text_file(text), RECORD: text_file(record.text())}
        write_folder(folder, files)
    return folder

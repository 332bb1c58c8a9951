"""Make a trained run ready to ship inside a package: stored small, measured as stored, with a card of its own."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.report import Report
from genzoo.core.pictures import grids as pictures
from genzoo.core.record import RECORD, read_record
from genzoo.core.storage import card, fingerprint
from genzoo.core.storage.files import MANIFEST, given_path, text_file, write_folder
from genzoo.core.storage.weights import model_files
from genzoo.core.training.runs import CARD, PICTURE, picture_of
from genzoo.registry.weights import resolve
from genzoo.registry.weights.push import finished, known_license, with_evaluation, without_folders

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*")


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
    progress: bool = False,
) -> Path:
    """Write a weights folder that a plugin's package can ship, and `publish_all` can publish.

    What is measured, pictured and fingerprinted is the model as it will be loaded, so after it was stored.

    Args:
        weights: a run's folder, or whatever `genzoo.load` takes.
        name: what it will be called in the zoo, ``recipe/data``; the card's commands use it.
        out: the new folder.
        data: measure on the test split of this data, by the metrics that fit, for the card.
        metrics: a report that is there already, instead.
        license: of the weights, as the Hub calls it; default what their card says.
        storage: how tensors of two and more dimensions are kept; halves the file and is loaded as float32.
        unfinished: whether to pack a run that stopped before its last step.
        progress: show bars on stderr.

    Returns:
        The folder.

    Raises:
        UsageError: if something is missing or the folder is there.
        GenzooError: if files are damaged or cannot be written.
    """
    from genzoo.registry.verbs.load import load

    folder = given_path(out)
    if not _NAME.fullmatch(name):
        raise UsageError(f"weights are called recipe/data in small letters, as in vae/fashion-mnist, not {name!r}")
    if storage not in ("float32", "float16", "bfloat16"):
        raise UsageError(f"storage is float32, float16 or bfloat16, not {storage!r}")
    if data is not None and metrics is not None:
        raise UsageError("give data to measure on, or metrics that were measured, not both")
    if folder.exists():
        raise UsageError(f"{folder} is there already: give a new folder, so that nothing is overwritten")
    found = resolve(weights)
    finished(found.folder)
    licensed, problem = known_license(license, found)
    if problem:
        raise UsageError(f"{weights} is not ready to be packed: {problem}")
    record = read_record(found.folder, found.within)
    if record is None:
        raise UsageError(f"{found.folder} has no {RECORD}: pack the folder that 'genzoo train' wrote")
    if record.steps < record.of and not unfinished:
        raise UsageError(f"{weights} stopped after {record.steps:,} of {record.of:,} steps: go on with --resume, "
                         "or say --unfinished")  # fmt: skip
    with TemporaryDirectory() as place:
        stored = Path(place, "weights")
        write_folder(stored, model_files(load(weights), storage=None if storage == "float32" else storage))
        model = load(stored)  # as everybody will have it
        if data is not None:
            from genzoo.registry.verbs.evaluate import evaluate

            metrics = evaluate(model, data, name=name, progress=progress)
        record = with_evaluation(without_folders(record), metrics)
        record = replace(record, fingerprint=fingerprint.take(model))
        record = record if storage == "float32" else replace(record, storage=storage)
        files = {n: _copy(stored / n) for n in sorted(os.listdir(stored)) if n != MANIFEST}
        image = picture_of(model)
        if image is not None:
            files[PICTURE] = lambda path: pictures.save(image, path)
        assert model.config is not None  # it was just read from a file
        files[CARD] = text_file(
            card.card(model.config, record, picture=PICTURE if image is not None else "", name=name, license=licensed)
        )
        files[RECORD] = text_file(record.text())
        write_folder(folder, files)
    return folder


def _copy(path: Path) -> Any:
    content = path.read_bytes()
    return lambda to: to.write_bytes(content)

"""A second stage: `fit_prior` is what ``genzoo prior fit`` calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from genzoo.core.arguments import checked
from genzoo.core.config import Config
from genzoo.core.errors import UsageError
from genzoo.core.storage.files import sha256
from genzoo.core.storage.weights import TENSORS
from genzoo.core.training.trainer import Trainer
from genzoo.registry.verbs.fit import Run, fit
from genzoo.registry.weights.reproduce import plan

_KEPT = ("train.batch_size", "train.validation")  # of how the first stage was trained


@checked
def fit_prior(
    weights: str | os.PathLike[str],
    prior: str,
    out: str | os.PathLike[str] | None = None,
    *,
    data: Any = None,
    options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    resume: bool = False,
    device: str = "auto",
    **how: Any,
) -> Run:
    """Train a prior on the codes of a trained model, and write one model of both.

    The run is one like any other. Its config names the first stage's recipe and the sha256 of its tensors.

    Args:
        weights: what `genzoo.load` takes: a model with an encoder and a likelihood.
        prior: name of the prior, such as ``mixture``, ``real-nvp``, or ``transformer`` for a quantizer's tokens.
        out: folder for the run; None writes nothing.
        data: the data, if it is no data set of the zoo; default is what the first stage was trained on.
        options: by dotted name, ``{"prior.width": 256, "train.lr": 3e-4}``; the first stage's training options do not
            count, but for batch size and what is held out.
        seed: default is the first stage's, so that the same data are held out.
        resume: go on from the newest whole checkpoint in ``out``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        **how: further keywords of `genzoo.fit`: ``steps``, ``epochs``, ``batch_size``, ….

    Raises:
        UsageError: if the model has no codes to learn, or the prior does not fit them.
        GenzooError: if the record of the first stage is missing.
    """
    first = plan(weights, source=data, given_by="--data", device=device)
    if "encoder" not in first.config.parts or "likelihood" not in first.config.parts:
        raise UsageError(
            f"{weights} has no posterior over codes to fit a prior to: it needs an encoder and a likelihood"
        )
    told = {"critic", "objective", "prior", "train", "regularizer", "augmentation"}
    kept = _KEPT[1:] if how.get("batch_size") else _KEPT
    given = {k: v for k, v in first.arguments["options"].items() if k in kept or k.partition(".")[0] not in told}
    given |= {"objective": "vae:fit-prior", "prior": prior, "objective.first": first.config.recipe,
              "objective.sha256": sha256(first.folder / TENSORS), **(options or {})}  # fmt: skip
    begin, command = how.pop("on_start", None), first.record.about.get("command")

    def on_start(trainer: Trainer, config: Config) -> None:
        if command:
            trainer.about["first stage"] = command
            if "--init" in (own := trainer.about.get("command", [])):  # begins with what the first one makes
                own[own.index("--init") + 1] = command[command.index("--out") + 1]
        if begin is not None:
            begin(trainer, config)

    return fit(
        None, first.arguments["data"], out, seed=first.arguments["seed"] if seed is None else seed, options=given,
        init=weights, resume=resume, device=device, on_start=on_start, **how,
    )  # fmt: skip

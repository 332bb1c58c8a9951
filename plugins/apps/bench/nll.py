"""Likelihood of binarized Fashion-MNIST by pythae's protocol: ``genzoo bench likelihood``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.storage.files import write_json
from genzoo.registry.verbs.fit import fit
from genzoo.registry.verbs.load import load_data

PROTOCOL = {  # pythae's, for a comparison of equals
    "generator": "mlp",
    "encoder": "mlp",
    "generator.width": 512,
    "generator.depth": 1,
    "encoder.width": 512,
    "encoder.depth": 1,
    "generator.activation": "relu",
    "encoder.activation": "relu",
    "latent.size": 16,
    "train.lr": 1e-3,
    "train.average": 60_000,
    "train.validation": 0,
    "data.binarize": "static",
}
OF_ALL = ("train.validation", "data.binarize")


def likelihood(
    recipe: str = "vae",
    *,
    seed: int = 0,
    epochs: float = 10,
    images: int = 1000,
    samples: int = 500,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> dict[str, float]:
    """Train a VAE on binarized Fashion-MNIST and estimate the likelihood of the first ``images`` test images.

    Each pixel is drawn once with its grey value as probability; one hidden layer of 512 each way, 16 latent
    dimensions, batches of 100, Adam at 1e-3: pythae's protocol, but that the moving average of the parameters is
    judged (half-life one epoch; ``options={"train.average": 0}`` judges the last ones). The pixels of the training
    images are drawn with seed 0, those of the test images with seed 1.

    Another recipe than ``vae`` has networks, codes and learning rates of its own, and the same data, epochs, batches.

    Returns:
        ``nll`` of the test images in nats with its ``standard_error``, by so many importance ``samples`` each of which
        ``effective_samples`` count, and ``bits_per_dimension``; ``likelihood.json`` in the run's folder ``out`` too.
    """
    same = PROTOCOL if recipe == "vae" else {k: v for k, v in PROTOCOL.items() if k in OF_ALL}
    run = fit(
        recipe, "fashion-mnist", out, epochs=epochs, batch_size=100, seed=seed, options={**same, **(options or {})},
        threads=threads, progress=progress,
        precision="float32",  # the number is compared with published ones
    )  # fmt: skip
    if not run.finished:
        raise KeyboardInterrupt
    test = load_data("fashion-mnist", split="test", options={"binarize": "static"}).take(slice(images))
    estimate = run.model.log_likelihood(test.x, samples=samples, seed=seed)
    found = {
        "nll": -estimate.mean,
        "standard_error": estimate.mean_standard_error,
        "images": images,
        "importance_samples": samples,
        "effective_samples": estimate.effective_samples.mean().item(),
        "bits_per_dimension": estimate.bits_per_dimension,
        "seconds": round(run.seconds, 1),
    }
    if out is not None:
        write_json(Path(out) / "likelihood.json", found)
    return found

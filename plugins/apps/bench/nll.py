"""Likelihood of binarized Fashion-MNIST by pythae's protocol: ``genzoo bench likelihood``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.math.estimates import LogLikelihood
from genzoo.core.storage.files import write_json

# What the likelihood benchmark trains: pythae's protocol, for a comparison of equals.
LIKELIHOOD = {
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


def likelihood(
    *,
    seed: int = 0,
    epochs: float = 10,
    images: int = 1000,
    samples: int = 500,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> LogLikelihood:
    """Train a VAE on binarized Fashion-MNIST and estimate the likelihood of test images.

    Each pixel is drawn once with its grey value as probability; one hidden layer of 512 each way, 16 latent
    dimensions, batches of 100, Adam at 1e-3: pythae's protocol, but that the moving average of the parameters is
    judged (half-life one epoch; ``options={"train.average": 0}`` judges the last ones). The pixels of the training
    images are drawn with seed 0, those of the test images with seed 1.

    Args:
        seed: of initialization, order and noise.
        epochs: passes over the 60,000 training images.
        images: how many of the first test images.
        samples: importance samples for each.
        threads: of the CPU.
        out: folder for the run; None writes nothing.
        options: further options by dotted name, over the protocol's.
        progress: show a bar on stderr.

    Returns:
        The estimate; its negative ``mean`` is the test NLL in nats.
    """
    from genzoo.registry.verbs.fit import fit
    from genzoo.registry.verbs.load import load_data

    run = fit(
        "vae",
        "fashion-mnist",
        out,
        epochs=epochs,
        batch_size=100,
        seed=seed,
        options={**LIKELIHOOD, **(options or {})},
        threads=threads,
        precision="float32",  # the number is compared with published ones
        progress=progress,
    )
    if not run.finished:
        raise KeyboardInterrupt
    test = load_data("fashion-mnist", split="test", options={"binarize": "static"}).take(slice(images))
    estimate = run.model.log_likelihood(test.x, samples=samples, seed=seed)
    if out is not None:
        summary = {
            "nll": -estimate.mean,
            "standard_error": estimate.mean_standard_error,
            "images": images,
            "importance_samples": samples,
            "effective_samples": estimate.effective_samples.mean().item(),
        }
        write_json(Path(out) / "likelihood.json", summary)
    return estimate

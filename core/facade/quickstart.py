"""Train a small VAE and a small WGAN-GP on real images in about two minutes, and draw what they make.

python -m genzoo.quickstart FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from genzoo.core import pictures
from genzoo.core.errors import GenzooError
from genzoo.core.files import creating_folder

DATA = "fashion-mini"
RECIPES: dict[str, tuple[int, dict[str, Any]]] = {
    "vae": (1400, {"train.schedule": "cosine", "train.lr": 2e-3, "train.validation": 300}),
    "wgan-gp": (
        1500,
        {
            "objective.critic_steps": 1,
            "objective.critic_lr": 1e-3,
            "train.lr": 5e-4,
            "generator.width": 24,
            "critic.width": 24,
            "train.schedule": "linear",
            "train.average": 5000,
        },
    ),
}


def quickstart(out: Path, threads: int | None = None) -> dict[str, dict[str, Any]]:
    """Train both models and draw each beside the data.

    Args:
        out: new folder: ``vae.png``, ``wgan-gp.png`` and a folder of weights for each.
        threads: of the CPU.

    Returns:
        For each recipe its picture, seconds of training, and classes found among 1,000 samples (each
        with at least 2 %, by the classifier that ships with genzoo).
    """
    from genzoo.plugins.metrics.fashion_classifier import FashionClassifier
    from genzoo.training import fit
    from genzoo.zoo import load_data

    data, classifier, results = load_data(DATA), FashionClassifier.pretrained(), dict[str, dict[str, Any]]()
    real = pictures.captioned(pictures.grid(data.x[:64].float() / 255, 8), f"data: {DATA}")
    with creating_folder(out) as folder:
        for recipe, (steps, options) in RECIPES.items():
            run = fit(
                recipe, data, folder / recipe, steps=steps, options=options, device="cpu", threads=threads, progress=True
            )  # fmt: skip
            if not run.finished:
                raise KeyboardInterrupt
            made = pictures.captioned(
                pictures.grid(run.model.sample(64), 8), f"{recipe}, {run.seconds:.0f} s of training"
            )
            pictures.save(pictures.beside([real, made], gap=16), folder / f"{recipe}.png")
            shares = classifier.shares(run.model.sample(1000))
            found = int((shares >= 0.02).sum())
            results[recipe] = {"picture": out / f"{recipe}.png", "seconds": run.seconds, "classes": found}
    return results


def main() -> None:
    """Run from the command line."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart")
    if out.exists() and any(out.iterdir()):
        print(f"genzoo: {out} is already there; look at its pictures, or remove it to train again", file=sys.stderr)
        return
    try:
        results = quickstart(out)
    except GenzooError as e:
        sys.exit(f"genzoo: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
    for recipe, r in results.items():
        print(
            f"{r['picture']}: {recipe} trained in {r['seconds']:.0f} s; its samples show {r['classes']} of 10 classes"
        )


if __name__ == "__main__":
    main()

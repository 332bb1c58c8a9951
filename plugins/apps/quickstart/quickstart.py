"""Two small models, chosen so that two minutes of two cores show what both families make, and the command for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console.options import Threads
from genzoo.registry.console.output import hint, say

DATA = "fashion-mini"
# Small enough for two minutes of two cores, chosen by what their samples look like then. A wide σ makes the VAE spend
# its few nats on the shape of a piece of clothing, which a prior of twelve numbers can draw.
RECIPES: dict[str, tuple[int, dict[str, Any]]] = {
    "vae": (4000, {
        "generator": "mlp", "generator.width": 512, "generator.activation": "relu",
        "encoder": "mlp", "encoder.width": 512, "encoder.activation": "relu",
        "likelihood": "gaussian", "likelihood.sigma": "fixed", "likelihood.value": 0.7,
        "latent.size": 12, "train.schedule": "cosine",
    }),
    "wgan-gp": (3000, {
        "generator.width": 24, "critic.width": 24, "objective.critic_steps": 1, "objective.critic_lr": 1e-3,
        "train.lr": 5e-4, "train.batch_size": 32, "train.schedule": "linear", "train.average": 5000,
    }),
}  # fmt: skip
OUT = typer.Argument(metavar="OUT", help="New folder for pictures and weights.")


def quickstart(out: Annotated[Path, OUT] = Path("quickstart"), threads: Threads = None) -> None:
    """Train a small VAE and a small WGAN-GP on real images in about two minutes, and draw what they make.

    Example: genzoo quickstart quickstart
    """
    if out.is_dir() and any(out.iterdir()):
        hint(f"genzoo: {out} is already there; look at its pictures, or remove it to train again")
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: name a new folder")
    for recipe, r in train_both(out, threads).items():
        found = f"{r['seconds']:.0f} s of training, {r['classes']} of 10 classes in 1,000 samples"
        say(f"{r['picture']}: {recipe}, {found}")


def train_both(out: Path, threads: int | None = None) -> dict[str, dict[str, Any]]:
    """Train both models and draw each beside the data.

    Args:
        out: new folder: ``vae.png``, ``wgan-gp.png`` and a folder of weights for each.
        threads: of the CPU.

    Returns:
        For each recipe its picture, seconds of training, and classes found among 1,000 samples (each
        with at least 2 %, by the classifier that ships with genzoo).
    """
    from genzoo.core.pictures import grids as pictures
    from genzoo.core.storage.files import creating_folder
    from genzoo.plugins.extractors.shipped import FashionClassifier
    from genzoo.registry.verbs.fit import fit
    from genzoo.registry.verbs.load import load_data

    data, classifier, results = load_data(DATA), FashionClassifier.pretrained(), dict[str, dict[str, Any]]()
    real = pictures.captioned(pictures.grid(data.x[:64].float() / 255, 8), f"data: {DATA}")
    with creating_folder(out) as folder:
        for recipe, (steps, options) in RECIPES.items():
            chosen = {"steps": steps, "options": options, "threads": threads}
            run = fit(recipe, data, folder / recipe, device="cpu", progress=True, **chosen)  # type: ignore[arg-type]
            if not run.finished:
                raise KeyboardInterrupt
            samples = pictures.grid(run.model.sample(64), 8)
            made = pictures.captioned(samples, f"{recipe}: samples after {run.seconds:.0f} s")
            pictures.save(pictures.beside([real, made], gap=16), folder / f"{recipe}.png")
            shares = classifier.shares(run.model.sample(1000))
            found = int((shares >= 0.02).sum())
            results[recipe] = {"picture": out / f"{recipe}.png", "seconds": run.seconds, "classes": found}
    return results

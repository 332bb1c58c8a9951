"""What genzoo asks: names and where their classes are. Nothing heavy is imported here."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl

ANY = ("image", "vector")
MMD = "arXiv:1711.01558"


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    registry.generator("gated", "genzoo_tiny.nets:GatedGenerator", summary="Gated perceptron", modalities=ANY)
    registry.encoder("gated", "genzoo_tiny.nets:GatedEncoder", summary="Gated perceptron", modalities=ANY)
    registry.critic("gated", "genzoo_tiny.nets:GatedCritic", summary="Gated perceptron", modalities=ANY)
    registry.objective("tiny-lsgan", "genzoo_tiny.lsgan:LSGAN", summary="Least-squares GAN", paper="arXiv:1611.04076")
    registry.objective("tiny-wae", "genzoo_tiny.wae:WAE", summary="Wasserstein autoencoder", paper=MMD)
    registry.recipe(
        "tiny-lsgan",
        objective="tiny-lsgan",
        generator="gated",
        critic="gated",
        options={"latent.size": 8, "train.lr": 5e-4, "train.betas": (0.5, 0.9)},
        summary="Least-squares GAN of gated perceptrons",
        paper="arXiv:1611.04076",
    )
    registry.recipe(
        "tiny-wae",
        objective="tiny-wae",
        generator="gated",
        encoder="gated",
        options={"latent.size": 8, "train.batch_size": 128},
        presets={"vector": {"latent.size": 2, "objective.mmd_weight": 10.0}},
        summary="Wasserstein autoencoder of gated perceptrons",
        paper=MMD,
    )

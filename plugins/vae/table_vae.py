"""Variational autoencoder of rows: the bound of `beta-vae`, columns independent given the code, a mixture as prior."""

from genzoo.registry import declare

declare.recipe(
    "table-vae",
    summary="VAE of rows: a code for each, columns independent given it, a mixture of normals as prior",
    tags=("vae", "table"),
    modalities=("table",),
    like="vae",
    objective="beta-vae",
    prior="mixture",
    likelihood="table",
    options={
        "latent.size": 16,
        "objective.beta": 0.8,
        "objective.kl_warmup": 0.1,
        "prior.components": 50,
        "train.epochs": 25,
        "train.validation": 0.05,
    },
)

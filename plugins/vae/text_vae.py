"""Variational autoencoders of texts: the bound of `vae`, with parts that keep the posterior from collapsing."""

from genzoo.registry import declare

declare.recipe(
    "text-vae",
    summary="VAE of texts: a code for each text, and a recurrent likelihood that is told it at every token",
    paper="arXiv:1511.06349",
    tags=("vae", "text"),
    modalities=("text",),
    objective="vae",
    generator="mlp",
    encoder="text-gru",
    posterior="batch-normal",
    likelihood="ar-gru",
    options={
        "latent.size": 32,
        "posterior.spread": 0.7,
        "objective.kl_warmup": 0.2,
        "train.validation": 0.05,
        "train.epochs": 10,
        "train.batch_size": 64,
        "train.sampling": "length",
        "train.lr": 0.004,
        "train.schedule": "cosine",
        "train.clip": 1.0,
    },
)

declare.recipe(
    "text-vq",
    summary="VAE of texts whose code is 16 vectors from a learned book; a second stage learns which go together",
    paper="arXiv:1711.00937",
    tags=("vae", "text", "quantizer"),
    modalities=("text",),
    like="text-vae",
    posterior="vq",
    prior="uniform-codes",
    options={
        "latent.size": 16,
        "latent.grid": 4,
        "posterior.codes": 256,
        "objective.kl_warmup": 0.0,
        "train.lr": 0.002,
    },
)

declare.recipe(
    "text-cvae",
    summary="The same, with labels told to encoder and generator",
    paper="arXiv:1406.5298",
    tags=("vae", "text", "conditional"),
    modalities=("text",),
    like="text-vae",
    conditional=True,
)

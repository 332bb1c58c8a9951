"""VAEs of several stochastic layers: a generator and a posterior that goes down with it."""

from __future__ import annotations

from genzoo.registry import declare

declare.recipe(
    "top-down-vae",
    summary="VAE of ten stochastic layers, each given those above it",
    paper="arXiv:2011.10650",
    tags=("vae", "hierarchy"),
    modalities=("image",),
    like="vae",
    generator="top-down",
    posterior="top-down",
    options={"train.clip": 200.0},
)
declare.recipe(
    "nvae",
    summary="Top-down VAE of depthwise cells whose weights are kept smooth by their largest singular values",
    paper="arXiv:2007.03898",
    tags=("vae", "hierarchy"),
    modalities=("image",),
    like="top-down-vae",
    options={
        "generator.cell": "depthwise",
        "posterior.spectral": 0.1,
        "objective.kl_warmup": 0.3,
        "objective.kl_balance": True,
    },
)
declare.recipe(
    "two-level-vae",
    summary="VAE of two levels: q(z2|x) q(z1|x, z2) and a learned p(z1|z2)",
    paper="arXiv:1401.4082",
    tags=("vae", "hierarchy"),
    like="vae",
    generator="levels",
    posterior="top-down",
    presets={"image": {"generator.decoder": "conv"}, "vector": {"generator.sizes": (2, 2)}},
)
declare.recipe(
    "ten-level-vae",
    summary="VAE of ten levels of plain numbers, each given those above it",
    paper="arXiv:2011.10650",
    tags=("vae", "hierarchy"),
    like="vae",
    generator="levels",
    posterior="top-down",
    options={
        "generator.sizes": (4, 4, 4, 4, 4, 4, 4, 4, 4, 4),
        "generator.width": 128,
        "generator.hidden": 1024,
        "objective.kl_warmup": 0.1,
        "train.lr": 2e-3,
        "train.schedule": "cosine",
        "train.clip": 200.0,
    },
    presets={
        "image": {"encoder": "mlp", "encoder.width": 512, "encoder.depth": 1, "encoder.activation": "silu"},
        "vector": {"generator.sizes": (1, 1, 1, 1, 1, 1, 1, 1, 1, 1), "generator.hidden": 0},
    },
)
declare.recipe(
    "ten-level-pixel-vae",
    summary="VAE of ten levels that decodes pixel after pixel, by what is left and above in the picture and the code",
    paper="arXiv:1611.05013",
    tags=("vae", "hierarchy", "autoregressive"),
    modalities=("image",),
    like="ten-level-vae",
    likelihood="row-made",
    options={
        "generator.width": 48,
        "generator.hidden": 512,
        "objective.kl_warmup": 0.4,
        "train.lr": 3e-3,
        "train.warmup": 300,
        "train.clip": 50.0,
    },
)

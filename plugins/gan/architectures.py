"""GANs that are known by their networks: losses of the zoo on the architectures that they were published with."""

from __future__ import annotations

from genzoo.registry import declare

declare.recipe(
    "sngan",
    summary="Residual networks, hinge loss, a critic of spectrally normalized layers",
    paper="arXiv:1802.05957",
    tags=("gan",),
    modalities=("image",),
    like="hinge",
    presets={
        "image": {
            "generator": "resnet",
            "critic": "resnet",
            "critic.spectral_norm": True,
            "objective.critic_steps": 5,
            "train.schedule": "linear",
        },
        # The published networks for 32x32 colour.
        "cifar10": {
            "generator.width": 256,
            "generator.max_width": 256,
            "critic.width": 128,
            "critic.max_width": 128,
            "latent.size": 128,
            "train.steps": 100_000,
        },
    },
)

declare.recipe(
    "sagan",
    summary="SNGAN with self-attention, spectral norm in both networks, and two learning rates in place of more turns",
    paper="arXiv:1805.08318",
    tags=("gan",),
    modalities=("image",),
    like="sngan",
    presets={
        "image": {
            "generator.attention": 32,
            "generator.spectral_norm": True,
            "critic.attention": 32,
            "objective.critic_steps": 1,
            "objective.critic_lr": 4e-4,
            "train.lr": 1e-4,
            "train.schedule": "constant",
        }
    },
)

declare.recipe(
    "biggan",
    summary="SAGAN's networks told the class and a part of the code in every block, four turns of the critic",
    paper="arXiv:1809.11096",
    tags=("gan", "conditional"),
    modalities=("image",),
    like="sngan",
    presets={
        "image": {
            "generator": "biggan",
            "critic": "biggan",
            "latent.size": 80,
            "objective.critic_steps": 4,
            "train.betas": (0.0, 0.999),
            "train.schedule": "constant",
        },
        "cifar10": {"train.average": 350_000, "latent.size": 80},
    },
)

declare.recipe(
    "stylegan2",
    summary="Modulated convolutions by styles, a critic that compares observations, the original loss with lazy R1",
    paper="arXiv:1912.04958",
    tags=("gan",),
    modalities=("image",),
    like="gan",
    regularizer=["r1=0.05"],
    presets={
        "image": {
            "generator": "stylegan2",
            "critic": "stylegan2",
            "regularizer.r1.weight": 0.01,
            "regularizer.r1.every": 16,
            "train.lr": 2e-3,
            "train.betas": (0.0, 0.99),
        },
        "cifar10": {"train.lr": 2.5e-3, "train.average": 500_000, "latent.size": 512},
    },
)

"""GANs that are known by their networks: losses of the zoo on the architectures that they were published with."""

from __future__ import annotations

from genzoo.registry import declare

declare.recipe(
    "sngan",
    summary="Residual networks, hinge loss, a critic of spectrally normalized layers",
    paper="arXiv:1802.05957",
    tags=("gan",),
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

"""Variational autoencoders of sound: on pictures of spectra, and on waveforms by a distance of spectra."""

from __future__ import annotations

from genzoo.registry import declare

declare.recipe(
    "spec-vae",
    summary="VAE on log-spectrograms of sound, with networks for images; heard by Griffin and Lim's algorithm",
    tags=("vae", "audio"),
    modalities=("spectrogram",),
    like="vae",
    presets={
        "spectrogram": {
            "generator": "conv",
            "encoder": "conv",
            "latent.size": 32,
            "generator.width": 16,
            "encoder.width": 16,
            "generator.max_width": 128,
            "encoder.max_width": 128,
            "train.batch_size": 32,
        }
    },
)

declare.recipe(
    "rave",
    summary="VAE of waveforms over 16 bands, by a distance of spectra: what RAVE learns before its critic comes in",
    paper="arXiv:2111.05011",
    tags=("vae", "audio"),
    modalities=("audio",),
    like="beta-vae",
    likelihood="spectral",
    presets={
        "audio": {
            "generator": "wave",
            "encoder": "wave",
            "generator.blocks": 1,
            "encoder.blocks": 1,
            "latent.size": 32,
            "objective.beta": 0.3,
            "objective.kl_warmup": 0.25,
            "train.batch_size": 32,
            "train.lr": 4e-3,
            "train.schedule": "cosine",
        }
    },
)

declare.recipe(
    "audio-codec",
    summary="Residual codes of waveforms, 62.5 frames a second of 4 times 8 bits, with a critic; then a prior of codes",
    paper="arXiv:2107.03312",
    tags=("vae", "gan", "audio", "quantizer"),
    modalities=("audio",),
    like="vq-gan",
    likelihood="spectral",
    posterior="residual-vq",
    presets={
        "audio": {
            "generator": "wave",
            "encoder": "wave",
            "critic": "wave",
            "generator.code": "vectors",
            "encoder.code": "vectors",
            "generator.stride": 2,
            "encoder.stride": 2,
            "generator.strides": 3,
            "encoder.strides": 3,
            "generator.blocks": 1,
            "encoder.blocks": 1,
            "posterior.dim": 16,
            # In minutes of training the critic knows little: it comes in late, and with a small share. The distance of
            # its features is a sum over thousands of them, and would drown that of spectra.
            "objective.weight": 0.05,
            "objective.features": 0.01,
            "objective.start": 0.5,
            "critic.spectral_norm": True,
            "latent.grid": 0,
            "train.batch_size": 16,
            "train.lr": 2e-3,
            "train.schedule": "cosine",
        }
    },
)

declare.recipe(
    "rave-gan",
    summary="RAVE's second stage: the generator learns from a critic, the code stays; begins with --init RAVE'S RUN",
    paper="arXiv:2111.05011",
    tags=("vae", "gan", "audio", "second stage"),
    modalities=("audio",),
    like="vq-gan",
    likelihood="spectral",
    posterior="normal",
    prior="normal",
    presets={
        "audio": {
            "generator": "wave",
            "encoder": "wave",
            "critic": "wave",
            "generator.blocks": 1,
            "encoder.blocks": 1,
            "critic.spectral_norm": True,
            "latent.size": 32,
            "latent.grid": 0,
            "objective.moves": "generator",
            "objective.weight": 0.2,
            "objective.start": 0.0,
            "train.batch_size": 32,
            "train.lr": 2e-4,
            "train.schedule": "cosine",
        }
    },
)

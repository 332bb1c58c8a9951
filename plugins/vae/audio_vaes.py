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

"""GANs of sound: losses of the zoo on waveforms, and on pictures of their spectra."""

from __future__ import annotations

from genzoo.registry import declare

declare.recipe(
    "specgan",
    summary="SpecGAN's idea under R3GAN's loss: networks for images on log-spectrograms of sound",
    paper="arXiv:1802.04208",
    tags=("gan", "audio"),
    modalities=("spectrogram",),
    like="r3gan",
    presets={
        "spectrogram": {
            "generator": "conv",
            "critic": "conv",
            "critic.spectral_norm": False,
            "generator.norm": "none",
            "generator.width": 16,
            "critic.width": 16,
            "generator.max_width": 128,
            "critic.max_width": 128,
            "latent.size": 64,
            "train.batch_size": 32,
            "train.lr": 2e-4,
            "objective.gamma": 20.0,
        }
    },
)

declare.recipe(
    "notes-gan",
    summary="GANSynth's front under R3GAN's loss: log magnitudes and instantaneous frequencies, told the pitch",
    paper="arXiv:1902.08710",
    tags=("gan", "audio", "conditional"),
    modalities=("spectrogram",),
    like="specgan",
    conditional=True,
)

declare.recipe(
    "wavegan",
    summary="Convolutions over 16 bands of a waveform under R3GAN's loss; bands=1 and kernel=25 are WaveGAN's",
    paper="arXiv:1802.04208",
    tags=("gan", "audio"),
    modalities=("audio",),
    like="rpgan",
    presets={
        "audio": {
            "generator": "wave",
            "critic": "wave",
            "critic.spectral_norm": False,
            # The penalties of `r3gan`, at every fourth step: most of a step is their second derivatives.
            "regularizer": ["r1=10", "r2=10"],
            "regularizer.r1.every": 4,
            "regularizer.r2.every": 4,
            "latent.size": 64,
            "train.batch_size": 32,
            "train.lr": 4e-4,
            "train.betas": (0.0, 0.99),
            "train.schedule": "cosine",
            "train.average": 5000.0,
        }
    },
)

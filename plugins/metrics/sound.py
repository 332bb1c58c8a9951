"""How alike two clips are, and how loud samples are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import mean, share
from genzoo.core.options import option
from genzoo.plugins.modalities.audio import SILENT
from genzoo.plugins.modalities.fronts import analyse, log_magnitude, mr_stft, stft
from genzoo.registry import declare


def si_sdr(x: Tensor, y: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB of clips ``y (N, C, T)`` to the true ``x``, ``(N,)``.

    10 log₁₀ of ‖a x‖² over ‖a x - y‖² with a = ⟨x, y⟩ / ‖x‖².
    """
    x, y = x.flatten(1).double(), y.flatten(1).double()
    tiny = torch.finfo(torch.float32).tiny
    target = x * ((x * y).sum(1) / x.square().sum(1).clamp(min=tiny))[:, None]
    parts = target.square().sum(1).clamp(min=tiny) / (target - y).square().sum(1).clamp(min=tiny)
    return 10 * parts.log10()


def snr(x: Tensor, y: Tensor) -> Tensor:
    """Signal-to-noise ratio in dB of clips ``y (N, C, T)`` to the true ``x``: 10 log₁₀ ‖x‖² / ‖x - y‖², ``(N,)``."""
    x, y = x.flatten(1).double(), y.flatten(1).double()
    tiny = torch.finfo(torch.float32).tiny
    return 10 * (x.square().sum(1).clamp(min=tiny) / (x - y).square().sum(1).clamp(min=tiny)).log10()


def log_spectral(x: Tensor, y: Tensor) -> Tensor:
    """Log-spectral distance in dB of clips ``(N, C, T)`` in model units, ``(N,)``; frames of 256 samples, or fewer."""
    n = min(256, 2 ** (x.shape[-1].bit_length() - 2))
    a, b = (20 * log_magnitude(stft(v, n, n // 4).abs()) / math.log(10) for v in (x, y))
    return (a - b).square().mean(2).sqrt().flatten(1).mean(1)


def mel_distance(x: Tensor, y: Tensor, rate: int) -> Tensor:
    """Mean absolute difference of log magnitudes in 40 mel bands of clips in model units, ``(N,)``."""
    n = min(512, 2 ** (x.shape[-1].bit_length() - 2))
    a, b = (analyse(v, "mel", n, n // 4, 40, rate) for v in (x, y))
    return (a - b).abs().flatten(1).mean(1)


def _by_clip(distance: Callable[[Tensor, Tensor], Tensor], x: Tensor, again: Tensor) -> Tensor:
    return torch.cat([distance(a, b) for a, b in zip(torch.split(x, 64), torch.split(again, 64), strict=True)])


class _Heard(Metric):
    """Held-out clips, encoded at the posterior mean and decoded."""

    covers = "the mean over unlimited data"
    niche = True

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(500, "clips", low=1)

    options: Options

    def clips(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Clips and their reconstructions, at the data's level."""
        x, again = (v.float() / evidence.spec.facts["level"] for v in evidence.reconstructions(self.options.limit))
        return x, again


@declare.metric(
    "mr-stft",
    direction="lower",
    needs=("data", "encoder"),
    modalities=("audio", "spectrogram"),
    tags=("default", "reconstruction"),
)
class MultiResolution(_Heard):
    """Multi-resolution STFT distance of reconstructed clips, at the data's level.

    Windows of 1024 to 64 samples, a quarter apart: L1 of log magnitudes and spectral convergence. The details have that
    of silence, which takes no code at all.
    """

    def measure(self, evidence: Evidence) -> Measured:
        x, again = self.clips(evidence)
        values = _by_clip(mr_stft, x, again)
        silence = torch.cat([mr_stft(a, torch.zeros_like(a)) for a in torch.split(x, 64)])
        return Measured(mean(values), {"of silence": silence.mean().item()}, n_real=len(x))


@declare.metric(
    "si-sdr",
    direction="higher",
    unit="dB",
    needs=("data", "encoder"),
    modalities=("audio",),
    tags=("default", "reconstruction"),
)
class SignalToDistortion(_Heard):
    """Scale-invariant signal-to-distortion ratio of reconstructed waveforms; refused where phases are made up.

    Spectrograms are heard by Griffin and Lim's algorithm, whose phases are not the clip's: real magnitudes score
    below 0 dB by it and sound right.
    """

    distance = staticmethod(si_sdr)

    def refuses(self, evidence: Evidence) -> str:
        seen = None if evidence.model is None else evidence.model.spec.modality
        return "the model makes spectrograms, whose phases are made up: mr-stft compares magnitudes" * (seen != "audio")

    def measure(self, evidence: Evidence) -> Measured:
        x, again = evidence.reconstructions(self.options.limit)
        return Measured(mean(self.distance(x, again)), n_real=len(x))


@declare.metric(
    "snr", direction="higher", unit="dB", needs=("data", "encoder"), modalities=("audio",), tags=("reconstruction",)
)
class SignalToNoise(SignalToDistortion):
    """Signal-to-noise ratio of reconstructed waveforms: power of the clip over that of what is wrong, level included.

    Refused where phases are made up, as `si-sdr` is.
    """

    distance = staticmethod(snr)


@declare.metric(
    "log-spectral-distance",
    direction="lower",
    unit="dB",
    needs=("data", "encoder"),
    modalities=("audio", "spectrogram"),
    tags=("reconstruction",),
)
class LogSpectralDistance(_Heard):
    """Root mean square difference of reconstructed clips' spectra in dB, over frequencies, averaged over frames.

    Frames of 256 samples, with a floor 40 dB below the data's level, so that silence does not decide.
    """

    def measure(self, evidence: Evidence) -> Measured:
        x, again = self.clips(evidence)
        return Measured(mean(_by_clip(log_spectral, x, again)), n_real=len(x))


@declare.metric(
    "mel-distance",
    direction="lower",
    needs=("data", "encoder"),
    modalities=("audio", "spectrogram"),
    tags=("reconstruction",),
)
class MelDistance(_Heard):
    """Mean absolute difference of log magnitudes in 40 mel bands of reconstructed clips, at the data's level."""

    def measure(self, evidence: Evidence) -> Measured:
        x, again = self.clips(evidence)
        rate = evidence.spec.facts["rate"]
        return Measured(mean(_by_clip(lambda a, b: mel_distance(a, b, rate), x, again)), n_real=len(x))


@declare.metric(
    "silent-samples", direction="lower", unit="share", needs=("samples",), modalities=("audio", "spectrogram"),
    tags=("default",),
)  # fmt: skip
class SilentSamples(Metric):
    """Share of samples whose RMS is 40 dB or more below that of the training data.

    The details have the mean level of samples in dB against the data's, and the share of clipped numbers.
    """

    covers = "the share of unlimited samples"
    niche = True

    def measure(self, evidence: Evidence) -> Measured:
        x, level = evidence.samples, evidence.spec.facts["level"]
        rms = x.flatten(1).square().mean(1).sqrt()
        loud = 20 * torch.log10(rms.mean() / level + 1e-9)
        details = {"level of samples, dB": loud.item(), "clipped": (x.abs() >= 1 - 2**-15).double().mean().item()}
        return Measured(share(rms < SILENT * level), details)

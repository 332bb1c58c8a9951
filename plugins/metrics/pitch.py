"""Whether notes have the pitch that was asked for."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import share
from genzoo.registry import declare

LOWEST, HIGHEST = 27.5, 4186.0  # Hz, of a piano
SURE = 0.15  # of YIN's difference, where a period is found
HALF = 1 / 24  # half of a semitone, in octaves
FINE = 48_000  # samples a second at which lags are counted, so that high notes have more than a few
AT_ONCE = 64  # clips, whose spectra are held together
STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


def hertz_of(name: str) -> float | None:
    """Frequency of a note as a class is called, ``A4``, ``c#3``, ``Eb5`` or its MIDI number ``69``; None of others."""
    if re.fullmatch(r"\d{1,3}", name) and 12 <= int(name) <= 127:
        number = int(name)
    elif found := re.fullmatch(r"([a-gA-G])([#b♯♭]?)(-?\d)", name):
        letter, sign, octave = found.groups()
        number = 12 * (int(octave) + 1) + STEPS[letter.lower()] + {"": 0, "#": 1, "♯": 1}.get(sign, -1)
    else:
        return None
    return 440 * 2 ** ((number - 69) / 12)


def fundamental(x: Tensor, rate: int) -> Tensor:
    """Fundamental frequency in Hz of clips ``(N, C, T)``, 0 where none is found, ``(N,)``, by YIN.

    de Cheveigné and Kawahara (2002), over the whole clip: the first lag τ at which Σ (x_t - x_{t+τ})², over its mean at
    all shorter lags, has a minimum below 0.15; its place between samples is that of a parabola. Clips are brought to
    48,000 samples a second first.
    """
    x = x.double().mean(1)
    finer = -(-FINE // rate)
    spectrum = torch.fft.rfft(x)
    x, rate = torch.fft.irfft(spectrum, finer * x.shape[1]) * finer, finer * rate
    total = x.shape[1]
    most = min(int(rate / LOWEST) + 2, total // 2)
    window = total - most
    size = 2 ** (total - 1).bit_length() * 2
    head = torch.fft.rfft(x[:, :window], size)
    across = torch.fft.irfft(head.conj() * torch.fft.rfft(x, size), size)[:, :most]
    power = torch.nn.functional.pad(x.square().cumsum(1), (1, 0))
    there = power[:, window : window + most] - power[:, :most]
    apart = (power[:, window, None] + there - 2 * across).clamp(min=0)
    lags = torch.arange(1, most, dtype=x.dtype, device=x.device)
    d = apart[:, 1:] * lags / apart[:, 1:].cumsum(1).clamp(min=1e-12)
    low = (d[:, 1:-1] < SURE) & (d[:, 1:-1] <= d[:, :-2]) & (d[:, 1:-1] < d[:, 2:])
    low &= lags[1:-1] >= max(rate / HIGHEST - 1, 2)
    at = low.to(torch.uint8).argmax(1) + 1
    a, b, c = (d.gather(1, (at + k)[:, None]).squeeze(1) for k in (-1, 0, 1))
    period = at + 1 + ((a - c) / (2 * (a - 2 * b + c)).clamp(min=1e-12)).clamp(-0.5, 0.5)
    return torch.where(low.any(1) & (power[:, -1] > 1e-10 * total), rate / period, torch.zeros_like(period))


@declare.metric(
    "pitch-accuracy", direction="higher", unit="share", needs=("samples", "labels", "conditional"),
    modalities=("audio", "spectrogram"), paper="arXiv:1902.08710", tags=("conditioning",),
)  # fmt: skip
class PitchAccuracy(Metric):
    """Share of notes whose pitch is within half a semitone of the one that was asked for.

    For data whose classes are notes, such as ``A4``, ``c#3`` or the MIDI number ``69``. The pitch is found by YIN, with
    no network; the details have the share in which any was found, and that of notes that are right but for the octave.
    """

    covers = "the share of unlimited samples"
    niche = True

    def refuses(self, evidence: Evidence) -> str:
        strange = [n for n in evidence.spec.class_names or ("",) if hertz_of(n) is None]
        return f"its classes are no notes like A4 or 69: {strange[0] or 'they have no names'}" if strange else ""

    def measure(self, evidence: Evidence) -> Measured:
        asked = evidence.asked
        assert asked is not None
        wanted = torch.tensor([hertz_of(n) or math.nan for n in evidence.spec.class_names], dtype=torch.float64)
        rate = evidence.spec.facts["rate"]
        found = torch.cat([fundamental(x, rate).cpu() for x in torch.split(evidence.samples, AT_ONCE)])
        off = torch.log2(found.clamp(min=1) / wanted[asked.cpu()])
        details = {
            "pitch found": (found > 0).double().mean().item(),
            "right but for the octave": ((off - off.round()).abs() < HALF).double().mean().item(),
        }
        return Measured(share(off.abs() < HALF), details)

"""Fronts, what networks see of a waveform: orthonormal (MDCT), or lossy (magnitudes, mel bands, frequencies).

All take and give float32 ``(B, C, samples)`` in model units, in which the training data have RMS 1. Lossy fronts come
back by Griffin and Lim's algorithm from the same phases for every observation, or from the phases that they kept.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-2  # of a magnitude, in units of white noise of RMS 1: below it silence would decide the loss
ROUNDS, MOMENTUM = 32, 0.99


@lru_cache(maxsize=32)
def _mdct_basis(bands: int, device: str) -> Tensor:
    """``(bands, 1, 2 bands)``: windowed cosines, orthonormal with their neighbours."""
    n, k = torch.arange(2 * bands, dtype=torch.float64), torch.arange(bands, dtype=torch.float64)
    window = torch.sin(math.pi * (n + 0.5) / (2 * bands))
    waves = torch.cos(math.pi / bands * (n + 0.5 + bands / 2) * (k[:, None] + 0.5))
    return (math.sqrt(2 / bands) * window * waves).float()[:, None].to(device)


def mdct(x: Tensor, bands: int) -> Tensor:
    """Modified discrete cosine transform ``(B, C, T)`` to ``(B, C, bands, T / bands)``, an orthonormal map.

    The ends meet: the first window reaches over the last samples.
    """
    b, c, t = x.shape
    around = torch.cat([x, x[..., :bands]], -1).view(b * c, 1, t + bands)
    return F.conv1d(around, _mdct_basis(bands, str(x.device)).to(x.dtype), stride=bands).view(b, c, bands, t // bands)


def imdct(x: Tensor) -> Tensor:
    """Undo `mdct`, by its transpose."""
    b, c, bands, frames = x.shape
    basis = _mdct_basis(bands, str(x.device)).to(x.dtype)
    long = F.conv_transpose1d(x.reshape(b * c, bands, frames), basis, stride=bands)
    head = long[..., :bands] + long[..., bands * frames :]
    return torch.cat([head, long[..., bands : bands * frames]], -1).view(b, c, bands * frames)


def _window(n_fft: int, like: Tensor) -> Tensor:
    return torch.hann_window(n_fft, device=like.device, dtype=torch.float32)


def stft(x: Tensor, n_fft: int, hop: int) -> Tensor:
    """Complex ``(B, C, n_fft/2, T / hop)`` of centred frames; white noise of RMS 1 has mean power 1.

    The highest frequency and the frame behind the end are left out.
    """
    b, c, t = x.shape
    window = _window(n_fft, x)
    found = torch.stft(x.reshape(b * c, t), n_fft, hop, window=window, center=True, return_complex=True)
    return found[:, :-1, : t // hop].reshape(b, c, n_fft // 2, t // hop) / window.square().sum().sqrt()


def istft(s: Tensor, n_fft: int, hop: int, samples: int) -> Tensor:
    """The waveform ``(B, C, samples)`` whose `stft` is nearest; what was left out is zero."""
    b, c, bins, frames = s.shape
    window = _window(n_fft, s)
    full = F.pad(torch.view_as_real(s * window.square().sum().sqrt()).reshape(b * c, bins, frames, 2),
                 (0, 0, 0, 1, 0, 1))  # fmt: skip
    x = torch.istft(torch.view_as_complex(full.contiguous()), n_fft, hop, window=window, center=True, length=samples)
    return x.view(b, c, samples)


def griffin_lim(magnitude: Tensor, n_fft: int, hop: int, samples: int) -> Tensor:
    """A waveform with nearly these magnitudes (Perraudin et al., 2013), from phases of seed 0: always the same."""
    phases = 2 * math.pi * torch.rand(magnitude.shape[1:], generator=torch.Generator().manual_seed(0))
    angle = torch.polar(torch.ones_like(phases), phases).to(magnitude.device).expand(magnitude.shape)
    before = torch.zeros_like(angle)
    for _ in range(ROUNDS):
        again = stft(istft(magnitude * angle, n_fft, hop, samples), n_fft, hop)
        moved = again - before * (MOMENTUM / (1 + MOMENTUM))
        angle, before = moved / moved.abs().clamp(min=1e-16), again
    return istft(magnitude * angle, n_fft, hop, samples)


@lru_cache(maxsize=16)
def mel_bank(rate: int, n_fft: int, bands: int) -> Tensor:
    """Triangles ``(bands, n_fft/2)`` of equal area on Slaney's mel scale, from 0 to half the rate."""

    def mel(f: Tensor) -> Tensor:
        return torch.where(f < 1000, f * 3 / 200, 15 + 27 * torch.log(f.clamp(min=1) / 1000) / math.log(6.4))

    def hertz(m: Tensor) -> Tensor:
        return torch.where(m < 15, m * 200 / 3, 1000 * torch.exp((m - 15) * math.log(6.4) / 27))

    top = mel(torch.tensor(rate / 2, dtype=torch.float64))
    edges = hertz(torch.linspace(0, 1, bands + 2, dtype=torch.float64) * top)
    f = torch.arange(n_fft // 2, dtype=torch.float64) * rate / n_fft
    up = (f - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - f) / (edges[2:] - edges[1:-1])[:, None]
    found: Tensor = (torch.minimum(up, down).clamp(min=0) * (2 / (edges[2:] - edges[:-2]))[:, None]).float()
    return found


@lru_cache(maxsize=16)
def _mel_inverse(rate: int, n_fft: int, bands: int) -> Tensor:
    found: Tensor = torch.linalg.pinv(mel_bank(rate, n_fft, bands).double()).float()
    return found


def log_magnitude(magnitude: Tensor) -> Tensor:
    """Of the floor and what is above it, so that silence is a finite number that means silence."""
    return torch.log(magnitude + FLOOR)


def magnitude_of(log: Tensor) -> Tensor:
    """Undo `log_magnitude`; nothing is below silence, nor louder than anything that a network should say."""
    return (torch.exp(log.clamp(max=12.0)) - FLOOR).clamp(min=0)


def analyse(x: Tensor, front: str, n_fft: int, hop: int, bands: int, rate: int) -> Tensor:
    """A waveform ``(B, C, T)`` as the front shows it, before what it shows is standardized."""
    if front == "mdct":
        return mdct(x, bands).flatten(1, 2)
    s = stft(x, n_fft, hop)
    if front == "mel":
        bank = mel_bank(rate, n_fft, bands).to(s.device)
        return log_magnitude(bank @ s.abs() * (rate / n_fft))
    log = log_magnitude(s.abs())
    if front == "log-spectrogram":
        return log
    phase = torch.angle(s)
    turn = phase.diff(dim=-1, prepend=torch.zeros_like(phase[..., :1]))
    turn = torch.remainder(turn + math.pi, 2 * math.pi) - math.pi  # the nearest turn is taken
    return torch.cat([log, turn / math.pi], 1)


def synthesize(v: Tensor, front: str, n_fft: int, hop: int, bands: int, rate: int, samples: int) -> Tensor:
    """A waveform ``(B, C, samples)`` of what a front shows."""
    if front == "mdct":
        return imdct(torch.unflatten(v, 1, (-1, bands)))
    if front == "instantaneous-frequency":
        log, turn = v.chunk(2, 1)
        phase = (turn * math.pi).cumsum(-1)
        return istft(torch.polar(magnitude_of(log), phase), n_fft, hop, samples)
    magnitude = magnitude_of(v)
    if front == "mel":
        magnitude = (_mel_inverse(rate, n_fft, bands).to(v.device) @ magnitude * (n_fft / rate)).clamp(min=0)
    return griffin_lim(magnitude, n_fft, hop, samples)


def _magnitudes(x: Tensor, n: int) -> Tensor:
    """Of all frames of waveforms ``(B, C, T)``, ``(B, numbers)``; never 0, where a root has no slope."""
    window = _window(n, x)
    found = torch.stft(x.flatten(0, 1), n, n // 4, window=window, return_complex=True)
    power = torch.view_as_real(found).square().sum(-1) / window.square().sum()
    return torch.sqrt(power + 1e-8).view(len(x), -1)


def mr_stft(x: Tensor, y: Tensor, windows: tuple[int, ...] = (1024, 512, 256, 128, 64)) -> Tensor:
    """Multi-resolution STFT distance of waveforms ``(B, C, T)`` in model units from ``y`` to the true ``x``, ``(B,)``.

    For each window: mean |log magnitude differences| and the norm of magnitude differences over that of x, by clip,
    never over the batch; their sum, averaged over those windows that the clip is longer than.
    """
    fitting = [n for n in windows if n < x.shape[-1]] or [max(4, 2 ** (x.shape[-1].bit_length() - 2))]
    total = x.new_zeros(len(x))
    for n in fitting:
        a, b = _magnitudes(x, n), _magnitudes(y, n)  # apart, since one of them needs no slopes
        log = (torch.log(a + FLOOR) - torch.log(b + FLOOR)).abs().mean(1)
        apart = torch.sqrt((a - b).square().sum(1) + 1e-8)
        total = total + log + apart / (a.square().sum(1) + a.shape[1] * FLOOR**2).sqrt()
    return total / len(fitting)

"""A distance of spectra in place of a density: for models of waveforms whose phases nobody hears."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Likelihood
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.fronts import imdct, mr_stft
from genzoo.registry import declare


@declare.likelihood("spectral", paper="arXiv:2111.05011", modalities=("audio",))
class Spectral(Likelihood):
    """Distance of waveforms' magnitudes at several resolutions: log p(x|z) is -λ d(x, G(z)), and no density.

    d is the L1 distance of log magnitudes plus the spectral convergence ‖|X| - |Y|‖ / ‖|X|‖, by clip, averaged over
    windows a quarter apart (`genzoo.plugins.modalities.fronts.mr_stft`). λ stands against the KL in nats. What is
    trained by it has no likelihood, and no bound on one; its held-out number is a loss.

    When: waveforms are wanted without a second algorithm for their phases. A Gaussian asks for the phase of every
    noise, and answers with silence.

    Cost: a transform for each window, about as much as a small network; ``windows`` says how many.
    """

    discrete = False
    normalized = False

    @dataclass(frozen=True)
    class Options(Likelihood.Options):
        weight: float = option(200.0, "λ, of the distance against the KL in nats", low=0)
        windows: tuple[int, ...] = option((512, 256, 128, 64), "samples in a window, of each resolution", low=4)

    options: Options

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if spec.facts.get("front") not in ("waveform", "mdct"):
            raise UsageError("the spectral likelihood is of waveforms: use --likelihood gaussian, or none")

    def _wave(self, x: Tensor) -> Tensor:
        bands = self.spec.facts["front"] == "mdct"
        return imdct(torch.unflatten(x.float(), 1, (-1, self.spec.facts["bands"]))) if bands else x.float()

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """-λ times the distance, ``(B,)``."""
        with torch.autocast(params.device.type, enabled=False):
            return -self.options.weight * mr_stft(self._wave(x), self._wave(params), self.options.windows)

    def mean(self, params: Tensor) -> Tensor:
        return params.float()

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.mean(params)

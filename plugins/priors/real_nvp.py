"""A prior that is a normalizing flow: the one to copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import spherical
from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.core.spec import Latent
from genzoo.registry import declare


@declare.prior("real-nvp", paper="arXiv:1605.08803", tags=("vae", "flow"))
class RealNVP(Prior):
    """Real-NVP prior: log p(z) = log N(f(z); 0, 1) + log |det f'(z)|, f a stack of affine couplings."""

    @dataclass(frozen=True)
    class Options(Prior.Options):
        depth: int = option(6, "couplings", low=1)
        width: int = option(128, "units in each of a coupling's two hidden layers", low=1)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.size < 2 or latent.grid:
            raise UsageError(
                "the real-nvp prior is of flat codes of at least 2 numbers: "
                f"--set latent.size={max(latent.size, 2)} --set latent.grid=0"
            )
        a, w, self.nets = latent.size // 2, self.options.width, nn.ModuleList()
        for i in range(self.options.depth):
            kept, moved = (a, latent.size - a) if i % 2 == 0 else (latent.size - a, a)
            last = nn.Linear(w, 2 * moved)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # it starts as the standard normal
            self.nets.append(nn.Sequential(nn.Linear(kept, w), nn.ReLU(), nn.Linear(w, w), nn.ReLU(), last))

    def _split(self, z: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, b = z.tensor_split([self.latent.size // 2], -1)
        kept, moved = (a, b) if i % 2 == 0 else (b, a)
        shift, scale = self.nets[i](kept).float().chunk(2, -1)
        return kept, moved, shift, 2 * torch.tanh(scale / 2)

    def _join(self, kept: Tensor, moved: Tensor, i: int) -> Tensor:
        return torch.cat([kept, moved] if i % 2 == 0 else [moved, kept], -1)

    def base(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """From codes ``(..., size)`` to normal numbers, and log |det| of the way there ``(...)``."""
        volume = torch.zeros_like(z[..., 0])
        for i in range(len(self.nets)):
            kept, moved, shift, scale = self._split(z, i)
            z, volume = self._join(kept, (moved - shift) * torch.exp(-scale), i), volume - scale.sum(-1)
        return z, volume

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        base, volume = self.base(z)
        return normal_log_prob(base).sum(-1) + volume

    def forward(self, base: Tensor) -> Tensor:
        """From normal numbers ``(..., size)`` to codes."""
        for i in reversed(range(len(self.nets))):
            kept, moved, shift, scale = self._split(base, i)
            base = self._join(kept, moved * torch.exp(scale) + shift, i)
        return base

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Quantiles of a normal, cut off at ± the truncation, sent back through the couplings."""
        z: Tensor = self(normal_quantiles(uniform, truncation).to(next(self.parameters())))
        return z

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        z: Tensor = self(spherical(self.base(a)[0], self.base(b)[0], t))
        return z

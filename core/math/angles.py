"""Laws of the angle to a mean direction on a sphere, by quadrature: without rejection and without Bessel functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NODES = 1025


def log_area(d: int) -> float:
    """Log area of the unit sphere in d dimensions, 2 π^{d/2} / Γ(d/2)."""
    return math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)


class Angles:
    """p(t) = exp(κ g(t)) sin^{d-2} t / Z(κ) on [0, π] for every κ of ``(B,)``.

    g(t) is cos t - 1, of the von Mises-Fisher distribution, or log(½ + ½ cos t), of the power spherical one: both 0 at
    t = 0, where float32 numbers are fine. Nodes cover eight standard deviations around the mode, evenly.
    """

    def __init__(self, kappa: Tensor, d: int, power: bool = False) -> None:
        self.kappa, self.d, self.power = kappa, d, power
        with torch.no_grad():
            k0 = kappa.detach()
            k = k0.clamp(min=1e-6)
            if power:
                cos = k / (k + d - 2)
                curvature = k / (1 + cos) + (d - 2) / (1 - cos.square()).clamp(min=1e-9)
            else:
                cos = 2 * k / (d - 2 + ((d - 2) ** 2 + 4 * k.square()).sqrt())
                curvature = k * cos + (d - 2) / (1 - cos.square()).clamp(min=1e-9)
            mode, half = torch.acos(cos.clamp(max=1.0)), (8 / (curvature + 1).sqrt()).clamp(max=math.pi)
            low, high = (mode - half).clamp(min=0)[:, None], (mode + half).clamp(max=math.pi)[:, None]
            self.t = torch.lerp(low, high, torch.linspace(0, 1, NODES, device=kappa.device))
            self.step = (high - low) / (NODES - 1)
            g = 2 * (self.t / 2).cos().clamp(min=1e-30).log() if power else -2 * (self.t / 2).sin().square()
            log_sin = (d - 2) * self.t.sin().clamp(min=1e-30).log()
            log_p = k0[:, None] * g + log_sin
            top = log_p.amax(1, keepdim=True)
            p = (log_p - top).exp_()
            area = self._whole(p)
            self.p = p.div_(area[:, None])
            mean = self._whole(self.p * g)
            off = g.sub_(mean[:, None])
            moving = self.p * off
            self.below, self.moved = self._cumulative(self.p), self._cumulative(moving)  # F, ∂F/∂κ
            variance = self._whole(moving.mul_(off))
        # By κ, log Z moves as the mean of g does, and that as its variance.
        moved = kappa - k0
        self.log_z, self.mean_g = area.log() + top[:, 0] + mean * moved, mean + variance * moved

    def _whole(self, p: Tensor) -> Tensor:
        return (p.sum(1) - 0.5 * (p[:, 0] + p[:, -1])) * self.step[:, 0]

    def _cumulative(self, p: Tensor) -> Tensor:
        return torch.nn.functional.pad(torch.cumsum(0.5 * (p[:, 1:] + p[:, :-1]), 1) * self.step, (1, 0))

    def quantile(self, uniform: Tensor) -> Tensor:
        """Angles ``(..., B)`` at which the distribution function is ``(..., B)``, with dt/dκ = - ∂F/∂κ / p."""
        with torch.no_grad():
            u = uniform.reshape(-1, uniform.shape[-1]).T.contiguous() * self.below[:, -1:]
            i = torch.searchsorted(self.below, u).clamp(1, NODES - 1)
            share = ((u - self.below.gather(1, i - 1)) / (self.below.gather(1, i) - self.below.gather(1, i - 1)).clamp(
                min=1e-30)).clamp(0, 1)  # fmt: skip

            def at(values: Tensor) -> Tensor:
                found = torch.lerp(values.gather(1, i - 1), values.gather(1, i), share)
                return found.T.reshape(uniform.shape)

            t, slope = at(self.t), -at(self.moved) / at(self.p).clamp(min=1e-30)
        return t + slope * (self.kappa - self.kappa.detach())

    def divergence(self) -> Tensor:
        """KL to the uniform distribution in nats, ``(B,)``: κ E[g] - log Z(κ) + log Z(0)."""
        zero = 0.5 * math.log(math.pi) + math.lgamma((self.d - 1) / 2) - math.lgamma(self.d / 2)
        return self.kappa * self.mean_g - self.log_z + zero

    def log_density(self, cos: Tensor) -> Tensor:
        """Log density on the sphere of points ``(..., B)`` at an angle of this cosine to the mean direction."""
        g = torch.log1p(((cos - 1) / 2).clamp(min=-1 + 1e-7)) if self.power else cos - 1
        return self.kappa * g - self.log_z - log_area(self.d - 1)

"""Fisher GAN and Sobolev GAN: a multiplier keeps a second moment of the critic's scores, or slopes, at 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Regularizer
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.plugins.gan.wgan import Wasserstein
from genzoo.registry import declare


class SecondMoment(Regularizer):
    """-λ c + ρ/2 c², c = 1 - ½ (E[D(x)²] + E[D(G(z))²]); after each turn the multiplier λ moves by -ρ c."""

    coupled = True
    watched = ("constraint",)

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        rho: float = option(1e-6, "ρ: weight of c², and the rate of λ", low=0)

    options: Options
    multiplier: Tensor

    def __init__(self, options: Regularizer.Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("multiplier", torch.zeros(()))

    def term(self, judged: Judged) -> Tensor:
        apart = 1 - self.moment(judged)
        judged.shown |= {"constraint": apart.detach(), "multiplier": self.multiplier.clone()}
        c = all_gather(apart).mean()
        return (self.options.rho / 2 * c.square() - self.multiplier * c).expand(len(apart))

    def moment(self, judged: Judged) -> Tensor:
        """What shall be 1 in the mean, ``(B,)``."""
        return (judged.real_score.square() + judged.fake_score.square()) / 2

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        self.multiplier.sub_(self.options.rho * seen["constraint"])


class SlopeMoment(SecondMoment):
    """The same of slopes: c = 1 - ½ (E‖∇D(x)‖² + E‖∇D(G(z))‖²)."""

    slopes = ("real", "fake")
    penalized = True

    def moment(self, judged: Judged) -> Tensor:
        return (judged.squared_slopes("real") + judged.squared_slopes("fake")) / 2


@declare.objective(
    "fisher-gan",
    paper="arXiv:1705.09675",
    tags=("gan",),
    recipe={"like": "gan", "presets": {"image": {"critic.spectral_norm": False}}},
)
class FisherGAN(Wasserstein):
    """Fisher GAN: the difference of mean scores, where their second moment is 1.

    With r = D(x), f = D(G(z)) and c = 1 - ½ (E[r²] + E[f²]) the critic minimizes E[f - r] - λ c + ρ/2 c², after each of
    its turns λ moves by -ρ c; the generator minimizes -E[f]. At the optimum the difference is a χ² distance.

    When: a Wasserstein-like loss without second derivatives.

    Cost: five turns of the critic for one of the generator. Parts of a batch are refused (``train.accumulate``).
    """

    shift_invariant = False  # the second moment is taken from zero

    @dataclass(frozen=True)
    class Options(Wasserstein.Options):
        rho: float = option(1e-6, "ρ: weight of c², and the rate of λ", low=0)

    options: Options

    def __init__(self, options: Adversarial.Options | None = None) -> None:
        super().__init__(options)
        self.regularizers["moment"] = SecondMoment(SecondMoment.Options(rho=self.options.rho))


@declare.objective(
    "sobolev-gan",
    paper="arXiv:1711.04894",
    tags=("gan",),
    recipe={"like": "gan", "presets": {"image": {"critic.spectral_norm": False}}},
)
class SobolevGAN(Wasserstein):
    """Sobolev GAN: the difference of mean scores, where the critic's slopes have second moment 1.

    It is Fisher GAN with c = 1 - ½ (E‖∇D(x)‖² + E‖∇D(G(z))‖²): slopes are bounded in the mean and not everywhere.

    When: to compare with `wgan-gp`.

    Cost: that of `wgan-gp`. Parts of a batch are refused (``train.accumulate``).
    """

    @dataclass(frozen=True)
    class Options(Wasserstein.Options):
        rho: float = option(1e-4, "ρ: weight of c², and the rate of λ", low=0)

    options: Options

    def __init__(self, options: Adversarial.Options | None = None) -> None:
        super().__init__(options)
        self.regularizers["moment"] = SlopeMoment(SlopeMoment.Options(rho=self.options.rho))

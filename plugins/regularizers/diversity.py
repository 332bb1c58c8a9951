"""Against collapse in the generator's turn: different codes shall give different samples."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.options import option
from genzoo.core.regularizer import Made, Regularizer
from genzoo.registry import declare


class Pairs(Regularizer):
    """A second code for each sample, and how far samples and codes are apart."""

    plays = ("generator",)

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {"z": model.prior.draw(draws)}

    def apart(self, made: Made) -> tuple[Tensor, Tensor]:
        """Mean absolute differences of the samples and of the codes of each pair, ``(B,)``, of the same class."""
        z = made.noise["z"]
        pairs = (made.fake, made.remade(z)), (made.z, z)
        samples, codes = ((a - b).abs().flatten(1).mean(1) for a, b in pairs)
        return samples, codes


@declare.regularizer("mode-seeking", paper="arXiv:1903.05628")
class ModeSeeking(Pairs):
    """1 / (ρ + 1e-5), ρ = mean |G(z₁) - G(z₂)| / mean |z₁ - z₂| over the batch (Mao et al., arXiv:1903.05628).

    For conditional GANs that ignore their code: both samples have the same class. One pass more of the generator.
    """

    coupled = True

    def generator_term(self, made: Made) -> Tensor:
        samples, codes = (all_gather(x).mean() for x in self.apart(made))
        return (1 / (samples / codes + 1e-5)).expand(len(made.fake))


@declare.regularizer("diversity", paper="arXiv:1901.09024")
class Diversity(Pairs):
    """-min(|G(z₁) - G(z₂)| / |z₁ - z₂|, τ) of each pair of samples (DSGAN, Yang et al., arXiv:1901.09024).

    As `mode-seeking`, but for each pair and bounded: pairs that are far enough apart are left alone.
    """

    @dataclass(frozen=True)
    class Options(Pairs.Options):
        most: float = option(1.0, "ratio τ of mean absolute differences beyond which a pair is left alone", low=0)

    options: Options

    def generator_term(self, made: Made) -> Tensor:
        samples, codes = self.apart(made)
        return -(samples / codes.clamp(min=1e-8)).clamp(max=self.options.most)

"""Consistency: a small change of an observation, or of a code, changes the critic's score little."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Made, Regularizer
from genzoo.plugins.augmentations.diffaugment import shifted
from genzoo.registry import declare


def moved(x: Tensor, u: Tensor) -> Tensor:
    """Mirror half of the images ``(B, C, H, W)`` and shift each by up to ⅛ of a side, by ``u (B, 3)``."""
    x = torch.where(u[:, 0].view(-1, 1, 1, 1) < 0.5, x.flip(3), x)
    return shifted(shifted(x, u[:, 1], 1.0, 2), u[:, 2], 1.0, 3)


@declare.regularizer("cr", paper="arXiv:1910.12027", modalities=("image",))
class Consistency(Regularizer):
    """(D(x) - D(Tx))², T mirroring and shifting real images by up to ⅛ (Zhang et al., arXiv:1910.12027).

    The loss itself sees images as they are. For few data, and beside spectral norm; one pass more of the critic.
    """

    rank = 3
    sides: tuple[str, ...] = ("real",)

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(10.0, "factor λ of the term", low=0)

    options: Options

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {side: draws.uniform(3) for side in self.sides}

    def term(self, judged: Judged) -> Tensor:
        sides = {"real": (judged.real.x, judged.real_score), "fake": (judged.fake, judged.fake_score)}
        terms = [(said - judged.scores_at(moved(x, judged.noise[k]), k)).square()
                 for k, (x, said) in sides.items() if k in self.sides]  # fmt: skip
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]


@declare.regularizer("bcr", paper="arXiv:2002.04724", modalities=("image",))
class BalancedConsistency(Consistency):
    """(D(x) - D(Tx))² + (D(G(z)) - D(T G(z)))²: `cr` on both sides (Zhao et al., arXiv:2002.04724)."""

    sides = ("real", "fake")


@declare.regularizer("zcr", paper="arXiv:2002.04724")
class LatentConsistency(Regularizer):
    """Codes near each other: equal scores to the critic, different samples to the generator (arXiv:2002.04724).

    With ε normal of deviation r, the critic's term is (D(G(z)) - D(G(z + ε)))² and the generator's minus the mean of
    (G(z) - G(z + ε))² over dimensions. With `bcr` it makes the article's ICR.
    """

    plays = ("critic", "generator")

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(20.0, "factor of the critic's term", low=0)
        generator: float = option(0.5, "factor of the generator's term", low=0)
        radius: float = option(0.05, "deviation r of a code's change", low=0)

    options: Options

    def weight(self, turn: str) -> float:
        return self.options.weight if turn == "critic" else self.options.generator

    def draw(self, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {"change": self.options.radius * draws.normal(*model.latent.shape)}

    def term(self, judged: Judged) -> Tensor:
        with torch.no_grad():
            near = judged.nets.model.mean(judged.z + judged.noise["change"], judged.real.y)
        return (judged.fake_score - judged.scores_at(near, "fake")).square()

    def generator_term(self, made: Made) -> Tensor:
        near = made.remade(made.z + made.noise["change"])
        return -(made.fake - near).square().flatten(1).mean(1)

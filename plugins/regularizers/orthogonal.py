"""Orthogonal regularization: the rows of a network's weights shall be at right angles, of any length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genzoo.core.errors import UsageError
from genzoo.core.objective import Networks
from genzoo.core.options import option
from genzoo.core.regularizer import Judged, Made, Regularizer
from genzoo.registry import declare

_TRANSPOSED = nn.modules.conv._ConvTransposeNd


def matrices(network: nn.Module) -> Iterator[Tensor]:
    """The weights of linear and convolution layers, a row for each output, as they are before spectral norm."""
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.modules.conv._ConvNd)):
            spectral = parametrize.is_parametrized(layer, "weight")
            weight = layer.get_parameter("parametrizations.weight.original" if spectral else "weight")
            yield (weight.transpose(0, 1) if isinstance(layer, _TRANSPOSED) else weight).flatten(1)


@declare.regularizer("orthogonal", paper="arXiv:1809.11096")
class Orthogonal(Regularizer):
    """‖W Wᵀ ∘ (1 - I)‖² over the weights of linear and convolution layers (BigGAN, arXiv:1809.11096).

    Embeddings are left out. With truncated codes (``--truncation``) samples of such a generator stay clean.
    """

    @dataclass(frozen=True)
    class Options(Regularizer.Options):
        weight: float = option(1e-4, "factor β of the term", low=0)
        network: Literal["generator", "critic", "both"] = option("generator", "whose weights")

    options: Options

    def __init__(self, options: Regularizer.Options | None = None) -> None:
        super().__init__(options)
        self.plays = {"both": ("critic", "generator")}.get(self.options.network, (self.options.network,))

    def fits(self, nets: Networks) -> None:
        networks = {"generator": nets.model.generator, "critic": nets.critic}
        for name in self.plays:
            if not any(True for _ in matrices(networks[name])):
                raise UsageError(f"orthogonal is for linear and convolution layers, and this {name} has none")

    def term(self, judged: Judged) -> Tensor:
        return self.penalty(judged.critic).expand(len(judged.fake))

    def generator_term(self, made: Made) -> Tensor:
        return self.penalty(made.nets.model.generator).expand(len(made.fake))

    @staticmethod
    def penalty(network: nn.Module) -> Tensor:
        """The term of a network, 0-d."""
        found = []
        for w in matrices(network):
            with torch.autocast(w.device.type, enabled=False):
                found.append((w @ w.T).fill_diagonal_(0.0).square().sum())
        return torch.stack(found).sum()

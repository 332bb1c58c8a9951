"""The networks of BigGAN, small: residual blocks that are each told a part of the code and the class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator, Ports
from genzoo.core.options import option
from genzoo.plugins.nets.blocks import as_numbers, normalize_spectrally, refuse_batch_norm, shaped, variance_preserving
from genzoo.plugins.nets.resnet import Resnet, ResnetCritic
from genzoo.registry import declare


@declare.generator("biggan", paper="arXiv:1809.11096", modalities=("image",))
class BigGANGenerator(Resnet, Generator):
    """Residual blocks whose norms are each told a chunk of the code, and a shared embedding of the class (BigGAN).

    The first chunk makes the lowest resolution; the others, and the label, enter as gains and shifts of batch norms.
    """

    @dataclass(frozen=True)
    class Options(Resnet.Options):
        attention: int = option(16, "pixels a side at which to put self-attention; 0 is nowhere", low=0, high=256)
        embedding: int = option(128, "numbers in the embedding of the class that all blocks share", low=1, high=4096)
        spectral_norm: bool = option(True, "divide each weight matrix by its largest singular value")

    options: Options
    name, grids = "biggan", False

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        refuse_batch_norm(ports, "class")
        n, parts = ports.inputs[0], len(self.sizes)
        if n < parts:
            raise UsageError(
                f"biggan splits the code into {parts} parts, one for each resolution, and it has {n} numbers: "
                f"--set latent.size={20 * parts}"
            )
        self.parts = [n // parts + (i < n % parts) for i in range(parts)]
        told = ports.classes + ports.condition
        self.start = (self.widths(parts)[-1], *self.sizes[-1])
        self.linear = nn.Linear(self.parts[0], math.prod(self.start))
        variance_preserving(self.linear, 1.0)
        self.grow_with("class", [k + self.options.embedding * bool(told) for k in self.parts[1:]])
        if self.options.spectral_norm:
            normalize_spectrally(self)
        self.shared = nn.Linear(told, self.options.embedding, bias=False) if told else None
        if self.shared is not None:
            nn.init.normal_(self.shared.weight)

    @property
    def last_weight(self) -> Tensor:
        return [p for p in self.out.parameters() if p.dim() > 1][-1]

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to data parameters ``(B, *ports.outputs)``."""
        first, *others = torch.split(z, self.parts, 1)
        if self.shared is not None:
            said = self.shared(as_numbers(y, self.ports.classes, self.ports.condition, z))
            others = [torch.cat([said, part], 1) for part in others]
        return self.grow(shaped(self.linear(first), self.start), [[told] for told in others])


@declare.critic("biggan", paper="arXiv:1809.11096", modalities=("image",))
class BigGANCritic(ResnetCritic):
    """Residual blocks with self-attention and spectral norm, a sum over all places, and projection (BigGAN)."""

    @dataclass(frozen=True)
    class Options(ResnetCritic.Options):
        attention: int = option(16, "pixels a side at which to put self-attention; 0 is nowhere", low=0, high=256)
        spectral_norm: bool = option(True, "divide each weight matrix by its largest singular value")

    name = "biggan"

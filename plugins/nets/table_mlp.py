"""A generator of rows for GANs: a perceptron, and Gumbel noise by which each column draws its level."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator, Ports
from genzoo.core.options import option
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.nets.mlp import MLPGenerator
from genzoo.registry import declare


@declare.generator("table-mlp", paper="arXiv:1611.01144", modalities=("table",), tags=("table",))
class TableGenerator(MLPGenerator):
    """Code → 256 → 256 → log-odds of levels, to which Gumbel noise is added: the greatest of a block is then a draw.

    A code is ``code`` numbers for the perceptron, then one for each number of a row, from which the noise of that
    number comes: g = -log(-log Φ(z)). So a code decides a row, and the greatest of ℓ + g has the probabilities softmax
    ℓ (Jang et al., 2017). With zeros in its last layer the rows would be those of independent columns.

    When: GANs of tables. Likelihoods draw for themselves, and take `mlp`.

    Cost: that of `mlp`.
    """

    @dataclass(frozen=True)
    class Options(MLPGenerator.Options):
        width: int = option(256, "units in the first hidden layer", low=1, high=65536)
        code: int = option(64, "numbers of a code that the perceptron reads", low=1, high=8192)

    options: Options

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        o = options or self.Options()
        if ports.inputs != (o.code + ports.output_size,):
            raise UsageError(
                f"generator table-mlp reads codes of {o.code + ports.output_size} numbers, {o.code} and one for each "
                f"of a row's, not of {ports.input_size}: leave latent.size out, or --set generator=mlp"
            )
        super().__init__(Ports((o.code,), ports.outputs, ports.classes, ports.per_observation, ports.beside,
                               ports.condition, ports.levels), options)  # fmt: skip
        self.ports = ports

    @classmethod
    def code_shape(cls, spec: DataSpec, latent: Latent, options: Generator.Options) -> tuple[int, ...]:
        assert isinstance(options, cls.Options)
        return (options.code + spec.size,)

    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        read = self.options.code
        share = torch.special.ndtr(x[:, read:].float()).clamp(1e-6, 1 - 1e-6)
        logits = super().forward(x[:, :read], y)
        return logits - torch.log(-torch.log(share)).to(logits.dtype).view_as(logits)

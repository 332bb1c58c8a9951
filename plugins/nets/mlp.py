"""Multilayer perceptrons, for observations of any shape; by default of the founding article's sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genzoo.core.networks import Critic, Encoder, Generator, Network, Ports
from genzoo.core.options import option
from genzoo.plugins.nets.blocks import (
    ACTIVATIONS,
    Headed,
    as_numbers,
    norm1d,
    refuse_batch_norm,
    sequence,
    with_label,
)
from genzoo.registry import declare


class MLP(Headed):
    """Hidden layers (linear, norm, activation, dropout), then a linear head.

    Inputs of any shape are flattened, labels are appended to them as one-hot numbers, and outputs are
    shaped to ``ports.outputs``. Weights start as in ``torch.nn.Linear``: with two or three layers its
    scale trains as well as a variance-preserving one, and it is what published figures were made with.
    """

    @dataclass(frozen=True)
    class Options(Network.Options):
        width: int = option(128, "units in the first hidden layer", low=1, high=65536)
        depth: int = option(2, "hidden layers; 0 is a linear map", low=0, high=64)
        taper: float = option(1.0, "each hidden layer's width is divided by this to give the next", low=0.125, high=8)
        norm: Literal["none", "batch", "layer"] = option("none", "normalization before each activation")
        dropout: float = option(0.0, "share of hidden units dropped while training", low=0, high=0.9)
        residual: bool = option(False, "add a hidden layer's input to its output where widths match")
        activation: Literal["leaky-relu", "relu", "silu", "gelu"] = option("leaky-relu", "leaky ReLU has slope 0.2")

    options: Options

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o = self.options
        refuse_batch_norm(ports, o.norm, "generator" if isinstance(self, Generator) else "critic")
        widths = [max(1, round(o.width / o.taper**i)) for i in range(o.depth)]
        # Numbers that norms are told, which are not appended to the input then.
        norm: str = o.norm
        self.by_norm = ports.classes + ports.condition if norm == "class" and o.depth else 0
        told = 0 if self.by_norm else sum(self.appended)
        sizes = [ports.input_size + ports.beside + told, *widths]
        self.hidden = nn.ModuleList(_hidden(a, b, o, self.by_norm) for a, b in zip(sizes, widths, strict=False))
        # The first layer has no skip: that an observation has as many numbers as the layer is a coincidence.
        self.skips = [o.residual and i > 0 and sizes[i] == sizes[i + 1] for i in range(o.depth)]
        self.head = nn.Linear(sizes[-1], ports.output_size)
        self.finish(sizes[-1])

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        x = x if beside is None else torch.cat([x.flatten(1), beside], 1)
        h = with_label(x, y, *((0, 0) if self.by_norm else self.appended))
        told = [as_numbers(y, *self.appended, h)] if self.by_norm else []
        for layer, skip in zip(self.hidden, self.skips, strict=True):
            h = h + layer(h, *told) if skip else layer(h, *told)
        return h


def _hidden(inputs: int, outputs: int, o: MLP.Options, told: int) -> nn.Sequential:
    # A norm has a bias of its own; the linear layer's would only be subtracted by it.
    linear = nn.Linear(inputs, outputs, bias=o.norm == "none")
    return sequence([linear, norm1d(o.norm, outputs, told), ACTIVATIONS[o.activation](), nn.Dropout(o.dropout)])


@declare.generator("mlp", summary="Perceptron, code-128-128-data")
class MLPGenerator(MLP, Generator):
    """Code → 128 → 128 → data; with ``norm=class`` labels enter by the norms instead of with the code."""

    @dataclass(frozen=True)
    class Options(MLP.Options):
        norm: Literal["none", "batch", "layer", "class"] = option(  # type: ignore[assignment]  # one more
            "none", "normalization before each activation; class: batch norm with gains and shifts of each class"
        )
        spectral_norm: bool = option(False, "divide each weight matrix by its largest singular value")


@declare.encoder("mlp", summary="Perceptron, data-128-64-code")
class MLPEncoder(MLP, Encoder):
    """Data → 128 → 64 → numbers of a posterior."""

    @dataclass(frozen=True)
    class Options(MLP.Options):
        taper: float = option(2.0, "each hidden layer's width is divided by this to give the next", low=0.125, high=8)


@declare.critic("mlp", summary="Perceptron, data-128-128-score")
class MLPCritic(MLP, Critic):
    """Data → 128 → 128 → scores."""

    @dataclass(frozen=True)
    class Options(MLP.CriticOptions, MLP.Options):
        pass

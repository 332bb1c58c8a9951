"""What both architectures are made of: activations, norms, labels, initial weights, critics."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from genzoo.core.conditions import labels_of, numbers_of
from genzoo.core.errors import UsageError
from genzoo.core.networks import Network, Ports
from genzoo.core.options import option
from genzoo.plugins.nets.deviation import Comparison

SLOPE = 0.2

# Leaky ReLU and ReLU can be differentiated from their output, also twice, so they overwrite their input,
# which is always the fresh output of a layer; the smooth ones need their input and may not.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky-relu": lambda: nn.LeakyReLU(SLOPE, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


def gain(activation: str) -> float:
    """Factor on weights that keeps the second moment of features through a layer (He et al., arXiv:1502.01852)."""
    return math.sqrt(2 / (1 + SLOPE**2)) if activation == "leaky-relu" else math.sqrt(2)


def refuse_batch_norm(ports: Ports, norm: str, kind: str = "critic") -> None:
    """Raise `UsageError` for a norm that mixes observations where that is forbidden."""
    if ports.per_observation and norm in ("batch", "class"):
        what, whose = ("output", "code") if kind == "generator" else ("score", "observation")
        raise UsageError(
            f"norm={norm} can't be used here: a gradient penalty needs each {what} to depend on its own {whose} "
            f"only, and batch norm mixes the batch; --set {kind}.norm=layer or --set {kind}.norm=none does not"
        )


class Conditioned(nn.Module):
    """A layer that is given what the network is told as numbers (see `as_numbers`), or a part of it, beside its input.

    In a `sequence` it gets what the sequence is told.
    """


class ConditionalNorm(Conditioned):
    """Batch norm whose gain and shift are linear in what it is told: γ = 1 + W c, β = V c, W and V zero at first.

    Told one-hot labels it has a gain and a shift for each class (Dumoulin et al., arXiv:1610.07629); told an embedding
    of the label with a part of the code it is BigGAN's (arXiv:1809.11096). ``norm`` has no gain and shift of its own.
    """

    def __init__(self, norm: nn.Module, channels: int, told: int) -> None:
        super().__init__()
        if not told:
            raise UsageError(
                "norm=class needs a conditional model: add --conditional on data with labels, or take another norm, "
                "such as --set generator.norm=batch"
            )
        self.norm, self.linear = norm, nn.Linear(told, 2 * channels, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Normalize ``(B, channels, ...)``, told ``(B, told)``."""
        gain, shift = self.linear(told).unflatten(1, (2, -1, *[1] * (h.dim() - 2))).unbind(1)
        normed: Tensor = self.norm(h) * (1 + gain) + shift
        return normed


def norm1d(norm: str, size: int, told: int = 0) -> nn.Module:
    """Return a normalization of ``(B, size)``; ``class`` is a `ConditionalNorm`."""
    if norm == "class":
        return ConditionalNorm(nn.BatchNorm1d(size, eps=1e-5, momentum=0.1, affine=False), size, told)
    if norm == "batch":
        return nn.BatchNorm1d(size, eps=1e-5, momentum=0.1)
    return nn.LayerNorm(size, eps=1e-5) if norm == "layer" else nn.Identity()


def norm2d(norm: str, channels: int, told: int = 0) -> nn.Module:
    """Return a normalization of ``(B, channels, H, W)``.

    ``group`` takes groups of about eight channels, ``class`` is a `ConditionalNorm` that is told as many numbers.
    """
    if norm == "class":
        return ConditionalNorm(nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1, affine=False), channels, told)
    if norm == "batch":
        return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
    if norm == "none":
        return nn.Identity()
    groups = math.gcd(channels, max(1, channels // 8)) if norm == "group" else 1
    return nn.GroupNorm(groups, channels, eps=1e-5)


def sequence(layers: Iterable[nn.Module]) -> nn.Sequential:
    """Put layers after one another and leave out those that do nothing, for in small networks a call costs.

    The others keep their numbers, so that a weight has the same name with dropout as without.
    """
    kept = {str(i): layer for i, layer in enumerate(layers) if not _idle(layer)}
    told = any(isinstance(layer, Conditioned) for layer in kept.values())
    return (ToldSequential if told else nn.Sequential)(OrderedDict(kept))


class ToldSequential(nn.Sequential):
    """Layers after one another, of which those that are `Conditioned` are given what it is told."""

    def forward(self, h: Tensor, told: Tensor) -> Tensor:  # type: ignore[override]
        """Map ``(B, ...)``, told ``(B, numbers)``."""
        for layer in self:
            h = layer(h, told) if isinstance(layer, Conditioned) else layer(h)
        return h


def _idle(layer: nn.Module) -> bool:
    """Whether a layer returns what it is given."""
    return isinstance(layer, nn.Identity) or (isinstance(layer, (nn.Dropout, nn.Dropout2d)) and layer.p == 0)


def labels(y: Tensor | None, classes: int) -> Tensor:
    """The labels ``(B,)`` that a network of so many classes is told; raises `UsageError` if there are none."""
    if y is None:
        raise UsageError(f"this network is conditioned on {classes} classes; pass a label for each observation")
    return labels_of(y)


def one_hot(y: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """Return labels as ``(B, classes)`` of zeros and ones, of the dtype of ``like``; never waits for the device."""
    y = labels(y, classes)
    return (y.unsqueeze(-1) == torch.arange(classes, device=y.device)).to(like.dtype)


def as_numbers(y: Tensor | None, classes: int, condition: int, like: Tensor) -> Tensor:
    """What a network is told as numbers ``(B, classes + condition)``: the one-hot label, then the conditions.

    Where it is told shares of classes in place of a label, they are taken as they are.
    """
    if classes > 1 and y is not None and y.dim() == 2 and y.shape[1] == classes + condition:
        return y.to(like.dtype)
    parts = [one_hot(y, classes, like)] if classes else []
    return torch.cat([*parts, numbers_of(y, condition).to(like.dtype)], 1) if condition else parts[0]


def with_label(x: Tensor, y: Tensor | None, classes: int, condition: int = 0) -> Tensor:
    """Flatten to ``(B, N)`` and append the one-hot label and the conditions, if the network is told some."""
    x = x.flatten(1)
    return torch.cat([x, as_numbers(y, classes, condition, x)], dim=1) if classes or condition else x


def shaped(numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Give ``(B, N)`` numbers the shape ``(B, *shape)``."""
    # Not reshape with len(), which would fix the batch of an exported program.
    return torch.unflatten(numbers, 1, shape) if shape else numbers.flatten()


def variance_preserving(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, gain: float) -> None:
    """Draw weights from N(0, gain² / fan-in) and set the bias to 0.

    The fan-in is the number of inputs that one output really sums: a transposed convolution of stride s
    sums k/s taps along an axis, which `torch.nn.init` does not know.
    """
    if isinstance(layer, nn.Linear):
        fan_in = float(layer.in_features)
    else:
        fan_in = float(layer.in_channels * math.prod(layer.kernel_size))
        if isinstance(layer, nn.ConvTranspose2d):
            fan_in /= math.prod(layer.stride)
    if fan_in:  # a model without a code has nothing to sum
        nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def convolution(inputs: int, outputs: int, kernel: int, scale: float, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the resolution, with initial weights of this gain."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
    variance_preserving(layer, scale)
    return layer


class Projection(nn.Module):
    """Conditional term of a projection critic: ⟨embed(y), features⟩ for each output.

    Miyato and Koyama, *cGANs with Projection Discriminator*, arXiv:1802.05637. The embedding starts
    small (the term has about a tenth of the features' scale), so that a critic first learns what all
    classes share. Numbers as conditions are embedded linearly, and added.
    """

    def __init__(self, ports: Ports, features: int) -> None:
        super().__init__()
        self.ports, size = ports, ports.output_size * features
        self.embed = nn.Embedding(ports.classes, size) if ports.classes else None
        self.linear = nn.Linear(ports.condition, size, bias=False) if ports.condition else None
        for layer in (self.embed, self.linear):
            if layer is not None:
                nn.init.normal_(layer.weight, 0.0, 0.1 / math.sqrt(features))

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        """Map features ``(B, F)`` and labels ``(B,)`` to ``(B, outputs)``."""
        parts = []
        if self.embed is not None:
            parts.append(F.embedding(labels(y, self.ports.classes), self.embed.weight))
        if self.linear is not None:
            parts.append(self.linear(numbers_of(y, self.ports.condition)))
        vectors = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        shape = (self.ports.output_size, features.shape[1])
        return (vectors.view(len(vectors), *shape) * features.unsqueeze(1)).sum(2)


class Headed(Network):
    """Features and a linear head: encoders, critics, perceptrons. A critic's options are ``CriticOptions`` too."""

    @dataclass(frozen=True)
    class CriticOptions(Network.Options):
        spectral_norm: bool = option(False, "divide each weight matrix by its largest singular value")
        condition: Literal["projection", "concat"] = option("projection", "how labels enter, if there are any")
        minibatch: Literal["none", "deviation", "discrimination"] = option(
            "none", "how a score is told how alike the batch is"
        )

    conditions = True
    mixes: bool
    head: nn.Linear | nn.Conv2d

    @property
    def appended(self) -> tuple[int, int]:
        """Classes and conditions that enter with the input: none where they enter by projection."""
        projects = getattr(self.options, "condition", "concat") == "projection"
        return (0, 0) if projects else (self.ports.classes, self.ports.condition)

    def finish(self, features: int) -> None:
        """The last thing to build: a projection of that many features where there is one, and spectral norm."""
        projects = (self.ports.classes or self.ports.condition) and not any(self.appended)
        self.projection = Projection(self.ports, features) if projects else None
        form = getattr(self.options, "minibatch", "none")
        self.comparison = Comparison(form, features, self.ports.output_size) if form != "none" else None
        if self.comparison is not None:
            self.mixes = True
        if getattr(self.options, "spectral_norm", False):
            normalize_spectrally(self)

    @abstractmethod
    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """What the head reads, ``(B, F)``."""

    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """Map inputs ``(B, *ports.inputs)`` to ``(B, *ports.outputs)``."""
        features = self.features(x, y, beside)
        numbers = self.head(features)
        if self.projection is not None:
            numbers = numbers + self.projection(features, y)
        if self.comparison is not None:
            numbers = numbers + self.comparison(features)
        return shaped(numbers, self.ports.outputs)


def normalize_spectrally(network: nn.Module) -> None:
    """Divide the weight of every linear, convolution and embedding layer by its largest singular value.

    Miyato et al., arXiv:1802.05957; one power iteration per forward pass in training. What a conditional norm is told
    gives gains and shifts, which start at zero, and is left as it is.
    """
    gains = {id(norm.linear) for norm in network.modules() if isinstance(norm, ConditionalNorm)}
    for layer in list(network.modules()):
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)) and id(layer) not in gains:
            parametrizations.spectral_norm(layer)

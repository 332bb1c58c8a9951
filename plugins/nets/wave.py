"""One-dimensional convolutions for sound: between a code and a few frames, by strides of 4, over bands of an MDCT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Encoder, Generator, Network, Ports
from genzoo.core.options import option
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.modalities.fronts import imdct, mdct
from genzoo.plugins.nets.blocks import ACTIVATIONS, Headed, gain, shaped, with_label
from genzoo.registry import declare

LEAST = 16  # frames at which strides end, where nobody says how many there are


def ladder(frames: int, stride: int, strides: int = 0) -> list[int]:
    """Numbers of frames from the finest to the coarsest: divided by the stride so many times, rounding up.

    With 0 as long as 16 are left: ``ladder(256, 4)`` is ``[256, 64, 16]``.
    """
    sizes = [frames]
    while len(sizes) <= strides or (not strides and sizes[-1] >= LEAST * stride):
        sizes.append(-(-sizes[-1] // stride))
    return sizes


class Wave(Network):
    """What the three share: bands, numbers of frames, and channels at each.

    With ``bands`` of 16 a waveform of T samples is read and made as 16 × T/16 numbers of an orthonormal transform
    (`genzoo.plugins.modalities.fronts.mdct`), which costs a fraction of convolutions over samples; with 1 it is
    WaveGAN's (arXiv:1802.04208) over samples. Where sound comes as bands already (``data.front=mdct``) they are taken
    as they are.
    """

    @dataclass(frozen=True)
    class Options(Network.Options):
        width: int = option(64, "channels at the finest frames; doubles with each stride", low=1, high=1024)
        max_width: int = option(256, "most channels at any number of frames", low=1, high=4096)
        bands: int = option(16, "bands in which a waveform is read and made, 1 for its samples", low=1, high=1024)
        stride: int = option(4, "frames that become one", low=2, high=16)
        kernel: int = option(9, "frames that a layer sees; 25 is WaveGAN's, for bands=1", low=3, high=101)
        strides: int = option(0, "how often frames become fewer; 0 as long as 16 are left", low=0, high=12)
        blocks: int = option(0, "residual layers after each change of frames, of growing reach", low=0, high=8)
        code: Literal["flat", "frames", "vectors"] = option(
            "flat",
            "how frames and code hang together: by a linear map; each frame has numbers of its own; or likewise, side "
            "by side, as quantizers look them up",
        )
        per_frame: int = option(16, "numbers of the code of each frame, where it has its own", low=1, high=4096)

    options: Options
    conditions = True

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o = self.options
        sound = ports.outputs if isinstance(self, Generator) else ports.inputs
        if len(sound) != 2:
            raise UsageError(f"wave is for sound of channels, samples, not for shape {sound}: use conv or mlp")
        channels = sound[0]
        self.bands, self.sizes = self.frames(sound, o)
        self.channels = [channels * self.bands,
                         *(min(o.width * 2**i, o.max_width) for i in range(max(len(self.sizes) - 1, 1)))]  # fmt: skip
        if len(self.sizes) == 1:  # short enough as it is
            self.sizes.append(self.sizes[0])

    @staticmethod
    def frames(sound: tuple[int, ...], o: Options) -> tuple[int, list[int]]:
        """Bands, and numbers of frames, of sound of a shape."""
        channels, samples = sound
        bands = o.bands if channels <= 2 and not samples % o.bands and samples >= 2 * o.bands else 1
        return bands, ladder(samples // bands, o.stride, o.strides)

    def split(self, x: Tensor) -> Tensor:
        """Sound as bands ``(B, channels, frames)``."""
        return x if self.bands == 1 else mdct(x, self.bands).flatten(1, 2)

    def joined(self, h: Tensor) -> Tensor:
        """Bands as sound."""
        return h if self.bands == 1 else imdct(torch.unflatten(h, 1, (-1, self.bands)))

    @property
    def local(self) -> bool:
        """Whether every frame has numbers of its own, so that sound may be of any length."""
        return self.options.code != "flat" and not isinstance(self, Critic)

    @property
    def hop(self) -> int:
        """Samples of one frame of the code."""
        return self.bands * int(self.options.stride ** (len(self.sizes) - 1))

    @property
    def reach(self) -> int:
        """Samples on either side that a frame, or a sample, may go by; at most."""
        o, deep = self.options, len(self.sizes) - 1
        hops = [self.bands * int(o.stride**i) for i in range(deep + 1)]
        around = (3**o.blocks - 1) // 2  # 1 + 3 + 9 + …
        return int(sum(hops[:-1]) * (o.kernel // 2) + sum(hops[1:]) * around + 2 * self.bands + hops[-1])

    def framed(self, code: Tensor) -> Tensor:
        """The numbers of each frame ``(B, numbers, frames)`` of a code ``(B, size)``, and by `unframed` back."""
        each = self.ports.input_size if isinstance(self, Generator) else self.ports.output_size
        if self.options.code == "vectors":
            return torch.unflatten(code, 1, (-1, self.per_frame(each))).transpose(1, 2)
        return torch.unflatten(code, 1, (self.per_frame(each), -1))

    def unframed(self, h: Tensor) -> Tensor:
        """Undo `framed`."""
        return (h.transpose(1, 2) if self.options.code == "vectors" else h).flatten(1)

    def per_frame(self, numbers: int) -> int:
        """Numbers of the code at each of the coarsest frames; `UsageError` if they do not come out even."""
        if numbers % self.sizes[-1]:
            raise UsageError(
                f"a code of {numbers} numbers does not go into {self.sizes[-1]} frames: --set latent.size="
                f"{max(numbers // self.sizes[-1], 1) * self.sizes[-1]}"
            )
        return numbers // self.sizes[-1]


def _scaled(layer: nn.Conv1d | nn.ConvTranspose1d | nn.Linear, inputs: float, scale: float) -> nn.Module:
    """The layer with weights N(0, scale² / inputs) and no bias at first."""
    nn.init.normal_(layer.weight, 0.0, scale / max(inputs, 1.0) ** 0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class Up(nn.Module):
    """Frames repeated to a finer number of them, then a convolution: no sample is reached by more taps than another."""

    def __init__(self, inputs: int, outputs: int, sizes: tuple[int, int], kernel: int, scale: float) -> None:
        super().__init__()
        self.sizes, self.times = sizes, -(-sizes[1] // sizes[0])
        self.conv = nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2)
        _scaled(self.conv, inputs * kernel, scale)

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, inputs, n)`` to ``(B, outputs, frames)``; of longer sound than it was built for all frames."""
        known = h.shape[2] == self.sizes[0]
        h = h if self.times == 1 else h.repeat_interleave(self.times, 2)
        h = h[..., : self.sizes[1]] if known else h
        found: Tensor = self.conv(h)
        return found


class Residual(nn.Module):
    """What a convolution of some reach adds to its input; nothing at first."""

    def __init__(self, channels: int, kernel: int, reach: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(channels, channels, kernel, padding=reach * (kernel // 2), dilation=reach)
        self.back, self.activation = nn.Conv1d(channels, channels, 1), ACTIVATIONS["leaky-relu"]()
        _scaled(self.wide, channels * kernel, gain("leaky-relu"))
        _scaled(self.back, channels, 0.0)

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, channels, n)`` to the same shape."""
        added: Tensor = self.back(self.activation(self.wide(self.activation(h))))
        return h + added


def blocks_of(options: Wave.Options, channels: int) -> list[nn.Module]:
    """The residual layers of one number of frames: kernels of 3 that reach 1, 3, 9, … frames."""
    return [Residual(channels, 3, 3**i) for i in range(options.blocks)]


@declare.generator("wave", summary="Convolutions from the code up to a waveform, by way of 16 bands",
                   paper="arXiv:1802.04208", modalities=("audio",))  # fmt: skip
class WaveGenerator(Wave, Generator):
    """Code → 16 frames → convolutions that repeat frames by 4 → bands → waveform; labels come with the code."""

    @classmethod
    def code_shape(cls, spec: DataSpec, latent: Latent, options: Network.Options) -> tuple[int, ...]:
        assert isinstance(options, Wave.Options)
        if options.code == "flat":
            return latent.shape
        return (options.per_frame * cls.frames(spec.shape, options)[1][-1],)

    def __init__(self, ports: Ports, options: Wave.Options | None = None) -> None:
        super().__init__(ports, options)
        o, a, told = self.options, gain("leaky-relu"), ports.classes + ports.condition
        last, frames = self.channels[-1], self.sizes[-1]
        self.linear: nn.Module
        if o.code != "flat" and ports.input_size:
            each = self.per_frame(ports.input_size) + told
            self.linear = _scaled(nn.Conv1d(each, last, 1), each, 1.0)
        else:
            self.linear = _scaled(nn.Linear(ports.input_size + told, last * frames), ports.input_size + told, 1.0)
        layers: list[nn.Module] = [ACTIVATIONS["leaky-relu"]()]
        kernel = o.kernel | 1
        for i in range(len(self.sizes) - 1, 0, -1):
            last_one = i == 1
            sizes = self.sizes[i], self.sizes[i - 1]
            layers.append(Up(self.channels[i], self.channels[i - 1], sizes, kernel, 0.5 if last_one else a))
            layers += [] if last_one else [*blocks_of(o, self.channels[i - 1]), ACTIVATIONS["leaky-relu"]()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to data parameters ``(B, *ports.outputs)``."""
        if isinstance(self.linear, nn.Conv1d):
            told, h = with_label(z[:, :0], y, self.ports.classes, self.ports.condition), self.framed(z.flatten(1))
            h = self.linear(torch.cat([h, told[:, :, None].to(h.dtype).expand(-1, -1, h.shape[2])], 1))
        else:
            h = self.linear(with_label(z, y, self.ports.classes, self.ports.condition))
            h = shaped(h, (self.channels[-1], self.sizes[-1]))
        return self.joined(self.layers(h))


class Reader(Wave, Headed):
    """What encoder and critic share: convolutions with strides of 4 down to 16 frames."""

    def __init__(self, ports: Ports, options: Wave.Options | None = None) -> None:
        super().__init__(ports, options)
        o, a = self.options, gain("leaky-relu")
        kernel, (classes, condition) = o.kernel | 1, self.appended
        told = classes + condition + ports.beside
        layers: list[nn.Module] = []
        for i in range(1, len(self.sizes)):
            inputs = self.channels[i - 1] + (told if i == 1 else 0)
            stride = o.stride if self.sizes[i] < self.sizes[i - 1] else 1
            down = nn.Conv1d(inputs, self.channels[i], kernel, stride, padding=kernel // 2)
            layers += [_scaled(down, inputs * kernel, a), *blocks_of(o, self.channels[i]), ACTIVATIONS["leaky-relu"]()]
        self.layers = nn.Sequential(*layers)
        size = self.channels[-1] * self.sizes[-1]
        self.head: nn.Linear | nn.Conv1d  # type: ignore[assignment]
        if self.local:
            self.head = nn.Conv1d(self.channels[-1], self.per_frame(ports.output_size), 1)
        else:
            self.head = nn.Linear(size, ports.output_size)
        self.finish(size)

    def frames_of(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """What the layers make of sound ``(B, channels, frames)``."""
        h = self.split(x)
        told = with_label(x.flatten(1)[:, :0], y, *self.appended)
        told = told if beside is None else torch.cat([told, beside], 1)
        h = torch.cat([h, told[:, :, None].to(h.dtype).expand(-1, -1, h.shape[2])], 1) if told.shape[1] else h
        found: Tensor = self.layers(h)
        return found

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        return self.frames_of(x, y, beside).flatten(1)


@declare.encoder("wave", summary="Convolutions from a waveform, by way of 16 bands, down to the code",
                 modalities=("audio",))  # fmt: skip
class WaveEncoder(Reader, Encoder):
    """Waveform → bands → convolutions → numbers of a posterior."""

    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        if not self.local:
            return super().forward(x, y, beside)
        return self.unframed(self.head(self.frames_of(x, y, beside)))


@declare.critic("wave", summary="Convolutions from a waveform, by way of 16 bands, down to a score",
                paper="arXiv:1802.04208", modalities=("audio",))  # fmt: skip
class WaveCritic(Reader, Critic):
    """Waveform → bands → convolutions → scores, without norm, since penalties forbid batch norm."""

    @dataclass(frozen=True)
    class Options(Reader.CriticOptions, Wave.Options):
        pass

"""Sound: clips of one length as waveforms, or as pictures of their spectra; data units are waveforms in [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genzoo.core.errors import UsageError
from genzoo.core.modality import Damage, Fragment, Modality, Reading
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.sound_shapes import FRONTS, example, gap, shape_of
from genzoo.registry import declare

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from genzoo.core.data import Data
    from genzoo.core.model import Model

PLAYERS = 12  # in a page
SILENT = 0.01  # RMS of a silent clip, as a multiple of the data's
SIDE = 64  # of a small picture


@declare.modality("audio")
class Audio(Modality):
    """Clips of sound as waveforms, or as the bands of an orthonormal transform (``data.front=mdct``).

    Rows are 16-bit waveforms. Model space has RMS 1 over the training data, so densities are of the waveform, in nats.
    """

    name: ClassVar[str] = "audio"
    one: ClassVar[str] = "clip"
    many: ClassVar[str] = "clips"
    like: ClassVar[str] = "vector"
    bounds: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)
    renders: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("audio",)
    preview: ClassVar[int] = 36
    suffixes: ClassVar[tuple[str, ...]] = ("/", ".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
    lossy: ClassVar[tuple[str, ...]] = (".ogg", ".mp3")
    units: ClassVar[str] = "waveforms in [-1, 1], channels first"
    general: ClassVar[str] = "log-mel"

    @dataclass(frozen=True)
    class Facts:
        """What a spec of sound says beyond its shape."""

        rate: int = option(8000, "samples a second", low=1)
        channels: int = option(1, "channels of a clip", low=1, high=8)
        samples: int = option(4096, "samples of each channel", low=1)
        front: str = option("waveform", "what networks see of a clip")
        n_fft: int = option(256, "samples in a frame of a spectrogram", low=4)
        hop: int = option(64, "samples from frame to frame", low=1)
        bands: int = option(16, "bands of an MDCT or on the mel scale", low=1)
        level: float = option(0.1, "RMS of the training data", low=1e-6)
        mean: tuple[float, ...] = option((), "of a spectrogram, of each band over the training data")
        deviation: tuple[float, ...] = option((), "likewise, its standard deviation")

    def check(self, spec: DataSpec) -> None:
        f = spec.facts
        if f["front"] not in FRONTS:
            raise UsageError(f"a front is {', '.join(FRONTS)}, not {f['front']!r}")
        if FRONTS[f["front"]] != self.name:
            raise UsageError(f"the front {f['front']} is of {FRONTS[f['front']]} data, not of {self.name}")
        if f["front"] == "mdct" and f["samples"] % f["bands"]:
            raise UsageError(f"an MDCT of {f['bands']} bands needs a multiple of samples, not {f['samples']}")
        if spec.shape != (wanted := shape_of(f)):
            raise UsageError(f"the front {f['front']} of such clips has shape {wanted}, not {spec.shape}")
        if {len(f["mean"]), len(f["deviation"])} - {0, spec.shape[1]}:
            raise UsageError(f"a spectrogram of {spec.shape[1]} bands has as many means and deviations")

    def describe(self, spec: DataSpec) -> str:
        f = spec.facts
        channels = "" if f["channels"] == 1 else f" of {f['channels']} channels"
        seen = "" if f["front"] == "waveform" else f", seen as {f['front']} {'×'.join(map(str, spec.shape))}"
        return f"{self.many}{channels} of {f['samples'] / f['rate']:.3g} s at {f['rate']:,} Hz{seen}"

    def unit_shape(self, spec: DataSpec) -> tuple[int, ...]:
        return (spec.facts["channels"], spec.facts["samples"])

    def stored(self, spec: DataSpec) -> str:
        return "int16"

    def exact(self, spec: DataSpec) -> bool:
        return FRONTS[spec.facts["front"]] == "audio"

    def alike(self, spec: DataSpec, other: DataSpec) -> bool:
        """Whatever their fronts, clips of one rate, length and number of channels are the same in data units."""
        ours, theirs = spec.facts, other.facts
        return all(k in theirs and ours[k] == theirs[k] for k in ("rate", "channels", "samples"))

    def opens(self, path: Path) -> str:
        from genzoo.plugins.modalities.sound_files import SUFFIXES, holds_sounds

        if self.name != "audio":
            return ""
        return "clips" if (holds_sounds(path) if path.is_dir() else path.suffix.lower() in SUFFIXES) else ""

    def reading(self, spec: DataSpec) -> dict[str, str]:
        f = spec.facts
        front = {} if FRONTS[f["front"]] == "audio" and f["front"] == "waveform" else {"front": f["front"]}
        return {"rate": str(f["rate"]), "seconds": repr(f["samples"] / f["rate"]), **front}

    def read(self, x: Any, y: Any, about: Reading) -> Data:
        """Make data of waveforms ``(N, C, T)`` or ``(N, T)``, 16-bit or floats in [-1, 1], at 8,000 samples a second.

        Their kind must be named, since their rank is an image's or a vector's.
        """
        import numpy as np

        from genzoo.plugins.modalities.sound_files import to_int16

        what, values = about.name or "the data", np.asarray(x[:])
        values = values[:, None] if values.ndim == 2 else values
        if values.ndim != 3:
            raise UsageError(f"{what} has shape {tuple(x.shape)}: give clips as (N, samples) or (N, channels, samples)")
        if values.dtype != np.int16:
            if not np.isfinite(values).all() or np.abs(values).max() > 1 + 1e-6:
                raise UsageError(f"{what} is no waveform: give 16-bit numbers, or floats in [-1, 1]")
            values = to_int16(values)
        return self.made(values, y, 8000, about)

    def made(self, values: Any, y: Any, rate: int, about: Reading) -> Data:
        """Data of int16 ``(N, C, T)`` at a rate."""
        import numpy as np
        import torch

        from genzoo.core.data import Data
        from genzoo.core.data.labels import labels

        told = labels(y, len(values), about.class_names, about.name or "the data")
        level = float(np.sqrt(np.mean(np.square(values / 32768.0)))) if about.standardize else 0.1
        facts = {"rate": rate, "channels": values.shape[1], "samples": values.shape[2], "level": max(level, 1e-4)}
        spec = DataSpec("audio", values.shape[1:], classes=told.classes, class_names=told.names,
                        scale=(facts["level"],), name=about.name, facts=facts)  # fmt: skip
        rows = torch.from_numpy(np.ascontiguousarray(values))
        return told.conditioned(Data(spec, rows, told.y, about.name, about.license, about.split))

    def recast(self, data: Data, kinds: Sequence[str]) -> Data:
        """Waveforms as spectrograms, for recipes that are for those."""
        if self.name in kinds or "spectrogram" not in kinds:
            return data
        from genzoo.plugins.modalities.sound_forms import seen_as

        return seen_as(data, "log-spectrogram")

    def read_samples(self, path: Path, spec: DataSpec, **options: Any) -> Data:
        """Clips of a folder, or of one file with silence between them as `write` leaves it."""
        import numpy as np
        import torch

        from genzoo.core.data import Data
        from genzoo.plugins.modalities.sound_files import BadSound, read_sound, to_int16
        from genzoo.plugins.modalities.sound_folder import clips_of

        f = spec.facts
        if path.is_dir():
            values = clips_of(path, f["rate"], f["samples"], f["channels"] == 1, "start").values
        else:
            try:
                x = to_int16(read_sound(path, f["rate"], False))
            except BadSound as e:
                raise UsageError(f"{path} holds no clips: {e}") from None
            step = f["samples"] + gap(f["samples"])
            n, rest = divmod(x.shape[1] + gap(f["samples"]), step)
            if rest or not n:
                raise UsageError(f"{path} is not made of clips of {f['samples']:,} samples: give a folder of files")
            values = np.stack([x[:, i * step : i * step + f["samples"]] for i in range(n)])
        if values.shape[1:] != self.unit_shape(spec):
            raise UsageError(f"{path} has clips of shape {values.shape[1:]}, and the data {self.unit_shape(spec)}")
        return Data(replace(spec, classes=0, class_names=()), torch.from_numpy(values), name=path.name)

    def whole(self, model: Model, source: Any, out: Path) -> bool:
        from genzoo.plugins.modalities.long_sounds import whole

        found = whole(model, source, out)
        if found is not None:
            self.write(out, model.spec, 1, iter([(found, None)]))
        return found is not None

    # Rows are int16, or floats in data units.

    def from_rows(self, spec: DataSpec, rows: Tensor) -> Tensor:
        from genzoo.plugins.modalities.sound_forms import seen

        return seen(spec, rows)

    def to_model(self, spec: DataSpec, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.unit_shape(spec):
            raise UsageError(f"clips of shape {tuple(x.shape[1:])} given where the model takes {self.unit_shape(spec)}")
        return self.from_rows(spec, x)

    def to_units(self, spec: DataSpec, x: Tensor) -> Tensor:
        from genzoo.plugins.modalities.sound_forms import heard

        return heard(spec, x)

    def checked(self, spec: DataSpec, x: Tensor, who: str) -> Tensor:
        import torch

        from genzoo.core.data.rows import require_finite

        if x.dtype == torch.int16:
            return x
        low, high = require_finite(x, who)
        if max(-low, high) > 1 + 1e-6:
            raise UsageError(f"the data for {who} has values from {low:.4g} to {high:.4g}: waveforms lie in [-1, 1]")
        return x

    def to_storage(self, spec: DataSpec, x: Tensor) -> Tensor:
        import torch

        if x.dtype == torch.int16:
            return x.detach().cpu()
        whole: Tensor = x.detach().float().mul(32768).round_().clamp_(-32768, 32767)
        return whole.to(torch.int16).cpu()

    def from_storage(self, spec: DataSpec, x: Tensor) -> Tensor:
        import torch

        return x.float() / 32768 if x.dtype == torch.int16 else x.float()

    def to_array(self, spec: DataSpec, x: Tensor, *, spare: bool = False) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self.to_storage(spec, x).numpy()
        return found

    def array_dtype(self, spec: DataSpec) -> str:
        return "int16"

    def again(self, spec: DataSpec, x: Tensor) -> Tensor:
        return self.from_storage(spec, self.to_storage(spec, x))

    # What people get.

    def write(self, path: Path, spec: DataSpec, n: int, batches: Iterator[tuple[Tensor, Tensor | None]]) -> None:
        """A folder of .wav files, in class folders where there are classes; or one file with silence between clips."""
        import numpy as np

        from genzoo.core.data.labels import class_folders
        from genzoo.core.storage.files import creating_folder, replacing
        from genzoo.plugins.modalities.sound_files import wav_bytes, write_one

        rate, channels, samples = (spec.facts[k] for k in ("rate", "channels", "samples"))
        if path.suffix:
            silence = np.zeros((channels, gap(samples)), np.int16)

            def parts() -> Iterator[Any]:
                first = True
                for x, _ in batches:
                    for one in self.to_array(spec, x):
                        yield one if first else np.concatenate([silence, one], 1)
                        first = False

            with replacing(path) as temporary:
                write_one(temporary, path.name, rate, channels, parts())
            return
        digits, i, places = max(len(str(n - 1)), 4), 0, class_folders(spec)
        with creating_folder(path) as folder:
            for x, y in batches:
                for j, one in enumerate(self.to_array(spec, x)):
                    place = folder if y is None else folder / places[int(y[j])]
                    place.mkdir(exist_ok=True)
                    (place / f"{i:0{digits}d}.wav").write_bytes(wav_bytes(one, rate))
                    i += 1

    def render(self, spec: DataSpec, x: Tensor) -> Tensor | None:
        """The waveform over 60 dB of the spectrogram, grey; low frequencies below."""
        import torch
        from torch.nn import functional as F

        from genzoo.plugins.modalities.fronts import stft

        x = self.from_storage(spec, x).detach().cpu().mean(1, keepdim=True)
        if not len(x):
            return torch.empty(0, 1, SIDE, SIDE)
        n_fft = max(4, min(256, 2 ** int(math.log2(x.shape[-1]))))
        power = F.interpolate(stft(x, n_fft, max(n_fft // 4, 1)).abs(), (SIDE - 16, SIDE), mode="bilinear")
        loud = (1 + 20 * torch.log10(power / spec.facts["level"] + 1e-3) / 60).clamp(0, 1).flip(2)
        peak = F.adaptive_max_pool1d(x.abs(), SIDE) / x.abs().amax().clamp(min=1e-4)
        line = torch.linspace(-1, 1, 16)[:, None].abs() <= peak[:, :, None]
        return 1 - torch.cat([line.float(), loud], 2)

    def fragment(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Fragment | None:
        """A picture of all clips, and players of the first ones; of two rows side by side, where there are several."""
        import base64
        import io

        from genzoo.core.pictures.grids import grid
        from genzoo.plugins.modalities.sound_files import player

        small, n = self.render(spec, x), len(x)
        if small is None or not n:
            return None
        columns = min(columns or min(n, 6), n)
        out, drawn = io.BytesIO(), grid(small, columns)
        drawn.save(out, "PNG")
        picture = base64.b64encode(out.getvalue()).decode()
        rows = min(2, n // columns)
        heard = [(r, c) for c in range(min(columns, PLAYERS // rows)) for r in range(rows)]
        clips = self.to_array(spec, x[[r * columns + c for r, c in heard]])
        rate = spec.facts["rate"]
        players = "".join(player(one, rate, f"row {r + 1}, {c + 1}") for one, (r, c) in zip(clips, heard, strict=True))
        said = f'style="max-width:{3 * drawn.width}px" alt="waveforms and spectrograms of {n} clips"'  # one is small
        image = f'<img src="data:image/png;base64,{picture}" {said}>'
        loud = 20 * math.log10(max(float(x.float().square().mean().sqrt()), 1e-6))
        side = "display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:4px 12px;margin-top:8px"
        return Fragment(f'<div>{image}<div style="{side}">{players}</div></div>', "", f"{n} clips, RMS {loud:.1f} dB.")

    def complaint(self, spec: DataSpec, x: Tensor) -> str:
        rms = x.float().flatten(1).square().mean(1).sqrt()
        silent = int((rms < SILENT * spec.facts["level"]).sum())
        return (
            f"{silent:,} of {len(x):,} samples are silent: 40 dB or more below the data." if 2 * silent > len(x) else ""
        )

    # What fits it.

    def likelihood(self, spec: DataSpec) -> str:
        return "gaussian"

    def network(self, kind: str) -> str:
        return "wave"

    def extractor(self, spec: DataSpec) -> str:
        return "log-mel"

    def damages(self) -> Mapping[str, Damage]:
        from genzoo.plugins.modalities.sound_forms import muffled, noisy

        return {
            "hiss": Damage("hiss", "white noise 30 and 10 dB below the clip", noisy),
            "muffled": Damage("muffled", "a moving mean over 4 and 16 samples", muffled),
        }

    def examples(self, classes: int = 0) -> Sequence[DataSpec]:
        return (example(classes, "waveform", 64), example(classes, "mdct", 64))

    def random(self, spec: DataSpec, n: int, seed: int = 0, *, units: bool = False) -> Tensor:
        import torch

        g, shape = torch.Generator().manual_seed(seed), (n, *self.unit_shape(spec))
        if units:
            return torch.randint(-(2**12), 2**12 + 1, shape, generator=g) / 2**15
        return self.to_model(spec, (0.1 * torch.randn(shape, generator=g)).clamp(-1, 1))


@declare.modality("spectrogram")
class Spectrogram(Audio):
    """Clips of sound that networks see as pictures of their spectra, so that those for images read and make them.

    ``data.front`` says which: ``log-spectrogram``, ``mel`` or ``instantaneous-frequency``. Samples are heard by
    Griffin and Lim's algorithm, or from the phases that the last one keeps. Densities are of the spectrogram, not of
    the waveform.
    """

    name: ClassVar[str] = "spectrogram"
    one: ClassVar[str] = "spectrogram"
    many: ClassVar[str] = "spectrograms"
    like: ClassVar[str] = "image"

    def network(self, kind: str) -> str:
        return "conv"

    def recast(self, data: Data, kinds: Sequence[str]) -> Data:
        return data

    def examples(self, classes: int = 0) -> Sequence[DataSpec]:
        return (example(classes, "log-spectrogram", 64), example(classes, "mel", 64))

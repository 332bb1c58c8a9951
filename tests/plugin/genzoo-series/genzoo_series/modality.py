"""A kind of data: short multivariate time series. It imports torch only where numbers are computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genzoo.core.errors import UsageError
from genzoo.core.modality import Damage, Fragment, Modality, Reading
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from genzoo.core.data import Data

WIDTH, HEIGHT = 64, 40  # of the small picture of one observation


@declare.modality("series")
class Series(Modality):
    """Short multivariate time series: channels × steps, standardized per channel in model space."""

    name: ClassVar[str] = "series"
    one: ClassVar[str] = "time series"
    many: ClassVar[str] = "time series"
    like: ClassVar[str] = "vector"  # recipes that say nothing of this kind take what they say of vectors
    renders: ClassVar[bool] = True
    preview: ClassVar[int] = 36
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    @dataclass(frozen=True)
    class Facts:
        """What a spec says beyond its shape."""

        channels: tuple[str, ...] = option((), "what the channels are called")

    def check(self, spec: DataSpec) -> None:
        """Two axes, and a name for each channel."""
        if len(spec.shape) != 2:
            raise UsageError(f"a time series' shape is channels, steps, not {spec.shape}")
        if len(spec.facts["channels"]) not in (0, spec.shape[0]):
            raise UsageError(f"{spec.shape[0]} channels do not go with {len(spec.facts['channels'])} names")

    def describe(self, spec: DataSpec) -> str:
        """Channels and steps in words."""
        channels, steps = spec.shape
        named = f" ({', '.join(spec.facts['channels'])})" if spec.facts["channels"] else ""
        return f"time series of {channels} channels{named} and {steps} steps"

    def opens(self, path: Path) -> str:
        """CSV files whose first column is this modality's name."""
        from genzoo_series.readings import is_ours

        return "series-csv" if path.suffix.lower() == ".csv" and is_ours(path) else ""

    def read(self, x: Any, y: Any, about: Reading) -> Data:
        """Make data of an array ``(N, channels, steps)``; named ``modality="series"``, since its rank is an image's."""
        import numpy as np
        import torch

        from genzoo.core.data import Data
        from genzoo.core.data.labels import labels

        what = about.name or "the data"
        if len(x.shape) != 3:
            raise UsageError(f"{what} has shape {tuple(x.shape)}: give time series as (N, channels, steps)")
        values = np.ascontiguousarray(x[:], np.float32)
        if not np.isfinite(values).all():
            raise UsageError(f"{what} has values that are NaN or infinite")
        told = labels(y, len(values), about.class_names, what)
        spec = DataSpec(self.name, values.shape[1:], classes=told.classes, class_names=told.names, name=about.name)
        rows = torch.from_numpy(values if values.flags.writeable else values.copy())
        data = Data(spec, rows, told.y, about.name, about.license, about.split)
        return self.standardized(data) if about.standardize else data

    def standardized(self, data: Data) -> Data:
        """Scale and shift by the channels' deviations and means."""
        x = data.x.double()
        deviation, mean = x.std((0, 2), correction=0).clamp(min=1e-6), x.mean((0, 2))
        return replace(data, spec=replace(data.spec, scale=tuple(deviation.tolist()), shift=tuple(mean.tolist())))

    def read_samples(self, path: Path, spec: DataSpec) -> Data:
        """All series of a CSV file."""
        from genzoo_series.readings import read_csv

        table = read_csv(path)
        return self.read(table.values, table.labels, Reading(name=path.name, standardize=False, sure=True))

    def write(self, path: Path, spec: DataSpec, n: int, batches: Iterator[tuple[Tensor, Tensor | None]]) -> None:
        """One line for each step of each series."""
        from genzoo_series.readings import write_csv

        write_csv(path, spec.facts["channels"] or [f"c{i}" for i in range(spec.shape[0])], batches)

    def render(self, spec: DataSpec, x: Tensor) -> Tensor | None:
        """Lines over time, three deviations of the data high."""
        import numpy as np
        import torch
        from PIL import Image, ImageDraw

        from genzoo.core.pictures.drawing import LIGHT

        drawn = []
        for lines in self.to_model(spec, x.float().cpu()).clamp(-3, 3).tolist():
            paper = Image.new("RGB", (WIDTH, HEIGHT), "white")
            pen = ImageDraw.Draw(paper)
            for i, line in enumerate(lines):
                pen.line(_path(line, WIDTH, HEIGHT), fill=LIGHT[f"c{i % 8 + 1}"])
            drawn.append(np.asarray(paper))
        pixels = np.stack(drawn) if drawn else np.empty((0, HEIGHT, WIDTH, 3), np.uint8)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

    def fragment(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Fragment | None:
        """Small line charts beside each other."""
        from genzoo.core.pictures.drawing import Drawing, Line

        across = columns or 8
        marks: list[Any] = []
        for n, lines in enumerate(self.to_model(spec, x.float().cpu()).clamp(-3, 3).tolist()):
            right, down = n % across * (WIDTH + 4), n // across * (HEIGHT + 4)
            for i, line in enumerate(lines):
                points = [(a + right, b + down) for a, b in _path(line, WIDTH, HEIGHT)]
                marks.append(Line(points, f"c{i % 8 + 1}", 1))
        rows = -(-len(x) // across)
        return Fragment(Drawing(across * (WIDTH + 4), rows * (HEIGHT + 4), marks), f", {across} in a row")

    def network(self, kind: str) -> str:
        """Curves for the generator."""
        return "series-curves" if kind == "generator" else "mlp"

    def damages(self) -> Mapping[str, Damage]:
        """Jitter."""
        return {"jitter": Damage("jitter", "noise of .1 and .5 deviations at every step", _jittered)}

    def examples(self, classes: int = 0) -> Sequence[DataSpec]:
        """Two channels; one, in other units."""
        two = DataSpec("series", (2, 12), classes=classes, facts={"channels": ("a", "b")})
        return (two, DataSpec("series", (1, 7), classes=classes, scale=(2.0,), shift=(1.0,)))


def _path(line: Sequence[float], width: int, height: int) -> list[tuple[float, float]]:
    """Values in [-3, 3] as points, y downwards."""
    across = (width - 3) / max(len(line) - 1, 1)
    return [(1 + i * across, 1 + (3 - v) / 6 * (height - 3)) for i, v in enumerate(line)]


def _jittered(x: Tensor, degree: str, random: torch.Generator) -> Tensor:
    import torch

    sigma = (0.1 if degree == "slight" else 0.5) * x.std((0, 2), keepdim=True)
    return x + sigma * torch.randn(x.shape, generator=random)

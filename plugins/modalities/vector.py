"""Vectors: real numbers with no order, standardized in model space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genzoo.core.errors import UsageError
from genzoo.core.modality import Fragment, Modality, Reading
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from genzoo.core.data import Data


@declare.modality("vector")
class Vector(Modality):
    """Real numbers with no order, standardized per column in model space."""

    name: ClassVar[str] = "vector"
    one: ClassVar[str] = "vector"
    many: ClassVar[str] = "vectors"
    preview: ClassVar[int] = 2000
    asks: ClassVar[str] = "Numbers, with blanks or commas between them"

    def plane(self, spec: DataSpec) -> bool:
        return spec.shape == (2,)

    def opens(self, path: Path) -> str:
        return "array" if path.suffix.lower() in (".npy", ".npz") else ""

    def takes(self, x: Any) -> bool:
        return len(getattr(x, "shape", ())) == 2 and hasattr(x, "dtype")

    def read(self, x: Any, y: Any, about: Reading) -> Data:
        from genzoo.core.data import Data, arrays
        from genzoo.core.data.labels import labels
        from genzoo.plugins.modalities.forms import look_at

        what = about.name or "the data"
        shape = tuple(map(int, x.shape))
        if len(shape) != 2:
            raise UsageError(f"{what} has shape {shape}: give vectors as (N, D)")
        told = labels(y, shape[0], about.class_names, what)
        if x.dtype.kind != "f" and not about.sure:
            raise UsageError(
                f"{what} has shape {shape} and type {x.dtype}: reshape to (N, H, W) if these are "
                "images, or convert to float32 if they are vectors"
            )
        form = look_at(x, vectors=True, layout=None, what=what)
        spec = DataSpec("vector", form.shape, classes=told.classes, class_names=told.names, name=about.name)
        rows = arrays.stored(x, form, about.memory)
        data = told.conditioned(Data(spec, rows, told.y, about.name, about.license, about.split))
        return self.standardized(data) if about.standardize else data

    def typed(self, spec: DataSpec, text: str) -> Tensor:
        import torch

        try:
            numbers = [float(word) for word in text.replace(",", " ").split()]
        except ValueError:
            raise UsageError(f"these are no numbers: {text[:60]!r}") from None
        if len(numbers) != spec.size:
            raise UsageError(f"a {self.one} has {spec.size} numbers here, not {len(numbers)}")
        return torch.tensor(numbers).view(1, *spec.shape)

    def standardized(self, data: Data) -> Data:
        from genzoo.core.data import standardized

        return standardized(data)

    def undrawn(self, spec: DataSpec, n: int) -> str:
        return "" if spec.size >= 2 else "there is no picture of such data"

    def picture(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Image.Image | None:
        from genzoo.core.pictures.grids import scatter

        if spec.size < 2:
            return None
        return scatter(x.flatten(1), None if behind is None else behind.flatten(1))

    def fragment(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Fragment | None:
        from genzoo.core.pictures.drawing import Dots, Drawing, Line

        if spec.size < 2:
            return None
        made, real = x.flatten(1)[:, :2], (x if behind is None else behind).flatten(1)[:, :2]
        limit, size = 1.15 * float(real.abs().max().clamp(min=1e-6)), 320.0

        def places(points: Tensor) -> list[tuple[float, float]]:
            inside = points[(points.abs() <= limit).all(1)]
            return [((a / limit + 1) / 2 * size, (1 - b / limit) / 2 * size) for a, b in inside.tolist()]

        frame = [(1.0, 1.0), (size - 1, 1.0), (size - 1, size - 1), (1.0, size - 1), (1.0, 1.0)]
        clouds = [] if behind is None else [Dots(places(real), "c2", 3.5)]
        drawing = Drawing(size, size, [Line(frame, "rule", 1), *clouds, Dots(places(made), "c1", 2)])
        beyond = int((~(made.abs() <= limit).all(1)).sum())
        over = "" if behind is None else f" (small) over {len(real):,} observations (large)"
        caption = f"{len(made):,} samples{over}." + (f" {beyond} samples lie outside of the frame." if beyond else "")
        return Fragment(drawing, " in the plane" + (", over data" if behind is not None else ""), caption)

    def examples(self, classes: int = 0) -> Sequence[DataSpec]:
        return (DataSpec("vector", (2,), classes=classes), DataSpec("vector", (5,), classes=classes, scale=(2.0,)))

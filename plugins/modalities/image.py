"""Images: channels, height, width; [0, 1] in data units and [-1, 1] in model space."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genzoo.core.errors import UsageError
from genzoo.core.modality import Damage, Modality, Reading
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from genzoo.core.data import Data

LARGEST_GRID = 10_000  # images in a picture that anyone could look at


@declare.modality("image")
class Image(Modality):
    """Pictures of pixels: 8-bit grey or colour, binary, or real in [0, 1]."""

    name: ClassVar[str] = "image"
    one: ClassVar[str] = "image"
    many: ClassVar[str] = "images"
    task: ClassVar[str] = "unconditional-image-generation"
    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    pixels: ClassVar[bool] = True
    renders: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = ("/",)
    general: ClassVar[str] = "scattering"
    units: ClassVar[str] = "floats in [0, 1], channels first"

    def check(self, spec: DataSpec) -> None:
        if len(spec.shape) != 3:
            raise UsageError(f"an image's shape is channels, height, width, not {spec.shape}")

    def describe(self, spec: DataSpec) -> str:
        return f"images of {'×'.join(map(str, spec.shape))} (channels, height, width)"

    def opens(self, path: Path) -> str:
        from genzoo.plugins.modalities.sound_files import holds_sounds

        if path.is_dir():
            return "" if holds_sounds(path) else "folder"
        if path.suffix.lower() == ".parquet" and path.is_file():
            from genzoo.plugins.modalities.table_files import has_pictures

            return "folder" if has_pictures(path) else ""
        return "folder" if path.suffix.lower() in (".zip", ".parquet") else ""

    def reading(self, spec: DataSpec) -> dict[str, str]:
        channels, height, width = spec.shape
        return {"size": f"{height}x{width}", "mode": {1: "grey", 3: "colour"}.get(channels, "auto")}

    def takes(self, x: Any) -> bool:
        return len(getattr(x, "shape", ())) in (3, 4) and hasattr(x, "dtype")

    def read(self, x: Any, y: Any, about: Reading) -> Data:
        """Make data of an array ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)``."""
        from genzoo.core.data import Data, arrays
        from genzoo.core.data.labels import labels
        from genzoo.core.data.summary import UNKNOWN
        from genzoo.plugins.modalities.forms import look_at

        what = about.name or "the data"
        shape = tuple(map(int, x.shape))
        if len(shape) not in (3, 4):
            raise UsageError(f"{what} has shape {shape}: give images as (N, H, W), (N, C, H, W) or (N, H, W, C)")
        told = labels(y, shape[0], about.class_names, what)
        form = look_at(x, vectors=False, layout=about.layout, what=what, black=about.black, white=about.white,
                       alpha=about.alpha)  # fmt: skip
        spec = DataSpec.image(*form.shape, levels=form.levels, classes=told.classes, class_names=told.names,
                              name=about.name)  # fmt: skip
        rows = arrays.stored(x, form, about.memory)
        found = Data(spec, rows, told.y, about.name, about.license, about.split, read=UNKNOWN.noting(*form.notes))
        return told.conditioned(found)

    def read_samples(self, path: Path, spec: DataSpec, **options: Any) -> Data:
        """All images of a folder, in the data's colours where nothing is said, with the classes that folders name."""
        from genzoo.core.options import coerce_all, options_of
        from genzoo.plugins.datasets.folder import Folder
        from genzoo.plugins.modalities.sampled import asked_for

        if not self.opens(path):
            return super().read_samples(path, spec)
        given = {"mode": _mode(spec), **options, "path": str(path)}
        try:
            found = Folder(Folder.Options(**coerce_all(options_of(Folder.Options), given, "samples"))).load("all")
        except UsageError as e:  # of this side the options have another name
            text = re.sub(r"--set data\.size=\w+", f"--set samples.size={_size(spec)}", str(e.args[0]))
            text = text.replace("--set data.", "--set samples.")
            raise UsageError(text) from None
        return asked_for(found, path, spec)

    def brought(self, samples: Data, spec: DataSpec, options: Mapping[str, Any]) -> Data:
        from genzoo.plugins.modalities.sampled import brought

        return brought(samples, {"mode": _mode(spec), **options})

    def advice(self, given: DataSpec, wanted: DataSpec) -> str:
        """The options that make one of the two like the other."""
        sizes = [_size(s) for s in (wanted, given)]
        modes = [_mode(s) for s in (wanted, given)]
        apart = [(name, two) for name, two in (("size", sizes), ("mode", modes)) if two[0] != two[1]]
        ours, theirs = (" ".join(f"--set {side}.{name}={two[i]}" for name, two in apart)
                        for i, side in enumerate(("samples", "data")))  # fmt: skip
        return f": bring them together with {ours}, or folders of data with {theirs}" if apart else ""

    def squash(self, spec: DataSpec, x: Tensor) -> Tensor:
        return x.tanh()

    def checked(self, spec: DataSpec, x: Tensor, who: str) -> Tensor:
        """Whole numbers are 8-bit pixels, as in data; floats lie in [0, 1], and are 0 or 1 where images are binary."""
        import torch

        from genzoo.core.data.rows import require_finite

        if spec.levels == 2 and x.is_floating_point() and not ((x == 0) | (x == 1)).all():
            raise UsageError(
                f"{who} is of binary images, and these are grey: give zeros and ones "
                "(--set data.binarize=static draws them)"
            )
        if x.dtype in (torch.uint8, torch.bool):
            return x
        low, high = require_finite(x, who)
        whole = not x.is_floating_point()
        if low < -1e-6 or high > (255 if whole else 1 + 1e-6):
            raise UsageError(
                f"the data for {who} has values from {low:.4g} to {high:.4g}: images are floats in [0, 1] or "
                "8-bit pixels"
            )
        return x.to(torch.uint8) if whole else x

    def judged(self, data: Data) -> Tensor:
        """As 8-bit pixels; of dynamically binarized data they are drawn once, by seed 0."""
        import torch

        from genzoo.core.data import to_model, to_units

        spec = data.spec
        if spec.levels is None or (spec.levels == 256 and not data.dynamic):
            x = data.x.cpu()
        elif data.dynamic:
            uniform = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(0))
            top = 255 if data.x.dtype == torch.uint8 else 1
            x = torch.lt(uniform * top, data.x.cpu()).to(torch.uint8) * 255
        else:
            x = to_units(spec, to_model(spec, data.x.cpu()))
        return self.to_storage(spec, x)

    def to_storage(self, spec: DataSpec, x: Tensor) -> Tensor:
        import torch

        from genzoo.core.data import to_pixels

        x = x.detach()
        return (x if x.dtype == torch.uint8 else to_pixels(spec, x)).cpu()

    def from_storage(self, spec: DataSpec, x: Tensor) -> Tensor:
        import torch

        return x.float().div_(255) if x.dtype == torch.uint8 else x.float()

    def array_dtype(self, spec: DataSpec) -> str:
        return "uint8" if spec.levels else "float32"

    def to_array(self, spec: DataSpec, x: Tensor, *, spare: bool = False) -> np.ndarray[Any, Any]:
        """8-bit pixels, or floats where the spec has no levels; overwriting ``x`` takes half the time."""
        import numpy as np

        from genzoo.core.data import to_pixels

        if not spec.levels:
            return super().to_array(spec, x)
        if not spare or x.device.type != "cpu":
            pixels: np.ndarray[Any, Any] = to_pixels(spec, x).cpu().numpy()
            return pixels
        numbers: np.ndarray[Any, Any] = x.numpy()  # NumPy, since torch would start threads beside the forward pass's
        with np.errstate(invalid="ignore"):  # NaN is 0
            np.multiply(numbers, 255, out=numbers)  # in [0, 1] already, as all images in data units are
            np.rint(numbers, out=numbers)
            return numbers.astype(np.uint8)

    def again(self, spec: DataSpec, x: Tensor) -> Tensor:
        from genzoo.core.data import to_pixels

        return (x >= 0.5).float() if spec.levels == 2 else to_pixels(spec, x).float() / 255

    def rounded(self, spec: DataSpec, x: Tensor) -> bytes | None:
        from genzoo.core.data import to_pixels

        return to_pixels(spec, x).numpy().tobytes()

    def write(self, path: Path, spec: DataSpec, n: int, batches: Iterator[tuple[Tensor, Tensor | None]]) -> None:
        from genzoo.core.data.labels import class_folders
        from genzoo.core.pictures import grids
        from genzoo.core.storage.files import creating_folder

        digits, i, places = max(len(str(n - 1)), 4), 0, class_folders(spec)
        with creating_folder(path) as temporary:
            for x, y in batches:
                for j, pixels in enumerate(grids.to_uint8(x)):
                    place = temporary if y is None else temporary / places[int(y[j])]
                    place.mkdir(exist_ok=True)
                    grids.image_of(pixels).save(place / f"{i:0{digits}d}.png")
                    i += 1

    def undrawn(self, spec: DataSpec, n: int) -> str:
        return f"a grid of {n:,} images is too large to look at" if n > LARGEST_GRID else ""

    def render(self, spec: DataSpec, x: Tensor) -> Tensor | None:
        return x

    def likelihood(self, spec: DataSpec) -> str:
        if spec.levels == 2:
            return "bernoulli"
        return "discretized-logistic" if spec.levels else "gaussian"

    def network(self, kind: str) -> str:
        return "conv"

    def extractor(self, spec: DataSpec) -> str:
        """A classifier for what has the form of Fashion-MNIST, wavelets for the rest."""
        return "fashion-classifier" if spec.shape == (1, 28, 28) else "scattering"

    def damages(self) -> Mapping[str, Damage]:
        return {
            "blur": Damage("blur", "Gaussian blur with σ of 0.6 and 1.5 pixels", _blurred),
            "noise": Damage("noise", "Gaussian noise with σ of .05 and .2 of full scale", _noisy),
        }

    def examples(self, classes: int = 0) -> Sequence[DataSpec]:
        return (DataSpec.image(1, 16, 16, classes=classes), DataSpec.image(3, 11, 9, classes=classes))


def _mode(spec: DataSpec) -> str:
    """What a folder calls the colours of a spec."""
    return {1: "grey", 3: "colour"}.get(spec.shape[0], "auto")


def _size(spec: DataSpec) -> str:
    """What a folder calls the size of a spec."""
    height, width = spec.shape[1:]
    return str(height) if height == width else f"{height}x{width}"


def _blurred(x: Tensor, degree: str, random: torch.Generator) -> Tensor:
    import torch
    from torch.nn import functional as F

    sigma = 0.6 if degree == "slight" else 1.5
    line = torch.arange(-5, 6.0)
    kernel = torch.exp(-0.5 * (line / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1, 1, 1)
    image = F.pad(x.float(), (5, 5, 5, 5), mode="reflect")
    image = F.conv2d(image, kernel, groups=x.shape[1])
    return _eight_bit(F.conv2d(image, kernel.transpose(2, 3), groups=x.shape[1]))


def _noisy(x: Tensor, degree: str, random: torch.Generator) -> Tensor:
    import torch

    sigma = 0.05 if degree == "slight" else 0.2
    return _eight_bit(x + 255 * sigma * torch.randn(x.shape, generator=random))


def _eight_bit(x: Tensor) -> Tensor:
    import torch

    return x.round().clamp(0, 255).to(torch.uint8)

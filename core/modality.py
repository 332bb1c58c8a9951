"""The kind of data: one object answers everything that differs between images, vectors, tables, texts and sounds.

`of` is the one place where code gets at it: ``of(spec).picture(spec, x)``. Importing this module costs no torch,
nor may importing a modality: what needs torch imports it inside its methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from genzoo.core import lookup
from genzoo.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from PIL import Image
    from torch import Tensor

    from genzoo.core.coding.whole import Whole
    from genzoo.core.data import Data
    from genzoo.core.model import Model
    from genzoo.core.pictures.drawing import Drawing
    from genzoo.core.selection import Selection
    from genzoo.core.spec import DataSpec

Batches = "Iterator[tuple[Tensor, Tensor | None]]"  # observations in data units, and labels
Spoil = Callable[["Tensor", str, "torch.Generator"], "Tensor"]


@dataclass(frozen=True)
class Reading:
    """What a user said of an array that is to become data."""

    name: str = ""  # for people, records and presets
    class_names: tuple[str, ...] = ()  # also says how many there are
    license: str = ""
    split: str = "train"
    memory: int | None = None  # bytes that observations may take; None takes up to half of what is free
    layout: str | None = None  # where images have their channels, ``first`` or ``last``; None finds out
    black: float | None = None  # the number that is black; None goes by the range
    white: float | None = None  # likewise
    alpha: bool = False  # keep a fourth channel, and not composite on white
    standardize: bool = True  # give real numbers a model space of mean 0 and standard deviation 1
    sure: bool = False  # the modality was named by the user, not recognized


@dataclass(frozen=True)
class Fragment:
    """Observations as a web page shows them."""

    content: Image.Image | Drawing | str  # a picture of few pixels, a vector drawing, or HTML that is safe as it is
    alt: str = ""  # what it shows beyond "60 samples of NAME", for those who cannot see it
    caption: str = ""  # a sentence about it


@dataclass(frozen=True)
class Damage:
    """A way to spoil observations, for the table of what metrics notice."""

    title: str
    what: str  # the two degrees in words
    spoil: Spoil  # takes rows as stored (N, …), ``slight`` or ``heavy``, and a generator; gives rows as stored


class Modality(ABC):
    """Base of the registry's kind ``modality``.

    Three forms of an observation are told apart. *Stored*: what `Data.rows` holds, uint8 where the spec has levels
    and float32 otherwise. *Model space*: what networks see, float32 ``(B, *spec.shape)``. *Data units*: what people
    give and get. The methods here tie them by ``units = model * scale + shift``; another modality overrides
    `from_rows`, `to_model` and `to_units` together, which is also where a transform (a spectrogram, one-hot blocks)
    has its place.
    """

    name: ClassVar[str]  # as registered
    one: ClassVar[str] = "observation"  # in a word, ``image``
    many: ClassVar[str] = "observations"  # several of them, ``images``
    like: ClassVar[str] = ""  # another modality whose presets are used where a recipe has none for this one
    task: ClassVar[str] = ""  # what the Hub calls generating such data, "" if it has no word
    bounds: ClassVar[tuple[float, float] | None] = None  # least and greatest number in data units
    pixels: ClassVar[bool] = False  # observations are pictures, (channels, height, width) in [0, 1]
    renders: ClassVar[bool] = False  # `render` makes a small picture of each observation
    reads: ClassVar[bool] = False  # `lines` has all of an observation, so that lines are looked at one by one
    preview: ClassVar[int] = 64  # samples in a card's picture
    suffixes: ClassVar[tuple[str, ...]] = ()  # of files that `write` writes, beside .npz and pictures; "/" is a folder
    lossy: ClassVar[tuple[str, ...]] = ()  # those of `suffixes` that are heard or seen alike, with other numbers
    general: ClassVar[str] = "raw"  # an extractor that was trained on nothing, and so sees what no training showed
    units: ClassVar[str] = "the data's own units"  # in words, for whoever calls an exported program
    needs: ClassVar[tuple[str, ...]] = ()  # extras of genzoo without which it reads and writes no files
    gives: ClassVar[str] = ""  # what `presented` gives, in words, where that is no tensor
    held: ClassVar[str] = ""  # data set that reads what of this kind is in memory, and has options; "" is `read`
    asks: ClassVar[str] = ""  # what somebody types to give an observation, see `typed`; "" where nothing is typed

    @dataclass(frozen=True)
    class Facts:
        """What a spec of this kind says beyond shape, levels and classes: nothing."""

    def facts(self, given: Any) -> dict[str, Any]:
        """Facts as `DataSpec.facts` holds them; raises `UsageError` for one that is unknown or of another type."""
        from genzoo.core.options import options_of
        from genzoo.core.storage.strict import exact

        return exact(options_of(self.Facts), given, "data.facts")

    def check(self, spec: DataSpec) -> None:  # noqa: B027
        """Raise `UsageError` if shape, levels or facts make no sense for this kind."""

    def describe(self, spec: DataSpec) -> str:
        """What the observations are, in words: ``images of 1×28×28 (channels, height, width)``."""
        return f"{self.many} of {'×'.join(map(str, spec.shape))} numbers"

    def unit_shape(self, spec: DataSpec) -> tuple[int, ...]:
        """Shape of one observation in data units; another than ``spec.shape`` where model space is a transform."""
        return spec.shape

    def shares(self, spec: DataSpec) -> Sequence[float]:
        """Shares of the classes among samples that are told none; nothing where they take turns."""
        return ()

    def exact(self, spec: DataSpec) -> bool:
        """Whether data units survive the way to model space and back."""
        return True

    def stored(self, spec: DataSpec) -> str:
        """Type of stored rows, as torch calls it."""
        return "uint8" if spec.levels else "float32"

    def alike(self, spec: DataSpec, other: DataSpec) -> bool:
        """Whether observations of two specs, the first of this kind, are the same in data units."""
        return (spec.modality, spec.shape) == (other.modality, other.shape)

    def recast(self, data: Data, kinds: Sequence[str]) -> Data:
        """The same data as one of the kinds that a recipe is for, where this kind can be looked at as such."""
        return data

    def plane(self, spec: DataSpec) -> bool:
        """Whether observations are points of the plane, on which a critic can be drawn as a surface."""
        return False

    # What people give.

    def opens(self, path: Path) -> str:
        """Name of the data set that reads a file or a folder, "" if it is not of this kind. Torch-free."""
        return ""

    def reading(self, spec: DataSpec) -> dict[str, str]:
        """Options of a data set that reads people's files, by which observations come as this spec has them."""
        return {}

    def takes(self, x: Any) -> bool:
        """Whether something in memory (with ``shape`` and ``dtype``, or not) is of this kind where nothing is said."""
        return False

    @abstractmethod
    def read(self, x: Any, y: Any, about: Reading) -> Data:
        """Make data of what `takes` took, or of an array (which may read as it is indexed), and labels ``(N,)``.

        `UsageError` if it is not acceptable; one sentence that says what was found and what to do.
        """

    def read_samples(self, path: Path, spec: DataSpec, **options: Any) -> Data:
        """Read a file or folder of samples that is not made of arrays, whole; see `write` and `brought`."""
        raise UsageError(f"{path} holds no {self.many}: give samples as .npz")

    def samples(self, x: Any, name: str, spec: DataSpec) -> Data | None:
        """Samples in an array in data units, without labels, of the kind of a spec; None where `read` needs no spec."""
        return None

    def brought(self, samples: Data, spec: DataSpec, options: Mapping[str, Any]) -> Data:
        """Bring samples to the form of the data that they are judged against, as ``options`` of theirs say."""
        if options:
            raise UsageError(f"samples of {self.many} have no option {next(iter(options))!r}")
        return samples

    def as_known(self, data: Data, spec: DataSpec) -> Data:
        """Data as a model of ``spec`` takes them, where they are the same in another writing."""
        return data

    def advice(self, given: DataSpec, wanted: DataSpec) -> str:
        """What to add to a sentence that refuses samples of one shape beside data of another; "" if nothing helps."""
        return ""

    def lengths(self, spec: DataSpec, x: Tensor, *, characters: bool = False) -> Tensor | None:
        """Numbers (or characters) of each observation in data units ``(N,)``, its end counted; None if all have all."""
        return None

    def standardized(self, data: Data) -> Data:
        """Give real numbers a model space of mean 0 and standard deviation 1, where that is this kind's way."""
        return data

    def whole(self, model: Model, source: Any, out: Path) -> bool:
        """Write the reconstruction of a file whole, where the model takes any length; say whether it did."""
        return False

    def given(self, spec: DataSpec, x: Any) -> Any:
        """What is given to a model as numbers, where people have something else: texts as strings."""
        return x

    def presented(self, spec: DataSpec, x: Tensor) -> Any:
        """Data units ``(…, *spec.shape)`` as a model gives them to people, where these have something else."""
        return x

    def typed(self, spec: DataSpec, text: str) -> Tensor:
        """What somebody typed as one observation in data units ``(1, …)``; `UsageError` for what is none."""
        raise UsageError(f"{self.many} are not typed: give a file")

    # Stored form, model space, data units.

    def from_rows(self, spec: DataSpec, rows: Tensor) -> Tensor:
        """Stored rows ``(B, …)``, which may be changed, to model space. The trainer's hot path."""
        from genzoo.core.data.rows import rows_to_model

        return rows_to_model(spec, rows)

    def to_model(self, spec: DataSpec, x: Tensor) -> Tensor:
        """Data units, or uint8 as stored, ``(B, *spec.shape)`` to model space."""
        from genzoo.core.data.rows import numbers_to_model

        return numbers_to_model(spec, x)

    def to_units(self, spec: DataSpec, x: Tensor) -> Tensor:
        """Model space ``(B, *spec.shape)`` to data units, brought within `bounds`."""
        from genzoo.core.data.rows import numbers_to_units

        return numbers_to_units(spec, x, self.bounds)

    def told(self, spec: DataSpec, x: Tensor, y: Tensor | None) -> Tensor:
        """Samples in data units that were told labels ``y``, which may be changed to say them too."""
        return x

    def squash(self, spec: DataSpec, x: Tensor) -> Tensor:
        """Bring the free numbers of a GAN's generator to the range of model space."""
        return x

    def checked(self, spec: DataSpec, x: Tensor, who: str) -> Tensor:
        """Data units as given to a model, refused where they cannot be such data; ``who`` is the model in words."""
        from genzoo.core.data.rows import require_finite

        require_finite(x, who)
        return x

    def judged(self, data: Data) -> Tensor:
        """All observations of data as metrics keep them: see `to_storage`."""
        return self.to_storage(data.spec, data.x)

    def to_storage(self, spec: DataSpec, x: Tensor) -> Tensor:
        """Data units rounded as a saved file would have them, kept small, on the CPU."""
        return x.detach().float().cpu()

    def from_storage(self, spec: DataSpec, x: Tensor) -> Tensor:
        """What `to_storage` keeps, as float32 in data units."""
        return x.float()

    def to_array(self, spec: DataSpec, x: Tensor, *, spare: bool = False) -> np.ndarray[Any, Any]:
        """Data units as an ``.npz`` file holds them; with ``spare`` the memory of ``x`` may be overwritten."""
        found: np.ndarray[Any, Any] = x.float().cpu().numpy()
        return found

    def array_dtype(self, spec: DataSpec) -> str:
        """NumPy's name of what `to_array` gives."""
        return "float32"

    def again(self, spec: DataSpec, x: Tensor) -> Tensor:
        """Samples as they could be given back to a model: as saved, and of levels the likelier one."""
        return x

    def rounded(self, spec: DataSpec, x: Tensor) -> bytes | None:
        """Data units as bytes that a last bit does not change; None rounds to 1/4096 of model space."""
        return None

    def selection(self, spec: DataSpec, where: str | None = None) -> Selection | None:
        """Which samples of a model are wanted: those that a condition in words and the data's own rules ask for."""
        if where is not None:
            raise UsageError(f"--where is a condition on the columns of a table, and these are {self.many}")
        return None

    # What people get.

    def write(self, path: Path, spec: DataSpec, n: int, batches: Iterator[tuple[Tensor, Tensor | None]]) -> None:
        """Write observations to a file or folder of one of `suffixes` as they come, whole or not at all."""
        raise UsageError(f"{self.many} are not written to {path.name!r}")

    def lines(self, spec: DataSpec, x: Tensor) -> list[str]:
        """Observations as a terminal shows them, a string each; none where it shows nothing."""
        return []

    def undrawn(self, spec: DataSpec, n: int) -> str:
        """Why there is no picture of so many observations, "" if there is; before any is made."""
        return "" if self.renders else f"there is no picture of {self.many}"

    def render(self, spec: DataSpec, x: Tensor) -> Tensor | None:
        """A small picture of each observation, ``(N, C, H, W)`` in [0, 1] with 1 or 3 channels or the data's own."""
        return None

    def picture(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Image.Image | None:
        """Observations for files and cards, over reference observations where that shows anything; None if undrawn."""
        from genzoo.core.pictures.grids import grid

        small = self.render(spec, x)
        return None if small is None else grid(small, columns)

    def fragment(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Fragment | None:
        """Observations for a web page; None if there is no way to show them."""
        from genzoo.core.pictures.grids import grid

        small = self.render(spec, x)
        if small is None:
            return None
        across = f", {columns} in a row" if columns else ""
        return Fragment(grid(small, columns, gap=1, least=1, clear=True), across)

    def complaint(self, spec: DataSpec, x: Tensor) -> str:
        """What is plainly wrong with samples of this kind in data units, in a sentence; "" if nothing is."""
        return ""

    # What is compressed: rows that a model codes, and what they lose of what was given, for kinds whose rows lose any.

    def lossless(self, spec: DataSpec, given: Any) -> Whole | None:
        """A file's path, `Data` or something in memory as what is compressed; None if stored rows lose nothing."""
        return None

    def restored(self, spec: DataSpec, whole: Whole) -> Any:
        """What was given, of what `lossless` made, exactly; rows are in model space."""
        raise NotImplementedError

    def write_whole(self, path: Path, spec: DataSpec, whole: Whole) -> None:
        """Write it to a file of one of `suffixes`."""
        raise NotImplementedError

    # What fits it.

    def likelihood(self, spec: DataSpec) -> str:
        """Name of the likelihood where nobody names one."""
        return "gaussian"

    def network(self, kind: str) -> str:
        """Name of the generator, encoder or critic where nobody names one."""
        return "mlp"

    def extractor(self, spec: DataSpec) -> str:
        """Name of the extractor that fits and needs nothing that does not ship."""
        return "raw"

    # What it is tried on.

    def damages(self) -> Mapping[str, Damage]:
        """Ways to spoil such data, by name."""
        return {}

    @abstractmethod
    def examples(self, classes: int = 0) -> Sequence[DataSpec]:
        """Small data that entries for this kind are tried on; the first is the usual one. Torch-free."""

    def random(self, spec: DataSpec, n: int, seed: int = 0, *, units: bool = False) -> Tensor:
        """Random observations in model space, float32 ``(n, *spec.shape)``; in data units the same everywhere."""
        from genzoo.core.data.rows import random_numbers

        x = random_numbers(spec, n, seed, whole=units)
        return self.to_units(spec, x) if units else x


_known: dict[str, Modality] = {}


def of(spec: DataSpec | str) -> Modality:
    """The modality of a spec, or of that name; raises `UsageError` if there is none."""
    if (name := spec if isinstance(spec, str) else spec.modality) not in _known:
        _known[name] = import_module(lookup.modalities).named(name)
    return _known[name]


def every() -> list[Modality]:
    """All modalities there are, genzoo's own first."""
    return [of(name) for name in import_module(lookup.modalities).names()]


def recognized(x: Any, what: str) -> Modality:
    """The modality of something in memory; raises `UsageError` if it is of none, or of several."""
    found = [m for m in every() if m.takes(x)]
    if len(found) == 1:
        return found[0]
    if found:
        several = " or ".join(m.many for m in found)
        raise UsageError(f"{what} could be {several}: say which, --set data.modality={found[0].name}")
    raise UsageError(
        f"{what} has shape {tuple(x.shape)}: give images as (N, H, W), (N, C, H, W) or (N, H, W, C), vectors as (N, D)"
        if getattr(x, "shape", None) is not None
        else f"{what} is a {type(x).__name__}, which is none of {', '.join(m.many for m in every())}"
    )

"""A composition by value: everything needed to build the networks again, as plain data, torch-free."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.options import option, options_of
from genzoo.core.spec import DataSpec, Latent
from genzoo.core.storage import strict

KINDS = (
    "objective",
    "generator",
    "encoder",
    "critic",
    "likelihood",
    "posterior",
    "prior",
)  # of parts: one of each
LISTS = ("regularizer", "augmentation")  # any number of each
CONFIG = "config.json"
LARGEST = 2**24  # bytes of config.json: a table's holds the names of its categories
FORMAT = 2  # of config.json; every format ever released loads for ever, and the oldest that can say it is written


@dataclass(frozen=True)
class Part:
    """One component by its registered name, with every option by value."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    plugin: str = ""
    distribution: str = ""
    version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        options = {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}
        return {**self.__dict__, "options": options}

    @classmethod
    def from_dict(cls, data: Any, kind: str = "part") -> Part:
        """Rebuild from `to_dict`'s output, or raise UsageError; options are checked when the class is known."""
        text = {k: v for k, v in strict.table(data, kind, cls, needed=("name", "options")).items() if k != "options"}
        for key, value in text.items():
            strict.text(value, f"{kind}.{key}")
        if not re.fullmatch(r"[\w.+-]+(:[\w.+-]+)?", data["name"]):
            raise UsageError(f"{kind}.name must be NAME or PLUGIN:NAME, not {data['name'][:80]!r}")
        return cls(**text, options=strict.plain_options(data["options"], f"{kind}.options"))


# Steps of training: fewer teach a model next to nothing; the least that a recipe takes by itself; what is advised.
FEW_STEPS, LEAST_STEPS, MANY_STEPS = 120, 2000, 5000

NORMAL = "normal"  # posterior and prior where a composition names none
_SINCE_2 = ("posterior", "prior", *LISTS)


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained: everything that is neither mathematics nor architecture."""

    steps: int = option(0, "training steps; 0 takes epochs instead", low=0)
    epochs: float = option(10.0, "passes over the data, where steps is 0", low=0)
    batch_size: int = option(64, "observations per turn, over all processes", low=1)
    accumulate: int = option(1, "parts that a batch is computed in, to save memory", low=1)
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = option("adam", "how parameters move")
    lr: float | tuple[float, float] = option(1e-3, "learning rate; START,END follows train.schedule", low=0)
    betas: tuple[float, float] = option(
        (0.9, 0.999), "Adam's decay rates of both moments; the first is sgd's momentum", low=0, high=0.999999
    )
    beta2: float | tuple[float, float] | None = option(
        None, "Adam's second decay rate, over that in betas; START,END follows train.schedule", low=0, high=0.999999
    )
    weight_decay: float | tuple[float, float] = option(
        0.0, "L2 penalty (decoupled for adamw); START,END follows train.schedule", low=0
    )
    schedule: Literal["constant", "cosine", "linear"] = option(
        "constant", "how the learning rate falls to zero, and options given as START,END get to their end"
    )
    warmup: int = option(0, "steps over which the learning rate rises from zero", low=0)
    clip: float = option(0.0, "largest gradient norm, 0 for no limit", low=0)
    skip_above: float = option(0.0, "gradient norm above which a turn's update is left out, 0 for never", low=0)
    sampling: Literal["uniform", "length", "balanced", "log-frequency"] = option(
        "uniform",
        "how often observations are visited: all alike, likewise with those of like length in a batch, "
        "all classes alike, or by the log of a class's size",
    )
    class_weights: Literal["none", "balanced"] | tuple[float, ...] = option(
        "none", "weight of a class's observations in the losses: none, balanced, or a number for each class", low=0
    )
    average: float | tuple[float, float] = option(
        0.0, "half-life in observations of the moving average, 0 for none; START,END follows train.schedule", low=0
    )
    validation: float = option(0.0, "share of the training data held out, or a number of observations", low=0)
    validate_every: int = option(0, "steps between held-out losses, 0 for once per epoch (and no less than 50)", low=0)
    patience: int = option(
        0, "held-out losses in a row without a better one that end training, with the best model; 0 for never", low=0
    )
    private: float = option(
        0.0, "ε of differential privacy that all steps spend, 0 for none; needs genzoo[private]", low=0
    )
    delta: float = option(1e-5, "δ of differential privacy: the chance that ε does not hold", low=1e-15, high=0.1)
    log_every: int = option(50, "steps between lines of the log", low=1)
    sample_every: int = option(0, "steps between sample pictures, 0 for ten in a run", low=0)
    checkpoint_every: int = option(0, "steps between checkpoints, 0 for every five minutes", low=0)
    keep: int = option(2, "checkpoints kept", low=1)


@dataclass(frozen=True)
class Config:
    """What was built and how it was trained."""

    recipe: str  # name of the recipe it began as, for people
    data: DataSpec
    latent: Latent
    conditional: bool  # the networks are told class labels and conditions, whichever the data give
    parts: dict[str, Part]  # kind (one of `KINDS`) to component; no posterior or prior means the `NORMAL` one
    train: TrainOptions
    lists: dict[str, tuple[Part, ...]] = field(default_factory=dict)  # kind (one of `LISTS`) to components, in order

    @property
    def classes(self) -> int:
        """Classes that the networks are conditioned on, 0 if unconditional."""
        return self.data.classes if self.conditional else 0

    @property
    def conditions(self) -> int:
        """Numbers that the networks are conditioned on, 0 if there are none."""
        return len(self.data.conditions) if self.conditional else 0

    def components(self) -> Iterator[tuple[str, Part]]:
        """Every component with its kind: `parts`, then those of `lists`."""
        yield from self.parts.items()
        for kind, several in self.lists.items():
            for part in several:
                yield kind, part

    def component(self, kind: str, name: str) -> Part | None:
        """The component of a kind, and of a name where there may be several; None if there is none."""
        return self.parts.get(kind) or next((p for p in self.lists.get(kind, ()) if p.name == name), None)

    def flat(self) -> dict[str, Any]:
        """Every value by dotted name, as ``options`` of `genzoo.fit` take it: parts by kind, then their options."""
        found: dict[str, Any] = {}
        for kind, part in self.parts.items():
            found |= {kind: part.name} | {f"{kind}.{k}": v for k, v in part.options.items()}
        for kind, several in self.lists.items():
            found[kind] = tuple(p.name for p in several)
            found |= {f"{kind}.{p.name}.{k}": v for p in several for k, v in p.options.items()}
        found["conditional"] = self.conditional
        found |= {f"latent.{k}": v for k, v in self.latent.__dict__.items()}
        return found | {f"train.{k}": v for k, v in self.train.__dict__.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        new = bool(self.lists or self.data.facts) or any(kind in self.parts for kind in _SINCE_2)
        train = {k: list(v) if isinstance(v, tuple) else v for k, v in self.train.__dict__.items()}
        return {
            "format": FORMAT if new else 1,
            "recipe": self.recipe,
            "data": self.data.to_dict(),
            "latent": self.latent.to_dict(),
            "conditional": self.conditional,
            **{kind: part.to_dict() for kind, part in self.parts.items()},
            **{kind: [part.to_dict() for part in several] for kind, several in self.lists.items()},
            "train": train,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        """Rebuild from `to_dict`'s output; raises UsageError if it is none.

        Nothing is guessed or left out: unknown keys, values of another type (``"32"`` for 32), numbers out of
        range and texts that would act on a terminal are refused.
        """
        known = {"format", "recipe", "data", "latent", "conditional", "train", *KINDS, *LISTS}
        strict.table(data, "it", known, needed=("recipe", "data", "latent", "conditional", "objective", "train"))
        if not isinstance(data["conditional"], bool):
            raise UsageError("conditional must be true or false")
        return cls(
            recipe=strict.text(data["recipe"], "recipe"),
            data=_spec(data["data"]),
            latent=Latent(**strict.exact(options_of(Latent), data["latent"], "latent")),
            conditional=data["conditional"],
            parts={kind: Part.from_dict(data[kind], kind) for kind in KINDS if kind in data},
            train=TrainOptions(**strict.exact(options_of(TrainOptions), data["train"], "train")),
            lists={kind: _several(data[kind], kind) for kind in LISTS if kind in data},
        )


def _several(data: Any, kind: str) -> tuple[Part, ...]:
    """The components of a kind that may have several."""
    if not isinstance(data, list) or not 0 < len(data) <= MOST_LISTED:
        raise UsageError(f"{kind} must be a list of 1 to {MOST_LISTED} components")
    parts = tuple(Part.from_dict(part, kind) for part in data)
    for part in parts:
        if sum(p.name == part.name for p in parts) > 1:
            raise UsageError(f"{kind} has {part.name!r} twice")
    return parts


MOST_LISTED = 100
# Far beyond what anybody has, and far below what would take long to write down.
MOST_NUMBERS, MOST_CLASSES = 2**31, 2**20


def _spec(data: Any) -> DataSpec:
    """A `DataSpec` from its `to_dict`, with every type and size checked."""
    values = dict(strict.table(data, "data", DataSpec, needed=("modality", "shape")))
    modality = strict.text(values.pop("modality"), "data.modality")
    facts = of(modality).facts(values.pop("facts", {}))
    infos = [i for i in options_of(DataSpec) if i.name not in ("modality", "facts")]
    shape = values["shape"]
    if not isinstance(shape, list) or len(shape) > 8:
        raise UsageError("data.shape takes at most 8 whole numbers")
    spec = DataSpec(modality, **strict.exact(infos, values, "data"), facts=facts)
    if spec.size > MOST_NUMBERS:
        raise UsageError(f"data.shape asks for more than {MOST_NUMBERS:,} numbers in one observation")
    if spec.classes > MOST_CLASSES:
        raise UsageError(f"data.classes asks for more than {MOST_CLASSES:,} classes")
    for name in (spec.name, *spec.class_names, *spec.conditions):
        strict.text(name, "data's names")
    return spec


def read_config(folder: Path, *, within: Path | None = None) -> Config:
    """Read a folder's ``config.json``; raises `GenzooError` if it has none, or one of a later format."""
    return parse_config(read_content(folder, within), folder / CONFIG)


def read_content(folder: Path, within: Path | None) -> bytes:
    """Read a folder's ``config.json`` as bytes; raises `GenzooError` if there is none."""
    try:
        return strict.read_plain(folder / CONFIG, LARGEST, within)
    except FileNotFoundError:
        raise GenzooError(f"{folder} holds no weights: it has no {CONFIG}") from None


def parse_config(content: bytes, path: Path) -> Config:
    """Read the content of a ``config.json``; raises `GenzooError`, with its path, if it is none."""
    try:
        raw = strict.parse_json(content)
        if not isinstance(raw, dict):
            raise ValueError("it is no object")
        number = raw.get("format")
        if type(number) is not int or number < 1:
            raise ValueError("it says no format" if number is None else "its format is no whole number from 1")
        if number > FORMAT:
            raise GenzooError(f"{path} has format {number}, and this genzoo reads up to {FORMAT}: upgrade it")
        return Config.from_dict(raw)
    except (UsageError, ValueError) as e:
        raise GenzooError(f"{path} is no genzoo config: {strict.one_line(str(e))}") from None

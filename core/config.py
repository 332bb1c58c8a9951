"""A composition by value: everything needed to build the networks again, as plain data, torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from genzoo.core.errors import UsageError
from genzoo.core.options import coerce_all, option, options_of
from genzoo.core.spec import DataSpec, Latent

FORMAT = 1  # of config.json; every format ever released loads for ever


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
    def from_dict(cls, data: dict[str, Any]) -> Part:
        """Rebuild from `to_dict`'s output."""
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in data["options"].items()}
        return cls(**{**data, "options": options})


KINDS = ("objective", "generator", "encoder", "critic", "likelihood")


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained: everything that is neither mathematics nor architecture."""

    steps: int = option(0, "training steps; 0 takes epochs instead", low=0)
    epochs: float = option(10.0, "passes over the data, where steps is 0", low=0)
    batch_size: int = option(64, "observations per turn, over all processes", low=1)
    accumulate: int = option(1, "parts that a batch is computed in, to save memory", low=1)
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = option("adam", "how parameters move")
    lr: float = option(1e-3, "learning rate", low=0)
    betas: tuple[float, float] = option(
        (0.9, 0.999), "Adam's decay rates of both moments; the first is sgd's momentum", low=0, high=0.999999
    )
    weight_decay: float = option(0.0, "L2 penalty (decoupled for adamw)", low=0)
    schedule: Literal["constant", "cosine", "linear"] = option("constant", "how the learning rate falls to zero")
    warmup: int = option(0, "steps over which the learning rate rises from zero", low=0)
    clip: float = option(0.0, "largest gradient norm, 0 for no limit", low=0)
    average: float = option(0.0, "half-life in observations of the model's moving average, 0 for none", low=0)
    validation: float = option(0.0, "share of the training data held out, or a number of observations", low=0)
    validate_every: int = option(0, "steps between held-out losses, 0 for once per epoch (and no less than 50)", low=0)
    log_every: int = option(50, "steps between lines of the log", low=1)
    sample_every: int = option(0, "steps between sample pictures, 0 for ten in a run", low=0)
    checkpoint_every: int = option(0, "steps between checkpoints, 0 for every five minutes", low=0)
    keep: int = option(2, "checkpoints kept", low=1)


@dataclass(frozen=True)
class Config:
    """What was built and how it was trained.

    Attributes:
        recipe: name of the recipe it began as, for people.
        data: what an observation is.
        latent: the code space.
        conditional: whether the networks take class labels.
        parts: kind (objective, generator, encoder, critic, likelihood) to component.
        train: values of `TrainOptions`.
    """

    recipe: str
    data: DataSpec
    latent: Latent
    conditional: bool
    parts: dict[str, Part]
    train: TrainOptions

    @property
    def classes(self) -> int:
        """Classes that the networks are conditioned on, 0 if unconditional."""
        return self.data.classes if self.conditional else 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        train = {k: list(v) if isinstance(v, tuple) else v for k, v in self.train.__dict__.items()}
        return {
            "format": FORMAT,
            "recipe": self.recipe,
            "data": self.data.to_dict(),
            "latent": dict(self.latent.__dict__),
            "conditional": self.conditional,
            **{kind: part.to_dict() for kind, part in self.parts.items()},
            "train": train,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        """Rebuild from `to_dict`'s output; raises KeyError, TypeError or UsageError if it is none."""
        known = {"format", "recipe", "data", "latent", "conditional", "train", *KINDS}
        unknown = sorted(set(data) - known)
        if unknown:
            raise UsageError(f"it says {unknown[0]!r}, which this genzoo does not know")
        if not isinstance(data["conditional"], bool) or not isinstance(data["recipe"], str):
            raise UsageError("recipe must be text, and conditional true or false")
        return cls(
            recipe=data["recipe"],
            data=DataSpec.from_dict(data["data"]),
            latent=Latent(**coerce_all(options_of(Latent), data["latent"], "latent")),
            conditional=data["conditional"],
            parts={kind: Part.from_dict(data[kind]) for kind in KINDS if kind in data},
            train=TrainOptions(**coerce_all(options_of(TrainOptions), data["train"], "train")),
        )

"""The kinds of things in the zoo: one table, from which whatever treats them by kind derives. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from genzoo.core.parts import KINDS as OF_ONE
from genzoo.core.parts import LISTS as OF_MANY

SINGLE, LISTS = OF_ONE, OF_MANY  # kinds that a composition has one of at most, and any number of


@dataclass(frozen=True)
class Kind:
    """One kind of entry.

    Attributes:
        name: what ``genzoo list`` and the `Registrar`'s method call it.
        help: what it is, in half a line.
        base: ``package.module:Class`` that its classes derive from; empty where any class will do.
        methods: what an author writes of that class.
        target: what an entry names: a ``class``, a ``folder`` beside a module, ``any`` object, or ``nothing``.
        options: whether its classes have ``Options``.
        prefix: what its options are set by, ``prefix.NAME``; ``*`` stands for the entry's name.
        plain: whether it is registered by a name, a target and an `About` alone.
    """

    name: str
    help: str
    base: str = ""
    methods: tuple[str, ...] = ()
    target: Literal["class", "folder", "any", "nothing"] = "class"
    options: bool = True
    prefix: str = ""
    plain: bool = True

    @property
    def single(self) -> bool:
        """Whether a composition has one at most."""
        return self.name in SINGLE

    @property
    def listed(self) -> bool:
        """Whether a composition has any number of them."""
        return self.name in LISTS

    @property
    def declared(self) -> bool:
        """Whether a decorator, or for recipes a statement, registers it."""
        return self.target in ("class", "nothing")


TABLE = {
    kind.name: kind
    for kind in (
        Kind("recipe", "objective, networks and options that train together", target="nothing", plain=False),
        Kind("objective", "what training minimizes", "genzoo.core.objective:Objective",
             ("plan", "players", "draw", "loss", "after_step", "held_out"), prefix="objective", plain=False),
        Kind("generator", "network from codes to data", "genzoo.core.networks:Generator", ("forward",),
             prefix="generator"),
        Kind("encoder", "network from data to codes", "genzoo.core.networks:Encoder", ("forward",), prefix="encoder"),
        Kind("critic", "network that judges data", "genzoo.core.networks:Critic", ("forward",), prefix="critic"),
        Kind("likelihood", "distribution of data given the generator's output", "genzoo.core.likelihood:Likelihood",
             ("check", "log_prob", "mean", "sample"), prefix="likelihood"),
        Kind("posterior", "distribution of codes given data", "genzoo.core.posterior:PosteriorHead", ("forward",),
             prefix="posterior"),
        Kind("prior", "distribution of codes", "genzoo.core.prior:Prior", ("log_prob", "sample", "draw", "path"),
             prefix="prior"),
        Kind("regularizer", "term beside an objective's loss", "genzoo.core.regularizer:Regularizer",
             ("draw", "term", "after_step"), prefix="regularizer.*"),
        Kind("augmentation", "random view of data that critics see", "genzoo.core.augmentation:Augmentation",
             ("forward", "after_step"), prefix="augmentation.*"),
        Kind("modality", "kind of data", "genzoo.core.modality:Modality", ("read", "examples"), options=False),
        Kind("dataset", "data by name", "genzoo.core.data.dataset:DataSource", ("read",), prefix="data"),
        Kind("metric", "number that an evaluation measures", "genzoo.core.evaluation.evidence:Metric",
             ("measure", "refuses", "title"), prefix="*", plain=False),
        Kind("extractor", "features that metrics compare", "genzoo.core.evaluation.evidence:Extractor",
             ("open", "extract", "sha256"), prefix="extractor"),
        Kind("weights", "trained models", target="folder", options=False, plain=False),
        Kind("store", "place where weights are looked up", "genzoo.registry.weights.base:Store", options=False,
             plain=False),
        Kind("tracker", "place that training reports to", prefix="*"),
        Kind("command", "further command of genzoo", target="any", options=False, plain=False),
    )
}  # fmt: skip
KINDS = tuple(TABLE)
PARTS = (*SINGLE, *LISTS)  # what a composition is made of

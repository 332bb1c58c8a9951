"""The kinds of things in the zoo: one table, from which whatever treats them by kind derives. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Kind:
    """One kind of entry."""

    name: str  # what ``genzoo list`` and the `Registrar`'s method call it
    help: str  # what it is, in half a line
    base: str = ""  # ``package.module:Class`` that its classes derive from; empty where any class will do
    methods: tuple[str, ...] = ()  # what an author writes of that class
    target: Literal["class", "folder", "any", "nothing"] = "class"  # what an entry names; a folder beside a module
    options: bool = True  # whether its classes have ``Options``
    prefix: str = ""  # of its options, ``prefix.OPTION``, where it is no part; ``*`` stands for the entry's name
    part: Literal["", "one", "many"] = ""  # how many a composition has at most, if any
    reserved: tuple[str, ...] = ()  # names that only genzoo's own plugins may register
    more: str = ""  # what the `Registrar`'s method says of it beside that

    @property
    def group(self) -> str:
        """What stands before the names of its options; ``*`` for the entry's name, empty for none."""
        return {"one": self.name, "many": f"{self.name}.*"}.get(self.part, self.prefix)

    @property
    def declared(self) -> bool:
        """Whether a decorator, or for recipes a statement, registers it."""
        return self.target in ("class", "nothing")


# The commands of the program and of its apps, as the help lists them; no other plugin's can replace one. A test
# compares them with the program.
COMMANDS = (
    "list", "show", "recipe", "data", "train", "prior", "sample", "reconstruct", "interpolate", "encode", "complete",
    "augment", "score", "eval", "compare", "compress", "decompress",
    "diagnose", "plot", "bench", "weights", "pull", "push", "lock", "cache", "verify", "reproduce", "export",
    "explore", "plugins", "doctor", "quickstart", "help", "genzoo",
)  # fmt: skip
TABLE = {
    kind.name: kind
    for kind in (
        Kind("recipe", "objective, networks and options that train together", target="nothing"),
        Kind("objective", "what training minimizes", "genzoo.core.objective:Objective",
             ("plan", "players", "draw", "loss", "after_step", "held_out"), part="one"),
        Kind("generator", "network from codes to data", "genzoo.core.networks:Generator", ("forward",), part="one"),
        Kind("encoder", "network from data to codes", "genzoo.core.networks:Encoder", ("forward",), part="one"),
        Kind("critic", "network that judges data", "genzoo.core.networks:Critic", ("forward",), part="one"),
        Kind("likelihood", "distribution of data given the generator's output", "genzoo.core.likelihood:Likelihood",
             ("check", "log_prob", "mean", "sample"), part="one"),
        Kind("posterior", "distribution of codes given data", "genzoo.core.posterior:PosteriorHead", ("forward",),
             part="one"),
        Kind("prior", "distribution of codes", "genzoo.core.prior:Prior", ("log_prob", "sample", "draw", "path"),
             part="one"),
        Kind("regularizer", "term beside an objective's loss", "genzoo.core.regularizer:Regularizer",
             ("fits", "weight", "draw", "term", "generator_term", "rescaled", "after_step"), part="many"),
        Kind("augmentation", "random view of data that critics see", "genzoo.core.augmentation:Augmentation",
             ("draw", "forward", "stand_in", "after_step"), part="many"),
        Kind("modality", "kind of data", "genzoo.core.modality:Modality", ("read", "examples"), options=False),
        Kind("dataset", "data by name", "genzoo.core.data.dataset:DataSource", ("read",), prefix="data"),
        Kind("metric", "number that an evaluation measures", "genzoo.core.evaluation.evidence:Metric",
             ("measure", "refuses", "title"), prefix="*"),
        Kind("extractor", "features that metrics compare", "genzoo.core.evaluation.evidence:Extractor",
             ("open", "extract", "sha256"), prefix="extractor"),
        Kind("weights", "trained models", target="folder", options=False),
        Kind("store", "place where weights are looked up", "genzoo.registry.weights.base:Store", options=False,
             reserved=("hf", "dir"), more="``NAME:…`` is then looked up there."),
        Kind("tracker", "place that training reports to", prefix="*"),
        Kind("command", "further command of genzoo", target="any", options=False, reserved=COMMANDS,
             more="``genzoo NAME`` imports the target and runs it: ``\"my_pkg.cli:app\"``, a Typer app, or a function\n"
                  "whose typed arguments become the command's. The summary stands in ``genzoo --help``."),
    )
}  # fmt: skip
KINDS = tuple(TABLE)
SINGLE = tuple(k for k in TABLE if TABLE[k].part == "one")  # as `genzoo.core.config` has them
LISTS = tuple(k for k in TABLE if TABLE[k].part == "many")
DECLARED = tuple(k for k in TABLE if TABLE[k].declared)
PARTS = (*SINGLE, *LISTS)  # what a composition is made of

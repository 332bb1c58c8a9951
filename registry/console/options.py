"""Options that several commands have, each said once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from genzoo.core.errors import UsageError
from genzoo.core.notebook import shows_progress
from genzoo.registry.console.arguments import assignments


def _small(text: str | None) -> str | None:
    """A word of a few that there are: capitals do not count."""
    return None if text is None else text.lower()


AllowFewer = Annotated[bool, typer.Option("--allow-fewer", help="Write those that were found in --max-draws.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Observations at a time.")]
Count = Annotated[int | None, typer.Option("-n", "--n", help="Samples; default as many as data, to 10,000.")]
Data = Annotated[str, typer.Option(help="A data set's name, a folder, or a file.")]
Condition = Annotated[
    str | None, typer.Option(help="Numbers that all samples are conditioned on, such as 0.5,2.", metavar="A,B,…")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", callback=_small)]
Endpoint = Annotated[str | None, typer.Option(help="The Hub's address; default HF_ENDPOINT, or Hugging Face.")]
Extractor = Annotated[str | None, typer.Option(help="A name ('genzoo list extractor'), or your .onnx or .pt2 file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
MaxDraws = Annotated[
    int | None, typer.Option(min=1, help="Draws to look for --where among; default 1,000 for each, at least a million.")
]
Metrics = Annotated[str | None, typer.Option(help="Names or tags, comma-separated; 'genzoo list metric' shows them.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no features of the data on disk.")]
Noise = Annotated[bool, typer.Option("--noise", help="Draw from the likelihood, not its mean.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Seed = Annotated[int, typer.Option(help="Of samples and resampling.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any option: 'genzoo show RECIPE' has them."),
]
SetMetrics = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="METRIC.OPTION of a metric, data.OPTION of the data, samples.OPTION."
    ),
]
Source = Annotated[
    str | None, typer.Option(help="Where its training data is, if that is no data set of the zoo: a folder or file.")
]
Split = Annotated[
    str | None,
    typer.Option(
        help="train, test or all; default test where data have one, else all but what was trained on.", callback=_small
    ),
]
SplitOrAll = Annotated[
    str | None, typer.Option(help="train, test or all; default test where data have one, else all.", callback=_small)
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]
Temperature = Annotated[
    float | None, typer.Option(help="Of models of texts: below 1 likelier tokens, above 1 more varied ones.")
]
TopP = Annotated[
    float | None, typer.Option(help="Of such models: the likeliest tokens that have this share of the probability.")
]
Truncation = Annotated[float | None, typer.Option(help="Keep codes within this many standard deviations.")]
Where = Annotated[
    str | None, typer.Option(metavar="CONDITION", help="What all rows of a table meet: \"age > 40 AND sex = 'F'\".")
]
Weights = Annotated[
    str, typer.Argument(help="A name ('genzoo list weights'), hf:org/name@revision, a weights folder or a run's.")
]

Prior = Annotated[str | None, typer.Option(help="Prior, in place of the recipe's.")]
Given = Any  # of `composing`

# Parts in place of the recipe's.
PARTS = {
    "objective": Annotated[str | None, typer.Option(help="Objective, in place of the recipe's.")],
    "generator": Annotated[str | None, typer.Option(help="Generator (decoder) architecture.")],
    "encoder": Annotated[str | None, typer.Option(help="Encoder architecture.")],
    "critic": Annotated[str | None, typer.Option(help="Critic architecture.")],
    "likelihood": Annotated[str | None, typer.Option(help="Likelihood; default goes by the data.")],
    "posterior": Annotated[str | None, typer.Option(help="Posterior, in place of the recipe's.")],
    "prior": Prior,
    "regularizer": Annotated[
        list[str] | None, typer.Option(metavar="NAME[=NUMBER]", help="In place of the recipe's; or none.")
    ],
    "augmentation": Annotated[
        list[str] | None,
        typer.Option("--augmentation", "--augment", metavar="NAME[=NUMBER]", help="Likewise, of what critics see."),
    ],
    "conditional": Annotated[bool | None, typer.Option(help="Condition on the class label.")],
}


def composing(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take ``--set`` and an option for every part; its argument ``given`` gets what was said, by name."""
    signature = inspect.signature(command, eval_str=True)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    more = [inspect.Parameter(n, kind, default=None, annotation=a) for n, a in {"set_": Set, **PARTS}.items()]
    parameters = [q for p in signature.parameters.values() for q in (more if p.name == "given" else [p])]

    @functools.wraps(command)
    def call(**asked: Any) -> None:
        given = assignments(asked.pop("set_"))
        parts = {name: asked.pop(name) for name in PARTS}
        for name, value in parts.items():
            if value is not None and name in given:
                raise UsageError(f"{name} was given twice, with --{name} and with --set {name}: give it once")
        for name in ("steps", "epochs", "batch_size"):
            if asked.get(name) is not None and f"train.{name}" in given:
                raise UsageError(
                    f"{name} was given twice, with --{name.replace('_', '-')} and with --set train.{name}: give it once"
                )
        given |= {k: [] if v in (["none"], ["None"]) else v for k, v in parts.items() if v is not None}
        command(**asked, given=given)

    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def shown(quiet: bool) -> bool:
    """Whether progress is shown: not into a file or a pipe."""
    return not quiet and shows_progress()


def chosen(asked: Mapping[str, Any], names: str) -> dict[str, Any]:
    """Of a command's arguments those that a public call takes under the same names."""
    return {name: asked[name] for name in names.split()}

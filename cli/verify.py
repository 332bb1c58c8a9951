"""Commands that check and repeat trained models: verify, reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genzoo.core.errors import GenzooError, UsageError
from genzoo.registry.console import options as opt
from genzoo.registry.console.output import emit_json, hint, say, table

if TYPE_CHECKING:
    from genzoo.registry.weights.reproduce import Reproduction, Rerun
    from genzoo.registry.weights.verify import Check, Verification

Weights = Annotated[
    str, typer.Argument(metavar="WEIGHTS", help="A name ('genzoo list weights'), hf:org/name, a folder.")
]
Source = Annotated[
    str | None, typer.Option(help="Where its training data is, if that is no data set of the zoo: a folder or file.")
]
WORDS = {"good": "ok", "bad": "FAILED", "unknown": "-"}


def verify(
    weights: Annotated[
        list[str] | None, typer.Argument(metavar="WEIGHTS", help="Names ('genzoo list weights'), hf:org/name, folders.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All weights that have a name in the zoo.")] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="Measure what the card states, and compare.")] = False,
    data: Annotated[bool, typer.Option("--data", help="See that the training data here is the same.")] = False,
    source: Source = None,
    endpoint: opt.Endpoint = None,
    device: opt.Device = "cpu",
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Check weights: hashes, config, tensors, and that they still make what they made; exit 1 if anything is wrong.

    Example: genzoo verify wgan-gp/fashion-mnist --metrics
    """
    names = weights or []
    if bool(names) == all_:
        raise UsageError("say which weights to verify, or --all")
    if all_:
        from genzoo.registry import the_registry

        entries = the_registry().entries("weights")
        names = [f"{e.name}@{version}" for e in entries for version in e.data["versions"]]
        if not names:
            raise UsageError("there are no weights with a name in the zoo here")
    from genzoo.registry.weights.verify import verify as check

    how = opt.chosen(locals(), "metrics data source endpoint device")
    told, sentences, bad = list[dict[str, Any]](), list[str](), list[str]()
    for number, name in enumerate(names):
        if not json and len(names) > 1:
            say("\n" if number else "", name, flush=True)
        try:
            done = check(name, **how, progress=opt.shown(quiet), on_check=None if json else _tell)
            told.append(done.to_dict())
            sentences.append(_sentence(name, done))
            bad += [] if done.ok else [name]
        except GenzooError as e:
            if len(names) == 1 or isinstance(e, UsageError):
                raise
            told.append({"weights": name, "ok": False, "error": str(e)})
            bad.append(name)
            if not json:
                say(f"{'weights':17}{WORDS['bad']:8}{e}", flush=True)
    if json:
        emit_json(told[0] if len(told) == 1 else told)
    elif len(names) == 1:
        hint(sentences[0])
    elif bad:
        hint(f"genzoo: {len(bad)} of {len(names)} are not what they should be: {', '.join(bad)}")
    else:
        hint(f"genzoo: all {len(names)} are what they should be")
    if bad:
        raise typer.Exit(1)


def _tell(check: Check) -> None:
    """One line for a check, as soon as it is made."""
    say(f"{check.name:17}{WORDS[check.verdict]:8}{check.detail}", flush=True)


def _sentence(name: str, done: Verification) -> str:
    failed, unknown = (sum(c.verdict == verdict for c in done.checks) for verdict in ("bad", "unknown"))
    if failed:
        return f"genzoo: {name} is not what it should be: {failed} of {len(done.checks)} checks failed"
    rest = f", {unknown} that say nothing" if unknown else ""
    return f"genzoo: {name} is what it should be: {len(done.checks) - unknown} checks passed{rest}"


def reproduce(
    weights: Weights,
    out: Annotated[Path | None, typer.Option(help="New folder for the run; default reproduced/NAME.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many, compare the losses so far; --resume goes on.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with one that was interrupted.")] = False,
    source: Source = None,
    init: Annotated[str | None, typer.Option(help="Weights that training started from, if those moved.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default as recorded.")] = None,
    device: Annotated[str, typer.Option(help="auto (as recorded), cpu, cuda or mps.")] = "auto",
    no_metrics: Annotated[bool, typer.Option("--no-metrics", help="Do not measure the card's metrics.")] = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Train weights again as their record says, and compare with their card; exit 1 if they do not agree.

    Example: genzoo reproduce vae/fashion-mnist --out runs/again
    """
    from genzoo.registry.weights.reproduce import reproduce

    how = opt.chosen(locals(), "steps resume source init threads device") | {"metrics": not no_metrics}
    try:
        done = reproduce(weights, out, progress=opt.shown(quiet), on_plan=None if json else _plan, **how)
    except KeyboardInterrupt as e:
        if hasattr(e, "run"):
            hint(f"genzoo: stopped at step {e.run.steps}; go on with the same command and --resume")
        raise
    if json:
        emit_json(done.to_dict())
    else:
        _reproduced(done)
    if not done.finished:
        hint(f"genzoo: stopped at step {done.steps} of {done.of}; go on with the same command and --resume")
        raise typer.Exit(0 if steps is not None and done.steps >= steps else 130)
    if not done.ok:
        hint(f"genzoo: what came out is not what the card of {weights} says")
        raise typer.Exit(1)


def _plan(plan: Rerun) -> None:
    record, data = plan.record, plan.record.data.name or "unnamed data"
    took = f"{record.seconds or 0:,.0f} s on {record.hardware.get('name', 'unknown')}"
    hint(f"{plan.config.recipe} on {data}, seed {record.seed}, {record.steps:,} steps; recorded: {took}")
    if plan.differences:
        hint(f"not as it was: {'; '.join(plan.differences)}: the same bytes are not to be expected")


def _reproduced(done: Reproduction) -> None:
    rows = []
    if done.same_bytes is not None:
        other = f"another file; samples: {done.samples or 'unknown'}"
        text = "the same file, byte for byte" if done.same_bytes else other
        rows.append(["weights", WORDS["good" if done.same_bytes else "unknown"], text])
    if done.curve is not None:
        same = "the same numbers" if done.curve == 0 else f"at most {done.curve:.2%} apart"
        rows.append(["losses", WORDS["good" if done.curve == 0 else "unknown"], f"on the way: {same}"])
    for m in done.metrics:
        verdict = "unknown" if m.agrees is None else "good" if m.agrees else "bad"
        rows.append([m.metric, WORDS[verdict], m.why])
    table(rows)
    say(done.folder)


COMMANDS = {"verify": verify, "reproduce": reproduce}

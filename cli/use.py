"""Commands that use, judge and check weights: sample, reconstruct, interpolate, encode, eval, verify, reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genzoo.core.distributed import env
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.protocol import Protocol
from genzoo.core.storage.strict import one_line
from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import checked, in_processes, opened
from genzoo.registry.console.output import emit_json, hint, say, table, written

if TYPE_CHECKING:
    from genzoo.registry.weights.reproduce import Reproduction, Rerun
    from genzoo.registry.weights.verify import Check, Verification

Named = Annotated[str, typer.Argument(metavar="WEIGHTS", help="A name ('genzoo list weights'), hf:org/name, a folder.")]
WORDS = {"good": "ok", "bad": "FAILED", "unknown": "-"}
OutPicture = Annotated[Path, typer.Option(help="A .png or .npz file.")]


def sample(
    weights: opt.Weights,
    out: Annotated[
        Path | None,
        typer.Option(
            help=".png for a grid, .npz for arrays, a folder for one picture each; texts and rows are shown without."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 64,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples.")] = 0,
    label: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class of all samples, by name or number; default: all in turn.")
    ] = None,
    condition: opt.Condition = None,
    truncation: opt.Truncation = None,
    noise: opt.Noise = False,
    where: opt.Where = None,
    max_draws: opt.MaxDraws = None,
    allow_fewer: opt.AllowFewer = False,
    temperature: opt.Temperature = None,
    top_p: opt.TopP = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 256,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine that share the work.")] = None,
    device: opt.Device = "auto",
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Draw samples from a model.

    Example: genzoo sample cvae/fashion-mnist --label Sneaker --out shoes.png
    """
    asked = locals()
    in_processes(devices)
    from genzoo.registry.verbs import sample as results

    how = opt.chosen(asked, "seed truncation noise where temperature top_p batch_size device")
    how |= {"condition": None if condition is None else _numbers(condition)}
    if out is None:
        shown = results.shown(weights, n, labels=label, **how)
        return emit_json({"samples": shown}) if json else say("\n".join(shown))
    how |= opt.chosen(asked, "max_draws allow_fewer") | {"progress": opt.shown(quiet), "say": hint}
    written(results.sample(weights, out, n, labels=label, **how), json)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--condition takes numbers such as 0.5,2, not {text!r}") from None


def reconstruct(
    weights: opt.Weights,
    data: opt.Data,
    out: OutPicture,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 16,
    split: opt.Split = None,
    seed: Annotated[int | None, typer.Option(help="Draw codes by this seed instead of taking their mean.")] = None,
    set_: opt.Set = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Show data above what a model makes of it.

    Example: genzoo reconstruct vae/emoji --data emoji --out pairs.png
    """
    from genzoo.core.data.summary import was_read
    from genzoo.registry.verbs import sample as results

    if results.wrote_whole(model := results.needs_encoder(weights, device), data, out, seed, set_):
        return written(out, json)
    found = opened(data, split, set_, model)
    written(results.reconstruct(model, found, out, n, seed=seed), json, read=was_read(found))


def interpolate(
    weights: opt.Weights,
    out: OutPicture,
    n: Annotated[int, typer.Option("-n", "--number", help="How many paths.")] = 8,
    steps: Annotated[int, typer.Option(help="Points on each path, both ends included.")] = 10,
    straight: Annotated[bool, typer.Option("--straight", help="Straight lines instead of great circles.")] = False,
    seed: Annotated[int, typer.Option(help="Of the codes at both ends.")] = 0,
    data: Annotated[str | None, typer.Option(help="Data whose codes are the ends, instead of random ones.")] = None,
    split: opt.Split = None,
    label: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class of all paths; default gives each row another.")
    ] = None,
    from_label: Annotated[str | None, typer.Option(metavar="CLASS", help="Class that all paths start from.")] = None,
    to_label: Annotated[str | None, typer.Option(metavar="CLASS", help="Class that all paths go to.")] = None,
    set_: opt.Set = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Show paths between codes, one per row.

    Example: genzoo interpolate vae/fashion-mnist --out paths.png
    """
    from genzoo.core.data.summary import was_read
    from genzoo.registry.verbs import sample as results

    asked = locals()
    model = results.needs_encoder(weights, device) if data else weights
    ends = opened(data, split, set_, model) if data else None
    way = "straight" if straight else "prior"
    how = opt.chosen(asked, "steps seed label from_label to_label device") | {"path": way, "data": ends}
    written(results.interpolate(model, out, n, **how), json, **({"read": was_read(ends)} if ends else {}))


def encode(
    weights: opt.Weights,
    data: opt.Data,
    out: Annotated[Path, typer.Option(help="An .npz or .csv file: codes, names of files, labels if any.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many; 0 for all.")] = 0,
    split: opt.Split = None,
    seed: Annotated[int | None, typer.Option(help="Draw codes by this seed instead of taking their mean.")] = None,
    set_: opt.Set = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Turn data into latent codes.

    Example: genzoo encode vae/emoji --data emoji --out codes.npz
    """
    from genzoo.core.data.summary import was_read
    from genzoo.registry.verbs import sample as results

    model = results.needs_encoder(weights, device)
    found = opened(data, split, set_, like=model)
    written(results.encode(model, found, out, n, seed=seed), json, read=was_read(found))


def evaluate(
    subject: Annotated[
        str, typer.Argument(metavar="WEIGHTS", help="A weights folder or a run's; or samples: .npz, .npy, images.")
    ],
    data: opt.Data = "",
    metrics: opt.Metrics = None,
    n: opt.Count = None,
    seed: opt.Seed = 0,
    split: opt.Split = None,
    extractor: opt.Extractor = None,
    set_: opt.SetMetrics = None,
    noise: opt.Noise = False,
    truncation: opt.Truncation = None,
    out: Annotated[Path | None, typer.Option(help="A .json file; or a folder, for pictures too.")] = None,
    batch_size: opt.BatchSize = 256,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine that share the work.")] = None,
    device: opt.Device = "auto",
    no_cache: opt.NoCache = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Measure a model, or samples, against data.

    Example: genzoo eval runs/vae --data fashion-mini --metrics frechet,fidelity
    """
    if not data:
        raise UsageError("name the data with --data: a data set ('genzoo list dataset' shows them), a folder or a file")
    chosen: Any = checked(split, metrics, set_)
    in_processes(devices)
    from genzoo.registry.verbs import evaluate as evaluation
    from genzoo.registry.verbs.data import announcing

    if out is not None:
        evaluation.report_path(out)
    how = Protocol(n, seed, split, noise, truncation, extractor, batch_size, device, not no_cache)  # type: ignore[arg-type]
    report = evaluation.measure(subject, data, metrics, how, **chosen, progress=opt.shown(quiet), say=announcing(quiet))
    if env.rank():  # process 0 speaks for all
        return
    written = evaluation.save_report(report, out) if out is not None else None
    if json:
        emit_json(report.to_dict())
        return
    about = report.record
    hint(f"{report.subject} against {about['data']} ({about['split']}), seed {about['seed']}")
    table(report.rows(), ("metric", "value", "95 % interval", "unit", "measured on"))
    for claim, names in report.claims().items():
        hint(f"95 % intervals of {', '.join(names)} hold {claim}")
    for remark in report.remarks():
        hint(remark)
    if written is not None:
        say(written)


def score(
    weights: opt.Weights,
    data: opt.Data,
    out: Annotated[Path | None, typer.Option(help="A .csv, .npz or .json file for all of them, by name.")] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Ranks go by distance, reconstruction or bound; default the first there is."),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--number", help="How many of the oddest to show.")] = 10,
    training: Annotated[str | None, typer.Option(help="Data that distances are to; default the run's own.")] = None,
    split: opt.SplitOrAll = None,
    neighbours: Annotated[int, typer.Option(min=1, help="The distance is that to the so many-th nearest.")] = 5,
    samples: Annotated[int, typer.Option(min=1, help="Codes that the bound is the mean of.")] = 16,
    seed: Annotated[int, typer.Option(help="Of those codes.")] = 0,
    extractor: opt.Extractor = None,
    set_: opt.Set = None,
    batch_size: opt.BatchSize = 256,
    device: opt.Device = "auto",
    no_cache: opt.NoCache = False,
    json: opt.Json = False,
) -> None:
    """Say how odd each observation is to a model, and name the oddest.

    Example: genzoo score runs/vae --data photos --out scores.csv
    """
    asked = locals()
    from genzoo.registry.verbs import score as scoring

    if out is not None:
        scoring.score_path(out)
    how = opt.chosen(asked, "by training neighbours samples seed extractor batch_size device")
    found = scoring.score(weights, opened(data, split, set_, like=weights), out, **how, cache=not no_cache)
    if json:
        emit_json(found.to_dict())
        return
    for what, why in found.record["absent"].items():
        hint(f"no {what}: {why}")
    hint(f"the oddest by {found.by}; distances are to {found.record['distance to']}")
    rows = [{k: f"{v:.4g}" if isinstance(v, float) else str(v) for k, v in row.items()} for row in found.oddest(n)]
    table([[one_line(c) for c in r.values()] for r in rows], tuple(found.table()))
    if out is not None:
        say(out)


def verify(
    weights: Annotated[
        list[str] | None, typer.Argument(metavar="WEIGHTS", help="Names ('genzoo list weights'), hf:org/name, folders.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All weights that have a name in the zoo.")] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="Measure what the card states, and compare.")] = False,
    data: Annotated[bool, typer.Option("--data", help="See that the training data here is the same.")] = False,
    source: opt.Source = None,
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
    weights: Named,
    out: Annotated[Path | None, typer.Option(help="New folder for the run; default reproduced/NAME.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many, compare the losses so far; --resume goes on.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with one that was interrupted.")] = False,
    source: opt.Source = None,
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


COMMANDS = {
    "sample": sample,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
    "encode": encode,
    "eval": evaluate,
    "score": score,
    "verify": verify,
    "reproduce": reproduce,
}

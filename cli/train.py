"""Commands that train, fit a prior to what was trained, and write recipes as files."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.core.config import FEW_STEPS, MANY_STEPS
from genzoo.core.distributed import env
from genzoo.core.errors import UsageError
from genzoo.core.options import coerce_all
from genzoo.core.units import parse_size
from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import assignments, in_processes
from genzoo.registry.console.output import emit_json, hint, say

SAME = "steps epochs batch_size seed resume device threads"  # options that are keywords of that name of `genzoo.fit`


@opt.composing
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="What to train: 'genzoo list recipe' shows them; or a .toml file.")
    ] = None,
    data: opt.Data = "",
    out: Annotated[Path | None, typer.Option(help="New folder for all that training writes.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data, instead of steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Observations per turn.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of initialization, order and noise.")] = None,
    given: opt.Given = None,
    condition: Annotated[
        str | None, typer.Option(metavar="WAY", help="Tell the critic by projection or concat.")
    ] = None,
    private: Annotated[
        float | None, typer.Option(metavar="EPS", help="Differential privacy of this ε; of table-ar, table-vae.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="Weights to start from.")] = None,
    init_partial: Annotated[bool, typer.Option("--init-partial", help="Take of --init what fits.")] = False,
    devices: Annotated[int | None, typer.Option(help="Processes here that share each batch.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in --out, or in a run: --resume RUN.")] = False,
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    compile: Annotated[bool, typer.Option("--compile", help="Compile every player's turn.")] = False,
    shard: Annotated[
        bool | None, typer.Option("--shard/--no-shard", help="Split the generator over the processes.")
    ] = None,
    on_nan: Annotated[str, typer.Option(help="Where a loss is not finite: stop, skip or rollback.")] = "stop",
    data_memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Most memory for data, such as 2GB.")] = None,
    data_workers: Annotated[
        int | None, typer.Option(min=0, max=256, help="Processes that read streamed data; default: the cores but one.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Short for --tracker tensorboard.")] = False,
    tracker: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Report to this, such as wandb.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Warn of what goes wrong on the way.")] = False,
    quiet: opt.Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is trained, and on what.")] = False,
    json: opt.Json = False,
) -> None:
    """Train a recipe on data.

    Example: genzoo train vae --data fashion-mini --out runs/vae --epochs 5
    """
    if resume and out is None and recipe is not None:
        out, recipe = Path(recipe), None  # --resume RUN
        if not out.expanduser().is_dir():
            raise UsageError(f"{out} is no run's folder to go on with: --resume RUN, or name it with --out")
    asked = locals()
    if recipe is None and not (given.get("objective") or init or resume):
        raise UsageError("name a recipe ('genzoo list recipe' shows them) or an --objective")
    given |= {} if condition is None else {"condition": condition}
    memory = parse_size(data_memory, "--data-memory")
    _check_names(recipe, data, given)
    if not (data or resume):
        raise UsageError("name the data with --data: a data set ('genzoo list dataset' shows them), a folder or a file")
    if out is None:
        raise UsageError("name a folder to write to with --out")
    in_processes(devices, advice="go on with the same command and --resume")
    from genzoo.registry.verbs.fit import fit

    own = "private init init_partial precision compile shard on_nan data_workers tensorboard watch"
    how = opt.chosen(asked, f"{SAME} {own}")
    how |= {"data_memory": memory, "trackers": tracker or (), "on_start": _describe if verbose else None}
    finish(lambda: fit(recipe, data or None, out, options=given, progress=not quiet, **how), json, quiet)


@opt.composing
def save(
    source: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe, a recipe's file, a run's folder, weights.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write, ….toml; without it, stdout.")] = None,
    given: opt.Given = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: opt.Json = False,
) -> None:
    """Write a recipe as a file, every option by value with its meaning; 'genzoo train FILE' trains it.

    Example: genzoo recipe save wgan-gp --set objective.gp_weight=5 --out mine.toml
    """
    from genzoo.registry.recipes.save import recipe_text, save_recipe

    if out is None:
        text = recipe_text(source, options=given)
        emit_json({"text": text}) if json else say(text, end="")
        return
    file = save_recipe(source, out, options=given, overwrite=force)
    emit_json({"file": str(file)}) if json else say(file)
    if not json:
        hint(f"train it: genzoo train {file} --data DATA --out FOLDER")


def prior_fit(
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help="A trained model: a run's folder, weights.")],
    prior: opt.Prior = None,
    out: Annotated[Path | None, typer.Option(help="New folder for the model of both stages.")] = None,
    data: Annotated[str | None, typer.Option(help="Data, if not the data set that the model was trained on.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data, instead of steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Observations per turn.")] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the first stage's, to hold out the same data.")] = None,
    set_: opt.Set = None,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine that share every batch.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Train a prior on the codes of a trained model, which stays as it is.

    Example: genzoo prior fit runs/vq-vae --prior transformer --out runs/vq-vae-transformer
    """
    if prior is None:
        raise UsageError("name the prior with --prior: 'genzoo list prior' shows them")
    if out is None:
        raise UsageError("name a folder to write to with --out")
    asked = locals()
    in_processes(devices, advice="go on with the same command and --resume")
    from genzoo.registry.verbs.prior import fit_prior

    how = opt.chosen(asked, f"{SAME} data") | {"options": assignments(set_), "progress": not quiet}
    finish(lambda: fit_prior(weights, prior, out, **how), json, quiet)


def finish(train: Callable[[], Any], json: bool, quiet: bool) -> None:
    """Run what trains, and say what came of it; exits as the signal that interrupted it wants."""
    try:
        run = train()
    except KeyboardInterrupt as e:
        if not hasattr(e, "run"):
            raise
        run = e.run  # it was saved
    code = 0 if run.finished else 128 + (run.stopped_by or signal.SIGINT)
    if env.rank():  # process 0 speaks for all
        sys.exit(code)
    result = {
        "recipe": run.config.recipe,
        "out": str(run.folder),
        "steps": run.steps,
        "finished": run.finished,
        "seconds": round(run.seconds, 2),
        "metrics": run.metrics,
        "read": dict(run.read),
        "last": run.history[-1] if run.history else {},
    }
    if json:
        emit_json(result)
    else:
        shown = "".join(f", {k} {v:.6g}" for k, v in run.metrics.items())
        say(f"{run.folder}: {run.config.recipe}, {run.steps} steps in {run.seconds:.1f} s{shown}")
    if run.finished and run.steps < FEW_STEPS and not quiet and not run.config.train.private:  # whose ε is spent
        more = f"genzoo train --resume {shlex.quote(str(run.folder))} --steps {MANY_STEPS}"
        hint(f"genzoo: {run.steps:,} steps are few, and most data want thousands; go on: {more}")
    if not run.finished:
        hint(f"genzoo: interrupted at step {run.steps}; go on with the same command and --resume")
        sys.exit(code)


def _check_names(recipe: str | None, data: str, given: dict[str, Any]) -> None:
    """Find unknown names and options before anything heavy is imported."""
    from genzoo.registry import the_registry
    from genzoo.registry.entries import check_listed
    from genzoo.registry.kinds import LISTS, SINGLE
    from genzoo.registry.recipes.compose import check_given
    from genzoo.registry.recipes.read import find
    from genzoo.registry.verbs.data import entry_for

    registry = the_registry()
    entry = find(registry, recipe) if recipe is not None else None
    home = entry.home if entry is not None else ()
    for kind in SINGLE:
        if given.get(kind):
            registry.get(kind, given[kind], prefer=home)
    for kind in LISTS:
        for word in check_listed("--", kind, given.get(kind) or ()):
            registry.get(kind, word.partition("=")[0], prefer=home)
    trackers = {e.name for e in registry.entries("tracker")}
    groups: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for name, value in given.items():
        if (group := name.partition(".")[0]) not in trackers or "." not in name:
            groups[group == "data"][name] = value
    check_given(registry, recipe, groups[False])
    if data:
        entry, implied = entry_for(registry, data)
        coerce_all(registry.options(entry), implied | {k.partition(".")[2]: v for k, v in groups[True].items()}, "data")


def _describe(trainer: Any, config: Any) -> None:
    """Say on stderr what is trained."""
    if not trainer.runtime.first:
        return
    for kind, part in config.components():
        options = ", ".join(f"{k}={v}" for k, v in part.options.items())
        hint(f"{kind}: {part.name} ({part.distribution} {part.version}) {options}")
    hint(f"latent: {config.latent.text}; conditional: {config.conditional}")
    hint("train: " + ", ".join(f"{k}={v}" for k, v in config.train.__dict__.items()))
    sizes = {name: sum(p.numel() for p in m.parameters()) for name, m in trainer.nets.model.named_children()}
    sizes |= {name: sum(p.numel() for p in m.parameters()) for name, m in trainer.nets.critics.items()}
    hint("parameters: " + ", ".join(f"{k} {v:,}" for k, v in sizes.items() if v))
    held = f", {len(trainer.held_out):,} held out" if trainer.held_out is not None else ""
    hint(f"data: {trainer.data.name or 'unnamed'}, {len(trainer.data):,} observations{held}; device: {trainer.device}")
    hint(f"precision: {trainer.record['precision']}")
    hint(f"data: {trainer.feed.how}")
    if trainer.runtime.size > 1:
        each = trainer.options.batch_size // trainer.runtime.size
        how = "generator split over them" if trainer.sharded else "every network on each of them"
        hint(f"processes: {trainer.runtime.size}, {each} observations of every batch each; {how}")


COMMANDS = {"train": train, "recipe": {"save": save}, "prior": {"fit": prior_fit}}

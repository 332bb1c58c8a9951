"""Benchmarks: one command, one table."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.core.errors import UsageError
from genzoo.plugins.apps.bench.board_cli import kept, shown, weights, zoo
from genzoo.plugins.apps.bench.compression_cli import compress
from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import assignments, several
from genzoo.registry.console.output import emit_json, hint, say, table

LABORATORY = {
    "train": "Time training against hand-written loops and other libraries, on the same networks and batches.",
    "sample": "Time sampling to an .npz against the generator's bare forward pass, and measure its memory.",
    "defaults": "Time what each default of the trainer brings: fused Adam, averages, bfloat16, channels last.",
    "precision": "Train in float32 and in bfloat16 with the same seeds and compare the metrics.",
}
bench = typer.Typer(
    help="Measure: training and sampling speed, defaults, precision, mode coverage, likelihood.\n\n"
    "Example: genzoo bench zoo --data fashion-mini --budget 1min --out board",
    rich_markup_mode=None,
    no_args_is_help=True,
)


def laboratory() -> Any:
    """Import what only a clone of the repository has, from ``tests/bench`` beside this package."""
    folder = Path(__file__).resolve().parents[3] / "tests" / "bench"
    if not (folder / "genzoo_bench").is_dir():
        raise UsageError("this benchmark needs a clone of genzoo's repository, installed with 'pip install -e .'")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module("genzoo_bench.commands")


def _measure(context: typer.Context) -> None:
    laboratory().app([str(context.info_name), *context.args], prog_name="genzoo bench", standalone_mode=False)


for _name, _help in LABORATORY.items():
    _anything = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    bench.command(_name, help=_help, context_settings=_anything)(_measure)


bench.command()(zoo)
bench.command()(weights)


@bench.command()
def vaes(
    data: Annotated[str, typer.Option(help="Name of a data set of images, which are binarized.")] = "fashion-mnist",
    epochs: Annotated[float, typer.Option(min=0.001, help="Passes over the training images.")] = 10,
    budget: Annotated[str | None, typer.Option(help="Training time of each, as 90s or 10min, in place of it.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each, in place of both.")] = None,
    recipes: Annotated[str, typer.Option(help="Names, as a,b; default all with the tag vae.")] = "",
    metrics: Annotated[str, typer.Option(help="Names or tags, as a,b.")] = "",
    n: Annotated[int, typer.Option("-n", min=2, help="Test images that are weighed, and samples.")] = 1000,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples for each image.")] = 500,
    pythae: Annotated[str | None, typer.Option(help="A Python that has pythae: its models are trained too.")] = None,
    prior: Annotated[str | None, typer.Option(help="Fit this prior to each afterwards, as mixture.")] = None,
    prior_steps: Annotated[int, typer.Option(min=1, help="Steps of that.")] = 400,
    seed: Annotated[int, typer.Option(help="Of training and of sampling.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each; intervals are over them if several.")] = 1,
    threads: opt.Threads = None,
    device: opt.Device = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder for table, numbers and runs; what is in it is not done again.")
    ] = Path("vaes"),
    set_: opt.Set = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Train VAEs on equal networks and epochs, and judge likelihood, samples and codes; pythae's too.

    Example: genzoo bench vaes --data fashion-mini --steps 500
    """
    from genzoo.plugins.apps.bench import vaes as every

    how = opt.chosen(
        locals(), "data epochs budget steps n samples pythae prior prior_steps seed seeds threads device out"
    )
    how |= {"recipes": several(recipes) or None, "metrics": several(metrics) or None, "options": assignments(set_)}
    board = every.vaes(**how, progress=opt.shown(quiet))
    if json:
        emit_json(board.to_dict())
        return
    shown(board)
    if any(line.recipe.endswith("*") for line in board.lines):
        hint("a name with *: networks and codes of its own")
    kept(f"table and numbers in {out / 'vaes'}.md and .json", board.lines, " trainings")


@bench.command()
def tables(
    data: Annotated[str, typer.Option(help="Name of a table, or a .csv, .parquet or .arrow file.")] = "adult",
    target: Annotated[str | None, typer.Option(help="Column that trees are to tell; default the class.")] = None,
    recipes: Annotated[str, typer.Option(help="Names, as a,b; default all for tables.")] = "",
    peers: Annotated[str | None, typer.Option(help="A Python that has ctgan: CTGAN and TVAE are trained too.")] = None,
    epochs: Annotated[str, typer.Option(help="Peers, as CTGAN=60,TVAE=300; default both, 300 each.")] = "",
    seed: Annotated[int, typer.Option(help="Of training and of sampling.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each, in place of its own.")] = None,
    threads: opt.Threads = None,
    device: opt.Device = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder for table, numbers and runs; what is in it is not done again.")
    ] = Path("tables"),
    set_: opt.Set = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Train every recipe for tables, and judge rows by use, detection, margins and closeness; CTGAN's and TVAE's too.

    Example: genzoo bench tables --data people.csv --target income --recipes copula,table-ar
    """
    from genzoo.plugins.apps.bench import table_bench

    try:
        passes = {name: int(n) for name, _, n in (word.partition("=") for word in several(epochs))}
    except ValueError:
        passes = {"": 0}
    if wrong := [name for name, n in passes.items() if name not in table_bench.PEERS or n < 1]:
        raise UsageError(f"--epochs is of {' and '.join(table_bench.PEERS)}, as CTGAN=60,TVAE=300, not of {wrong[0]!r}")
    how = opt.chosen(locals(), "data target peers seed steps threads device out")
    how |= {"recipes": several(recipes) or None, "epochs": passes or None, "options": assignments(set_)}
    board = table_bench.tables(**how, progress=opt.shown(quiet))
    if json:
        emit_json(board.to_dict())
        return
    found = table_bench.board_table(board)
    table(found.rows, found.header)
    kept(f"table and numbers in {out / 'tables'}.md and .json", board.lines, " lines")


@bench.command()
def modes(
    data: Annotated[
        str, typer.Option(help="Of grid25, ring8, stacked-digits and stacked-fashion, as a,b; default all.")
    ] = "",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of each; default 3, and 1 on stacked pictures.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only GANs of labels that start so; may be repeated.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Training time of each run, as 90s or 10min; default 4min on stacked pictures.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each run, in place of a time.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; default one per core, and one on stacked pictures.")
    ] = None,
    threads: opt.Threads = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the table, numbers and pictures; what is in it is not measured again.")
    ] = Path("modes"),
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Train GANs on data with known modes, mixtures and stacked pictures, and count the modes they cover.

    Example: genzoo bench modes
    """
    from genzoo.plugins.apps.bench import coverage

    how = opt.chosen(locals(), "seeds budget steps jobs threads out")
    chosen, names = coverage.contenders(only or ()), several(data) or coverage.KNOWN
    results = coverage.modes(names, contenders=chosen, **how, progress=opt.shown(quiet))
    if json:
        emit_json(coverage.modes_dict(results))
        return
    found = coverage.mode_table(results)
    table(found.rows, found.header)
    for name in names:
        if left := coverage.left_out(name, chosen):
            hint(f"left out on {name}, which they are not for: {', '.join(left)}")
    kept(f"table, numbers and pictures in {out}", results)


@bench.command()
def gans(
    mixtures: Annotated[str, typer.Option(help="Of grid25 and ring8, as a,b; none for none.")] = "grid25,ring8",
    only: Annotated[str, typer.Option(help="Losses there, as a,b; default all.")] = "",
    parts: Annotated[
        str, typer.Option("--with", help="Regularizers and augmentations there, as none,r1=0.05,r1=0.05+r2=0.05.")
    ] = "",
    few: Annotated[str, typer.Option(help="A data set of images to take few of; none for none.")] = "fashion-mnist",
    recipe: Annotated[str, typer.Option(help="What is trained on few.")] = "hinge",
    sizes: Annotated[str, typer.Option(help="How many of them, as a,b; 0 for all.")] = "0,1000,300",
    augment: Annotated[str, typer.Option(help="Augmentations of few, as none,ada+lecam; default each.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 3,
    budget: Annotated[
        str | None, typer.Option(help="Time of a training, as 90s; default 8,000 steps in the plane, 10min on few.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each training, in place of a time.")] = None,
    n: Annotated[int | None, typer.Option("-n", min=2, help="Samples to judge by; default as many as data.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs in the plane at a time; default one per core.")] = None,
    threads: opt.Threads = None,
    device: opt.Device = "auto",
    extractor: Annotated[str | None, typer.Option(help="Of features, as for genzoo eval.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for tables, numbers and runs; makes it resumable.")] = Path("gans"),
    set_: opt.Set = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Train GANs on known modes, each loss with each part, and on few data, with each augmentation.

    Example: genzoo bench gans
    """
    from genzoo.plugins.apps.bench import gans as side_by_side

    how = opt.chosen(locals(), "recipe seeds budget steps n jobs threads device extractor out")
    how |= {"data": [name for name in several(mixtures) if name != "none"], "few": "" if few == "none" else few}
    how |= {"only": several(only) or None, "parts": several(parts) or side_by_side.PARTS}
    how |= {"augmentations": several(augment) or None, "options": assignments(set_)}
    try:
        how["sizes"] = [int(size) for size in several(sizes)]
    except ValueError:
        raise UsageError(f"--sizes takes whole numbers, as 0,1000,300, not {sizes!r}") from None
    found = side_by_side.gans(**how, progress=opt.shown(quiet))
    if json:
        emit_json(found.to_dict())
        return
    for lines in (side_by_side.modes_table(found) if found.modes else None, side_by_side.few_table(found)):
        if lines is not None and lines.rows:
            table(lines.rows, lines.header)
    for what, why in found.refused.items():
        hint(f"{what} is left out: {why}")
    kept(f"tables and numbers in {out / 'gans'}.md and .json", [*found.modes, *found.few], " trainings")


@bench.command()
def sensitivity(
    data: Annotated[str, typer.Option(help="A data set of labelled 8-bit images.")] = "fashion-mini",
    metrics: Annotated[str, typer.Option(help="Names or tags, as a,b; default all that judge samples.")] = "",
    damages: Annotated[
        str, typer.Option(help="Of blur, noise, dropped, repeated, copies and labels, as a,b; default all.")
    ] = "",
    n: Annotated[int, typer.Option("-n", min=2, help="Pictures in each set.")] = 500,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of each set.")] = 3,
    extractor: Annotated[str | None, typer.Option(help="Of features, as for genzoo eval.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page (.md) and the numbers (.json); makes it resumable.")
    ] = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Spoil real pictures and say which metrics see it: blur, noise, dropped classes, duplicates, copies, labels.

    Example: genzoo bench sensitivity
    """
    from genzoo.plugins.apps.bench import sensitivity as sensing

    how = opt.chosen(locals(), "data n seeds extractor out")
    how |= {"metrics": several(metrics) or None, "damages": several(damages) or None}
    found = sensing.sensitivity(**how, progress=opt.shown(quiet))
    if json:
        emit_json(found.to_dict())
        return
    lines = sensing.sensitivity_table(found)
    table(lines.rows, lines.header)
    hint("✓ orders clean, slight, heavy; (✓) sees heavy damage only; – is blind to it; ✗ is fooled by it")
    for metric, why in found.absent.items():
        hint(f"{metric} is absent: {why}")
    if out:
        hint(f"page and numbers in {out / 'sensitivity'}.md and .json")


@bench.command()
def likelihood(
    recipe: Annotated[str, typer.Option(help="What is trained; all but vae have networks of their own.")] = "vae",
    seed: Annotated[int, typer.Option(help="Of initialization, order and noise.")] = 0,
    epochs: Annotated[float, typer.Option(help="Passes over the training images.")] = 10,
    images: Annotated[int, typer.Option(min=2, help="How many of the first test images.")] = 1000,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples for each.")] = 500,
    threads: opt.Threads = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run.")] = None,
    set_: opt.Set = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Train a VAE on binarized Fashion-MNIST and estimate the likelihood of test images.

    Example: genzoo bench likelihood
    """
    from genzoo.plugins.apps.bench import nll

    how = opt.chosen(locals(), "recipe seed epochs images samples threads out")
    found = nll.likelihood(**how, options=assignments(set_), progress=opt.shown(quiet))
    if json:
        emit_json(found)
        return
    say(f"NLL {found['nll']:.2f} ± {found['standard_error']:.2f} nats over {images} test images "
        f"(importance-weighted, {samples} samples each, {found['effective_samples']:.1f} effective), "
        f"{found['seconds']:.0f} s of training")  # fmt: skip


@bench.command(name="text")
def text_(
    data: Annotated[str, typer.Option(help="A data set of texts, or a .txt file.")] = "kjv-mini",
    steps: Annotated[int, typer.Option(min=1, help="Training steps of lm, and again of each GAN.")] = 300,
    gan_steps: Annotated[int | None, typer.Option(min=1, help="Steps of each GAN, if others.")] = None,
    recipes: Annotated[str, typer.Option(help="GANs of texts, as a,b; none for none.")] = "gumbel-gan,reinforce-gan",
    n: Annotated[int, typer.Option("-n", min=10, help="Samples of each.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of training and of sampling.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for numbers and runs; goes on where it was.")] = None,
    set_: opt.Set = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Hold GANs of texts beside a language model at eight temperatures: a GAN wins only below that curve.

    Example: genzoo bench text --data kjv-mini --steps 300 --out board
    """
    from genzoo.plugins.apps.bench.text_bench import texts

    names = [] if recipes == "none" else several(recipes)
    how = opt.chosen(locals(), "steps gan_steps n seed out")
    rows = texts(data, **how, recipes=names, options=assignments(set_), progress=opt.shown(quiet))
    if json:
        return emit_json({"rows": rows})
    numbers = ("nll", "forward", "reverse", "self-bleu", "distinct-2", "seconds")
    body = [[r["what"], *(f"{r[k]:.3g}" if k in r else "" for k in numbers), _won(r)] for r in rows]
    table(body, ["", *numbers, "below the curve"])


def _won(row: dict[str, Any]) -> str:
    return "" if "wins" not in row else "yes" if row["wins"] else "no"


bench.command(name="compress")(compress)

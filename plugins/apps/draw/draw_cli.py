"""Commands that draw: samples, ways through codes, curves, and films of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import opened
from genzoo.registry.console.output import written

Out = Annotated[Path, typer.Option(help="A .png, .gif or .mp4 file.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same picture.")]
Steps = Annotated[int, typer.Option(help="Points on each way, both ends included; 0 is 10 or so, 24 in a film.")]
Label = Annotated[str | None, typer.Option(help="Class, by name or number, for a conditional model.")]
Rate = Annotated[float, typer.Option(help="Frames in a second.")]
Ends = Annotated[str | None, typer.Option(help="Data; its codes are used, which takes an encoder.")]
Run = Annotated[str, typer.Argument(help="A run's folder.")]

plot = typer.Typer(
    help="Draw samples, ways through codes, curves, and films of a training.\n\n"
    "Example: genzoo plot traversal vae/fashion-mnist --out codes.png",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@plot.command("samples")
def samples(
    weights: opt.Weights,
    out: Annotated[Path, typer.Option(help="A .png file.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 64,
    seed: Seed = 0,
    label: Label = None,
    truncation: opt.Truncation = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Draw a grid of samples.

    Example: genzoo plot samples gan/fashion-mnist-labels --out grid.png
    """
    from genzoo.plugins.apps.draw import draw as plots

    how = opt.chosen(locals(), "seed truncation device")
    written(plots.samples(weights, out, n, labels=label, **how), json)


@plot.command("interpolation")
def interpolation(
    weights: opt.Weights,
    out: Out,
    n: Annotated[int, typer.Option("-n", "--number", help="How many paths.")] = 8,
    steps: Steps = 0,
    seed: Seed = 0,
    label: Label = None,
    data: Ends = None,
    split: opt.Split = None,
    straight: Annotated[bool, typer.Option("--straight", help="Straight lines instead of great circles.")] = False,
    fps: Rate = 12,
    set_: opt.Set = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Draw paths between codes: one in each row, or all in a film.

    Example: genzoo plot interpolation vae/fashion-mnist --out paths.png
    """
    from genzoo.plugins.apps.draw import draw as plots

    how = opt.chosen(locals(), "steps seed label straight fps device")
    model, ends = _with_data(weights, data, split, set_, device)
    written(plots.interpolation(model, out, n, data=ends, **how), json)


@plot.command("traversal")
def traversal(
    weights: opt.Weights,
    out: Out,
    rows: Annotated[int, typer.Option(help="Numbers of the code, the most active first.")] = 8,
    steps: Steps = 0,
    seed: Seed = 0,
    label: Label = None,
    data: Ends = None,
    split: opt.Split = None,
    reach: Annotated[float, typer.Option(help="Standard deviations to either side.")] = 2.5,
    dimensions: Annotated[str, typer.Option(help="Which numbers of the code: 0,3,7.")] = "",
    fps: Rate = 12,
    set_: opt.Set = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Draw what single numbers of a code do: one in each row, or all in a film.

    Example: genzoo plot traversal vae/fashion-mnist --out numbers.png
    """
    try:
        chosen = [int(d) for d in dimensions.split(",") if d.strip()]
    except ValueError:
        raise UsageError(f"--dimensions takes whole numbers like 0,3,7, not {dimensions!r}") from None
    from genzoo.plugins.apps.draw import draw as plots

    how = opt.chosen(locals(), "steps seed label reach fps device")
    model, some = _with_data(weights, data, split, set_, device)
    written(plots.traversal(model, out, rows, data=some, dimensions=chosen, **how), json)


@plot.command("curves")
def curves(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs' folders, or weights.")],
    out: Annotated[Path, typer.Option(help="An .svg or .png file.")],
    terms: Annotated[str, typer.Option(help="What to draw, comma-separated; default is the losses.")] = "",
    json: opt.Json = False,
) -> None:
    """Draw the curves of runs, below each other.

    Example: genzoo plot curves runs/vae --out curves.png
    """
    from genzoo.plugins.apps.draw import draw as plots

    written(plots.curves(runs, out, terms=[t.strip() for t in terms.split(",") if t.strip()]), json)


@plot.command("training")
def training(run: Run, out: Out, fps: Rate = 6, json: opt.Json = False) -> None:
    """Make a film of a run's samples over time, or a sheet of some of them.

    Of data in the plane it shows the critic's surface under the samples. For more frames train with
    --set train.sample_every=N.

    Example: genzoo plot training runs/vae --out film.gif
    """
    from genzoo.plugins.apps.draw import draw as plots

    written(plots.training(run, out, fps=fps), json)


def _with_data(
    weights: str, data: opt.Data | None, split: str | None, set_: list[str] | None, device: str
) -> tuple[Any, Any]:
    """The model, refused without an encoder where data are to be encoded; and the data."""
    if not data:
        if set_:
            raise UsageError("--set is for options of the data: name it with --data")
        return weights, None
    from genzoo.registry.verbs.sample import needs_encoder

    model = needs_encoder(weights, device)
    return model, opened(data, split, set_, model)

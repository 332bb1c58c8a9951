"""The command that writes recipes as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.registry.console.arguments import assignments, listed
from genzoo.registry.console.options import (
    Augmentation,
    Conditional,
    Critic,
    Encoder,
    Generator,
    Json,
    Likelihood,
    Objective,
    Posterior,
    Prior,
    Regularizer,
    Set,
)
from genzoo.registry.console.output import emit_json, hint, say


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    recipe = typer.Typer(help="Recipes as TOML files.", rich_markup_mode=None, no_args_is_help=True)
    recipe.callback()(lambda: None)
    recipe.command("save")(save)
    app.add_typer(recipe, name="recipe")


def save(
    source: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe, a recipe's file, a run's folder, weights.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write, ….toml; without it, stdout.")] = None,
    set_: Set = None,
    objective: Objective = None,
    generator: Generator = None,
    encoder: Encoder = None,
    critic: Critic = None,
    likelihood: Likelihood = None,
    posterior: Posterior = None,
    prior: Prior = None,
    regularizer: Regularizer = None,
    augmentation: Augmentation = None,
    conditional: Conditional = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a recipe as a file, every option by value with its meaning; 'genzoo train FILE' trains it.

    Example: genzoo recipe save wgan-gp --set objective.gp_weight=5 --out mine.toml
    """
    from genzoo.registry.recipes.save import recipe_text, save_recipe

    parts = {
        "objective": objective,
        "generator": generator,
        "encoder": encoder,
        "critic": critic,
        "likelihood": likelihood,
        "posterior": posterior,
        "prior": prior,
        "regularizer": listed(regularizer),
        "augmentation": listed(augmentation),
        "conditional": conditional,
    }
    given = assignments(set_) | {k: v for k, v in parts.items() if v is not None}
    if out is None:
        text = recipe_text(source, options=given)
        emit_json({"text": text}) if json else say(text, end="")
        return
    file = save_recipe(source, out, options=given, overwrite=force)
    emit_json({"file": str(file)}) if json else say(file)
    if not json:
        hint(f"train it: genzoo train {file} --data DATA --out FOLDER")

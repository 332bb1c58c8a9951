"""``genzoo plugins new``: writes a package for a plugin, complete, and small enough to read."""

from __future__ import annotations

import keyword
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.templates import render

LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause", "none")
TRAIN = "genzoo train vae --data fashion-mini"
FIRST = "--out runs/first"
EVAL = "genzoo eval runs/first --data fashion-mini --metrics"
# What each file adds, and what shows that it does.
FILES: Mapping[str, tuple[str, str]] = {
    "generator": ("generator `{short}`: a smooth perceptron", f"{TRAIN} --generator {{short}}"),
    "encoder": ("encoder `{short}`: a smooth perceptron", f"{TRAIN} --encoder {{short}}"),
    "critic": ("critic `{short}`: a smooth perceptron", "genzoo train wgan-gp --data fashion-mini --critic {short}"),
    "gan": ("objective and recipe `{short}-gan`: a least-squares GAN", "genzoo train {short}-gan --data fashion-mini"),
    "vae": ("objective and recipe `{short}-vae`: a VAE of limited capacity",
            "genzoo train {short}-vae --data fashion-mini"),
    "objective": ("objective and recipe `{short}-rae`: a regularized autoencoder",
                  "genzoo train {short}-rae --data fashion-mini"),
    "likelihood": ("likelihood `{short}-laplace`", "genzoo train vae --likelihood {short}-laplace --data ring8"),
    "posterior": ("posterior `{short}-round`", f"{TRAIN} --posterior {{short}}-round"),
    "prior": ("prior `{short}-laplace`", f"{TRAIN} --prior {{short}}-laplace"),
    "regularizer": ("regularizer `{short}-drift`", "genzoo train gan --data ring8 --regularizer {short}-drift=0.001"),
    "augmentation": ("augmentation `{short}-mirror`", "genzoo train gan --data fashion-mini --augment {short}-mirror"),
    "modality": ("modality `{short}-series`: time series in CSV files, read, drawn and written",
                 "genzoo train vae --data waves.csv"),
    "dataset": ("data set `{short}-spirals`: two spirals in the plane", "genzoo train vae --data {short}-spirals"),
    "metric": ("metric `{short}-contrast`", f"{EVAL} {{short}}-contrast"),
    "extractor": ("extractor `{short}-pooled`: means over a grid", f"{EVAL} frechet --extractor {{short}}-pooled"),
    "recipe": ("recipe `{short}`", "genzoo train {short} --data fashion-mini"),
    "tracker": ("tracker `{short}-table`: the run's numbers in a file", f"{TRAIN} --tracker {{short}}-table"),
    "observer": ("an observer: logs the norm of the generator's parameters", "genzoo train gan --data fashion-mini"),
    "command": ("command `{short}-look`: how bright samples are", "genzoo {short}-look runs/first"),
}  # fmt: skip
KINDS = (*FILES, "all")
ALL = ("generator", "encoder", "critic", "gan", "vae", "objective", "likelihood", "posterior", "prior", "regularizer",
       "augmentation", "dataset", "metric", "recipe")  # fmt: skip
_RESERVED = {"genzoo", "torch", "numpy", "tests", "test", "pip", "setuptools", *sys.stdlib_module_names}


@dataclass(frozen=True)
class Written:
    """A package that was written, the names of its distribution, package and entry point, and what to do next."""

    folder: Path
    name: str
    package: str
    short: str
    files: tuple[str, ...]
    commands: tuple[str, ...]


def new_plugin(
    name: str,
    kinds: Iterable[str] = ("all",),
    *,
    out: str | os.PathLike[str] | None = None,
    license: str = "Apache-2.0",
    author: str = "",
) -> Written:
    """Write a plugin's package; nothing that is there is touched. Imports no torch.

    Args:
        name: of the distribution, such as ``genzoo-faces``.
        kinds: what it shall hold: some of `KINDS`; ``gan`` and ``vae`` are objectives with a recipe.
        out: the folder to make; None makes one of the package's name here.
        license: one of `LICENSES`, whatever its case.
        author: who holds the copyright; "" is "The NAME authors".

    Raises:
        UsageError: for a name that is none or is taken, a kind or license that there is not, or a folder that holds
            something; nothing was written.
    """
    names, chosen = _named(name), [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in chosen:
        if kind not in KINDS:
            raise UsageError(f"there is no kind {kind!r}{did_you_mean(kind, KINDS) or ', but ' + ', '.join(KINDS)}")
    wanted = [k for k in FILES if k in chosen or ("all" in chosen and k in ALL) or not chosen]
    by_case = {known.lower(): known for known in LICENSES}
    if license.lower() not in by_case:
        hint = did_you_mean(license, LICENSES) or f": there are {', '.join(LICENSES)}"
        raise UsageError(f"there is no text for the license {license!r}{hint}")
    author = " ".join(author.split()) or f"The {names['name']} authors"
    if '"' in author or "\\" in author or not author.isprintable():
        raise UsageError(f"an author's name goes into pyproject.toml, so without quotes or backslashes: {author!r}")
    folder = Path(out).expanduser() if out is not None else Path(names["name"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already: give another folder with --out, nothing is overwritten")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {folder.absolute().parent} to write to")
    shown = {kind: FILES[kind][1].format(**names) for kind in wanted}
    texts = _texts(names, shown, by_case[license.lower()], author)
    _write(folder, texts)
    training = [shown[k] for k in ("gan", "vae", "objective", "recipe", *FILES) if k in shown]
    first = next((c for c in training if c.startswith("genzoo train")), TRAIN)
    todo = [f"cd {folder}", 'pip install -e ".[test]"', "pytest", f"genzoo plugins check {names['name']}"]
    return Written(folder, **names, files=tuple(sorted(texts)), commands=(*todo, f"{first} {FIRST} --steps 500"))


def _named(name: str) -> dict[str, str]:
    """The distribution's name, the package's, and the short one that entries begin with."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):  # PEP 508
        raise UsageError(f"{name!r} is no name for a package: letters, digits, '-', '_' and '.', such as genzoo-faces")
    name = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
    package, short = name.replace("-", "_"), re.sub(r"^genzoo-|-genzoo$", "", name)
    if not package.isidentifier() or keyword.iskeyword(package):
        raise UsageError(f"Python could not import {package!r}: begin with a letter, and use no word of the language")
    if package in _RESERVED:
        raise UsageError(f"{package!r} is a module that everybody has: take another name, such as genzoo-{short}")
    there = find_spec(package)
    if there is not None and there.origin:
        raise UsageError(f"a module {package!r} is installed here already, {there.origin}: take another name")
    return {"name": name, "package": package, "short": short}


def _texts(names: dict[str, str], shown: Mapping[str, str], license: str, author: str) -> dict[str, str]:
    """Path to content; ``shown`` has for each file that is wanted the command that shows it."""
    wanted, package = list(shown), names["package"]
    commands = [f"{c} --out runs/{kind}" if c.startswith("genzoo train") else c for kind, c in shown.items()]
    if {"metric", "extractor", "command"} & set(wanted):
        commands.insert(0, f"{TRAIN} {FIRST}")
    fill = names | {
        "wanted": wanted,
        "license": license,
        "author": author,
        "year": date.today().year,
        "description": f"A plugin for genzoo: {', '.join(wanted) if len(wanted) < 4 else 'models and their parts'}.",
        "adds": [FILES[k][0].format(**names) for k in wanted],
        "commands": commands,
        "own": {"gan", "generator", "critic"} <= set(wanted),  # networks and a GAN that the recipe can be made of
    }
    paths = {
        "pyproject.toml": "pyproject.toml", "README.md": "README.md", "CHANGELOG.md": "CHANGELOG.md",
        ".gitignore": "gitignore", ".github/workflows/test.yml": "ci.yml",
        f"{package}/__init__.py": "init.py", f"{package}/plugin.py": "plugin.py",
        "tests/test_conformance.py": "test_conformance.py",
    }  # fmt: skip
    series = ("readings", "series") if "modality" in wanted else ()
    paths |= {f"{package}/{kind}.py": f"{kind}.py" for kind in (*wanted, *series)}
    if series:
        paths["tests/test_series.py"] = "test_series.py"
    if license != "none":
        paths["LICENSE"] = f"license-{license}"
    folder = Path(__file__).parent / "templates"
    texts = {path: render(folder / f"{name}.tmpl", fill).rstrip("\n") + "\n" for path, name in paths.items()}
    tomllib.loads(texts["pyproject.toml"])
    return {**texts, f"{package}/py.typed": ""}


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all of it aside, then put it in place at once."""
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".genzoo-new-") as aside:
        whole = Path(aside) / "package"
        for path, text in texts.items():
            (whole / path).parent.mkdir(parents=True, exist_ok=True)
            (whole / path).write_text(text, encoding="utf-8")
        os.rename(whole, folder)  # an empty folder that is there gives way

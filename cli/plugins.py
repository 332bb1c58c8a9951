"""Commands on plugins: list, disable, enable, doctor; for their authors new and check."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from genzoo.core.errors import did_you_mean
from genzoo.core.text import one_line
from genzoo.registry.console import options as opt
from genzoo.registry.console.output import bold, emit_json, hint, say, table

if TYPE_CHECKING:
    from genzoo.plugins.apps.kit.findings import Finding, Report

Name = Annotated[str, typer.Argument(help="A plugin, a distribution for all of its plugins, or DISTRIBUTION/PLUGIN.")]
MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}


def new(
    name: Annotated[str, typer.Argument(help="Of the package, such as genzoo-faces.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Write only this, may be repeated: gan, vae, objective, generator, encoder, critic, likelihood, "
            "posterior, prior, regularizer, augmentation, modality, dataset, metric, extractor, recipe, tracker, "
            "observer, command; all is most of it."
        ),
    ] = None,
    out: Annotated[str | None, typer.Option(help="The folder to make; by default one of that name here.")] = None,
    license: Annotated[str | None, typer.Option(help="Apache-2.0, MIT, BSD-3-Clause or none.")] = None,
    author: Annotated[str | None, typer.Option(help="Who holds the copyright; by default git's user.name.")] = None,
    json: opt.Json = False,
) -> None:
    """Write a complete package for a plugin, which installs, passes its own tests and trains at once.

    Example: genzoo plugins new genzoo-faces
    """
    from genzoo.plugins.apps.kit.new_plugin import LICENSES, new_plugin

    if license is None and not json and sys.stdin.isatty() and sys.stdout.isatty():
        license = _asked(LICENSES)
    author = _git_user() if author is None else author
    written = new_plugin(name, kind or ("all",), out=out, license=license or LICENSES[0], author=author)
    if json:
        about = {"folder": str(written.folder), "name": written.name, "package": written.package}
        emit_json({**about, "files": list(written.files), "next": list(written.commands)})
        return
    say(bold(written.name), f" is in {written.folder}/")
    say("\n".join(f"  {f}" for f in written.files))
    if license is None:
        hint(f"its license is {LICENSES[0]}: --license takes {', '.join(LICENSES)}")
    say("\nnow\n" + "\n".join(f"  {c}" for c in written.commands))


def _asked(licenses: Sequence[str]) -> str:
    """The license that a person chooses, asked until it is one."""
    while True:
        given = str(typer.prompt(f"License ({', '.join(licenses)})", default=licenses[0], err=True)).strip()
        if given.lower() in {name.lower() for name in licenses}:
            return given
        hint(f"there is no text for the license {given!r}{did_you_mean(given, licenses)}")


def _git_user() -> str:
    """What git calls the user, or ""."""
    if shutil.which("git") is None:
        return ""
    command = ["git", "config", "--get", "user.name"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return asked.stdout.strip().replace('"', "").replace("\\", "")


def check(
    distribution: Annotated[
        str | None, typer.Argument(help="A distribution or plugin; by default all but genzoo's own.")
    ] = None,
    entry: Annotated[
        list[str] | None, typer.Option(help="Only this entry, NAME or KIND:NAME; may be repeated.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--check", help="Only this check; may be repeated.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    json: opt.Json = False,
) -> None:
    """Hold all that a plugin registers to what the zoo asks of its parts; exits 1 if something fails.

    Example: genzoo plugins check genzoo --entry recipe:vae
    """
    from genzoo import testing

    shows = not json and sys.stderr.isatty()

    def progress(finding: Finding) -> None:
        print(f"\r\x1b[K{one_line(f'{finding.entry}: {finding.check}')}", end="", file=sys.stderr, flush=True)

    report = testing.check(distribution, entry, checks=only, on_finding=progress if shows else None, jobs=jobs)
    if shows:
        print("\r\x1b[K", end="", file=sys.stderr)
    if json:
        emit_json(report.to_dict())
    else:
        _show(report)
    if not report.ok:
        sys.exit(1)


def _show(report: Report) -> None:
    """Tables of checks and entries, kind by kind; then every failure; then how the plugins import."""
    kinds: dict[str, dict[str, dict[str, str]]] = {}
    for label, outcomes in report.table().items():
        kind, _, name = label.partition(":")
        kinds.setdefault(kind, {})[name] = {c: MARKS[o] for c, o in outcomes.items()}
    for kind, entries in kinds.items():
        _matrix(kind, entries)
    for finding in report.failures:
        say(f"{finding.text()}\n")
    skipped: dict[str, list[str]] = {}
    for f in report.findings:
        if f.outcome == "skipped" and f.found:
            skipped.setdefault(f"{f.entry}: {f.found}", []).append(f.check)
    for why, checks in skipped.items():
        say(f"– {', '.join(checks)} of {why}")
    if skipped:
        say()
    for p in report.plugins:
        heavy = f", and brings {', '.join(p.heavy)}" if p.heavy else ", without torch"
        say(f"plugin {p.plugin} ({p.distribution} {p.version}) imports in {1000 * p.seconds:.0f} ms{heavy}")
        if p.fault:
            say(f"✗ {p.fault}")
    n = report.counts
    hint(f"{n['passed']} checks passed, {n['failed']} failed, {n['skipped']} had nothing to look at")


def _matrix(kind: str, entries: dict[str, dict[str, str]]) -> None:
    """Entries as columns, as many side by side as fit, and checks as rows."""
    checks = list(dict.fromkeys(c for outcomes in entries.values() for c in outcomes))
    left = max(len(kind), *map(len, checks))
    room = shutil.get_terminal_size((100, 24)).columns
    blocks: list[list[str]] = []
    width = room
    for name in entries:
        width += 2 + len(name)
        if width > room:
            blocks.append([])
            width = left + 2 + len(name)
        blocks[-1].append(name)
    for some in blocks:
        say(bold(kind.ljust(left)), "".join(f"  {n}" for n in some))
        for check in checks:
            say((check.ljust(left) + "".join(f"  {entries[n].get(check, '').center(len(n))}" for n in some)).rstrip())
        say()


def default(ctx: typer.Context, json: opt.Json = False) -> None:
    """Show the plugins when no sub-command is given."""
    if ctx.invoked_subcommand is None:
        list_all(json)


def list_all(json: opt.Json = False) -> None:
    """Show every plugin, its version, what it adds, and its error.

    Example: genzoo plugins list
    """
    from genzoo.registry.verbs.load import list_plugins

    records = list_plugins()
    if json:
        emit_json(records)
        return
    rows = []
    for r in records:
        kinds: dict[str, list[str]] = {}
        for added in r["adds"]:
            kind, _, name = added.partition(":")
            kinds.setdefault(kind, []).append(name)
        adds = "; ".join(f"{k} {', '.join(v)}" for k, v in kinds.items()) or "nothing"
        what = adds if r["status"] == "enabled" else r["status"]
        rows.append([r["name"], f"{r['distribution']} {r['version']}", what])
        rows += [["", "", f"{level}: {f}"] for level in ("error", "note") for f in r[f"{level}s"]]
    table(rows, ("plugin", "distribution", "adds"))
    if any(r["errors"] for r in records):
        hint("\n'genzoo plugins doctor' says what to do, 'genzoo plugins disable NAME' does without one")


def disable(name: Name, json: opt.Json = False) -> None:
    """Load a plugin no more in this environment; works whatever state it is in.

    Example: genzoo plugins disable genzoo-faces
    """
    _switch(name, False, json)


def enable(name: Name, json: opt.Json = False) -> None:
    """Load a plugin again that was disabled.

    Example: genzoo plugins enable genzoo-faces
    """
    _switch(name, True, json)


def _switch(name: str, on: bool, json: bool) -> None:
    from genzoo.registry.discovery import installed

    changed, word = installed.switch(name, on), "enabled" if on else "disabled"
    if json:
        emit_json({"changed": changed, "disabled": sorted(installed.disabled())})
    else:
        say("\n".join(f"{word} {c}" for c in changed) or f"{name} was {word} before")


def doctor(
    load: Annotated[
        bool, typer.Option("--import", help="Also load each plugin, in a process of its own with a time limit.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="The time limit.")] = 30.0,
    json: opt.Json = False,
) -> None:
    """Say what is wrong with the installed plugins and what to do; exits 1 if something is.

    Example: genzoo plugins doctor --import
    """
    from genzoo.registry.discovery import installed
    from genzoo.registry.discovery.doctor import doctor

    findings = doctor(load=load, seconds=seconds)
    wrong = [f for f in findings if f.level != "note"]
    if json:
        emit_json([f.to_dict() for f in findings])
    else:
        for f in findings:
            say(f"{f.level}: {f.about} {f.what}")
            if f.advice:
                say(f"  → {f.advice}")
        others = sum(not p.own for p in installed.plugins(lambda line: None))
        hint(f"{others} plugins of other distributions examined, {len(wrong)} thing{'s' * (len(wrong) != 1)} wrong")
    if wrong:
        sys.exit(1)


COMMANDS = {
    "plugins": {
        "": default,
        "list": list_all,
        "disable": disable,
        "enable": enable,
        "doctor": doctor,
        "new": new,
        "check": check,
    }
}

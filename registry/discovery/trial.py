"""Loads each plugin in a process of its own, so that one that hangs, crashes or exits says so instead of doing it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

from genzoo.registry.discovery.doctor import Finding
from genzoo.registry.discovery.loader import Found, installed

SECONDS = 30.0  # that each may take


def trials(seconds: float = SECONDS, say: Callable[[str], None] = lambda line: None) -> list[Finding]:
    """Load every plugin of another distribution in turn, and check what it registers.

    Args:
        seconds: that each may take.
        say: told which one is loaded.
    """
    plugins = [p for p in installed(lambda line: None) if not p.own]
    findings, entries = list[Finding](), dict[tuple[str, str], list[Found]]()
    for plugin in plugins:
        say(f"loading {plugin.origin}")
        told = _load(plugin, seconds)
        findings += [Finding(*f) for f in told["findings"]]
        for kind, name in told["entries"]:
            entries.setdefault((kind, name), []).append(plugin)
    return findings + list(_clashes(entries))


def _load(plugin: Found, seconds: float) -> dict[str, Any]:
    env = {k: v for k, v in os.environ.items() if k not in ("GENZOO_PLUGINS", "GENZOO_NO_PLUGINS")}
    command = [sys.executable, "-m", "genzoo.registry.discovery.trial", f"{plugin.distribution}/{plugin.name}"]
    who = plugin.origin

    def failed(what: str) -> dict[str, Any]:
        advice = f"'genzoo plugins disable {plugin.name}' does without it; tell its authors"
        return {"findings": [("error", who, what, advice)], "entries": []}

    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return failed(f"was not loaded after {seconds:g} s")
    try:
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        return failed(f"ends Python while it is loaded ({how})")
    return told


def _clashes(entries: dict[tuple[str, str], list[Found]]) -> Iterable[Finding]:
    for (kind, name), plugins in entries.items():
        if len(plugins) > 1:
            ways = " or ".join(f"'{p.address}:{name}'" for p in plugins)
            said = f"is claimed by {' and by '.join(p.origin for p in plugins)}"
            yield Finding("warning", f"{kind} {name!r}", said, f"say {ways}")


def _one(address: str) -> dict[str, Any]:
    """Load one plugin beside the zoo's own, here."""
    from genzoo.registry.registry import Registry

    registry = Registry.discover(plugins=True, only=[address])
    record = registry.plugins()[-1]
    advice = f"'genzoo plugins disable {record.name}' does without it; tell its authors"
    findings = [("error", record.origin, record.error, advice)] if record.error else []
    findings += [("warning", record.origin, note, "tell its authors") for note in record.notes]
    for entry, why in registry.check_targets(list(record.entries)):
        findings.append(("error", record.origin, f"{entry.kind} {entry.name!r}: {why}", "tell its authors"))
    own = {(e.kind, e.name) for e in registry.entries() if e.distribution == "genzoo"}
    for e in record.entries:
        if (e.kind, e.name) in own:
            said = f"{e.kind} {e.name!r} has the name of one of the zoo's own: say '{e.address}'"
            findings.append(("warning", record.origin, said, "tell its authors"))
    return {"findings": findings, "entries": [(e.kind, e.name) for e in record.entries]}


if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)  # whatever it prints, ever
    told = _one(sys.argv[1])
    with os.fdopen(out, "w") as answer:
        answer.write("\n" + json.dumps(told) + "\n")
    os._exit(0)  # and whatever it does at exit

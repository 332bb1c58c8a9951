"""``genzoo.lock``: the weights that a project uses, each pinned to a commit and the sha256 of every file."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.storage.files import write_bytes
from genzoo.core.storage.strict import read_plain, regular
from genzoo.core.storage.user_cache import asked_for
from genzoo.registry.weights.layout import CONFIG, TENSORS, check_pins

FILE = "genzoo.lock"
_FORMAT = 1
_HEAD = "# Written by 'genzoo lock': weights by name, and what they are. 'genzoo lock NAME' renews a pin.\n"
_LITERAL = re.compile(r"""(?<![\w./:@-])(?:hf:)?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w./+-]+)?(?![\w/:])""")
_SCANNED = (".py", ".ipynb", ".sh", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".mk")


@dataclass(frozen=True)
class Pin:
    """What one name stands for.

    Attributes:
        files: name to sha256.
        commit: of the Hub or a store; empty for folders and packages.
        version: of a name of the zoo, else 0.
        plugin: what provides a name of the zoo, in words.
    """

    files: dict[str, str]
    commit: str = ""
    version: int = 0
    plugin: str = ""


@dataclass
class Lock:
    """A lock file.

    Attributes:
        path: where it is.
        pins: by name, as it is written where it is used.
    """

    path: Path
    pins: dict[str, Pin] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Read a lock file.

        Raises:
            UsageError: if it is not there, or makes no sense.
        """
        try:
            raw = tomllib.loads(read_plain(path).decode())
        except FileNotFoundError:
            raise UsageError(f"there is no lock file {path}: 'genzoo lock NAME …' writes it") from None
        except (GenzooError, ValueError, RecursionError) as e:
            raise UsageError(f"{path} is no lock file: {e}; write it anew with 'genzoo lock NAME …'") from None
        version = raw.pop("format", None)
        if not isinstance(version, int) or version < 1:
            raise UsageError(f"{path} is no lock file: it has no format number")
        if version > _FORMAT:
            raise UsageError(f"{path} has format {version}, and this genzoo reads up to {_FORMAT}: upgrade it")
        weights = raw.pop("weights", {})
        if raw or not isinstance(weights, dict):
            raise UsageError(f"{path} is no lock file: it says {next(iter(raw), 'weights')!r}, which makes no sense")
        return cls(path, {name: _pin(f"{path}: {name!r}", said) for name, said in weights.items()})

    def write(self) -> None:
        """Write it, whole or not at all; equal pins give equal bytes."""
        text = [_HEAD, f"format = {_FORMAT}\n"]
        for name, pin in sorted(self.pins.items()):
            text.append(f"\n[weights.{_quoted(name)}]\n")
            said = {"version": pin.version, "plugin": pin.plugin, "commit": pin.commit}
            text += [f"{k} = {_quoted(v) if isinstance(v, str) else v}\n" for k, v in said.items() if v]
            text += [f"files.{_quoted(n)} = {_quoted(digest)}\n" for n, digest in sorted(pin.files.items())]
        write_bytes(self.path, "".join(text).encode())

    def pin(self, name: str | os.PathLike[str]) -> Pin:
        """What a name is pinned to; raises `GenzooError` if it is not."""
        text = os.fspath(name)
        if text not in self.pins:
            raise GenzooError(
                f"{text!r} is not in {self.path}, and nothing else may be used{did_you_mean(text, self.pins)}: "
                f"pin it with 'genzoo lock {text}', or do without --locked and GENZOO_LOCKED"
            )
        return self.pins[text]


def active() -> Lock | None:
    """The lock that the environment asks to keep to: ``GENZOO_LOCKED=1`` is ``genzoo.lock`` here, else its path."""
    said = os.environ.get("GENZOO_LOCKED", "")
    if not asked_for("GENZOO_LOCKED"):
        return None
    return Lock.read(Path(FILE if said.lower() in ("1", "true", "yes") else said))


def used_in(folder: Path, names: Iterable[str]) -> list[str]:
    """Names of weights that a project's files mention: those of the zoo, and ``hf:`` ones.

    Args:
        folder: the project's; hidden folders are left out.
        names: of the zoo.
    """
    known, found = set(names), set[str]()
    for where, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith((".", "__")) and f not in ("node_modules", "build")]
        for file in files:
            path = Path(where, file)
            if (path.suffix in _SCANNED or file == "Makefile") and path.stat().st_size < 2**20:
                text = regular(path).read_text(encoding="utf-8", errors="replace")
                found |= {m for m in _LITERAL.findall(text) if m.startswith("hf:") or m.partition("@")[0] in known}
    return sorted(found)


def _pin(where: str, said: Any) -> Pin:
    if not isinstance(said, dict) or not isinstance(said.get("files"), dict):
        raise UsageError(f"{where} pins no files")
    odd = set(said) - {"files", "commit", "version", "plugin"}
    if odd:
        raise UsageError(f"{where} says {min(odd)!r}, which this genzoo does not know")
    commit, version, plugin = said.get("commit", ""), said.get("version", 0), said.get("plugin", "")
    if not isinstance(commit, str) or not isinstance(version, int) or not isinstance(plugin, str):
        raise UsageError(f"{where}: commit and plugin are text, version is a number")
    files = check_pins(where, said["files"])
    if not {CONFIG, TENSORS} <= set(files):
        raise UsageError(f"{where} does not pin config.json and model.safetensors")
    return Pin(files, commit, version, plugin)


def _quoted(text: str) -> str:
    """Text as TOML writes it, which is as JSON does."""
    return json.dumps(text, ensure_ascii=False)

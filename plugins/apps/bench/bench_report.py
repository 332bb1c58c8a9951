"""How a benchmark is kept: cells that a killed call goes on from, a table in Markdown, numbers in JSON, the machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import given_path, write_bytes, write_json, writing
from genzoo.core.storage.strict import read_json
from genzoo.registry.verbs.initialize import pick_device

_LIMIT = 2**26  # bytes of a cell


@dataclass(frozen=True)
class Table:
    """Columns with a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As documents have it."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Cell:
    """One cell of a long table, kept in a file of its own as soon as it is there; equal settings are the same cell.

    Attributes:
        folder: of the benchmark, with ``cells`` and ``runs`` in it; None keeps nothing.
        name: for people and files.
        settings: all that its numbers depend on, as plain data.
    """

    folder: Path | None
    name: str
    settings: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Name of its files: the cell's own, as far as file systems take it, and a hash of its settings."""
        plain = re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True, default=str).encode()).hexdigest()
        return f"{plain}-{digest[:8]}"

    @property
    def run(self) -> Path | None:
        """Where the cell's training is kept."""
        return None if self.folder is None else self.folder / "runs" / self.key

    def get(self) -> Any:
        """What was found before, None if it is missing; raises `GenzooError` if its file is damaged."""
        if self.folder is None:
            return None
        path = self.folder / "cells" / f"{self.key}.json"
        try:
            return read_json(path, limit=_LIMIT)["result"]
        except FileNotFoundError:
            return None
        except (GenzooError, OSError, ValueError, KeyError, TypeError):
            raise GenzooError(f"{path} is damaged: delete it, and that cell is measured again") from None

    def put(self, result: Any) -> None:
        """Keep what was found."""
        if self.folder is not None:
            path = self.folder / "cells" / f"{self.key}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"name": self.name, "settings": dict(self.settings), "result": result})


def folder_for(out: str | os.PathLike[str] | None) -> Path | None:
    """Make the folder that results go to before anything is measured; raises `UsageError` if that is a file."""
    if out is None:
        return None
    folder = given_path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder for the results")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep(folder: Path | None, name: str, numbers: Mapping[str, Any], text: str, about: Mapping[str, Any]) -> None:
    """Write ``NAME.json`` and ``NAME.md`` into a folder, if there is one, with the machine that it is about."""
    if folder is not None:
        write_json(folder / f"{name}.json", {"machine": about, **numbers})
        write_bytes(folder / f"{name}.md", f"{text.rstrip()}\n\n{sentence(about)}.\n".encode())


@contextmanager
def threads_set(threads: int | None) -> Iterator[None]:
    """Set torch's CPU threads for a while; None leaves them."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine(device: str | torch.device = "cpu", threads: int | None = None) -> dict[str, Any]:
    """What a benchmark runs on, for its record."""
    where = pick_device(str(device))
    return {
        "device": where.type,
        "name": torch.cuda.get_device_name(where) if where.type == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def sentence(about: Mapping[str, Any]) -> str:
    """The machine in words."""
    return f"{about['name']}, {about['threads']} of {about['cores']} cores, torch {about['torch']}"


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            names = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()

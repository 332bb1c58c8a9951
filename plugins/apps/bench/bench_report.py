"""How a benchmark is kept: a table in Markdown, the numbers in JSON, and what it ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genzoo.core.errors import UsageError
from genzoo.core.storage.files import given_path, write_bytes, write_json, writing


@dataclass(frozen=True)
class Table:
    """Columns with a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As documents have it."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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


def machine(device: torch.device) -> dict[str, Any]:
    """What a benchmark runs on, for its record."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": device.type,
        "name": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def machine_named(device: str, threads: int | None = None) -> dict[str, Any]:
    """The same for a device by name, and threads as a benchmark was told."""
    from genzoo.registry.verbs.initialize import pick_device

    with threads_set(threads):
        return machine(pick_device(device))


def sentence(about: Mapping[str, Any]) -> str:
    """The same in words."""
    return f"{about['name']}, {about['threads']} of {about['cores']} cores, torch {about['torch']}"


def folder_for(out: str | os.PathLike[str] | None) -> Path | None:
    """Make the folder that results go to, before anything is measured.

    Raises:
        UsageError: if there is a file of that name.
        GenzooError: if it cannot be made.
    """
    if out is None:
        return None
    folder = given_path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder for the results")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(
    folder: Path | None, name: str, lines: Sequence[Mapping[str, Any]], table: Table, about: Mapping[str, Any]
) -> None:
    """Write ``NAME.json`` and ``NAME.md`` into a folder, if there is one: after each case, so that none is lost."""
    if folder is None:
        return
    write_json(folder / f"{name}.json", {"machine": about, "lines": lines})
    write_bytes(folder / f"{name}.md", f"{table.markdown()}\n\n{sentence(about)}\n".encode())


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            names = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()

"""Which plugins the user has switched off: one small file for each Python environment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from genzoo.core.errors import UsageError

FORMAT = 1


def path() -> Path:
    """The file of this environment: ``genzoo/plugins/NAME-DIGEST.json`` in the user's configuration folder."""
    from hashlib import sha256

    prefix = os.path.realpath(sys.prefix)
    return _folder() / f"{os.path.basename(prefix)}-{sha256(prefix.encode()).hexdigest()[:12]}.json"


def _folder() -> Path:
    given = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".config"
    return home / "genzoo" / "plugins"


def disabled(say: Callable[[str], None]) -> frozenset[str]:
    """What is switched off, as ``distribution`` or ``distribution/plugin``; names of distributions as normal.

    Args:
        say: told in one line if the file is there and no use; then nothing is switched off.
    """
    if not os.path.isdir(_folder()):  # nobody ever switched anything off
        return frozenset()
    names, fault = _read(path())
    if fault:
        say(f"{path()} {fault}, so no plugin is disabled; 'genzoo plugins disable' and 'enable' write it anew")
    return frozenset(names)


def change(edit: Callable[[frozenset[str]], Iterable[str]]) -> None:
    """Rewrite the file, whole, while nobody else does; one that was damaged is kept beside it.

    Args:
        edit: from what is switched off to what shall be.

    Raises:
        GenzooError: if it cannot be written; then it is as it was.
    """
    from genzoo.core.storage.files import write_json, writing

    file = path()
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(file.parent):
        names, fault = _read(file)
        if fault and file.is_file():
            with writing(file):
                os.replace(file, f"{file}.damaged")
        write_json(file, {"format": FORMAT, "environment": sys.prefix, "disabled": sorted(edit(frozenset(names)))})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for whoever is writing there, which takes no time."""
    from genzoo.core.storage.folder_lock import claimed

    with ExitStack() as stack:
        for attempt in range(100):
            try:
                stack.enter_context(claimed(folder, f"another process is changing {folder}: try again"))
                break
            except UsageError:
                if attempt == 99:
                    raise
                time.sleep(0.05)
        yield


def _read(file: Path) -> tuple[Collection[str], str]:
    """Names, and what is wrong with the file."""
    import json

    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return (), ""
    except OSError as e:
        return (), f"cannot be read ({e.strerror})"
    except (ValueError, RecursionError):
        return (), "is damaged"
    if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
        return (), f"has format {content['format']}, of a newer genzoo"
    names = content.get("disabled") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        return (), "is damaged"
    return names, ""

"""Sayings that the program ``fortune`` tells, of an installed package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.errors import GenzooError, MissingPackage, UsageError
from genzoo.core.options import option
from genzoo.plugins.datasets.text_file import TextOptions, data_of, parted
from genzoo.registry import declare


def sayings(folder: Path) -> list[tuple[str, str]]:
    """Sayings and the file that each is of, in the order of names; a line with ``%`` parts them.

    Raises `MissingPackage` without the folder, and `GenzooError` for files that are no texts and without a saying;
    `UsageError` for what is no folder.
    """
    found = list[tuple[str, str]]()
    for file in _files(folder):
        try:
            whole = file.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as e:
            raise GenzooError(f"{file} is no file of sayings ({e})") from None
        parts = (" ".join(text.replace("\b", "").split()) for text in re.split(r"(?m)^%\r?$", whole))
        found += [(text, file.name) for text in parts if text]
    if not found:
        raise GenzooError(f"{folder} has no saying in it")
    return found


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.is_file() and not file.suffix)
    except FileNotFoundError:
        raise MissingPackage(
            f"fortunes are read from {folder}, which is not there: apt install fortunes (4 MB), "
            "or --set data.path=FOLDER"
        ) from None
    except NotADirectoryError:
        raise UsageError(f"data.path={folder} is no folder: give the one that the files of sayings are in") from None
    except OSError as e:
        raise GenzooError(f"the folder {folder} cannot be read ({e})") from None


@declare.dataset("fortunes", summary="11,115 sayings and jokes, of an installed package", modalities=("text",))
class Fortunes(DataSource):
    """Sayings, jokes and quotations of at most 160 characters, by the file that each is in; a tenth is to test.

    They are read from the files that Debian's package installs: ``apt install fortunes`` (4 MB). Who wrote them and
    under which license is known of few, so weights that were trained on them are for yourself.
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        path: str = option("/usr/share/games/fortunes", "the folder of files, a line with % between two sayings")

    options: Options

    def read(self, split: Split) -> Data:
        o = self.options
        if not o.path:
            raise UsageError("data.path is empty: give the folder that the files of sayings are in")
        several = sayings(Path(o.path).expanduser())
        labels = None if o.labels == "none" else [name for _, name in several]
        return parted(data_of([text for text, _ in several], labels, o, "fortunes", "mixed, of each author"), split)

    def own_splits(self) -> bool:
        return False

"""Sayings that the program ``fortune`` tells, of an installed package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.errors import GenzooError, MissingPackage
from genzoo.core.options import option
from genzoo.plugins.datasets.text_file import TextOptions, data_of, parted
from genzoo.registry import declare


def sayings(folder: Path) -> list[tuple[str, str]]:
    """Sayings and the file that each is of, in the order of names; a line with ``%`` parts them."""
    try:
        files = sorted(file for file in folder.iterdir() if file.is_file() and not file.suffix)
        found = [
            (" ".join(text.replace("\b", "").split()), file.name)
            for file in files
            for text in ("\n" + file.read_bytes().decode()).split("\n%\n")
        ]
    except FileNotFoundError:
        raise MissingPackage(
            f"fortunes are read from {folder}, which is not there: apt install fortunes (4 MB), "
            "or --set data.path=FOLDER"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise GenzooError(f"{folder} has files that are no sayings ({e})") from None
    if not (found := [(text, name) for text, name in found if text]):
        raise GenzooError(f"{folder} has no saying in it")
    return found


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
        several = sayings(Path(o.path).expanduser())
        labels = None if o.labels == "none" else [name for _, name in several]
        return parted(data_of([text for text, _ in several], labels, o, "fortunes", "mixed, of each author"), split)

    def own_splits(self) -> bool:
        return False

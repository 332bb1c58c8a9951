"""Texts that packages of Debian and its like install: the whole King James Bible, English words, and given names."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.errors import GenzooError, MissingPackage
from genzoo.core.options import option
from genzoo.plugins.datasets.text_file import TextOptions, data_of, parted
from genzoo.registry import declare

FIRST, LAST = "Gen1:1", "Rev22:21"


def verses() -> list[str]:
    """All verses in their order, without their places, as the program ``bible`` writes them."""
    program = shutil.which("bible")
    if not program:
        raise MissingPackage(
            "the whole King James Bible is read by the program 'bible', which is not installed: "
            "apt install bible-kjv (4 MB); kjv-mini needs nothing"
        )
    try:
        command = [program, "-f", f"{FIRST}-{LAST}"]
        said = subprocess.run(command, capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
        found = re.findall(r"^\S+:\d+ (.+)$", said.stdout.decode(), re.MULTILINE)
    except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired) as e:
        raise GenzooError(f"{program} cannot be run ({e})") from None
    if not found:
        raise GenzooError(f"{program} is no program that writes verses: kjv needs that of Debian's package bible-kjv")
    return found


def lines_of(path: str, what: str) -> list[str]:
    """Lines of a file, compressed or not, without empty ones."""
    file = Path(path).expanduser()
    try:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode()
    except FileNotFoundError:
        raise MissingPackage(
            f"{what} are read from {path}, which is not there: apt install miscfiles (3 MB), "
            "or --set data.path=FILE with a line each"
        ) from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as e:
        raise GenzooError(f"{path} is no file of lines that can be read ({e})") from None
    found = [line for line in map(str.strip, text.split("\n")) if line]
    if not found:
        raise GenzooError(f"{path} has no text in it")
    return found


@declare.dataset("kjv", summary="22,192 verses of the King James Bible, of an installed program", modalities=("text",))
class KJV(DataSource):
    """Verses of at most 160 characters of the King James Bible: 19,973, and 2,219 to test.

    All 31,102 verses are read, of which 30,832 are different; ``data.length=600`` takes the longest too. The text is
    in the public domain. It is read by the program ``bible`` of Debian's package: ``apt install bible-kjv`` (4 MB).
    `kjv-mini` are 3,000 of them, which need nothing.
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        """What a token is."""

    options: Options

    def read(self, split: Split) -> Data:
        return parted(data_of(verses(), None, self.options, "kjv", "public domain"), split)

    def own_splits(self) -> bool:
        return False


@declare.dataset("words", summary="234,000 English words, of an installed file", modalities=("text",))
class Words(DataSource):
    """Words of Webster's Second International Dictionary of 1934, whose copyright has lapsed; a tenth is to test.

    They are read from the file that Debian's package installs: ``apt install miscfiles`` (3 MB).
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        length: int = option(24, "longest word in characters, or bytes; longer ones are left out", low=1, high=4096)
        path: str = option("/usr/share/dict/web2", "the file, a word each line")

    options: Options
    what = "words"

    def read(self, split: Split) -> Data:
        o = self.options
        return parted(data_of(lines_of(o.path, self.what), None, o, self.what, "public domain"), split)

    def own_splits(self) -> bool:
        return False


@declare.dataset("names", summary="1,500 English given names, of an installed file", modalities=("text",))
class Names(Words):
    """Given names, so few that a model of them is trained in seconds; a tenth is to test.

    They are read from the file that Debian's package installs: ``apt install miscfiles`` (3 MB).
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        length: int = option(24, "longest name in characters, or bytes; longer ones are left out", low=1, high=4096)
        path: str = option("/usr/share/dict/propernames.gz", "the file, a name each line")

    options: Options  # type: ignore[assignment]
    what = "names"

"""Bibles of several languages, as packages of Debian and its like install them."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from dataclasses import dataclass

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.errors import GenzooError, MissingPackage, UsageError
from genzoo.core.options import option
from genzoo.plugins.datasets.text_file import TextOptions, data_of, parted
from genzoo.registry import declare

INSTALL = "apt install libsword-utils sword-text-web sword-text-sparv (30 MB)"
_VERSE = re.compile(r"^\$\$\$[^\n]+ \d+:[1-9]\d*\n(.*?)(?=^\$\$\$|\Z)", re.MULTILINE | re.DOTALL)
_APART = re.compile(r"<(note|title)\b[^>]*?(?:/>|>.*?</\1>)|</?(?:l|lb|lg|div|item|list|speaker)\b[^>]*>", re.DOTALL)


def verses(module: str) -> list[str]:
    """Verses of a module of SWORD in their order, as ``mod2imp`` writes them, without marks, headings and footnotes."""
    program = shutil.which("mod2imp")
    if not program:
        raise MissingPackage(f"bibles are read by the program 'mod2imp', which is not installed: {INSTALL}")
    try:
        said = subprocess.run([program, module], capture_output=True, check=False, timeout=120,
                              stdin=subprocess.DEVNULL)  # fmt: skip
        written = said.stdout.decode()
    except UnicodeDecodeError as e:
        raise GenzooError(f"{program} wrote what is no UTF-8 of {module} ({e})") from None
    except (OSError, subprocess.TimeoutExpired) as e:
        raise GenzooError(f"{program} cannot be run on {module} ({e})") from None
    plain = (re.sub(r"<[^>]*>", "", _APART.sub(" ", found)) for found in _VERSE.findall(written))
    tidy = (re.sub(r" (?=[,.;:?!)”’])", "", " ".join(html.unescape(text).split())) for text in plain)
    if not (found := [text for text in tidy if text]):
        raise MissingPackage(f"there is no bible {module!r} that {program} knows: {INSTALL}, or --set data.modules=…")
    if said.returncode:  # of a module that it does not know too, which has no verses
        raise GenzooError(f"{program} stopped at {module} with exit code {said.returncode}: verses may be missing")
    return found


@declare.dataset("bibles", summary="52,046 verses in English and Spanish, of installed packages", modalities=("text",))
class Bibles(DataSource):
    """Verses of at most 160 characters of the World English Bible and of the Reina-Valera of 1909, by label.

    Both are in the public domain. They are read by the program ``mod2imp`` of the SWORD library: ``apt install
    libsword-utils sword-text-web sword-text-sparv`` (30 MB). ``data.modules`` takes others that are installed. A tenth
    is to test.
    """

    @dataclass(frozen=True)
    class Options(TextOptions):
        modules: tuple[str, ...] = option(
            ("engWEB2015eb", "spaRV1909eb"), "names of installed modules of SWORD, each a class"
        )

    options: Options

    def read(self, split: Split) -> Data:
        o = self.options
        if not o.modules or any(not re.fullmatch(r"\w+", name) for name in o.modules):
            raise UsageError("data.modules are names of modules of SWORD, as engWEB2015eb,spaRV1909eb")
        several = [(text, name) for name in o.modules for text in verses(name)]
        labels = None if o.labels == "none" else [name for _, name in several]
        license = "public domain" if o.modules == type(o)().modules else ""
        return parted(data_of([text for text, _ in several], labels, o, "bibles", license), split)

    def own_splits(self) -> bool:
        return False

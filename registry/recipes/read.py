"""Recipes as TOML files: read strictly, and refused with file, line and the nearest right word."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.options import OptionInfo, describe_type
from genzoo.core.storage.files import given_path
from genzoo.core.storage.strict import regular
from genzoo.registry.discovery.static import infos_of
from genzoo.registry.entries import Entry, check_listed, check_reference, check_words, first_option, reference_of
from genzoo.registry.kinds import LISTS, PARTS, SINGLE
from genzoo.registry.modalities import names
from genzoo.registry.registrar import Registrar
from genzoo.registry.registry import Registry

FORMAT = 1
GROUPS = (*PARTS, "latent", "train")
_SAID = ("name", "summary", "paper", "like", "modalities", "tags", "conditional")  # as the registrar takes it
_TOP = ("format", *_SAID, "needs", "parts", "presets", *GROUPS)
_LARGEST = 1 << 20  # bytes


def is_file(name: object) -> bool:
    """Whether a recipe's name means a file."""
    return isinstance(name, os.PathLike) or (isinstance(name, str) and name.endswith(".toml"))


def find(registry: Registry, recipe: str | os.PathLike[str]) -> Entry:
    """The recipe of a name, or of a file: ``my.toml``."""
    return read(registry, recipe) if is_file(recipe) else registry.get("recipe", str(recipe))


def read(registry: Registry, path: str | os.PathLike[str]) -> Entry:
    """Read a recipe's file; what is not a part or an option that is there is refused with file and line."""
    file = given_path(path)
    try:
        size = os.path.getsize(file)
        raw = regular(file).read_bytes() if size <= _LARGEST else b""
    except OSError as e:
        raise UsageError(f"{file}: {(e.strerror or str(e)).lower()}") from None
    if size > _LARGEST:
        raise UsageError(f"{file} has {size:,} bytes: that is no recipe")
    try:
        text = raw.decode()
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{file} is no TOML: {' '.join(str(e).split())}") from None
    return _Reader(registry, str(file), text).entry(content, file.stem)


class _Reader:
    """Turns what a file says into an entry."""

    def __init__(self, registry: Registry, file: str, text: str) -> None:
        self.registry, self.file, self.lines = registry, file, text.splitlines()

    def fail(self, table: str, key: str, why: str) -> UsageError:
        """Say what is wrong at a key of a table."""
        where = f"{self.file}:{self._line(table, key)}" + (f", table [{table}]" if table else "")
        return UsageError(f"{where}: {why}")

    @contextmanager
    def at(self, table: str, key: str) -> Iterator[None]:
        """Say of what is refused meanwhile where it stands."""
        try:
            yield
        except GenzooError as e:
            raise self.fail(table, key, str(e)) from None

    def _line(self, table: str, key: str) -> int:
        """The line of a key, as well as a search can tell: in its table, else where the table begins."""
        here, found = "", 1
        for number, line in enumerate(self.lines, 1):
            if header := re.match(r"\s*\[\s*([^\[\]#]+?)\s*\]", line):
                here = re.sub(r"""["'\s]""", "", header[1])
                found = number if here in (table, f"{table}.{key}".lstrip(".")) else found
            if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line) and here == table:
                return number
        return found

    def entry(self, content: dict[str, Any], stem: str) -> Entry:
        self.words("", content, _TOP)
        if content.get("format", FORMAT) != FORMAT:
            newer = isinstance(content["format"], int) and content["format"] > FORMAT
            why = "which a newer genzoo reads" if newer else f"where {FORMAT} belongs"
            raise self.fail("", "format", f"format is {content['format']!r}, {why}")
        for key in _SAID:
            if key in content:  # each by itself, so that the line is its own
                with self.at("", key):
                    Registrar("").recipe(**{"name": name_from(stem), "objective": "any", key: content[key]})
        self.needs(content.get("needs", []))
        parts = self.parts("parts", content.get("parts", {}))
        like = content.get("like", "")
        if not (parts.get("objective") or like):
            why = "parts needs an objective: objective = \"…\"; 'genzoo list objective'"
            raise self.fail("parts", "objective", why)
        data: dict[str, Any] = dict.fromkeys(SINGLE) | dict.fromkeys(LISTS, ()) | parts
        data |= {"conditional": content.get("conditional", None if like else False), "options": {}, "presets": {}}
        inherited = data
        if like:
            data["like"] = like
            with self.at("", "like"):
                inherited = self.registry.whole(Entry("recipe", name_from(stem), data=data)).data
        data["options"] = self.options("", content, inherited)
        for name, preset in self.table("presets", "", content.get("presets", {})).items():
            data["presets"][name] = self.preset(name, preset, inherited)
        for word in content.get("modalities", ()):
            if word not in names():
                raise self.fail("", "modalities", f"there is no modality {word!r}{did_you_mean(word, names())}")
        about: dict[str, Any] = {k: content.get(k, "") for k in ("summary", "paper")}
        about |= {k: tuple(content.get(k, ())) for k in ("modalities", "tags")}
        return self.registry.whole(Entry("recipe", content.get("name") or name_from(stem), **about, data=data))

    def preset(self, name: str, preset: Any, data: Mapping[str, Any]) -> dict[str, Any]:
        where = f"presets.{name}"
        self.words(where, self.table(where, "", preset), ("conditional", "parts", *GROUPS))
        parts = self.parts(f"{where}.parts", preset.get("parts", {}))
        above = data["presets"].get(name, {})  # inherited
        named = {k: parts.get(k) or above.get(k) or data[k] for k in PARTS}
        found: dict[str, Any] = {**parts, **self.options(f"{where}.", preset, named)}
        if "conditional" in preset:
            if not isinstance(preset["conditional"], bool):
                raise self.fail(where, "conditional", "conditional takes true or false")
            found["conditional"] = preset["conditional"]
        return found

    def words(self, table: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
        """Refuse keys that there are not."""
        known = list(known)
        for key in given:
            if key not in known:
                hint = did_you_mean(key, known) or f"; there are {', '.join(known)}"
                raise self.fail(table, key, f"there is no {key!r}{hint}")

    def table(self, table: str, key: str, given: Any) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise self.fail(table.rpartition(".")[0], table.rpartition(".")[2], f"{table} must be a table, [{table}]")
        return given

    def parts(self, table: str, given: Any) -> dict[str, Any]:
        self.words(table, self.table(table, "", given), PARTS)
        found: dict[str, Any] = {}
        for kind, value in given.items():
            with self.at(table, kind):
                found[kind] = (check_listed if kind in LISTS else check_reference)("", kind, value)
                for word in found[kind] if kind in LISTS else (value,):
                    name, _, number = word.partition("=")
                    infos = self.registry.options(self.registry.get(kind, name))
                    if number:
                        first_option(f"{kind} {name!r}", infos).coerce(number, word)
        return found

    def options(self, above: str, content: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Options of all groups by dotted name, each of its type."""
        found: dict[str, Any] = {}
        groups = {group: content.get(group, {}) for group in GROUPS if group not in LISTS}
        for kind in LISTS:
            several = self.table(f"{above}{kind}", "", content.get(kind, {}))
            groups |= {f"{kind}.{name}": given for name, given in several.items()}
        for group, table in groups.items():
            given = self.table(f"{above}{group}", "", table)
            infos = {i.name: i for i in infos_of(self.registry, group, named)} if given else {}
            kind = group.partition(".")[0]
            if given and kind in PARTS and not reference_of(named, group):
                raise self.fail(f"{above}{group}", "", f"it has options of {group}, and parts names none")
            for key, value in given.items():
                if key not in infos:
                    some = did_you_mean(key, infos) or f"; it has {', '.join(infos) or 'no options'}"
                    what = f"{kind} {reference_of(named, group)!r}" if kind in PARTS else group
                    raise self.fail(f"{above}{group}", key, f"{what} has no option {key!r}{some}")
                with self.at(f"{above}{group}", key):
                    found[f"{group}.{key}"] = exact(infos[key], value, key)
        return found

    def needs(self, given: Any) -> None:
        """Say which distribution is not there, rather than which of its parts."""
        from importlib.metadata import PackageNotFoundError, version

        with self.at("", "needs"):
            check_words("it", "needs", given)
        for need in given:
            name, _, wanted = need.partition(" ")
            try:
                version(name)
            except (PackageNotFoundError, ValueError):
                pin = f"'{name}=={wanted}'" if wanted else name
                raise self.fail("", "needs", f"it needs {need}, which is not installed: pip install {pin}") from None


def exact(info: OptionInfo, value: Any, where: str) -> Any:
    """A value of a file as its option's: text is no number here, and ``"none"`` is how TOML says that there is none."""
    text = "str" in info.type or "Literal" in info.type or (value == "none" and "None" in info.type)
    if isinstance(value, str) and not text:
        raise UsageError(f"{where} takes {describe_type(info.type)}, not the text {value!r}")
    return info.coerce(value, where)


def name_from(stem: str) -> str:
    """A recipe's name from its file's."""
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._") or "recipe"

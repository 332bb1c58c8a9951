"""What the registry holds: plain data about one thing in the zoo, and the rules that it must obey."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.options import OptionInfo
from genzoo.registry.kinds import KINDS, LISTS, PARTS, SINGLE

__all__ = ["KINDS", "LISTS", "PARTS", "SINGLE", "Entry", "PluginRecord", "article", "origin"]


LONGEST = 1000  # characters of a line of text

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_REFERENCE = re.compile(r"([A-Za-z0-9._/-]+[:/])?[a-z0-9][a-z0-9._-]*")
_OPTION = re.compile(r"[a-z][a-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*")
_LISTED = re.compile(rf"({'|'.join(LISTS)})\.[a-z0-9][a-z0-9._-]*\.[A-Za-z][A-Za-z0-9_]*")
MOST_LISTED = 100  # parts of one kind in a composition


@dataclass(frozen=True)
class Entry:
    """One thing in the zoo, as it was registered.

    Attributes:
        kind: one of `KINDS`.
        name: unique within its kind and plugin.
        target: ``package.module:attribute`` of the class; for weights ``package.module:folder``, a folder
            beside the module; empty for recipes, and for weights that ship in no package.
        summary: one line.
        paper: where it comes from, e.g. ``arXiv:1704.00028``.
        modalities: what data it is for; empty means any.
        tags: free words to filter by.
        plugin: the entry point's name.
        distribution: the installed package that carries the plugin.
        version: that package's version.
        data: a recipe's contents: the parts by kind (`PARTS`; of `LISTS` a tuple of ``NAME`` or ``NAME=NUMBER``),
            ``conditional``, ``options``, ``presets``, and ``like`` if it is like another (see
            `genzoo.registry.registry.Registry.whole`); a metric's ``direction``, ``unit`` and ``needs``;
            of weights ``versions`` (number to ``target``, ``files``, ``hub``, ``commit``, …) and ``default``.
        api: the plugin API that the plugin was written for.
    """

    kind: str
    name: str
    target: str = ""
    summary: str = ""
    paper: str = ""
    modalities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    plugin: str = ""
    distribution: str = ""
    version: str = ""
    data: dict[str, Any] = field(default_factory=dict, hash=False)
    api: int = 1

    @property
    def address(self) -> str:
        """``plugin:name``, which resolves even where two plugins claim the name."""
        return f"{self.plugin}:{self.name}"

    @property
    def home(self) -> tuple[str, ...]:
        """Where a recipe's parts are looked for first: its plugin, then its distribution."""
        return tuple(filter(None, (self.plugin, self.distribution)))

    @property
    def origin(self) -> str:
        """The plugin in words: ``plugin 'x' (dist 1.0)``."""
        return origin(self.plugin, self.distribution, self.version)

    def fits(self, *kinds: str) -> bool:
        """Whether it is for data of one of these modalities; what names none is for any."""
        return not self.modalities or any(k in self.modalities for k in kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class PluginRecord:
    """What became of one plugin.

    Attributes:
        name: the entry point's name.
        distribution: the installed package that carries it.
        version: that package's version, empty if unknown.
        module: what the entry point names.
        entries: what it registered (of a plugin that failed half-way, what was good).
        error: one line if it could not be loaded or not all of it, else None.
        seconds: spent importing it and asking it.
        api: the plugin API that it was written for.
        notes: lines on what it did that is no failure, and should not be.
    """

    name: str
    distribution: str = ""
    version: str = ""
    module: str = ""
    entries: tuple[Entry, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    api: int = 1
    notes: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """The plugin in words: ``plugin 'x' (dist 1.0)``."""
        return origin(self.name, self.distribution, self.version)


def origin(plugin: str, distribution: str, version: str) -> str:
    """Name a plugin in words: ``plugin 'x' (dist 1.0)``."""
    return f"plugin {plugin!r} ({distribution or 'no distribution'}{' ' if version else ''}{version})"


def check_name(kind: str, name: object) -> str:
    """Return a valid name, or raise GenzooError."""
    parts = name.split("/") if isinstance(name, str) and kind == "weights" else [name]
    if len(parts) > 2 or not all(isinstance(p, str) and _NAME.fullmatch(p) for p in parts):
        slash = ", with one '/' at most" if kind == "weights" else ""
        raise GenzooError(
            f"{name!r} is no name for {article(kind)}: lowercase letters, digits, '-', '_' and '.'{slash}"
        )
    return str(name)


def check_target(kind: str, name: str, target: object) -> str:
    """Return a valid ``package.module:attribute``, or raise GenzooError."""
    module, colon, attribute = target.partition(":") if isinstance(target, str) else ("", "", "")
    good = bool(colon) and all(p.isidentifier() for p in module.split("."))
    if kind == "weights":
        good = good and bool(attribute) and not attribute.startswith("/") and ".." not in attribute.split("/")
        shape = "package.module:folder"
    else:
        good = good and all(p.isidentifier() for p in attribute.split("."))
        shape = "package.module:attribute"
    if not good:
        raise GenzooError(f"{kind} {name!r} has the target {target!r}, which is not of the form {shape!r}")
    return str(target)


def check_version(
    name: str, target: str, version: object, files: object, hub: object, commit: object
) -> dict[str, Any]:
    """Return what one version of weights consists of, or raise GenzooError."""
    where = f"weights {name!r}"
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise GenzooError(f"{where}: version must be a whole number from 1 on, not {version!r}")
    if not isinstance(hub, str) or (hub and not re.fullmatch(r"[\w.-]+/[\w.-]+", hub)):
        raise GenzooError(f"{where}: hub must be text of the form 'org/name', not {hub!r}")
    if not isinstance(commit, str) or (commit and not re.fullmatch(r"[0-9a-f]{40}", commit)):
        raise GenzooError(f"{where}: commit must be the 40 hexadecimal digits of a commit, not {commit!r}")
    pins = {} if files is None else files
    if not isinstance(pins, Mapping) or not all(re.fullmatch(r"[0-9a-f]{64}", str(v)) for v in pins.values()):
        raise GenzooError(f"{where}: files must be a dict of names and their sha256, not {files!r}")
    if target:
        check_target("weights", name, target)
    elif not hub:
        raise GenzooError(f"{where} are nowhere: give a folder beside a module, or hub='org/name'")
    if not target and not commit and not {"config.json", "model.safetensors"} <= set(pins):
        raise GenzooError(
            f"{where} are not pinned: give the commit, or in files the sha256 of config.json and model.safetensors"
        )
    return {"target": target, "files": dict(pins), "hub": hub, "commit": commit}


def check_metrics(name: str, metrics: object) -> dict[str, Any]:
    """Return metrics of weights, or raise GenzooError."""
    if not isinstance(metrics, Mapping) or not all(isinstance(k, str) for k in metrics):
        raise GenzooError(f"weights {name!r}: metrics must be a dict of names and numbers, not {metrics!r}")
    return dict(metrics)


def check_text(kind: str, name: str, what: str, value: object) -> str:
    """Return one line of text, free of what a terminal obeys, or raise GenzooError."""
    if not isinstance(value, str) or len(value) > LONGEST or re.search(r"[\x00-\x1f\x7f-\x9f]", value):
        long = isinstance(value, str) and len(value) > LONGEST
        said = f", of {LONGEST} characters at most, not {value[:80] + '…'!r}" if long else f", not {value!r}"  # type: ignore[index]
        raise GenzooError(f"{kind} {name!r}: {what} must be one line of text{said}")
    return value


def check_words(kind: str, name: str, what: str, value: object, allowed: Iterable[str] = ()) -> tuple[str, ...]:
    """Return a tuple of words (each one of ``allowed``, if given), or raise GenzooError."""
    if not isinstance(value, (tuple, list)) or not all(isinstance(v, str) and v for v in value):
        raise GenzooError(f"{kind} {name!r}: {what} must be a tuple of words, not {value!r}")
    known = tuple(allowed)
    for word in value:
        if known and word not in known:
            hint = did_you_mean(word, known) or f"; there are {', '.join(known)}"
            raise GenzooError(f"{kind} {name!r}: {what} has the unknown word {word!r}{hint}")
    return tuple(value)


def check_modalities(kind: str, name: str, value: object) -> tuple[str, ...]:
    """Return names of modalities, which any plugin may bring, or raise GenzooError."""
    return tuple(check_name("modality", word) for word in check_words(kind, name, "modalities", value))


def check_reference(recipe: str, part: str, value: object, where: str = "") -> str:
    """Return a part's name, which may be written ``plugin:name``, or raise GenzooError."""
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        where = f"recipe {recipe!r}: " if recipe else where
        raise GenzooError(f"{where}{part} must be the name of {article(part)}, not {value!r}")
    return value


def check_listed(where: str, kind: str, value: object) -> tuple[str, ...]:
    """Return the parts of a kind that may have several, each ``NAME`` or ``NAME=NUMBER``, or raise GenzooError.

    Args:
        where: what says so, for messages.
        kind: one of `LISTS`.
        value: a sequence, or text: one, or several with commas between; ``none`` is none.
    """
    if isinstance(value, str):
        value = [] if value.strip() in ("", "none") else [word.strip() for word in value.split(",")]
    if not isinstance(value, (list, tuple)) or len(value) > MOST_LISTED:
        raise GenzooError(f"{where}{kind} takes names such as 'r1' or 'r1=0.5', in a list, not {value!r}")
    seen = set[str]()
    for word in value:
        reference = word.partition("=")[0] if isinstance(word, str) else word
        check_reference("", kind, reference, where)
        if (bare := part_name(word)) in seen:
            raise GenzooError(f"{where}{kind} names {bare!r} twice")
        seen.add(bare)
    return tuple(value)


def part_name(word: str) -> str:
    """The bare name in ``NAME``, ``PLUGIN:NAME`` or ``NAME=NUMBER``."""
    return re.split("[:/]", word.partition("=")[0])[-1]


def first_option(what: str, infos: Sequence[OptionInfo]) -> OptionInfo:
    """The option that ``NAME=NUMBER`` sets; raises UsageError if there is none."""
    if not infos:
        raise UsageError(f"{what} has no options, so no number goes with its name")
    return infos[0]


def reference_of(named: Mapping[str, Any], group: str) -> str | None:
    """The name under which a group's part was named, if it was: of ``critic``, or ``regularizer.r1``."""
    kind, _, bare = group.partition(".")
    if not bare:
        return named.get(kind)
    return next((w.partition("=")[0] for w in named.get(kind) or () if part_name(w) == bare), None)


def groups_of(named: Mapping[str, Any]) -> tuple[str, ...]:
    """The groups of options that a composition has: one for each part, ``latent`` and ``train``."""
    listed = (f"{kind}.{part_name(word)}" for kind in LISTS for word in named.get(kind) or ())
    return (*SINGLE, *listed, "latent", "train")


def group_of(key: str) -> tuple[str, str]:
    """Split an option's dotted name into its group and its own: ``regularizer.r1`` and ``weight``."""
    group, _, name = key.partition(".")
    if group in LISTS:
        group, _, name = key.rpartition(".")
    return group, name


def check_options(recipe: str, what: str, options: object, parts: bool = False) -> dict[str, Any]:
    """Return a recipe's options by dotted name, or raise GenzooError.

    Args:
        recipe: its name, for the message.
        what: which group this is, for the message.
        options: the mapping to check.
        parts: whether keys such as ``generator`` may name another part (presets may: a convolution is
            no use to vectors), and ``conditional`` be set.
    """
    if not isinstance(options, Mapping):
        raise GenzooError(f"recipe {recipe!r}: {what} must be a dict of options by dotted name, not {options!r}")
    checked: dict[str, Any] = {}
    for key, value in options.items():
        if parts and key in LISTS:
            checked[key] = check_listed(f"recipe {recipe!r}: ", key, value)
        elif parts and key in SINGLE[1:]:
            checked[key] = None if value is None else check_reference(recipe, key, value)
        elif parts and key == "conditional" and isinstance(value, bool):
            checked[key] = value
        elif not isinstance(key, str) or not (_LISTED if key.partition(".")[0] in LISTS else _OPTION).fullmatch(key):
            raise GenzooError(f"recipe {recipe!r}: {what} has {key!r} where a name like 'objective.beta' belongs")
        else:
            checked[key] = _plain(value, f"recipe {recipe!r}: {key} in {what}")
    return checked


def article(kind: str) -> str:
    """Return a kind with its article: ``an objective``, ``weights``."""
    return kind if kind == "weights" else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _plain(value: object, where: str) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v, where) for v in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise GenzooError(f"{where} must be a number, text, true, false, None or a tuple of such, not {value!r}")

"""What the registry holds: plain data about one thing in the zoo, and the rules that it must obey."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.storage import strict
from genzoo.registry.kinds import LISTS, SINGLE

if TYPE_CHECKING:
    from genzoo.core.options import OptionInfo

OWN = "genzoo"  # the distribution whose plugins always load
MOST_LISTED = 100  # parts of one kind in a composition
POINT = re.compile(r"([\w.]+)\s*(?::\s*([\w.]+)\s*)?(\[.*\])?\s*")  # of an entry point: module, attribute, extras

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_REFERENCE = re.compile(r"([A-Za-z0-9._/-]+[:/])?[a-z0-9][a-z0-9._-]*")
_OPTION = re.compile(r"[a-z][a-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*")
_LISTED = re.compile(rf"({'|'.join(LISTS)})\.[a-z0-9][a-z0-9._-]*\.[A-Za-z][A-Za-z0-9_]*")


def resolve(target: str) -> Any:
    """Import what ``package.module:attribute`` names."""
    module, _, attribute = target.partition(":")
    return reduce(getattr, filter(None, attribute.split(".")), import_module(module))


def normal(name: str) -> str:
    """A distribution's name as packaging compares it: ``My.Pkg`` is ``my-pkg``."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Plugin:
    """An entry point ``name = module`` of an installed distribution; its version is empty if unknown."""

    name: str
    distribution: str = ""
    version: str = ""
    module: str = ""

    @property
    def origin(self) -> str:
        """The plugin in words: ``plugin 'x' (dist 1.0)``."""
        version = f" {self.version}" if self.version else ""
        return f"plugin {self.name!r} ({self.distribution or 'no distribution'}{version})"

    @property
    def address(self) -> str:
        """``distribution/plugin``, the distribution as normal: what it is switched off by."""
        return f"{normal(self.distribution)}/{self.name}"

    @property
    def own(self) -> bool:
        """Whether it is the zoo's own."""
        return normal(self.distribution) == OWN

    def goes_by(self, who: str) -> bool:
        """Whether its name is meant, its distribution's, or ``distribution/plugin``."""
        distribution, slash, bare = who.rpartition("/")
        if slash:
            return self.name == bare and normal(self.distribution) == normal(distribution)
        return self.name == who or normal(self.distribution) == normal(who)

    def load(self) -> Any:
        """Import what the entry point names."""
        match = POINT.fullmatch(self.module)
        if not match:
            raise GenzooError(f"its entry point says {self.module!r}, where 'package.module' belongs: tell its authors")
        return resolve(f"{match[1]}:{match[2] or ''}")


@dataclass(frozen=True)
class Entry:
    """One thing in the zoo, as it was registered.

    ``data`` are a recipe's contents: the parts by kind (of regularizers and augmentations a tuple of ``NAME`` or
    ``NAME=NUMBER``), ``conditional``, ``options``, ``presets``, and ``like`` if it is like another (see
    `genzoo.registry.registry.Registry.whole`); a metric's ``direction``, ``unit`` and ``needs``; of weights
    ``versions`` (number to ``target``, ``files``, ``hub``, ``commit``, …) and ``default``.
    """

    kind: str
    name: str  # unique within its kind and plugin
    target: str = ""  # ``package.module:attribute``, of weights ``package.module:folder`` beside it; or nothing
    summary: str = ""
    paper: str = ""  # where it comes from, e.g. ``arXiv:1704.00028``
    modalities: tuple[str, ...] = ()  # what data it is for; empty means any
    tags: tuple[str, ...] = ()  # free words to filter by
    plugin: str = ""  # the entry point's name
    distribution: str = ""  # the installed package that carries the plugin
    version: str = ""  # that package's
    data: dict[str, Any] = field(default_factory=dict, hash=False)
    api: int = 1  # the plugin API that the plugin was written for

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
        return self.maker.origin

    @property
    def maker(self) -> Plugin:
        """The plugin that registered it."""
        return Plugin(self.plugin, self.distribution, self.version)

    def fits(self, *kinds: str) -> bool:
        """Whether it is for data of one of these modalities; what names none is for any."""
        return not self.modalities or any(k in self.modalities for k in kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class PluginRecord(Plugin):
    """What became of one plugin."""

    entries: tuple[Entry, ...] = ()  # what it registered; of one that failed half-way, what was good
    error: str | None = None  # one line if it could not be loaded or not all of it
    seconds: float = 0.0  # spent importing it and asking it
    api: int = 1  # the plugin API that it was written for
    notes: tuple[str, ...] = ()  # lines on what it did that is no failure, and should not be


def article(kind: str) -> str:
    """Return a kind with its article: ``an objective``, ``weights``."""
    return kind if kind == "weights" else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def part_name(word: str) -> str:
    """The bare name in ``NAME``, ``PLUGIN:NAME`` or ``NAME=NUMBER``."""
    return re.split("[:/]", word.partition("=")[0])[-1]


def lowered(word: Any) -> Any:
    """A part's ``NAME``, ``PLUGIN:NAME`` or ``NAME=NUMBER`` with the name in small letters, as those of the zoo are."""
    return re.sub(r"[^:/]*$", lambda m: m[0].lower(), word) if isinstance(word, str) else word


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
    """The groups of options that a composition has: one for each part that it names, ``latent`` and ``train``."""
    listed = (f"{kind}.{part_name(word)}" for kind in LISTS for word in named.get(kind) or ())
    return (*(kind for kind in SINGLE if named.get(kind)), *listed, "latent", "train")


def group_of(key: str) -> tuple[str, str]:
    """Split an option's dotted name into its group and its own: ``regularizer.r1`` and ``weight``."""
    group, _, name = key.partition(".")
    if group in LISTS:
        group, _, name = key.rpartition(".")
    return group, name


# Each check returns the value as it is kept, or raises GenzooError; ``where`` says whose it is: "critic 'x'".


def check_name(kind: str, name: object) -> str:
    """A name: of weights, one or two with a slash between."""
    parts = name.split("/") if isinstance(name, str) and kind == "weights" else [name]
    if len(parts) > 2 or not all(isinstance(p, str) and _NAME.fullmatch(p) for p in parts):
        slash = ", with one '/' at most" if kind == "weights" else ""
        raise GenzooError(
            f"{name!r} is no name for {article(kind)}: lowercase letters, digits, '-', '_' and '.'{slash}"
        )
    return str(name)


def check_target(kind: str, name: str, target: object) -> str:
    """A ``package.module:attribute``, or of weights ``package.module:folder``."""
    module, _, thing = target.partition(":") if isinstance(target, str) else ("", "", "")
    good = all(p.isidentifier() for p in module.split("."))
    if kind == "weights":
        good = good and thing != "" and not thing.startswith("/") and ".." not in thing.split("/")
    else:
        good = good and all(p.isidentifier() for p in thing.split("."))
    if not good:
        shape = f"package.module:{'folder' if kind == 'weights' else 'attribute'}"
        raise GenzooError(f"{kind} {name!r} has the target {target!r}, which is not of the form {shape!r}")
    return str(target)


def check_version(
    where: str, version: object, target: str, files: object, hub: object, commit: object
) -> dict[str, Any]:
    """What one version of weights consists of."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise GenzooError(f"{where}: version must be a whole number from 1 on, not {version!r}")
    if not isinstance(hub, str) or (hub and not re.fullmatch(r"[\w.-]+/[\w.-]+", hub)):
        raise GenzooError(f"{where}: hub must be text of the form 'org/name', not {hub!r}")
    if not isinstance(commit, str) or (commit and not re.fullmatch(r"[0-9a-f]{40}", commit)):
        raise GenzooError(f"{where}: commit must be the 40 hexadecimal digits of a commit, not {commit!r}")
    pins = {} if files is None else files
    if not isinstance(pins, Mapping) or not all(re.fullmatch(r"[0-9a-f]{64}", str(v)) for v in pins.values()):
        raise GenzooError(f"{where}: files must be a dict of names and their sha256, not {files!r}")
    if not target and not hub:
        raise GenzooError(f"{where} are nowhere: give a folder beside a module, or hub='org/name'")
    if not target and not commit and not {"config.json", "model.safetensors"} <= set(pins):
        raise GenzooError(
            f"{where} are not pinned: give the commit, or in files the sha256 of config.json and model.safetensors"
        )
    return {"target": target, "files": dict(pins), "hub": hub, "commit": commit}


def check_words(where: str, what: str, value: object, allowed: Iterable[str] = ()) -> tuple[str, ...]:
    """Words, each one of ``allowed`` if that is given."""
    if not isinstance(value, (tuple, list)) or not all(isinstance(v, str) and v for v in value):
        raise GenzooError(f"{where}: {what} must be a tuple of words, not {value!r}")
    known = tuple(allowed)
    for word in value:
        if known and word not in known:
            hint = did_you_mean(word, known) or f"; there are {', '.join(known)}"
            raise GenzooError(f"{where}: {what} has the unknown word {word!r}{hint}")
    return tuple(value)


def check_reference(where: str, kind: str, value: object) -> str:
    """A part's name, which may be written ``plugin:name``."""
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise GenzooError(f"{where}{kind} must be the name of {article(kind)}, not {value!r}")
    return value


def check_listed(where: str, kind: str, value: object) -> tuple[str, ...]:
    """The parts of a kind that may have several, each ``NAME`` or ``NAME=NUMBER``.

    They come in a sequence, or in text: one, or several with commas between; ``none`` is none.
    """
    if isinstance(value, str):
        value = [] if value.strip().lower() in ("", "none") else [word.strip() for word in value.split(",")]
    if not isinstance(value, (list, tuple)) or len(value) > MOST_LISTED:
        raise GenzooError(f"{where}{kind} takes names such as 'r1' or 'r1=0.5', in a list, not {value!r}")
    value, seen = [lowered(word) for word in value], set[str]()
    for word in value:
        check_reference(where, kind, word.partition("=")[0] if isinstance(word, str) else word)
        if (bare := part_name(word)) in seen:
            raise GenzooError(f"{where}{kind} names {bare!r} twice")
        seen.add(bare)
    return tuple(value)


def check_options(where: str, what: str, options: object, parts: bool = False) -> dict[str, Any]:
    """A recipe's options by dotted name.

    With ``parts``, as in presets, keys such as ``generator`` may name another part (a convolution is no use to
    vectors), and ``conditional`` be set.
    """
    if not isinstance(options, Mapping):
        raise GenzooError(f"{where}{what} must be a dict of options by dotted name, not {options!r}")
    checked: dict[str, Any] = {}
    for key, value in options.items():
        if parts and key in LISTS:
            checked[key] = check_listed(where, key, value)
        elif parts and key in SINGLE[1:]:
            checked[key] = None if value is None else check_reference(where, key, value)
        elif parts and key == "conditional" and isinstance(value, bool):
            checked[key] = value
        elif not isinstance(key, str) or not (_LISTED if key.partition(".")[0] in LISTS else _OPTION).fullmatch(key):
            raise GenzooError(f"{where}{what} has {key!r} where a name like 'objective.beta' belongs")
        else:
            checked[key] = strict.plain(value, f"{where}{what}:", key)
    return checked

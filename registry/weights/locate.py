"""What a name of weights means, or is locked to, and the one way from it to a folder on this machine."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.notebook import visible
from genzoo.core.storage import strict
from genzoo.core.storage.files import MANIFEST, given_path, write_bytes, write_folder
from genzoo.core.storage.user_cache import asked_for
from genzoo.core.text import error_line, tell, toml
from genzoo.registry.registry import Registry, the_registry
from genzoo.registry.weights.base import CONFIG, LIMITS, TENSORS, Fetch, Located, Store, check

_ZOO = re.compile(r"(?:(?P<who>[A-Za-z0-9._/-]+):)?(?P<name>[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)?)"
                  r"(?:@(?P<version>[^@]*))?")  # fmt: skip
FILE = "genzoo.lock"
_FORMAT = 1
_HEAD = "# Written by 'genzoo lock': weights by name, and what they are. 'genzoo lock NAME' renews a pin.\n"
_LITERAL = re.compile(r"""(?<![\w./:@-])(?:hf:)?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w./+-]+)?(?![\w/:])""")
_SCANNED = (".py", ".ipynb", ".sh", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".mk")


class Reference(NamedTuple):
    """What a name means, before anything is looked up."""

    kind: str  # folder, zoo, or the prefix of a store (hf)
    name: str  # the path, the name in the zoo (perhaps plugin:name), or the name in the store
    revision: str = ""  # what stood behind @


def parse(given: str | os.PathLike[str], registry: Registry) -> Reference:
    """Tell what a name means; the network is never asked.

    ``hf:org/name@revision`` is the Hub and nothing else is. Then comes a folder that exists, then a name of the zoo.
    What starts with ``.``, ``/`` or ``~`` or with ``dir:`` is only ever a folder.

    Raises:
        UsageError: if it is empty, or means nothing; with the nearest names.
    """
    text = os.fspath(given)
    if not text:
        raise UsageError("an empty path was given: say where")
    if not isinstance(given, str):
        return Reference("folder", text)
    prefix, colon, rest = text.partition(":")
    if colon and prefix == "dir":
        return Reference("folder", rest)
    in_store = bool(colon) and (prefix == "hf" or any(e.name == prefix for e in registry.entries("store")))
    is_path = text.startswith((".", "/", "~")) or "\\" in text or os.path.isabs(text) or text.count("/") > 1
    if not in_store and (is_path or os.path.isdir(text)):
        return Reference("folder", text)
    if in_store:
        if rest.startswith("//"):
            raise UsageError(f"weights in a store are written {prefix}:NAME, without the slashes of {text!r}")
        name, _, revision = rest.partition("@")
        return Reference(prefix, name, revision)
    names = [e.name for e in registry.entries("weights")]
    who, colon, rest = text.rpartition(":")
    match = _ZOO.fullmatch(f"{who}{colon}{rest.lower()}")
    if match and (match["who"] or match["name"] in names):
        name = f"{match['who']}:{match['name']}" if match["who"] else match["name"]
        return Reference("zoo", name, match["version"] or "")
    if os.path.exists(text):  # a file
        return Reference("folder", text)
    raise UsageError(_unknown(text, names, registry))


def no_weights(path: Path) -> str:
    """Say what is there in place of weights, and what is wanted."""
    wanted = f"a run's folder or a weights folder, with {CONFIG} and {TENSORS}"
    if path.is_dir():
        some = islice((p for p in path.rglob("*") if p.suffix and p.is_file()), 1000)
        inside = sorted({p.suffix.lower() for p in some})
        runs = sorted(p.parent.name for p in path.glob(f"*/{CONFIG}"))
        if runs:
            return f"{path} holds folders with weights ({', '.join(runs[:3])}): give one of them, {path / runs[0]}"
        holds = f"it holds {', '.join(inside[:4])} files" if inside else "it is empty"
        return f"{path} holds no weights ({holds}): give {wanted}"
    for folder in (path.parent, path.parent.parent):
        if (folder / CONFIG).is_file() and path.suffix.lower() in (".json", ".safetensors", ".jsonl", ".md", ".png"):
            return f"{path} is one file of a model: give its folder, {folder}"
    kind = {
        ".safetensors": "tensors without what says of which model",
        ".npz": "samples or data",
        ".npy": "samples or data",
    }
    kind |= dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp"), "a picture")
    kind |= dict.fromkeys((".pt", ".pth", ".ckpt", ".pkl", ".bin"), "a file of another program, which is not opened")
    return f"{path} is {kind.get(path.suffix.lower(), 'a file')}, not weights: give {wanted}"


def beside(path: Path) -> list[str]:
    """Names of the folders beside a path, as far as that can be read."""
    try:
        return [p.name for p in path.parent.iterdir() if p.is_dir()]
    except OSError:
        return []


def _unknown(text: str, names: list[str], registry: Registry) -> str:
    """Say that a name means nothing, and what may have been meant or is missing."""
    bare, path = text.partition("@")[0], Path(text)
    folders = [str(path.parent / n) if path.parent.name else n for n in beside(path)]
    recipes = [n for n in names if n.partition("/")[0] == bare]
    broken = next((r for r in registry.plugins() if r.error), None)
    hint = did_you_mean(bare, [*names, *folders])
    more = "; 'genzoo list weights' shows the names"
    if recipes:
        hint = f" (that is a recipe; did you mean {' or '.join(map(repr, recipes))}?)"
    if broken:
        more = f"; it may be one of {broken.origin}, which failed ({broken.error})"
    elif bare.count("/") == 1 and not hint:
        more = f"; a model on the Hub would be {f'hf:{text}'!r}"
    return f"there is no weights folder and nothing in the zoo called {text!r}{hint}{more}"


@dataclass(frozen=True)
class Pin:
    """What one name stands for."""

    files: dict[str, str]  # name to sha256
    commit: str = ""  # of the Hub or a store; empty for folders and packages
    version: int = 0  # of a name of the zoo
    plugin: str = ""  # what provides a name of the zoo, in words

    @classmethod
    def read(cls, said: Any, where: str) -> Pin:
        """Check what a lock file says of a name; raises `UsageError`."""
        pin = cls(**strict.table(said, where, cls, ("files",)))
        for name, digest in strict.table(pin.files, f"{where}: files", LIMITS, (CONFIG, TENSORS)).items():
            if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
                raise UsageError(f"{where}: {name} takes a sha256 of 64 hexadecimal digits, not {digest!r}")
        strict.text(pin.commit, f"{where}: commit")
        strict.text(pin.plugin, f"{where}: plugin")
        if type(pin.version) is not int:
            raise UsageError(f"{where}: version must be a whole number, not {pin.version!r}")
        return pin


@dataclass
class Lock:
    """A lock file, and its pins by name, as that is written where it is used."""

    path: Path
    pins: dict[str, Pin] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Read a lock file; raises `UsageError` if it is not there, or makes no sense."""
        try:
            raw = strict.table(tomllib.loads(strict.read_plain(path).decode()), "it", ("format", "weights"))
            version, weights = raw.get("format"), raw.get("weights", {})
            if not isinstance(weights, dict):
                raise UsageError("its weights are no table")
            if type(version) is not int or version < 1:
                raise UsageError("it has no format number")
            if version > _FORMAT:
                raise UsageError(f"it has format {version}, and this genzoo reads up to {_FORMAT}: upgrade it")
            return cls(path, {name: Pin.read(said, repr(name)) for name, said in weights.items()})
        except FileNotFoundError:
            raise UsageError(f"there is no lock file {path}: 'genzoo lock NAME …' writes it") from None
        except (GenzooError, ValueError, RecursionError) as e:
            raise UsageError(f"{path} is no lock file: {e}; write it anew with 'genzoo lock NAME …'") from None

    def write(self) -> None:
        """Write it, whole or not at all; equal pins give equal bytes."""
        lines = [_HEAD, f"format = {_FORMAT}\n"]
        for name, pin in sorted(self.pins.items()):
            lines.append(f"\n[weights.{toml(name)}]\n")
            said = {"version": pin.version, "plugin": pin.plugin, "commit": pin.commit}
            lines += [f"{k} = {toml(v)}\n" for k, v in said.items() if v]
            lines += [f"files.{toml(n)} = {toml(digest)}\n" for n, digest in sorted(pin.files.items())]
        write_bytes(self.path, "".join(lines).encode())

    def pin(self, name: str | os.PathLike[str]) -> Pin:
        """What a name is pinned to; raises `GenzooError` if it is not."""
        given = os.fspath(name)
        if given not in self.pins:
            raise GenzooError(
                f"{given!r} is not in {self.path}, and nothing else may be used{did_you_mean(given, self.pins)}: "
                f"pin it with 'genzoo lock {given}', or do without --locked and GENZOO_LOCKED"
            )
        return self.pins[given]


def active() -> Lock | None:
    """The lock that the environment asks to keep to: ``GENZOO_LOCKED=1`` is ``genzoo.lock`` here, else its path."""
    said = os.environ.get("GENZOO_LOCKED", "")
    if not asked_for("GENZOO_LOCKED"):
        return None
    return Lock.read(Path(FILE if said.lower() in ("1", "true", "yes") else said))


def used_in(folder: Path, names: Iterable[str]) -> list[str]:
    """Names of weights that a project's files mention, hidden folders left out: those of the zoo, and ``hf:`` ones."""
    known, found = set(names), set[str]()
    for where, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith((".", "__")) and f not in ("node_modules", "build")]
        for file in files:
            path = Path(where, file)
            if (path.suffix in _SCANNED or file == "Makefile") and path.stat().st_size < 2**20:
                content = strict.regular(path).read_text(encoding="utf-8", errors="replace")
                found |= {m for m in _LITERAL.findall(content) if m.startswith("hf:") or m.partition("@")[0] in known}
    return sorted(found)


def resolve(
    name: str | os.PathLike[str],
    *,
    registry: Registry | None = None,
    endpoint: str | None = None,
    progress: bool = False,
    say: Callable[[str], object] | None = tell,
) -> Located:
    """Find weights by any kind of name, and bring them to this machine, checked; None says nothing.

    Where the environment names a lock file (``GENZOO_LOCKED``), only what it pins is given, at what it pins. A
    folder's files are checked when they are loaded, all others are checked here.

    Raises:
        UsageError: if the name means nothing.
        GenzooError: in one sentence, if it cannot be had or is not what it should be.
    """
    registry = registry or the_registry()
    fetch = Fetch({}, endpoint, progress, say or (lambda text: None))
    lock = active()
    if lock is None:
        return _located(parse(name, registry), registry, Pin({}), fetch)
    pin = lock.pin(name)
    try:
        return _located(parse(name, registry), registry, pin, replace(fetch, pins=pin.files))
    except GenzooError as e:
        maker = f"; it came from {pin.plugin} when it was locked" if pin.plugin else ""
        kind = UsageError if isinstance(e, UsageError) else GenzooError
        raise kind(f"{e}{maker}; {lock.path} pins it, and 'genzoo lock {os.fspath(name)}' renews the pin") from None


def _located(found: Reference, registry: Registry, pin: Pin, fetch: Fetch) -> Located:
    if found.kind == "folder":
        folder = given_path(found.name)
        if folder.exists() and not folder.is_dir():
            raise UsageError(no_weights(folder))
        if not folder.is_dir():
            raise GenzooError(f"there is no weights folder {found.name!r}{did_you_mean(folder.name, beside(folder))}")
        return Located(found.name, folder, files=check(folder, pins=fetch.pins) if fetch.pins else {})
    if found.kind == "zoo":
        from genzoo.registry.weights.bundled import locate_bundled, version_of

        entry = registry.get("weights", found.name)
        return locate_bundled(entry, version_of(entry, str(pin.version or found.revision)), pin.commit, fetch)
    return _store(registry, found.kind).locate(found.name, pin.commit or found.revision, fetch)


def _store(registry: Registry, prefix: str) -> Store:
    if prefix == "hf":  # whatever a plugin registers
        from genzoo.registry.weights.hub import Hub

        return Hub()
    entry = registry.get("store", prefix)
    try:
        store: Store = registry.load(entry, Store)()
    except GenzooError:
        raise
    except Exception as e:
        raise GenzooError(f"store {prefix!r} of {entry.origin} cannot be used ({error_line(e)})") from e
    store.prefix = prefix
    return store


@checked
def pull(
    weights: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
    progress: bool | None = None,
    verbose: bool = True,
) -> Located:
    """Bring weights to this machine, with the sha256 of every file checked.

    Args:
        weights: what `genzoo.load` takes: ``hf:org/name@revision``, a name of the zoo, a folder.
        out: a new folder to copy the files to; by default they stay in huggingface_hub's cache (or in the package).
        endpoint: the Hub's address; default ``HF_ENDPOINT``, or Hugging Face.
        progress: show a bar on stderr, if that is a terminal.
        verbose: whether to say on stderr when an old copy is used.

    Returns:
        Where they are (``folder``), what they are (``commit``, ``origin``) and their ``files`` with size and sha256.

    Raises:
        GenzooError: in one sentence, whatever goes wrong; nothing half is left behind.
    """
    target = None if out is None else given_path(out)
    if target is not None and target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{target} exists already: name a new folder with --out")
    found = resolve(weights, endpoint=endpoint, progress=visible(progress), say=tell if verbose else None)
    found = replace(found, files=found.files or check(found.folder, found.within))
    if target is None:
        return found
    write_folder(target, {n: partial(shutil.copyfile, found.folder / n) for n in found.files if n != MANIFEST})
    return replace(found, folder=target, within=None, files=check(target))


@checked
def lock(
    weights: Sequence[str] = (),
    file: str | os.PathLike[str] = FILE,
    *,
    endpoint: str | None = None,
    progress: bool | None = None,
) -> dict[str, str]:
    """Pin weights by name to a commit and the sha256 of every file, in a file that people can read.

    Args:
        weights: names as they are used; those that the file pins already are renewed, its others stay. None at all
            means every name in the file, or, if there is no file yet, every one that the project's own files mention.
        file: the lock file.
        endpoint: the Hub's address.
        progress: show a bar on stderr.

    Returns:
        By name what became of it: ``new``, ``changed`` or ``same``.

    Raises:
        GenzooError: if one of them cannot be had; the file is then as it was.
    """
    registry, path = the_registry(), given_path(file)
    current = Lock.read(path) if path.exists() else Lock(path)
    names = [os.fspath(w) for w in weights] or list(current.pins)
    if not names:
        zoo = [e.name for e in registry.entries("weights")]
        names = used_in(path.parent if path.parent.name else Path.cwd(), zoo)
    if not names:
        raise UsageError("there is nothing to pin: no file here mentions weights of the zoo or the Hub; name some")
    meant = {name: parse(name, registry) for name in names}  # all mistakes before the first download
    fetch, before = Fetch({}, endpoint, visible(progress), tell), dict(current.pins)
    now = {name: _pin_of(reference, registry, fetch) for name, reference in meant.items()}
    current.pins.update(now)
    current.write()
    return {n: "new" if n not in before else "same" if before[n] == now[n] else "changed" for n in names}


def _pin_of(meant: Reference, registry: Registry, fetch: Fetch) -> Pin:
    """What a name stands for now, whatever is locked."""
    found = _located(meant, registry, Pin({}), fetch)
    files = found.files or check(found.folder, found.within)
    plugin = registry.get("weights", meant.name).origin if meant.kind == "zoo" else ""
    # A card and its pictures may be drawn again without the model being another, except in a commit.
    keep = tuple(LIMITS) if found.commit else (CONFIG, TENSORS)
    return Pin({n: f["sha256"] for n, f in files.items() if n in keep}, found.commit, found.version, plugin)

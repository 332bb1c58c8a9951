"""The registry: looks up what plugins have registered, and imports a target when it is used."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

from genzoo.core.errors import GenzooError, UsageError, did_you_mean, folded
from genzoo.core.options import OptionInfo
from genzoo.core.text import error_line
from genzoo.registry.discovery import guard, installed, loader, scan
from genzoo.registry.entries import OWN, Entry, Plugin, PluginRecord, article, resolve
from genzoo.registry.kinds import KINDS, TABLE

if TYPE_CHECKING:
    from genzoo.core.training.run_view import RunView
    from genzoo.core.training.trainer import Observer

Found = TypeVar("Found")


class Registry:
    """All that is in the zoo: ``Registry.discover()`` asks every installed plugin; one that is empty is for tests."""

    def __init__(self) -> None:
        self._manager = loader.new_manager()
        self._records: list[PluginRecord] = []
        self._index: dict[tuple[str, str], list[Entry]] = {}
        self._whole: dict[int, tuple[Entry, Entry]] = {}  # recipes, and with what they inherit

    @classmethod
    def discover(cls, plugins: bool | None = None, only: Collection[str] | None = None) -> Registry:
        """Load the installed plugins. A broken one costs one line on stderr and never raises.

        ``plugins`` is whether to load those of other distributions (None: unless there is ``GENZOO_NO_PLUGINS=1``),
        ``only`` which of them, by entry point or distribution (None: what ``GENZOO_PLUGINS=a,b`` says, or all).
        """
        registry = cls()
        for plugin in loader.wanted(installed.plugins(), plugins, only):
            registry._keep(loader.ask(registry._manager, plugin, plugin.load))
        scan.save()
        known = {name for kind, name in registry._index if kind == "modality"}
        for record in registry._records:
            for entry in record.entries:
                if why := loader.strange_modality(entry, known):
                    installed.warn(f"{record.origin}: {entry.kind} {entry.name!r} {why}")
                    break
        return registry

    def add(self, plugin: Any, name: str, distribution: str = "", version: str = "") -> PluginRecord:
        """Add a plugin by hand, a module or an object with a ``genzoo_register`` hook, and return what became of it.

        A fault is in its ``error``, as for installed plugins; names and version are as an entry point would say them.
        """
        module = getattr(plugin, "__name__", type(plugin).__name__)
        return self._keep(loader.ask(self._manager, Plugin(name, distribution, version, module), lambda: plugin))

    def _keep(self, record: PluginRecord) -> PluginRecord:
        self._records.append(record)
        self._whole.clear()  # a new name may be what a recipe is like
        for entry in record.entries:
            self._index.setdefault((entry.kind, entry.name), []).append(entry)
        return record

    def plugins(self) -> list[PluginRecord]:
        """Return what became of each plugin, genzoo's own first."""
        return list(self._records)

    def observers(self, run: RunView) -> list[tuple[str, list[Observer]]]:
        """Ask each plugin who shall watch a run, see `genzoo.registry.discovery.loader.observers`."""
        return loader.observers(self._manager, self._records, run)

    def entries(
        self,
        kind: str | None = None,
        name: str | None = None,
        *,
        modality: str | None = None,
        tag: str | None = None,
        plugin: str | None = None,
    ) -> list[Entry]:
        """Return the entries that pass all filters, by kind in the order of `KINDS`, then by name.

        ``name`` may have wildcards (``*vq*``), and stand in place of the kind if it has. An entry that names no
        modality works on any. A plugin is named by its entry point, its distribution, or ``dist/plugin``. Capitals do
        not count. Raises UsageError if there is no such kind, modality or plugin.
        """
        if kind is not None and name is None and set("*?[") & set(kind):
            kind, name = None, kind
        if kind is not None:
            words = (folded(kind, KINDS), folded(kind.removesuffix("s"), KINDS))  # ``recipes`` is ``recipe``
            kind = next((k for k in words if k in KINDS), kind)
            if any(kind.lower() in n for _, n in self._index) and kind not in KINDS:
                raise UsageError(
                    f"there is no kind {kind!r}: 'genzoo list \"*{kind.lower()}*\"' lists what is called so"
                )
            _check("kind", kind, KINDS)
        if modality is not None:
            modality = folded(modality, self.modalities())
            _check("modality", modality, self.modalities())
        if plugin is not None and not any(r.goes_by(plugin) for r in self._records):
            raise UsageError(f"there is no plugin {plugin!r}{did_you_mean(plugin, {r.name for r in self._records})}")
        chosen = [e for several in self._index.values() for e in several if kind in (None, e.kind)]
        chosen = [e for e in chosen if modality is None or e.fits(modality)]
        tag = tag if tag is None else folded(tag, {t for e in chosen for t in e.tags})
        chosen = [e for e in chosen if (tag is None or tag in e.tags) and (plugin is None or e.maker.goes_by(plugin))]
        if name is not None:
            chosen = [e for e in chosen if fnmatchcase(e.name, name.lower())]
        for i, entry in enumerate(chosen):
            with contextlib.suppress(GenzooError):  # said where it is used, and by `check_targets`
                chosen[i] = self.whole(entry)
        return sorted(chosen, key=lambda e: (KINDS.index(e.kind), e.name, e.plugin, e.distribution))

    def modalities(self) -> list[str]:
        """Names of the kinds of data that plugins bring, or say that they are for."""
        own = [name for kind, name in self._index if kind == "modality"]
        return list(dict.fromkeys(own + [m for several in self._index.values() for e in several for m in e.modalities]))

    def get(self, kind: str, name: str, prefer: str | Sequence[str] = (), *, inherit: bool = True) -> Entry:
        """Return the entry of a kind and name; a recipe with what it inherits, unless it shall come without.

        Where several plugins claim a name it is written ``plugin:name``, ``plugin/name`` or ``dist/plugin:name``, or
        ``prefer`` says whose wins, the first that has one; a plugin may be called by its distribution's name. Raises
        UsageError if there is none, with the nearest names, or several plugins claim it, with theirs.
        """
        kind = folded(kind, KINDS)
        _check("kind", kind, KINDS)
        found = self._claims(kind, name)
        for home in (prefer,) if isinstance(prefer, str) else prefer:
            if mine := [e for e in found if e.maker.goes_by(home)]:
                found = mine
                break
        if not found:
            raise UsageError(self._unknown(kind, name))
        if len(found) > 1:
            same = len({e.plugin for e in found}) < len(found)
            ways = " or ".join(repr(f"{e.distribution}/{e.address}" if same else e.address) for e in found)
            raise UsageError(
                f"{kind} {found[0].name!r} is claimed by {' and by '.join(e.origin for e in found)}: say which, {ways}"
            )
        return self.whole(found[0]) if inherit else found[0]

    def whole(self, entry: Entry) -> Entry:
        """Return a recipe with what it inherits from the one that it is like; any other entry as it is."""
        if not entry.data.get("like"):
            return entry
        if (known := self._whole.get(id(entry))) and known[0] is entry:
            return known[1]
        from genzoo.registry.recipes.inherit import whole

        self._whole[id(entry)] = entry, whole(self, entry)
        return self._whole[id(entry)][1]

    def find(self, name: str) -> list[Entry]:
        """Return the entries of that name over all kinds (``mlp`` is a generator, an encoder and a critic).

        The name may be ``kind:name``, ``plugin:name`` or ``kind:plugin:name``. Raises UsageError as `get` does.
        """
        kind, colon, rest = name.partition(":")
        if colon and (kind := folded(kind, KINDS)) in KINDS:
            return [self.get(kind, rest)]
        found = [self.get(k, name) for k in KINDS if self._claims(k, name)]
        if not found:
            raise UsageError(self._unknown(None, name))
        return found

    def _claims(self, kind: str, name: str) -> list[Entry]:
        """The entries of a kind that a name may mean."""
        who, bare = _split(name, kind)
        return [e for e in self._index.get((kind, bare), []) if not who or e.maker.goes_by(who)]

    def _unknown(self, kind: str | None, name: str) -> str:
        """Say that there is no such entry, and what may have been meant."""
        who, bare = _split(name, kind or "weights")
        said = f"there is no {kind} {name!r}" if kind else f"nothing in the zoo is called {name!r}"
        if who:
            records = [r for r in self._records if r.goes_by(who)]
            failed = next((r for r in records if r.error), None)
            if failed:
                return f"{said}: {failed.origin} failed ({failed.error})"
            if not records:
                return f"{said}, and no plugin {who!r}{did_you_mean(who, {r.name for r in self._records})}"
        others = [k for k in KINDS if k != kind and (k, bare) in self._index]
        if others:
            return f"{said}, but {' and '.join(article(k) for k in others)} of that name"
        several = [e for (k, _), found in self._index.items() if kind in (None, k) for e in found]
        names = {e.name for e in several if not who or e.maker.goes_by(who)}
        filters = [kind] * bool(kind) + [f'"{bare}"'] * bool(set("*?[") & set(bare))
        listing = f"; see 'genzoo list{''.join(f' {f}' for f in filters)}'"
        near = "" if set("*?[") & set(bare) else did_you_mean(bare, names)
        return said + (near or listing)

    def load(self, entry: Entry, expected: type | None = None) -> type:
        """Import an entry's target and return the class; this is where torch may come in.

        Raises GenzooError, which names the plugin, if it cannot be imported, or is no class with that base.
        """
        where = f"{entry.kind} {entry.name!r} of {entry.origin}"
        if not entry.target or TABLE[entry.kind].target != "class":
            raise GenzooError(f"{where} is no class to be loaded")
        found = self.load_command(entry)
        if not isinstance(found, type):
            raise GenzooError(f"{where}: {entry.target} is a {type(found).__name__}, not a class")
        if expected is not None and not issubclass(found, expected):
            raise GenzooError(
                f"{where}: {entry.target} is not a subclass of {expected.__module__}.{expected.__qualname__}"
            )
        return found

    def load_command(self, entry: Entry) -> Any:
        """Import an entry's target and return it, whatever it is; raises GenzooError, which names the plugin."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = resolve(entry.target)
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            where = f"{entry.kind} {entry.name!r} of {entry.origin}"
            raise GenzooError(f"{where} could not be loaded from {entry.target}: {error_line(e)}") from e
        if entry.distribution != OWN and (note := guard.patches(entry.target, entry.plugin)):
            installed.warn(f"{entry.origin} {note}")
        return found

    def options(self, entry: Entry) -> list[OptionInfo]:
        """Return an entry's options, read from the source without importing it.

        A recipe has those of its parts, of its code space and of training, by dotted name (``objective.gp_weight``),
        with the recipe's defaults. Raises GenzooError, which names the plugin and the place, if one cannot be read.
        """
        from genzoo.registry.discovery import static

        if entry.kind == "recipe":
            return static.recipe_options(self, self.whole(entry))
        return _told(entry, static.options) if TABLE[entry.kind].options else []

    def docstring(self, entry: Entry) -> str:
        """Return the docstring of an entry's class, read from the source; a recipe has none."""
        from genzoo.registry.discovery import static

        return _told(entry, static.docstring) if TABLE[entry.kind].target == "class" else ""

    def check_targets(self, entries: Sequence[Entry] | None = None) -> list[tuple[Entry, str]]:
        """Check without importing anything that targets and recipes hold; return the entries at fault and why.

        Of each entry, by default of all, the class must exist and its options be readable; of a recipe every part
        must exist and every option it sets must be one of that part's.
        """
        from genzoo.registry.discovery.static import fault

        checked = ((e, fault(self, e)) for e in (self.entries() if entries is None else entries))
        return [(entry, why) for entry, why in checked if why]


def _check(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise UsageError(f"there is no {what} {name!r}{hint}")


def _split(name: str, kind: str) -> tuple[str, str]:
    """The plugin that a name says, or "", and the rest; names of weights have slashes, and versions behind them.

    Names are of small letters, so capitals do not count.
    """
    if kind == "weights":
        name = name.partition("@")[0]
    who, _, bare = name.rpartition("/" if ":" not in name and kind != "weights" else ":")
    return who, bare.lower()


def _told(entry: Entry, reading: Callable[[str], Found]) -> Found:
    """What is read of an entry's target; what is wrong with it names the plugin."""
    try:
        return reading(entry.target)
    except GenzooError as e:
        raise GenzooError(f"{entry.kind} {entry.name!r} of {entry.origin}: {e}") from None


_lock = threading.RLock()
_shared: list[Registry] = []
_loading = False


def the_registry() -> Registry:
    """Return this process's registry; the first call loads the plugins, and none of them may ask for it meanwhile."""
    global _loading
    with _lock:
        if _loading:
            raise GenzooError("the registry was asked for while plugins are being loaded")
        if not _shared:
            _loading = True
            try:
                _shared.append(Registry.discover())
            finally:
                _loading = False
        return _shared[0]

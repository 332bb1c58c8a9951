"""What a plugin's hook is handed: one method per kind, each checked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.evaluation import DIRECTIONS, NEEDS
from genzoo.core.storage import strict
from genzoo.registry import entries as rules
from genzoo.registry.entries import Entry
from genzoo.registry.kinds import LISTS, SINGLE, TABLE, Kind

if TYPE_CHECKING:
    from typing import Unpack

MOST = 10_000  # entries of one plugin


class About(TypedDict, total=False):
    """What may be said of any entry: all optional."""

    summary: str  # one line
    paper: str  # a reference such as ``arXiv:1704.00028``
    modalities: Sequence[str]  # the data it is for: image, vector, …; empty means any
    tags: Sequence[str]  # free words to filter by


class Plain(Protocol):
    """What registers an entry of most kinds."""

    def __call__(self, name: str, target: str, **about: Unpack[About]) -> None:
        """Register a class by name."""


class Registrar:
    """Collects what one plugin registers.

    Beside the methods that stand here there is one for each further kind of `genzoo.registry.kinds.TABLE`:
    ``registry.generator(name, target, **about)``.

    Every method raises `GenzooError` at once for an ill-formed name, target, modality or option, for an
    unknown keyword, and for a name that the plugin has registered before. What a plugin registered before
    such an error stays in the zoo; the error is reported with the plugin, its distribution and version.
    """

    def __init__(self, plugin: str, distribution: str = "", version: str = "") -> None:
        self.plugin, self.distribution, self.version = plugin, distribution, version
        self.api = 1  # the plugin API that it was written for
        self._entries: dict[tuple[str, str], Entry] = {}
        self._closed = False

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What was registered so far, in order."""
        return tuple(self._entries.values())

    def close(self) -> None:
        """Take nothing more: who comes after the hook has returned is told so."""
        self._closed = True

    def objective(
        self,
        name: str,
        target: str,
        *,
        recipe: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
        **about: Unpack[About],
    ) -> None:
        """Register an objective, and with ``recipe`` at once what trains it.

        Args:
            name: the objective's name.
            target: its class.
            recipe: keywords of `recipe` (``name`` is the objective's unless given, so are summary, paper,
                modalities and tags), or a sequence of such.
            **about: see `About`.
        """
        entry = self._add("objective", name, target, about)
        for given in [recipe] if isinstance(recipe, Mapping) else recipe:
            if not isinstance(given, Mapping):
                raise GenzooError(f"objective {name!r}: recipe must be a dict or a tuple of dicts, not {given!r}")
            inherited = {k: getattr(entry, k) for k in About.__annotations__}
            self._call("recipe", {"name": name, "objective": name} | inherited | dict(given))

    def metric(
        self,
        name: str,
        target: str,
        *,
        direction: str = "none",
        unit: str = "",
        needs: Sequence[str] = ("samples", "data"),
        rank: int = 100,
        **about: Unpack[About],
    ) -> None:
        """Register a `genzoo.core.evaluation.evidence.Metric`.

        Args:
            name: what ``genzoo eval --metrics`` calls it.
            target: its class.
            direction: whether ``higher`` or ``lower`` is better, or ``none``.
            unit: of the number, as text.
            needs: what must be there for it to be measured: `genzoo.core.evaluation.report.NEEDS`.
            rank: place among the metrics of its kind, the smallest first.
            **about: see `About`; the tag ``default`` makes it part of every evaluation that names no metrics.
        """
        where = f"metric {name!r}"
        if type(rank) is not int:
            raise GenzooError(f"{where}: rank must be a whole number, not {rank!r}")
        rules.check_words(where, "direction", (direction,), DIRECTIONS)
        data = {
            "direction": direction,
            "unit": strict.text(unit, f"{where}: unit"),
            "needs": rules.check_words(where, "needs", needs, NEEDS),
            "rank": rank,
        }
        self._add("metric", name, target, about, data)

    def extractor(self, name: str, target: str, *, default_for: Sequence[str] = (), **about: Unpack[About]) -> None:
        """Register an extractor of features, and the data sets that it is the default for."""
        data = {"default_for": rules.check_words(f"extractor {name!r}", "default_for", default_for)}
        self._add("extractor", name, target, about, data)

    def weights(
        self,
        name: str,
        target: str = "",
        *,
        version: int = 1,
        files: Mapping[str, str] | None = None,
        hub: str = "",
        commit: str = "",
        recipe: str = "",
        data: str = "",
        license: str = "",
        metrics: Mapping[str, Any] | None = None,
        **about: Unpack[About],
    ) -> None:
        """Register one version of trained weights: a folder that ships beside a module, a model on the Hub, or both.

        Each further version is a call of its own; the highest is what the name alone means. A version never
        changes: other tensors are another version.

        Args:
            name: ``recipe/data`` such as ``"wgan-gp/faces"``.
            target: ``"my_pkg.zoo:wgan-gp-faces"``, a weights folder beside that module.
            version: a whole number from 1 on.
            files: name to sha256 of what is pinned; for a model on the Hub ``config.json`` and ``model.safetensors``
                at least, or else a commit.
            hub: ``org/name`` on the Hub.
            commit: the full commit there.
            recipe: what trained it; like data, license and metrics it is read from the folder unless given.
            data: what it was trained on.
            license: of the weights.
            metrics: name to number.
            **about: see `About`.
        """
        where = f"weights {name!r}"
        said = rules.check_version(where, version, target, files, hub, commit)
        if target:
            rules.check_target("weights", name, target)
        for key, value in (("recipe", recipe), ("data", data), ("license", license)):
            said[key] = strict.text(value, f"{where}: {key}")
        if not isinstance(metrics or {}, Mapping) or not all(isinstance(k, str) for k in metrics or ()):
            raise GenzooError(f"{where}: metrics must be a dict of names and numbers, not {metrics!r}")
        said["metrics"] = dict(metrics or {})
        former = self._entries.get(("weights", name))
        versions = dict(former.data["versions"]) if former else {}
        if (other := versions.get(str(version))) is not None:
            places = f" ({other['target']} and {target})" if other["target"] and target else ""
            raise GenzooError(f"version {version} of {where} is registered twice{places}")
        versions = dict(sorted({**versions, str(version): said}.items(), key=lambda item: int(item[0])))
        newest = max(map(int, versions))
        if former and newest != version:  # what is said of the newest is said of the name
            about = {k: getattr(former, k) for k in About.__annotations__}  # type: ignore[assignment]
        found = {"versions": versions, "default": newest}
        self._add("weights", name, versions[str(newest)]["target"], about, found)

    def weights_folder(self, target: str) -> None:
        """Register every weights folder under a folder beside a module, by name: drop one in, and it is in the zoo.

        Of ``"my_pkg.zoo:weights"``, ``weights/wgan-gp/faces`` is version 1 of ``wgan-gp/faces``, and
        ``weights/wgan-gp/faces@2`` version 2. An ``index.json`` there may say more, by such a name: ``summary``,
        ``tags``, ``hub``, ``commit``, …. Raises GenzooError if one is no weights folder; the others are registered.
        """
        from genzoo.registry.weights.shelf import shelved

        self._take(("", "weights", found) for found in shelved(rules.check_target("weights", "folder", target)))

    def recipe(
        self,
        name: str,
        *,
        like: str = "",
        objective: str | None = None,
        generator: str | None = None,
        encoder: str | None = None,
        critic: str | None = None,
        likelihood: str | None = None,
        posterior: str | None = None,
        prior: str | None = None,
        regularizer: Sequence[str] = (),
        augmentation: Sequence[str] = (),
        conditional: bool | None = None,
        options: Mapping[str, Any] | None = None,
        presets: Mapping[str, Mapping[str, Any]] | None = None,
        **about: Unpack[About],
    ) -> None:
        """Register an objective with architectures and good defaults.

        Args:
            name: what ``genzoo train`` calls it.
            like: name of a recipe whose networks, options and presets this one has, but for what it says itself.
            objective: name of the objective, needed unless ``like`` says it; any part may be ``plugin:name``.
            generator: name of the generator; like encoder and critic, the data's default if nobody names one.
            encoder: name of the encoder, if the objective has one.
            critic: name of the critic, if the objective has one.
            likelihood: name of the likelihood; None leaves it to the objective and the data.
            posterior: name of the posterior, of an objective that has one; None leaves it to the objective.
            prior: name of the prior; None leaves it to the objective.
            regularizer: names of regularizers; ``r1=0.5`` sets the first option of ``r1``.
            augmentation: names of augmentations, likewise.
            conditional: whether it is conditioned on the class label; not, unless it is said.
            options: defaults by dotted name: ``{"objective.gp_weight": 10, "regularizer.r1.every": 4}``.
            presets: by modality or name of a data set, options that go over ``options``; there every part but
                the objective may also be another, and ``conditional`` be set.
            **about: see `About`.
        """
        where = f"recipe {rules.check_name('recipe', name)!r}: "
        data: dict[str, Any] = {"like": rules.check_reference(where, "like", like)} if like else {}
        if objective is None and not like:
            raise GenzooError(f"recipe {name!r} names no objective, and no recipe that it is like")
        single = (objective, generator, encoder, critic, likelihood, posterior, prior)
        for kind, part in zip(SINGLE, single, strict=True):
            data[kind] = None if part is None else rules.check_reference(where, kind, part)
        for kind, several in zip(LISTS, (regularizer, augmentation), strict=True):
            data[kind] = rules.check_listed(where, kind, several)
        if not (conditional is None or isinstance(conditional, bool)):
            raise GenzooError(f"{where}conditional must be true or false, not {conditional!r}")
        if not isinstance(presets or {}, Mapping):
            raise GenzooError(f"{where}presets must be a dict of options by data set, not {presets!r}")
        data["conditional"] = conditional if like else bool(conditional)
        data["options"] = rules.check_options(where, "options", options or {})
        data["presets"] = {
            rules.check_name("dataset", key): rules.check_options(where, f"preset {key!r}", value, parts=True)
            for key, value in (presets or {}).items()
        }
        self._add("recipe", name, "", about, data)

    def scan(self, package: str) -> tuple[Entry, ...]:
        """Register every class that carries a ``@declare.…`` decorator in a module or a package's own ``*.py`` files.

        The files are read, not imported, so they may use torch. Returns the new entries. Raises GenzooError if there
        is no such package, or with file and line for the first bad declaration, after all good ones are registered.
        """
        from genzoo.registry.discovery.scan import declarations

        before, found = len(self._entries), declarations(package)
        self._take((f"{d.place}: ", d.kind, GenzooError(d.fault) if d.fault else d.keywords) for d in found)
        return self.entries[before:]

    if TYPE_CHECKING:

        def __getattr__(self, kind: str) -> Plain: ...

    def _take(self, found: Iterable[tuple[str, str, Mapping[str, Any] | GenzooError]]) -> None:
        """Register what was found at places, then raise the first fault, and tell how many there are."""
        faults = []
        for place, kind, keywords in found:
            try:
                if isinstance(keywords, GenzooError):
                    raise keywords
                self._call(kind, keywords)
            except GenzooError as e:
                faults.append(f"{place}{e}")
        if faults:
            raise GenzooError(faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))

    def _call(self, kind: str, keywords: Mapping[str, Any]) -> None:
        """Register by keywords that were read somewhere."""
        try:
            getattr(self, kind)(**keywords)
        except TypeError as e:  # one that the method does not take, or lacks
            said = str(e).partition("() ")[2] or str(e)
            raise GenzooError(f"{kind} {keywords.get('name', '?')!r}: {said}") from None

    def _add(self, kind: str, name: str, target: str, about: About, data: dict[str, Any] | None = None) -> Entry:
        if self._closed:
            raise GenzooError(f"{kind} {name!r} comes too late: registering is over when genzoo_register returns")
        if len(self._entries) >= MOST:
            raise GenzooError(f"it registers more than {MOST:,} entries")
        where = f"{kind} {rules.check_name(kind, name)!r}"
        if name in TABLE[kind].reserved and self.distribution != rules.OWN:
            raise GenzooError(f"{where} cannot be registered: the name is genzoo's own")
        for key in about:
            if key not in About.__annotations__:
                hint = did_you_mean(key, About.__annotations__)
                raise GenzooError(f"{where} was given the unknown keyword {key!r}{hint}")
        entry = Entry(
            kind,
            name,
            rules.check_target(kind, name, target) if target or kind not in ("recipe", "weights") else "",
            strict.text(about.get("summary", ""), f"{where}: summary"),
            strict.text(about.get("paper", ""), f"{where}: paper"),
            tuple(
                rules.check_name("modality", m)
                for m in rules.check_words(where, "modalities", about.get("modalities", ()))
            ),
            rules.check_words(where, "tags", about.get("tags", ())),
            self.plugin,
            self.distribution,
            self.version,
            data or {},
            self.api,
        )
        former = self._entries.get((kind, name))
        if former and kind != "weights":  # which have versions
            places = f" ({former.target} and {target})" if former.target else ""
            raise GenzooError(f"{where} is registered twice{places}")
        self._entries[kind, name] = entry
        return entry


def _method(kind: Kind) -> Callable[..., None]:
    """The method that registers a kind of which no more is said than a name, a target and an `About`."""

    def register(self: Registrar, name: str, target: str, **about: Unpack[About]) -> None:
        self._add(kind.name, name, target, about)

    register.__name__, register.__qualname__ = kind.name, f"Registrar.{kind.name}"
    derives = f", a class that derives from `{kind.base.replace(':', '.')}`" if kind.base else ""
    more = f"\n\n{kind.more}" if kind.more else ""
    register.__doc__ = f"Register {rules.article(kind.name)}: {kind.help}{derives}.{more}"
    return register


for _kind in TABLE.values():
    if not hasattr(Registrar, _kind.name):
        setattr(Registrar, _kind.name, _method(_kind))

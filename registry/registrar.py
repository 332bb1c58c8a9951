"""What a plugin's hook is handed: one method per kind, each checked at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.evaluation import DIRECTIONS, NEEDS
from genzoo.registry import entries as rules
from genzoo.registry.entries import Entry
from genzoo.registry.kinds import COMMANDS, TABLE, Kind

if TYPE_CHECKING:
    from typing import Unpack

MOST = 10_000  # entries of one plugin


class About(TypedDict, total=False):
    """What may be said of any entry: all optional.

    ``summary`` is one line, ``paper`` a reference such as ``arXiv:1704.00028``, ``modalities`` the data
    it is for (``image``, ``vector``, …; empty means any), ``tags`` free words to filter by.
    """

    summary: str
    paper: str
    modalities: Sequence[str]
    tags: Sequence[str]


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

    Args:
        plugin: the entry point's name.
        distribution: the installed package that carries the plugin.
        version: its version.
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
            self._recipe({"name": name, "objective": name} | inherited | dict(given))

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
        if type(rank) is not int:
            raise GenzooError(f"metric {name!r}: rank must be a whole number, not {rank!r}")
        rules.check_words("metric", name, "direction", (direction,), DIRECTIONS)
        data = {
            "direction": direction,
            "unit": rules.check_text("metric", name, "unit", unit),
            "needs": rules.check_words("metric", name, "needs", needs, NEEDS),
        }
        self._add("metric", name, target, about, data | {"rank": rank})

    def extractor(self, name: str, target: str, *, default_for: Sequence[str] = (), **about: Unpack[About]) -> None:
        """Register an extractor of features, and the data sets that it is the default for."""
        data = {"default_for": rules.check_words("extractor", name, "default_for", default_for)}
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
        entry = self._weights(name, target, version, files, hub, commit, about)
        said = entry.data["versions"][str(version)]
        for key, value in (("recipe", recipe), ("data", data), ("license", license)):
            said[key] = rules.check_text("weights", name, key, value)
        said["metrics"] = rules.check_metrics(name, metrics or {})

    def weights_folder(self, target: str) -> None:
        """Register every weights folder under a folder beside a module, by name: drop one in, and it is in the zoo.

        ``weights/wgan-gp/faces`` is version 1 of ``wgan-gp/faces``, ``weights/wgan-gp/faces@2`` version 2. An
        ``index.json`` there may say more, by such a name: ``summary``, ``tags``, ``hub``, ``commit``, ….

        Args:
            target: ``"my_pkg.zoo:weights"``.

        Raises:
            GenzooError: if one of them is no weights folder; the others are registered.
        """
        from genzoo.registry.weights.shelf import shelved

        faults = []
        for found in shelved(rules.check_target("weights", "folder", target)):
            try:
                if isinstance(found, GenzooError):
                    raise found
                self.weights(**found)
            except GenzooError as e:
                faults.append(str(e))
            except TypeError as e:
                faults.append(f"{target}: index.json: {_plain_words(e)}")
        if faults:
            raise GenzooError(faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""))

    def _weights(self, name: str, target: str, version: int, files: Any, hub: str, commit: str, about: About) -> Entry:
        said = rules.check_version(name, target, version, files, hub, commit)
        former = self._entries.pop(("weights", name), None)
        try:
            if former is not None and str(version) in former.data["versions"]:
                other = former.data["versions"][str(version)]["target"]
                places = f" ({other} and {target})" if other and target else ""
                raise GenzooError(f"version {version} of weights {name!r} is registered twice{places}")
            versions = {**(former.data["versions"] if former else {}), str(version): said}
            newest = max(map(int, versions))
            if former is not None and newest != version:  # what is said of the newest is said of the name
                about = {k: getattr(former, k) for k in About.__annotations__}  # type: ignore[assignment]
            ordered = {v: versions[v] for v in sorted(versions, key=int)}
            return self._add("weights", name, ordered[str(newest)]["target"], about,
                             {"versions": ordered, "default": newest})  # fmt: skip
        except GenzooError:
            if former is not None:
                self._entries["weights", name] = former
            raise

    def store(self, name: str, target: str, **about: Unpack[About]) -> None:
        """Register a place for weights, a `genzoo.registry.weights.Store`: ``name:…`` is then looked up there."""
        if name in ("hf", "dir") and self.distribution != "genzoo":
            raise GenzooError(f"store {name!r} cannot be registered: {name}: always means the same")
        self._add("store", name, target, about)

    def command(self, name: str, target: str, **about: Unpack[About]) -> None:
        """Register a command: ``genzoo NAME`` imports the target and runs it.

        Args:
            name: of the command, none of the program's own.
            target: ``"my_pkg.cli:app"``, a Typer app, or a function whose typed arguments become the command's.
            **about: see `About`; the summary stands in ``genzoo --help``.
        """
        if name in COMMANDS and self.distribution != "genzoo":
            raise GenzooError(f"command {name!r} cannot be registered: 'genzoo {name}' is genzoo's own")
        self._add("command", name, target, about)

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
        rules.check_name("recipe", name)
        data: dict[str, Any] = {"like": rules.check_reference(name, "like", like)} if like else {}
        if objective is None and not like:
            raise GenzooError(f"recipe {name!r} names no objective, and no recipe that it is like")
        optional = {
            "objective": objective,
            "generator": generator,
            "encoder": encoder,
            "critic": critic,
            "likelihood": likelihood,
            "posterior": posterior,
            "prior": prior,
        }
        for part, value in optional.items():
            data[part] = None if value is None else rules.check_reference(name, part, value)
        for part, several in (("regularizer", regularizer), ("augmentation", augmentation)):
            data[part] = rules.check_listed(f"recipe {name!r}: ", part, several)
        if not (conditional is None or isinstance(conditional, bool)):
            raise GenzooError(f"recipe {name!r}: conditional must be true or false, not {conditional!r}")
        if not isinstance(presets or {}, Mapping):
            raise GenzooError(f"recipe {name!r}: presets must be a dict of options by data set, not {presets!r}")
        data["conditional"] = conditional if like else bool(conditional)
        data["options"] = rules.check_options(name, "options", options or {})
        data["presets"] = {
            rules.check_name("dataset", key): rules.check_options(name, f"preset {key!r}", value, parts=True)
            for key, value in (presets or {}).items()
        }
        self._add("recipe", name, "", about, data)

    def scan(self, package: str) -> tuple[Entry, ...]:
        """Register every class that carries a ``@declare.…`` decorator in a package's own files.

        The files are read, not imported, so they may use torch. A declaration that cannot be read does
        not cost the others: all good ones are registered, then the first bad one is raised.

        Args:
            package: dotted name of a package (its ``*.py`` files, not its sub-packages) or of one module.

        Returns:
            The new entries.

        Raises:
            GenzooError: if there is no such package, or for a bad declaration, with its file and line.
        """
        from genzoo.registry.discovery.scan import declarations

        before, faults = len(self._entries), []
        for declared in declarations(package):
            try:
                if declared.fault:
                    raise GenzooError(declared.fault)
                if declared.kind == "recipe":
                    self._recipe(declared.keywords)
                else:
                    getattr(self, declared.kind)(**declared.keywords)
            except GenzooError as e:
                faults.append(f"{declared.place}: {e}")
            except TypeError as e:  # a keyword that the method does not take, or lacks
                faults.append(f"{declared.place}: declare.{declared.kind}: {_plain_words(e)}")
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise GenzooError(faults[0] + more)
        return self.entries[before:]

    if TYPE_CHECKING:

        def __getattr__(self, kind: str) -> Plain: ...

    def _recipe(self, keywords: Mapping[str, Any]) -> None:
        try:
            self.recipe(**keywords)
        except TypeError as e:
            raise GenzooError(f"recipe {keywords.get('name', '?')!r}: {_plain_words(e)}") from None

    def _add(self, kind: str, name: str, target: str, about: About, data: dict[str, Any] | None = None) -> Entry:
        if self._closed:
            raise GenzooError(f"{kind} {name!r} comes too late: registering is over when genzoo_register returns")
        if len(self._entries) >= MOST:
            raise GenzooError(f"it registers more than {MOST:,} entries")
        rules.check_name(kind, name)
        for key in about:
            if key not in About.__annotations__:
                hint = did_you_mean(key, About.__annotations__)
                raise GenzooError(f"{kind} {name!r} was given the unknown keyword {key!r}{hint}")
        entry = Entry(
            kind,
            name,
            rules.check_target(kind, name, target) if target or kind not in ("recipe", "weights") else "",
            rules.check_text(kind, name, "summary", about.get("summary", "")),
            rules.check_text(kind, name, "paper", about.get("paper", "")),
            rules.check_modalities(kind, name, about.get("modalities", ())),
            rules.check_words(kind, name, "tags", about.get("tags", ())),
            self.plugin,
            self.distribution,
            self.version,
            data or {},
            self.api,
        )
        if (kind, name) in self._entries:
            other = self._entries[kind, name].target
            raise GenzooError(f"{kind} {name!r} is registered twice{f' ({other} and {target})' if other else ''}")
        self._entries[kind, name] = entry
        return entry


def _method(kind: Kind) -> Callable[..., None]:
    """The method that registers a kind of which no more is said than a name, a target and an `About`."""

    def register(self: Registrar, name: str, target: str, **about: Unpack[About]) -> None:
        self._add(kind.name, name, target, about)

    register.__name__, register.__qualname__ = kind.name, f"Registrar.{kind.name}"
    derives = f", a class that derives from `{kind.base.replace(':', '.')}`" if kind.base else ""
    register.__doc__ = f"Register {rules.article(kind.name)}: {kind.help}{derives}."
    return register


for _kind in TABLE.values():
    if _kind.plain:
        setattr(Registrar, _kind.name, _method(_kind))


def _plain_words(error: TypeError) -> str:
    """Python's sentence about a call, without the method's qualified name."""
    return str(error).partition("() ")[2] or str(error)

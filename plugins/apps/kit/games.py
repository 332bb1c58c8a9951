"""Checks of objectives: small networks, one batch, every player's turn."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genzoo.core.build import build
from genzoo.core.config import LISTS, Config
from genzoo.core.errors import UsageError
from genzoo.core.mixed_precision import networks_in_bfloat16
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Objective, Player
from genzoo.core.spec import DataSpec
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, Setting, attempt, gap, labels, seeded, shape_text, small_data
from genzoo.plugins.apps.kit.dispatch_checks import ON_INPUTS, all_on_meta, elsewhere, no_doubles
from genzoo.plugins.apps.kit.findings import Fault, Skip
from genzoo.registry.recipes.compose import compose, resolver, with_steps

N = 8  # observations in a batch


@dataclass
class Game:
    """An objective with networks that it can train."""

    setting: Setting
    config: Config
    objective: Objective
    nets: Networks
    batch: Batch

    def turns(self, objective: Objective | None = None) -> Iterator[tuple[Player, dict[str, Tensor]]]:
        """Every player with the noise of its turn."""
        objective = objective or self.objective
        for stream, player in enumerate(objective.players()):
            draws = Draws(N, "cpu", steps=10).at(0, 3, stream)
            yield player, objective.draw(player.name, draws, self.nets.model)

    def again(self) -> Game:
        """A deep copy, so that what a loss moves does not last."""
        return Game(self.setting, self.config, copy.deepcopy(self.objective), copy.deepcopy(self.nets), self.batch)


def games(case: Case, **options: Any) -> list[Game]:
    """The objective, or a GAN with the part, on vectors and on labelled images, on perceptrons or what recipes name.

    Raises:
        Fault: if it can be built on none of the data that it says it is for.
    """
    found, refused = [], ""
    for i, kind in enumerate(cases.kinds(case.entry)):
        spec, classes = kind.examples(CLASSES)[0], 0 if i % 2 else CLASSES
        for recipe, parts in _ways(case, spec):
            given = {**parts, "conditional": bool(classes), **{f"{_prefix(case)}.{k}": v for k, v in options.items()}}
            try:
                config = compose(case.registry, spec, recipe, given)
                with seeded(1):
                    objective, nets = build(config, resolver(case.registry, config))
            except UsageError as e:
                refused = str(e)
                continue
            batch = Batch(cases.observations(spec, N, 5), labels(N, classes))
            found.append(Game(Setting(spec, classes), config, objective, nets.train(), batch))
            break
    if not found and options:
        raise UsageError(refused)
    if not found:
        raise Fault("networks that it can train", f"a refusal: {refused}",
                    "work on perceptrons, or register a recipe with networks that do")  # fmt: skip
    return found


def _prefix(case: Case) -> str:
    """What stands before the options of the entry."""
    return f"{case.entry.kind}.{case.entry.name}" if case.entry.kind in LISTS else "objective"


def _ways(case: Case, spec: DataSpec) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Compositions to try: the zoo's perceptrons, then recipes that name this objective; a part is added to a GAN."""
    if case.entry.kind in LISTS:
        yield "genzoo/gan:gan", {
            "generator": "nets:mlp", "generator.width": 16, "critic": "nets:mlp", "critic.width": 16,
            "critic.spectral_norm": False, case.entry.kind: [case.entry.address],
        }  # fmt: skip
        return
    plan = attempt(lambda: case.cls(case.cls.Options()).plan(spec, spec.classes), spec.modality, "plan")
    parts: dict[str, Any] = {"objective": case.entry.address}
    for kind in ("generator", "encoder", "critic"):
        parts |= {kind: "nets:mlp", f"{kind}.width": 16} if plan.wants(kind) else {}
    yield None, parts
    for recipe in case.registry.entries("recipe"):
        if recipe.data["objective"] in (case.entry.name, case.entry.address):
            yield recipe.address, {}


def lost(game: Game, player: Player, noise: dict[str, Tensor], batch: Batch | None = None) -> Loss:
    """A player's loss, on copies of batch and noise unless a batch is given."""
    if batch is None:
        batch = Batch(game.batch.x.clone(), game.batch.y)
        noise = {k: v.clone() for k, v in noise.items()}
    return attempt(
        lambda: game.objective.loss(player.name, game.nets, batch, noise),
        f"{game.setting}, player {player.name!r}",
        "loss",
    )


def plays(case: Case) -> None:
    """Plan and players fit together: somebody trains every part, nobody a part that is not there."""
    if not issubclass(case.cls, Objective):
        raise Fault(
            "a subclass of genzoo.core.objective.Objective", case.cls.__mro__[1].__name__, "derive it from that"
        )
    for game in games(case):
        players = game.objective.players()
        names = [p.name for p in players]
        if not players or len(set(names)) < len(names):
            raise Fault("players of different names, at least one", str(names), "rename them", str(game.setting))
        moved: set[int] = set()
        for player in players:
            for part in player.moves:
                what = f"Player.moves={player.moves} to name parts of the model or critics of the plan"
                module = attempt(partial(game.nets.part, part), game.setting, what)
                moved |= {id(p) for p in module.parameters()}
        idle = [n for n, p in game.nets.named_parameters() if id(p) not in moved]
        if idle and not game.objective.fresh:  # of a second stage, the first stage's parts stay as they are
            raise Fault("a player for every parameter", f"nobody moves {', '.join(idle[:3])}",
                        "name the part in a Player's moves", str(game.setting))  # fmt: skip
        if any(True for _ in game.objective.parameters()):
            raise Fault("an objective without parameters", "some", "put what is trained into the model or a critic")
        for player, noise in game.turns():
            for name, value in noise.items():
                if not isinstance(value, Tensor) or (value.dim() and value.shape[0] != N):
                    shape = shape_text(value.shape) if isinstance(value, Tensor) else type(value).__name__
                    raise Fault(f"noise of shape ({N}, …), or 0-d", f"{name!r} of {shape}",
                                "put the batch first: parts of a batch take their rows", player.name)  # fmt: skip


def terms(case: Case) -> None:
    """Every term is one finite number per observation, and what is declared of it exists."""
    for game in games(case):
        for player, noise in game.turns():
            loss, where = lost(game, player, noise), f"{game.setting}, player {player.name!r}"
            if not isinstance(loss, Loss) or not loss.terms:
                raise Fault("a Loss with terms", type(loss).__name__, "return Loss({'name': numbers})", where)
            for name, value in loss.terms.items():
                _one_per_observation(name, value, where)
            for what, names in (
                ("coupled", loss.coupled),
                ("weights", tuple(loss.weights)),
                ("gathered", loss.gathered),
            ):
                unknown = set(names) - set(loss.terms)
                if unknown:
                    raise Fault(
                        f"names of terms in {what}", f"{sorted(unknown)}", f"there are {sorted(loss.terms)}", where
                    )
            for name, value in loss.shown.items():
                if value.dim() and tuple(value.shape) != (N,):
                    raise Fault("numbers to show of shape (B,) or 0-d", f"{name!r} of {shape_text(value.shape)}",
                                "take a mean over the rest", where)  # fmt: skip


def _one_per_observation(name: str, value: Any, where: str, dtype: torch.dtype | None = None) -> None:
    mend = "sum over the dimensions of an observation, and not over the batch: the trainer takes that mean"
    if not isinstance(value, Tensor) or tuple(value.shape) != (N,):
        found = shape_text(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise Fault(f"term {name!r} of shape (B,) = ({N},)", found, mend, where)
    if dtype is not None and value.dtype != dtype:
        raise Fault(f"term {name!r} of {dtype}", str(value.dtype), "convert networks' outputs with .float()", where)
    if not torch.isfinite(value).all():
        raise Fault(f"term {name!r} to be finite", str(value.detach().tolist()[:3]),
                    "look for a division, root or logarithm at zero", where)  # fmt: skip


def coupled(case: Case) -> None:
    """A term's value for an observation depends on that observation only, unless it is declared coupled."""
    for game in games(case):
        game.nets.eval()
        half = N // 2
        for player, noise in game.turns():
            whole = lost(game.again(), player, noise)
            parts = []
            for part in (slice(0, half), slice(half, N)):
                b = Batch(game.batch.x[part], None if game.batch.y is None else game.batch.y[part])
                some = {k: v[part] if v.dim() else v for k, v in noise.items()}
                parts.append(lost(game.again(), player, some, b))
            for name, value in whole.terms.items():
                if name in whole.coupled:
                    continue
                both = torch.cat([p.terms[name] for p in parts])
                if gap(value, both) > 1e-3:
                    raise Fault(f"term {name!r} of an observation to be the same in every batch",
                                f"values that change by {gap(value, both):.2g} where the batch is halved",
                                f"return Loss(…, coupled=({name!r},)), or compute it alone (a GAN says coupled = True)",
                                f"{game.setting}, player {player.name!r}")  # fmt: skip


def deterministic(case: Case) -> None:
    """The loss is a function of networks, batch and the noise it declared: no seed of torch's changes it."""
    for game in games(case):
        for number, (player, noise) in enumerate(game.turns()):
            again = list(game.turns())[number][1]
            where = f"{game.setting}, player {player.name!r}"
            moved = [k for k in noise if not torch.equal(noise[k], again[k])]
            if moved:
                raise Fault("the same noise from the same draws", f"another {moved[0]!r}",
                            "draw everything from the Draws that it is given", where)  # fmt: skip
            values = []
            for seed in (1, 2):
                with seeded(seed):
                    values.append(lost(game.again(), player, noise).per_observation())
            if gap(*values) > 1e-5:
                raise Fault("the same loss twice", f"values {gap(*values):.2g} apart",
                            "draw all noise in draw(), from the Draws that it is given", where)  # fmt: skip


def gradients(case: Case) -> None:
    """In a player's turn gradients reach all that it moves; the loss changes nothing by itself."""
    for game in games(case):
        for player, noise in game.turns():
            where = f"{game.setting}, player {player.name!r}"
            own = {id(p) for part in player.moves for p in game.nets.part(part).parameters()}
            for p in game.nets.parameters():
                p.requires_grad_(id(p) in own)
                p.grad = None
            before = {n: (p.detach().clone(), p.requires_grad) for n, p in game.nets.named_parameters()}
            total = lost(game, player, noise).total()
            if not total.requires_grad:
                raise Fault("a loss that can be differentiated", "a detached one",
                            "take out the detach() or no_grad() on the way", where)  # fmt: skip
            attempt(total.backward, where, "backward")
            parameters = dict(game.nets.named_parameters())
            idle = [n for n, p in parameters.items() if id(p) in own and p.grad is None]
            if idle:
                raise Fault(f"a gradient for everything that {player.name!r} moves", f"none for {', '.join(idle[:3])}",
                            "take out the detach() on the way, or move less", where)  # fmt: skip
            if any(id(p) not in own and p.grad is not None for p in parameters.values()):
                raise Fault("gradients for the player's own parameters only", "others too",
                            "leave requires_grad and backward() to the trainer", where)  # fmt: skip
            for n, p in parameters.items():
                if not torch.equal(p, before[n][0]) or p.requires_grad != before[n][1]:
                    raise Fault("a loss that moves no parameter", f"{n} changed", "act in after_step", where)
                if p.grad is not None and not torch.isfinite(p.grad).all():
                    raise Fault("finite gradients", f"others for {n}", "look for a root or logarithm at zero", where)


def inputs_kept(case: Case) -> None:
    """Batch and noise are as they were afterwards."""
    for game in games(case):
        for player, noise in game.turns():
            given = {"x": game.batch.x, **noise}
            before = {k: (v.clone(), v._version) for k, v in given.items()}
            lost(game, player, noise, game.batch)
            moved = [k for k, v in given.items() if not torch.equal(v, before[k][0]) or v._version != before[k][1]]
            if moved:
                raise Fault("batch and noise unchanged", f"{moved[0]!r} changed in place", "work on a new tensor",
                            f"{game.setting}, player {player.name!r}")  # fmt: skip


def dtypes(case: Case) -> None:
    """Nothing is computed in float64, and under bfloat16 autocast the terms stay finite and float32."""
    for game in games(case):
        for player, noise in game.turns():
            for half in (False, True):
                where = f"{game.setting}, player {player.name!r}{', bfloat16 autocast' if half else ''}"
                trial = game.again()
                with no_doubles(where):
                    with networks_in_bfloat16("cpu", half):
                        loss = lost(trial, player, noise)
                    for name, value in loss.terms.items():
                        _one_per_observation(name, value, where, torch.float32)
                    if loss.total().requires_grad:
                        attempt(loss.total().backward, where, "backward")


class _MetaDraws(Draws):
    """Draws that say where they are and nothing else."""

    def __init__(self) -> None:
        super().__init__(N, "cpu", steps=10)
        self.step = 3

    def normal(self, *shape: int) -> Tensor:
        return super().normal(*shape).to("meta")

    def uniform(self, *shape: int) -> Tensor:
        return super().uniform(*shape).to("meta")

    def number(self, value: float) -> Tensor:
        return super().number(value).to("meta")


def devices(case: Case) -> None:
    """Noise and terms are where the networks are."""
    for game in games(case):
        b = Batch(game.batch.x.to("meta"), None if game.batch.y is None else game.batch.y.to("meta"))
        with elsewhere(game.setting):
            game.nets.to("meta")
            game.objective.to("meta")
            for player in game.objective.players():
                noise = game.objective.draw(player.name, _MetaDraws(), game.nets.model)
                where = f"{game.setting}, player {player.name!r}"
                try:
                    all_on_meta(noise, where, "noise")
                except Fault as e:
                    raise Fault(e.expected, e.found, f"draw from what it is given; {ON_INPUTS}", where) from e
                all_on_meta(game.objective.loss(player.name, game.nets, b, noise).terms, where, "a term")


def trainer(case: Case, game: Game, seed: int, *, steps: int = 4, fresh: int = 1) -> Trainer:
    """A trainer of the game on random data, with networks initialized by ``fresh``."""
    config = with_steps(game.config, steps=steps, epochs=None, batch_size=N)
    with seeded(fresh):
        objective, nets = build(config, resolver(case.registry, config))
    return Trainer(objective, nets, small_data(game.setting.spec), config.train, seed=seed)


class _Stop(Observer):
    """Stops a run at a step, as a signal would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, trainer: Trainer) -> None:
        trainer.stopping = trainer.step == self.at


def resumes(case: Case) -> None:
    """It trains; and a run that is stopped, saved and gone on from is the one that never stopped, bit for bit."""
    for game in games(case):
        straight = trainer(case, game, 0)
        start = {n: p.detach().clone() for n, p in straight.nets.named_parameters()}
        attempt(straight.train, game.setting, "training")
        if all(torch.equal(p, start[n]) for n, p in straight.nets.named_parameters()):
            raise Fault("training to move parameters", "none moved", "look at players() and loss()", str(game.setting))
        stopped = trainer(case, game, 0)
        stopped.observers.append(_Stop(2))
        stopped.train()
        stopped.prepare_state()
        tensors, plain = stopped.state()
        kept = {k: v.clone() for k, v in stopped.model.state_dict().items()}
        later = trainer(case, game, 0, fresh=2)
        mend = "register_buffer what it remembers, and change it in after_step: checkpoints keep buffers only"
        attempt(lambda: later.load_state(kept, tensors, plain), game.setting, "a checkpoint to load", mend)  # noqa: B023
        later.train()
        for (name, a), b in zip(straight.nets.state_dict().items(), later.nets.state_dict().values(), strict=True):
            if not torch.equal(a, b):
                raise Fault("a resumed run that is the run that never stopped", f"another {name}", mend,
                            str(game.setting))  # fmt: skip


def variants(case: Case) -> None:
    """With every word, and at the least of every number, of its options it gives finite terms or is refused."""
    from genzoo.core.options import options_of

    names = {i.name for i in options_of(case.cls.Options)}
    for name, options in cases.variants(case.cls):
        key = name.partition("=")[0]
        assert key in names
        try:
            played = games(case, **{key: getattr(options, key)})
        except UsageError:
            continue
        for game in played:
            for player, noise in game.turns():
                loss = lost(game, player, noise)
                for term, value in loss.terms.items():
                    _one_per_observation(term, value, f"{game.setting}, {name}, player {player.name!r}")


def held_out(case: Case) -> None:
    """The held-out loss, where there is one, is one finite number per observation."""
    if case.cls.held_out is Objective.held_out:
        raise Skip("it has no held-out loss")
    for game in games(case):
        game.nets.eval()
        player, noise = next(iter(game.turns()))
        with torch.no_grad():
            value = attempt(lambda g=game, n=noise: g.objective.held_out(g.nets, g.batch, n),  # type: ignore[misc]
                            game.setting, "held_out")  # fmt: skip
        _one_per_observation("held-out loss", value, f"{game.setting}, player {player.name!r}")

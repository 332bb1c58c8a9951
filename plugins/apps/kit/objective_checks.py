"""Objectives, regularizers and augmentations: every player's turn on small networks, and runs of a few steps."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.build import build
from genzoo.core.config import LISTS
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Player
from genzoo.core.spec import DataSpec
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, Composed, Subject, accepted, at, composed, expect, over, seeded
from genzoo.plugins.apps.kit.findings import Fault, Skip
from genzoo.registry import Registry
from genzoo.registry.recipes.compose import resolver, with_steps

N = 8  # observations in a batch
PARALLEL, CLOSE = 20, 1e-4  # steps of a run in parts of a batch, and how far it may be from that on whole ones


@dataclass
class Game:
    """An objective with networks that it can train."""

    where: str
    registry: Registry
    built: Composed
    classes: int

    def trainer(self, *, steps: int, fresh: int = 1, **train: Any) -> Trainer:
        """A trainer on random data, of other networks, which are initialized by ``fresh``."""
        config = with_steps(self.built.config, steps=steps, epochs=None, batch_size=N)
        with seeded(fresh):
            objective, nets = build(config, resolver(self.registry, config))
        return Trainer(objective, nets, cases.small_data(config.data), replace(config.train, **train), seed=0)


class Turn(Subject):
    """A player's turn, on random observations and the noise that it draws."""

    parts = (N // 2,)
    zeros = True

    def __init__(self, game: Game, stream: int, player: Player) -> None:
        self.game, self.stream, self.player = game, stream, player
        x, y = cases.observations(game.built.config.data, N, 5), cases.labels(N, game.classes)
        module = nn.ModuleDict({"objective": game.built.objective, "nets": game.built.nets})
        super().__init__(f"{game.where}, player {player.name!r}", module, {"batch x": x, "batch y": y})
        self.draw()

    def draw(self, device: str = "cpu") -> None:
        """Draw the noise of the turn, by a generator of the CPU."""
        draws = Draws(N, "cpu", steps=10).at(0, 3, self.stream)
        draws._device = torch.device(device)
        self.given |= self.game.built.objective.draw(self.player.name, draws, self.game.built.nets.model)

    def loss(self, module: Any, given: Mapping[str, Any]) -> Loss:
        """The loss of the turn, of which what is declared must exist."""
        noise = {k: v for k, v in given.items() if k not in ("batch x", "batch y")}
        mend = "put the batch first: parts of a batch take their rows"
        odd = [k for k, v in noise.items() if v.dim() and len(v) != len(given["batch x"])]
        expect(not odd, "noise of shape (B, …), or 0-d", f"{odd} of another", mend)
        batch = Batch(given["batch x"], given["batch y"])
        loss: Loss = module["objective"].loss(self.player.name, module["nets"], batch, noise)
        whole = isinstance(loss, Loss) and loss.terms
        expect(whole, "a Loss with terms", type(loss).__name__, "return Loss({'name': numbers})")
        for what, names in {"coupled": loss.coupled, "weights": loss.weights}.items():
            unknown = sorted(set(names) - set(loss.terms))
            expect(not unknown, f"names of terms in {what}", unknown, f"there are {sorted(loss.terms)}")
        odd = [k for k, v in loss.shown.items() if v.dim() and v.shape != (len(batch.x),)]
        expect(not odd, "numbers to show of shape (B,) or 0-d", f"{odd} of another", "take a mean over the rest")
        return loss

    def compute(self, module: Any, given: Mapping[str, Any]) -> Mapping[str, Tensor]:
        return self.loss(module, given).terms

    def coupled(self) -> Collection[str]:
        return self.loss(copy.deepcopy(self.module), self.given).coupled

    def moved(self) -> list[nn.Parameter]:
        return [p for part in self.player.moves for p in self.game.built.nets.part(part).parameters()]

    def onto_meta(self) -> None:
        super().onto_meta()
        self.draw("meta")


def games(case: Case, options: Mapping[str, Any] | None = None) -> Iterator[Game]:
    """The objective, or a GAN with the part, on each kind of data, on perceptrons or on what recipes name.

    Data of several axes, such as images, are labelled; flat ones are not.
    """
    prefix = f"{case.entry.kind}.{case.entry.name}" if case.entry.kind in LISTS else "objective"
    changed = {f"{prefix}.{k}": v for k, v in (options or {}).items()}

    def game(spec: DataSpec, classes: int) -> Game:
        asked = {**changed, "conditional": bool(classes)}
        ways = [(recipe, {**parts, **asked}) for recipe, parts in _compositions(case, spec)]
        built = composed(case.registry, spec, *ways, kept=case.kept)
        built.nets.train()
        return Game(cases.setting(spec, classes), case.registry, built, classes)

    specs = [kind.examples(CLASSES)[0] for kind in cases.kinds(case.entry)]
    makers = (partial(game, spec, CLASSES if len(spec.shape) > 1 else 0) for spec in specs)
    return accepted(makers, "networks that it can train" if options is None else "")


def _compositions(case: Case, spec: DataSpec) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """What to try: the zoo's perceptrons, then recipes that name this objective; a part is added to a GAN.

    Where the part asks for more of a generator than perceptrons have, others are tried.
    """
    if case.entry.kind in LISTS:
        others = [e.address for e in case.registry.entries("generator") if e.distribution == "genzoo"]
        for generator in ("nets:mlp", *others):
            yield "genzoo/gan:gan", {
                "generator": generator, "generator.width": 16, "critic": "nets:mlp", "critic.width": 16,
                "critic.spectral_norm": False, case.entry.kind: [case.entry.address],
            }  # fmt: skip
        return
    plan = case.cls(case.cls.Options()).plan(spec, spec.classes)
    parts: dict[str, Any] = {"objective": case.entry.address}
    for kind in ("generator", "encoder", "critic"):
        parts |= {kind: "nets:mlp", f"{kind}.width": 16} if plan.wants(kind) else {}
    yield None, parts
    for recipe in case.registry.entries("recipe"):
        if recipe.data["objective"] in (case.entry.name, case.entry.address):
            yield recipe.address, {}


def turns(case: Case, options: Mapping[str, Any] | None = None, *, thorough: bool = False) -> Iterator[Turn]:
    """Every player's turn of every game."""
    for game in games(case, options):
        yield from [Turn(game, stream, player) for stream, player in enumerate(game.built.objective.players())]


@over(games)
def plays(game: Game) -> None:
    """Plan and players fit together: somebody trains every part, nobody a part that is not there."""
    objective, nets = game.built.objective, game.built.nets
    names = [p.name for p in objective.players()]
    expect(names and len(set(names)) == len(names), "players of different names, at least one", names)
    moved: set[int] = set()
    for part in [part for player in objective.players() for part in player.moves]:
        try:
            moved |= {id(p) for p in nets.part(part).parameters()}
        except AttributeError as e:
            raise Fault("parts of the model or critics of the plan in Player.moves", repr(part), "name one") from e
    idle = [n for n, p in nets.named_parameters() if id(p) not in moved]
    mend = "name the part in a Player's moves"  # of a second stage, the first stage's parts stay as they are
    expect(
        not idle or objective.fresh or objective.needs_start,
        "a player for every parameter",
        f"none for {', '.join(idle[:3])}",
        mend,
    )
    own, mend = list(objective.parameters()), "put what is trained into the model or a critic"
    expect(not own, "an objective without parameters", "some", mend)


class _Stop(Observer):
    """Stops a run at a step, as a signal would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, trainer: Trainer) -> None:
        trainer.stopping = trainer.step == self.at


@over(games)
def round_trip(game: Game) -> None:
    """It trains; and a run that is stopped, saved and gone on from is the one that never stopped, bit for bit."""
    straight = game.trainer(steps=4)
    start = {n: p.detach().clone() for n, p in straight.nets.named_parameters()}
    straight.train()
    moved = any(not torch.equal(p, start[n]) for n, p in straight.nets.named_parameters())
    expect(moved, "training to move parameters", "none moved", "look at players() and loss()")
    stopped = game.trainer(steps=4)
    stopped.observers.append(_Stop(2))
    stopped.train()
    stopped.prepare_state()
    tensors, plain = stopped.state()
    later = game.trainer(steps=4, fresh=2)
    later.load_state({k: v.clone() for k, v in stopped.model.state_dict().items()}, tensors, plain)
    later.train()
    for (name, a), b in zip(straight.nets.state_dict().items(), later.nets.state_dict().values(), strict=True):
        mend = "register_buffer what it remembers, and change it in after_step: checkpoints keep buffers only"
        expect(torch.equal(a, b), "a resumed run that is the run that never stopped", f"another {name}", mend)


@over(games)
def accumulates(game: Game) -> None:
    """In two parts of a batch it trains what it trains on the whole batch, unless a term is declared coupled."""
    mixing = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    coupled = any(Turn(game, i, player).coupled() for i, player in enumerate(game.built.objective.players()))
    if coupled or any(isinstance(m, mixing) for m in game.built.nets.modules()):
        raise Skip("its terms are coupled, or its networks mix observations")
    ended = []
    for parts in (1, 2):
        # Adam would make whole steps of what is only rounding, where a gradient is zero.
        run = game.trainer(steps=PARALLEL, accumulate=parts, optimizer="sgd", lr=1e-3)
        with at(f"{game.where}, train.accumulate={parts}"):
            run.train()
        state = nn.ModuleDict({"networks": run.nets, "objective": run.objective}).state_dict()
        ended.append({name: value.double() for name, value in state.items()})
    for name, a in ended[0].items():
        far = torch.linalg.vector_norm(a - ended[1][name])
        same = f"the same {name} after {PARALLEL} steps with train.accumulate=1 and 2"
        mend = "let state follow `seen` in after_step (see `watched` and Loss.sums), and keep nothing in loss()"
        expect(far <= CLOSE * torch.linalg.vector_norm(a) + 1e-7, same, f"values {far:.2g} apart", mend)

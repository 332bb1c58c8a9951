"""One loop for all objectives: for each player in turn, draw, loss, step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.average import Average
from genzoo.core.config import TrainOptions
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.model import Model
from genzoo.core.noise import Draws, Order, stream_seed
from genzoo.core.objective import Batch, Loss, Networks, Objective, Player

_NOISE, _SHUFFLE, _BINARIZE, _HELD_OUT = 1, 2, 3, 4  # streams of randomness


class Observer:
    """Watches a run. It may read the trainer and write files; it must not change what is trained."""

    def step(self, trainer: Trainer) -> None:
        """Called after every step; must be quick and must not wait for the device."""

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """Called with the means of the terms since the last record."""

    def end(self, trainer: Trainer) -> None:
        """Called when training stops for a reason that is no error."""


class Turn(nn.Module):
    """One player's loss as a module: what is compiled, and what a distributed engine wraps."""

    def __init__(self, objective: Objective, nets: Networks, player: str) -> None:
        super().__init__()
        self.objective, self.nets, self.player = objective, nets, player

    def forward(self, x: Tensor, y: Tensor | None, noise: Mapping[str, Tensor]) -> tuple[Tensor, Loss]:
        """Return what is minimized (0-d) and the loss it came from."""
        loss = self.objective.loss(self.player, self.nets, Batch(x, y), noise)
        return loss.total(), loss


@dataclass
class _Seat:
    """A player with what the trainer keeps for it."""

    player: Player
    turn: Callable[..., Any]
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    lr: float


def make_optimizer(parameters: Sequence[nn.Parameter], options: TrainOptions, lr: float) -> torch.optim.Optimizer:
    """Build the optimizer that the options name, fused where the device has it."""
    fused = parameters[0].device.type in ("cpu", "cuda", "mps")
    kind, decay = options.optimizer, options.weight_decay
    if kind == "adam":
        return torch.optim.Adam(parameters, lr=lr, betas=options.betas, weight_decay=decay, fused=fused)
    if kind == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, betas=options.betas, weight_decay=decay, fused=fused)
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=options.betas[0], weight_decay=decay, fused=fused)
    return torch.optim.RMSprop(parameters, lr=lr, weight_decay=decay, foreach=True)


def lr_factor(options: TrainOptions, step: int, steps: int) -> float:
    """The learning rate at a step, as a factor of its peak."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    t = (step - options.warmup) / max(steps - options.warmup, 1)
    if options.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * t))
    return 1 - t if options.schedule == "linear" else 1.0


class Trainer:
    """Trains networks by an objective.

    Args:
        objective: what is minimized.
        nets: the networks, on the device they are trained on.
        data: training data, on the same device or on the CPU.
        options: how.
        held_out: data for the held-out loss, or None.
        seed: of the order of the data and of all noise.
        precision: ``float32``, or ``bfloat16`` autocast; penalties, likelihoods and KL stay in float32.
        compile_turns: compile every player's turn with torch.compile.
        observers: what watches.
        record: how the run was called, beyond its config; kept in checkpoints, and must be equal to resume.

    Raises:
        UsageError: if the options do not go together.
    """

    def __init__(
        self,
        objective: Objective,
        nets: Networks,
        data: Data,
        options: TrainOptions,
        *,
        held_out: Data | None = None,
        seed: int = 0,
        precision: str = "float32",
        compile_turns: bool = False,
        observers: Sequence[Observer] = (),
        record: Mapping[str, Any] | None = None,
    ) -> None:
        self.objective, self.nets, self.options, self.seed = objective, nets, options, seed
        self.device = nets.model.device
        self.data, self.held_out, self.record = data, held_out, dict(record or {})
        if held_out is not None and type(objective).held_out is Objective.held_out:
            raise UsageError("this objective has no held-out loss: leave train.validation at 0")
        self.observers = list(observers)
        self.conditional = nets.model.classes > 0
        self._cuda = [self.device] if self.device.type == "cuda" else []
        self.step, self.stopping, self.seconds = 0, False, 0.0
        self.history: list[dict[str, float]] = []
        self._autocast: Callable[[], Any] = nullcontext
        if precision == "bfloat16":
            self._autocast = lambda: torch.autocast(self.device.type, torch.bfloat16)
        batch = options.batch_size
        if batch % options.accumulate:
            raise UsageError(
                f"train.batch_size ({batch}) must be a multiple of train.accumulate ({options.accumulate})"
            )

        players = objective.players()
        self.turns = players[0].turns  # batches drawn in a step: the first player's; later ones reuse the last
        self.steps = options.steps or math.ceil(options.epochs * len(data) / (batch * self.turns))
        self._order = Order(len(data), stream_seed(seed, _SHUFFLE), data.x.device)
        self._draws = Draws(batch, self.device, steps=self.steps)
        self._parts = [slice(i, i + batch // options.accumulate) for i in range(0, batch, batch // options.accumulate)]
        nets.train()
        self._dropout = any(getattr(m, "p", 0) and isinstance(m, nn.modules.dropout._DropoutNd) for m in nets.modules())
        self._seats = []
        for player in players:
            parameters = [p for name in player.moves for p in nets.part(name).parameters()]
            lr = options.lr if player.lr is None else player.lr
            turn: Callable[..., Any] = Turn(objective, nets, player.name)
            if compile_turns:
                turn = torch.compile(turn)
            self._seats.append(_Seat(player, turn, parameters, make_optimizer(parameters, options, lr), lr))
        self.average = Average(nets.model, options.average) if options.average else None
        self._pending: list[tuple[int, str, dict[str, Tensor]]] = []  # terms still on the device
        self._since = time.perf_counter()

    @property
    def model(self) -> Model:
        """The model that is kept: the moving average where there is one."""
        return self.average.model if self.average else self.nets.model

    @property
    def seen(self) -> int:
        """Observations drawn so far."""
        return self.step * self.turns * self.options.batch_size

    def train(self) -> None:
        """Train until the last step, or until `stopping` is set; may be called again to go on.

        Raises:
            GenzooError: if a loss is not finite, naming step, player and term.
        """
        self._since = time.perf_counter()
        with (
            torch.random.fork_rng(devices=self._cuda),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=torch.backends.cudnn.allow_tf32
            ),
        ):  # a resumed run must repeat what the run that never stopped did
            while self.step < self.steps and not self.stopping:
                self._one_step()
                self.step += 1
                if self.average:
                    self.average.update(self.seen, self.turns * self.options.batch_size)
                if self.step % self.options.log_every == 0 or self.step == self.steps:
                    self.flush()
                for observer in self.observers:
                    observer.step(self)
        self.flush()
        for observer in self.observers:
            observer.end(self)

    def _one_step(self) -> None:
        size = self.options.batch_size
        factor = lr_factor(self.options, self.step, self.steps)
        batch: tuple[Tensor, Tensor | None] | None = None
        stream = 0
        for number, seat in enumerate(self._seats):
            if len(self._seats) > 1:
                self._focus(seat)
            for group in seat.optimizer.param_groups:
                group["lr"] = seat.lr * factor
            for turn in range(seat.player.turns):
                if number == 0 or batch is None:
                    batch = self.batch_at(self.step * self.turns + turn, size)
                draws = self._draws.at(self.seed, self.step, _NOISE + 8 * stream)
                noise = self.objective.draw(seat.player.name, draws, self.nets.model)
                if self._dropout:  # it draws from the global generator
                    torch.manual_seed(stream_seed(self.seed, self.step, _NOISE + 8 * stream))
                self._play(seat, *batch, noise)
                stream += 1

    def _play(self, seat: _Seat, x: Tensor, y: Tensor | None, noise: dict[str, Tensor]) -> None:
        n = len(self._parts)
        for part in self._parts:
            if n > 1:
                noise_part = {k: v[part] if v.dim() else v for k, v in noise.items()}
                x_part, y_part = x[part], None if y is None else y[part]
            else:
                noise_part, x_part, y_part = noise, x, y
            with self._autocast():
                total, loss = seat.turn(x_part, y_part, noise_part)
            if n > 1:
                if loss.coupled:
                    raise UsageError(
                        f"the terms {', '.join(loss.coupled)} depend on the whole batch and cannot be computed in "
                        "parts: set train.accumulate=1"
                    )
                total = total / n
            total.backward()
            terms = {name: value.detach() for name, value in (*loss.terms.items(), *loss.shown.items())}
            terms["loss"] = total.detach() * n if n > 1 else total.detach()
            self._pending.append((self.step, seat.player.name, terms))
        if self.options.clip:
            nn.utils.clip_grad_norm_(seat.parameters, self.options.clip)
        seat.optimizer.step()
        seat.optimizer.zero_grad(set_to_none=True)
        self.objective.after_step(seat.player.name, self.nets)

    def _focus(self, seat: _Seat) -> None:
        """Let only this player's parameters record gradients, so that no others are computed."""
        for other in self._seats:
            if other is not seat:
                for p in other.parameters:
                    p.requires_grad_(False)
        for p in seat.parameters:
            p.requires_grad_(True)

    def batch_at(self, number: int, size: int) -> tuple[Tensor, Tensor | None]:
        """Batch ``number`` of the run: observations in model space and labels, on the device."""
        index = self._order.take(number * size, size)
        uniform = None
        if self.data.dynamic:
            uniform = Draws(size, self.device).at(self.seed, number, _BINARIZE).uniform(*self.data.spec.shape)
            uniform = uniform.to(self.data.x.device)
        x, y = self.data.batch(index, uniform)
        if x.device != self.device:
            x, y = x.to(self.device, non_blocking=True), None if y is None else y.to(self.device, non_blocking=True)
        return x, y if self.conditional else None

    @torch.no_grad()
    def flush(self) -> None:
        """Read the terms that have gathered on the device, check that they are finite, and tell observers."""
        if not self._pending:
            return
        sums: dict[str, list[Tensor]] = {}
        alone = len(self._seats) == 1
        for _, player, terms in self._pending:
            prefix = "" if alone else f"{player}/"
            for name, value in terms.items():
                sums.setdefault(prefix + name, []).append(value.float().mean())
        table = {name: torch.stack(values).float().cpu() for name, values in sums.items()}
        bad = [(n, v) for n, v in table.items() if not torch.isfinite(v).all()]
        if bad:
            # A term is told before the sum it spoils.
            name, values = next(((n, v) for n, v in bad if not n.endswith("loss")), bad[0])
            player, _, term = name.rpartition("/")
            steps = [s for s, p, _ in self._pending if alone or p == player]
            first = steps[int((~torch.isfinite(values)).nonzero()[0])]
            self._pending.clear()
            who, what = player or self._seats[0].player.name, values[~torch.isfinite(values)][0].item()
            raise GenzooError(
                f"training broke down at step {first + 1}: {term} of player {who!r} is {what}; "
                "a lower train.lr, train.clip=1 or float32 often cures it"
            )
        self._pending.clear()
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        self.note({name: values.mean().item() for name, values in table.items()})

    def note(self, values: Mapping[str, float]) -> None:
        """Add a record to the history and tell observers."""
        record = {"step": self.step, "seconds": round(self.seconds, 3), **values}
        self.history.append(record)
        for observer in self.observers:
            observer.log(self, record)

    @torch.no_grad()
    def validate(self) -> float | None:
        """Mean held-out loss per observation of the kept model, or None if there is none."""
        if self.held_out is None or len(self.held_out) == 0:
            return None
        model, training = self.model, self.nets.training
        # The whole game with the kept model in place of the one that is moving.
        nets = Networks(model, dict(self.nets.critics.items()))  # type: ignore[arg-type]
        nets.eval()
        name, total, n = self._seats[0].player.name, 0.0, len(self.held_out)
        size = min(max(self.options.batch_size, 256), n)
        try:
            for i, start in enumerate(range(0, n, size)):
                count = min(size, n - start)
                index = torch.arange(start, start + count, device=self.held_out.x.device)
                # The whole held-out set is judged at the end of all warm-ups, with the same noise every time.
                draws = Draws(count, self.device).at(self.seed, i, _HELD_OUT)
                draws.step = draws.steps = 1
                uniform = None
                if self.held_out.dynamic:
                    uniform = Draws(count, self.device).at(self.seed, i, _BINARIZE).uniform(*self.held_out.spec.shape)
                    uniform = uniform.to(index.device)
                x, y = self.held_out.batch(index, uniform)
                batch = Batch(x.to(self.device), y.to(self.device) if y is not None and self.conditional else None)
                noise = self.objective.draw(name, draws, model)
                value = self.objective.held_out(nets, batch, noise)
                if value is None:
                    return None
                total += value.sum(dtype=torch.float32).item()
        finally:
            self.nets.train(training)
            if self.average:
                self.average.model.eval()
        return total / n

    # Checkpoints: everything that the next step depends on.

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on, as tensors and plain data; the kept model is saved beside it."""
        self.flush()
        tensors = {f"critics.{k}": v for k, v in self.nets.critics.state_dict().items()}
        if self.average:  # the kept model is the average, so the one that is moving goes here
            tensors |= {f"model.{k}": v for k, v in self.nets.model.state_dict().items()}
        for seat in self._seats:
            for i, values in seat.optimizer.state_dict()["state"].items():
                for k, v in values.items():
                    tensors[f"optimizer.{seat.player.name}.{i}.{k}"] = v
        plain: dict[str, Any] = {"step": self.step, "steps": self.steps, "seed": self.seed, "seconds": self.seconds}
        plain |= {"record": self.record, "data": self.data.fingerprint(), "history": self.history}
        return tensors, plain

    def load_state(self, kept: Mapping[str, Tensor], tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, with the kept model's tensors."""
        if plain["seed"] != self.seed:
            raise UsageError(f"the run has seed {plain['seed']}, not {self.seed}: resume it with the same --seed")
        for key, value in self.record.items():
            before = plain["record"].get(key)
            if before != value:
                raise UsageError(f"the run was started with {key} {before}, not {value}: resume it as it was")
        if plain["data"] != self.data.fingerprint():
            raise UsageError("the run was trained on other data than this: resume it with the same --data")

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.nets.critics.load_state_dict(under("critics."))
        self.nets.model.load_state_dict(under("model.") if self.average else dict(kept))
        if self.average:
            self.average.model.load_state_dict(dict(kept))
        for seat in self._seats:
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in under(f"optimizer.{seat.player.name}.").items():
                i, _, name = key.partition(".")
                state.setdefault(int(i), {})[name] = value
            groups = seat.optimizer.state_dict()["param_groups"]
            seat.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.step, self.seconds = plain["step"], plain["seconds"]
        self.history = list(plain["history"])

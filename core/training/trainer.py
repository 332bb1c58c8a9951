"""One loop for all objectives: for each player in turn, draw, loss, step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.config import TrainOptions
from genzoo.core.data import Data
from genzoo.core.data.feed import BINARIZE, Feed
from genzoo.core.distributed import sharding
from genzoo.core.distributed.gather import distributed, playing_together, summed, synchronized
from genzoo.core.distributed.runtime import Ballot, Runtime
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.noise import Draws, stream_seed
from genzoo.core.objective import Batch, Loss, Networks, Objective, Player
from genzoo.core.training import state
from genzoo.core.training.average import Average
from genzoo.core.training.fused_adam import Stepper
from genzoo.core.training.optimizers import clip_gradients, lr_factor, make_optimizer
from genzoo.core.training.terms import ADVICE, GRAD, BrokeDown, Terms

_NOISE, _HELD_OUT, _ATTEMPT = 1, 4, 5  # streams of randomness, beside those of `genzoo.core.data.feed`
SKIPS = 10  # turns of a player in a row that may be left out


class Observer:
    """Watches a run. It may read the trainer and write files; it must not change what is trained."""

    def start(self, trainer: Trainer) -> None:
        """Called before the first step of a sitting, and again after going back to a checkpoint."""

    def step(self, trainer: Trainer) -> None:
        """Called after every step; must be quick and must not wait for the device."""

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """Called with the means of the terms since the last record."""

    def checkpoint(self, trainer: Trainer, folder: Path) -> None:
        """Called when a checkpoint was written, whole, to ``folder``."""

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
class Seat:
    """A player with what the trainer keeps for it: the turn that it plays, what that moves, and how."""

    player: Player
    turn: Callable[..., Any]
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    lr: float
    skipped: int = 0  # turns left out in a row
    apart: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)  # in it, gradients stay one's own
    move: Stepper = field(init=False)  # the optimizer's step, and its gradients forgotten

    def __post_init__(self) -> None:
        self.move = Stepper(self.optimizer)


class Trainer:
    """Trains networks by an objective.

    Args:
        objective: what is minimized.
        nets: the networks, on the device they are trained on.
        data: training data, wherever they are; they are brought to the device, or streamed to it.
        options: how.
        held_out: data for the held-out loss, or None.
        seed: of the order of the data and of all noise.
        precision: ``float32``, or ``bfloat16`` autocast; penalties, likelihoods and KL stay in float32.
        compile_turns: compile every player's turn with torch.compile.
        observers: what watches.
        record: how the run was called, beyond its config; kept in checkpoints, and must be equal to resume.
        runtime: the processes that share every batch; by default this one alone.
        on_nan: ``stop`` where a loss is not finite (found when the log is due), or ``skip`` that turn's update
            (which waits for the device at every turn). ``rollback`` stops with `BrokeDown` too: the caller loads
            the last checkpoint, raises `attempt`, which gives fresh noise, and trains on.
        shard: split the generator over the processes.
        data_memory: bytes that resident data may take on the device; None decides by what is free (see `Feed`).
        data_workers: processes that read data which are streamed; None decides by the cores.

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
        runtime: Runtime | None = None,
        on_nan: str = "stop",
        shard: bool = False,
        data_memory: int | None = None,
        data_workers: int | None = None,
    ) -> None:
        self.nets, self.options, self.seed = nets, options, seed
        self.device = nets.model.device
        self.objective = objective.to(self.device)  # what state it has lives where the networks do
        self.runtime, self.on_nan = runtime or Runtime(device=self.device), on_nan
        self.held_out, self.record = held_out, dict(record or {})
        if held_out is not None and type(objective).held_out is Objective.held_out:
            raise UsageError("this objective has no held-out loss: leave train.validation at 0")
        self.observers = list(observers)
        self.about: dict[str, Any] = {}  # what the registry knows of the composition, for the record
        self.conditional = nets.model.classes > 0
        self._cuda = [self.device] if self.device.type == "cuda" else []
        self.step, self.stopping, self.seconds = 0, False, 0.0
        self.attempt = 0  # how often the run went back to a checkpoint
        self.save_wanted = self.save_due = False  # process 0 wants a checkpoint; all are agreed to save one now
        self.history: list[dict[str, float]] = []
        self._autocast: Callable[[], Any] = nullcontext
        if precision == "bfloat16":
            self._autocast = lambda: torch.autocast(self.device.type, torch.bfloat16)
        batch = options.batch_size
        self._share = self.runtime.share(batch)  # of every global batch, what this process computes
        own = self._share.stop - self._share.start
        self.feed = Feed(
            data,
            self.device,
            batch,
            seed=seed,
            part=self._share,
            labels=self.conditional,
            memory=data_memory,
            workers=data_workers,
        )
        self.data = self.feed.data
        if own % options.accumulate:
            each = f" on each of {self.runtime.size} processes" if self.runtime.size > 1 else ""
            raise UsageError(
                f"train.batch_size ({own}{each}) must be a multiple of train.accumulate ({options.accumulate})"
            )

        players = objective.players()
        self.turns = players[0].turns  # batches drawn in a step: the first player's; later ones reuse the last
        self.steps = options.steps or math.ceil(options.epochs * len(data) / (batch * self.turns))
        self._draws = self._draws_for(batch)
        self._parts = [slice(i, i + own // options.accumulate) for i in range(0, own, own // options.accumulate)]
        nets.train()
        if self.runtime.size > 1:
            synchronized(nets)
        self.average = Average(nets.model, options.average) if options.average else None
        self._whole: Model | None = None  # where the model is split: a copy that is not
        if shard:
            self._whole = sharding.unsharded(nets.model, self.device if self.runtime.first else torch.device("cpu"))
            sharding.shard(nets.model, self.runtime)
            if self.average:
                sharding.shard(self.average.model, self.runtime)
                self.average.follow(nets.model)
        self._dropout = any(getattr(m, "p", 0) and isinstance(m, nn.modules.dropout._DropoutNd) for m in nets.modules())
        self.seats = []
        for player in players:
            parameters = [p for name in player.moves for p in nets.part(name).parameters()]
            lr = options.lr if player.lr is None else player.lr
            turn: Callable[..., Any] = Turn(objective, nets, player.name)
            if compile_turns:
                turn = torch.compile(turn)
            self.seats.append(Seat(player, turn, parameters, make_optimizer(parameters, options, lr), lr))
        self._wrapped, self._ballot, self._agreed = False, Ballot(self.runtime), False
        self.terms = Terms([p.name for p in players], self.runtime)
        self._settled: dict[str, Tensor] | None = None
        self._since = time.perf_counter()

    @property
    def model(self) -> Model:
        """The model that is kept: the moving average where there is one.

        Where it is split over processes this is a copy, as it was when all of them last called `gather`.
        """
        return self._whole if self._whole is not None else self._kept

    @property
    def _kept(self) -> Model:
        return self.average.model if self.average else self.nets.model

    def gather(self) -> None:
        """Bring the copy of a model that is split up to date; all processes must call this together."""
        if self._whole is not None:
            sharding.fill(self._whole, self._kept)

    @property
    def sharded(self) -> bool:
        """Whether the generator is split over processes."""
        return self._whole is not None

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
            self._distribute()
            for observer in self.observers:
                observer.start(self)
            while self.step < self.steps and not (self.stopping if self.runtime.size == 1 else self._agreed):
                self._one_step()
                self.step += 1
                if self.average:
                    self.average.update(self.seen, self.turns * self.options.batch_size)
                if self.step % self.options.log_every == 0 or self.step == self.steps:
                    self.flush()
                self._agreed, self.save_due = self._ballot.agree(self.stopping, self.save_wanted)
                self.save_wanted = False
                for observer in self.observers:
                    observer.step(self)
        self._ballot.close(2)
        self.terms.read()
        self.gather()
        for observer in self.observers:
            observer.end(self)

    def _distribute(self) -> None:
        """On several processes: let each turn's gradients be averaged over all of them."""
        if self.runtime.size == 1:
            return
        self._agreed = bool(self.runtime.most(torch.tensor([float(self.stopping)])).item())
        if self._wrapped or self._agreed:
            return
        self._wrapped = True
        batch = self.batch_at(self.step * self.turns, self.options.batch_size)
        for seat in self.seats:
            self._focus(seat)
            idle = self._idle(seat, *batch)
            own = {id(p) for p in seat.parameters if not sharding.is_sharded(p)}
            if not own:
                continue
            assert isinstance(seat.turn, nn.Module)
            seat.turn = turn = distributed(seat.turn, own, find_unused=idle)
            seat.apart = turn.no_sync

    def _idle(self, seat: Seat, x: Tensor, y: Tensor | None) -> bool:
        """Whether a turn leaves some of its player's parameters without gradient; the networks stay as they were."""
        before = [b.clone() for b in self.nets.buffers()]
        noise = self.objective.draw(seat.player.name, self._draws.at(self.seed, self.step, _NOISE), self.nets.model)
        with self._autocast(), playing_together(True):
            total, _ = Turn(self.objective, self.nets, seat.player.name)(x, y, noise)
        total.backward()
        idle = any(p.grad is None for p in seat.parameters)
        seat.optimizer.zero_grad(set_to_none=True)
        self._restore(before)
        return bool(self.runtime.most(torch.tensor([float(idle)])).item())

    @torch.no_grad()
    def _restore(self, buffers: list[Tensor]) -> None:
        for buffer, before in zip(self.nets.buffers(), buffers, strict=True):
            buffer.copy_(before)

    def _one_step(self) -> None:
        size = self.options.batch_size
        factor = lr_factor(self.options, self.step, self.steps)
        batch: tuple[Tensor, Tensor | None] | None = None
        stream = 0
        for number, seat in enumerate(self.seats):
            if len(self.seats) > 1:
                self._focus(seat)
            for group in seat.optimizer.param_groups:
                group["lr"] = seat.lr * factor
            for turn in range(seat.player.turns):
                if number == 0 or batch is None:
                    batch = self.batch_at(self.step * self.turns + turn, size)
                draws = self._draws.at(self._noise_seed, self.step, _NOISE + 8 * stream)
                noise = self.objective.draw(seat.player.name, draws, self.nets.model)
                if self._dropout:  # it draws from the global generator, and each process for itself
                    rank = (self.runtime.rank,) if self.runtime.rank else ()
                    torch.manual_seed(stream_seed(self._noise_seed, self.step, _NOISE + 8 * stream, *rank))
                self._play(seat, *batch, noise)
                stream += 1

    @property
    def _noise_seed(self) -> int:
        return stream_seed(self.seed, _ATTEMPT, self.attempt) if self.attempt else self.seed

    def _draws_for(self, batch: int) -> Draws:
        """Draws of a global batch, of which this process keeps its own part."""
        share = self.runtime.share(batch)
        return Draws(batch, self.device, start=share.start, count=share.stop - share.start, steps=self.steps)

    def _play(self, seat: Seat, x: Tensor, y: Tensor | None, noise: dict[str, Tensor]) -> None:
        n, skips = len(self._parts), self.on_nan == "skip"
        losses, found = [], []
        before = [b.clone() for b in self.nets.buffers()] if skips else []
        for number, part in enumerate(self._parts):
            if n > 1:
                noise_part = {k: v[part] if v.dim() else v for k, v in noise.items()}
                x_part, y_part = x[part], None if y is None else y[part]
            else:
                noise_part, x_part, y_part = noise, x, y
            with seat.apart() if number < n - 1 else nullcontext():
                with self._autocast(), playing_together(self.runtime.size > 1):
                    total, loss = seat.turn(x_part, y_part, noise_part)
                self._refuse_coupled(loss)
                if n > 1:
                    total = total / n
                total.backward()
            terms = {name: value.detach() for name, value in (*loss.terms.items(), *loss.shown.items())}
            terms["loss"] = total.detach() * n if n > 1 else total.detach()
            losses.append(terms["loss"])
            found.append({k: terms[k].mean() / n for k in self.objective.watching if k in terms} | dict(loss.sums))
            self.terms.add(self.step, seat.player.name, terms)
        logged = (self.step + 1) % self.options.log_every == 0 or self.step + 1 == self.steps
        clips = self.options.clip or skips or logged
        norm = clip_gradients(seat.parameters, self.options.clip) if clips else None
        if skips and norm is not None and not self._finite(norm, *losses):
            self._restore(before)
            self._skip(seat, self.terms.take_back(n))
            return
        seat.skipped = 0
        if logged and norm is not None and GRAD not in terms:  # its size before clipping, of the steps that are logged
            self.terms.add(self.step, seat.player.name, {GRAD: norm.detach()})
        seat.move()
        self.objective.follow(seat.player.name, self.nets, self._seen(found, set(loss.sums)))

    def _seen(self, parts: list[dict[str, Tensor]], sums: set[str]) -> dict[str, Tensor]:
        """What a turn found over all parts and processes: means of what is watched, and sums."""
        if not parts[0]:
            return {}
        with playing_together(self.runtime.size > 1):
            total = summed(parts)
        return {k: v if k in sums else v / self.runtime.size for k, v in total.items()}

    def _refuse_coupled(self, loss: Loss) -> None:
        """Refuse terms that would silently be another number where a process sees a part of the batch only."""
        if loss.coupled and len(self._parts) > 1:
            raise UsageError(
                f"the terms {', '.join(loss.coupled)} depend on the whole batch and cannot be computed in "
                "parts: set train.accumulate=1"
            )
        apart = [name for name in loss.coupled if name not in loss.gathered]
        if apart and self.runtime.size > 1:
            raise UsageError(
                f"the terms {', '.join(apart)} depend on the whole batch, and this objective computes them from each "
                "process's part: train it on one process, or gather them with genzoo.core.distributed.gather.whole"
            )

    def _finite(self, *numbers: Tensor) -> bool:
        """Whether numbers are finite on all processes; waits for the device."""
        bad = ~torch.isfinite(torch.stack([n.float() for n in numbers])).all()
        return not self.runtime.most(bad[None].float()).item()

    def _skip(self, seat: Seat, bad: list[str]) -> None:
        """Leave a turn's update out: nothing has moved but the count."""
        seat.optimizer.zero_grad(set_to_none=True)
        seat.skipped += 1
        self.terms.skipped += 1
        if seat.skipped > SKIPS:
            raise BrokeDown(
                f"training broke down at step {self.step + 1}: {bad[0] if bad else 'the gradient'} of player "
                f"{seat.player.name!r} was not finite in {seat.skipped} turns in a row, all of them skipped; {ADVICE}"
            )

    def _focus(self, seat: Seat) -> None:
        """Let only this player's parameters record gradients, so that no others are computed."""
        for other in self.seats:
            if other is not seat:
                for p in other.parameters:
                    p.requires_grad_(False)
        for p in seat.parameters:
            p.requires_grad_(True)

    def batch_at(self, number: int, size: int) -> tuple[Tensor, Tensor | None]:
        """This process's part of batch ``number`` of the run: observations in model space and labels, on the device."""
        assert size == self.options.batch_size
        return self.feed.at(number)

    def flush(self) -> None:
        """Read the terms that have gathered on the device, check that they are finite, and tell observers."""
        means = self.terms.means()
        if means:
            now = time.perf_counter()
            self.seconds, self._since = self.seconds + now - self._since, now
            self.note(means)

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
        model, training = self._kept, self.nets.training
        # The whole game with the kept model in place of the one that is moving.
        nets = Networks(model, dict(self.nets.critics.items()))
        nets.eval()
        name, total, n = self.seats[0].player.name, 0.0, len(self.held_out)
        size = min(max(self.options.batch_size, 256), n)
        try:
            starts = range(0, n, size)
            # Processes take batches in turns; all go through all of them where the model is split.
            for i in range(len(starts)) if self._whole is not None else self.runtime.mine(len(starts)):
                start = starts[i]
                count = min(size, n - start)
                index = torch.arange(start, start + count, device=self.held_out.device)
                # The whole held-out set is judged at the end of all warm-ups, with the same noise every time.
                draws = Draws(count, self.device).at(self.seed, i, _HELD_OUT)
                draws.step = draws.steps = 1
                uniform = None
                if self.held_out.dynamic:
                    uniform = Draws(count, self.device).at(self.seed, i, BINARIZE).uniform(*self.held_out.spec.shape)
                    uniform = uniform.to(index.device)
                x, y = self.held_out.batch(index, uniform)
                batch = Batch(x.to(self.device), y.to(self.device) if y is not None and self.conditional else None)
                noise = self.objective.draw(name, draws, model)
                value = self.objective.held_out(nets, batch, noise)
                if value is None:
                    return None
                total += value.sum(dtype=torch.float32).item()
            if self._whole is None and self.runtime.size > 1:
                total = self.runtime.total(torch.tensor([total])).item()
        finally:
            self.nets.train(training)
            if self.average:
                self.average.model.eval()
        return total / n

    # Checkpoints: everything that the next step depends on.

    def settle(self) -> None:
        """Get ready for `state`; on several processes, all of them must call this together.

        Raises:
            BrokeDown: if a loss or a parameter is not finite.
        """
        self.terms.read()
        state.check(self)
        self.gather()
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now
        if self.sharded:
            self._settled = state.tensors_of(self)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on, as tensors and plain data; the kept model is saved beside it."""
        if self._settled is None:
            self.settle()
        tensors, self._settled = self._settled, None
        return state.tensors_of(self) if tensors is None else tensors, state.numbers_of(self)

    def load_state(self, kept: Mapping[str, Tensor], tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, with the kept model's tensors."""
        state.restore(self, kept, tensors, plain)

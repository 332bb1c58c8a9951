"""One loop for all objectives: for each player in turn, draw, loss, step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.conditions import labels_of
from genzoo.core.config import TrainOptions
from genzoo.core.data import Data
from genzoo.core.data.feed import SHUFFLE, Feed
from genzoo.core.data.imbalance import class_weights, order_of
from genzoo.core.distributed import sharding
from genzoo.core.distributed.gather import playing_together, sync_batch_norm
from genzoo.core.distributed.runtime import FlagExchange, Runtime
from genzoo.core.errors import UsageError
from genzoo.core.hardware import Hardware
from genzoo.core.mixed_precision import networks_in_bfloat16
from genzoo.core.model import Model
from genzoo.core.noise import Draws, Order, scheduled, stream_seed
from genzoo.core.objective import Networks, Objective
from genzoo.core.training import state
from genzoo.core.training.optimizers import Average, clip_gradients, course
from genzoo.core.training.private import PoissonOrder, make_private, private_run
from genzoo.core.training.terms import ADVICE, GRAD, Terms, TrainingDiverged
from genzoo.core.training.turns import (
    PlayerState,
    distribute,
    held_out_loss,
    refuse_coupled,
    refuse_single,
    restore_buffers,
    seen_in,
)

_NOISE, _ATTEMPT = 1, 5  # streams of randomness, beside those of `genzoo.core.data.feed`
SKIPS = 10  # turns of a player in a row that may be left out


class Observer:
    """Watches a run. It may read the trainer and write files; it must not change what is trained."""

    def start(self, trainer: Trainer) -> None:
        """Called before the first step of a session, and again after going back to a checkpoint."""

    def step(self, trainer: Trainer) -> None:
        """Called after every step; must be quick and must not wait for the device."""

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        """Called with the means of the terms since the last record."""

    def checkpoint(self, trainer: Trainer, folder: Path) -> None:
        """Called when a checkpoint was written, whole, to ``folder``."""

    def end(self, trainer: Trainer) -> None:
        """Called when training stops for a reason that is no error."""


class Trainer:
    """Trains networks by an objective, on the device where the networks are; `UsageError` for options that clash.

    Args:
        objective: what is minimized.
        nets: the networks.
        data: training data, wherever they are; they are brought to the device, or streamed to it.
        options: how.
        held_out: data for the held-out loss.
        seed: of the order of the data and of all noise.
        observers: what watches.
        record: how the run was called, beyond its config; kept in checkpoints, and must be equal to resume.
        runtime: the processes that share every batch; by default this one alone.
        on_nan: ``stop`` where a loss is not finite (found when the log is due), or ``skip`` that turn's update
            (which waits for the device at every turn). ``rollback`` stops with `TrainingDiverged` too: the caller loads
            the last checkpoint, raises `attempt`, which gives fresh noise, and trains on.
        hardware: what it computes on, beyond the device.
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
        observers: Sequence[Observer] = (),
        record: Mapping[str, Any] | None = None,
        runtime: Runtime | None = None,
        on_nan: str = "stop",
        hardware: Hardware = Hardware(),  # noqa: B008 (it is frozen)
    ) -> None:
        self.nets, self.options, self.seed = nets, options, seed
        self.device = nets.model.device
        self.objective = objective.to(self.device)  # what state it has lives where the networks do
        self.runtime, self.on_nan = runtime or Runtime(device=self.device), on_nan
        self.held_out, self.record, self.hardware = held_out, dict(record or {}), hardware
        if held_out is not None and type(objective).held_out is Objective.held_out:
            raise UsageError("this objective has no held-out loss: --set train.validation=0")
        if options.patience and held_out is None:
            raise UsageError("train.patience waits for a better held-out loss: --set train.validation=0.1, or "
                             "--set train.patience=0")  # fmt: skip
        self.observers = list(observers)
        self.about: dict[str, Any] = {}  # what the registry knows of the composition, for the record
        self.place = ""  # where the data are on this machine: checkpoints keep it, and what is shared does not
        self.conditional = nets.model.classes + nets.model.conditions > 0
        self._cuda = [self.device] if self.device.type == "cuda" else []
        self.step, self.stopping, self.seconds = 0, False, 0.0
        self.attempt = 0  # how often the run went back to a checkpoint
        self.save_wanted = self.save_due = False  # process 0 wants a checkpoint; all are agreed to save one now
        self.history: list[dict[str, float]] = []
        self.converged = False  # the held-out loss got no better for `TrainOptions.patience`
        self.best: dict[str, Tensor] | None = None  # tensors of the best model, where that is watched
        self.autocast: Callable[[], Any] = nullcontext
        if hardware.precision == "bfloat16":
            self.autocast = lambda: networks_in_bfloat16(self.device.type)
        self._weights = class_weights(options.class_weights, data.y, data.spec.classes, self.device)
        players, n, batch = objective.players(), len(data), options.batch_size
        self.turns = players[0].turns  # batches drawn in a step: the first player's; later ones reuse the last
        self.steps = options.steps or math.ceil(options.epochs * n / (batch * self.turns))
        self.private = private_run(self, n)
        order: Callable[[torch.device], Order] = partial(
            order_of, options.sampling, data, batch, stream_seed(seed, SHUFFLE), self.conditional
        )
        if self.private:
            batch, order = self.private.most, partial(PoissonOrder, n, self.private)
        share = self.runtime.share(batch)  # of every global batch, what this process computes
        own = share.stop - share.start
        self.feed = Feed(
            data, self.device, batch, seed=seed, part=share, labels=self.conditional or self._weights is not None,
            order=order, memory=hardware.memory, workers=hardware.data_workers,
        )  # fmt: skip
        self.data = self.feed.data
        if own % options.accumulate:
            each = f"{own} on each of {self.runtime.size} processes" if self.runtime.size > 1 else str(own)
            raise UsageError(f"train.batch_size ({each}) must be a multiple of train.accumulate ({options.accumulate})")

        self._draws = Draws(batch, self.device, start=share.start, count=own, steps=self.steps, population=n)
        part = own // options.accumulate
        self._parts = [slice(i, i + part) for i in range(0, own, part)]
        nets.train()
        if self.runtime.size > 1:
            sync_batch_norm(nets)
        self._changing_average = isinstance(options.average, tuple)
        ramp = {"ramp": math.inf} if self._changing_average else {}
        self.average = Average(nets.model, self._half_life(), **ramp) if options.average else None
        self._whole: Model | None = None  # where the model is split: a copy that is not
        if hardware.shard:
            self._whole = sharding.unsharded(nets.model, self.device if self.runtime.first else torch.device("cpu"))
            sharding.shard(nets.model, self.runtime)
            if self.average:
                sharding.shard(self.average.model, self.runtime)
                self.average.follow(nets.model)
        self._dropout = any(getattr(m, "p", 0) and isinstance(m, nn.modules.dropout._DropoutNd) for m in nets.modules())
        self.player_states = [PlayerState.of(p, objective, nets, options, compiled=hardware.compile) for p in players]
        if self.private:
            make_private(self)
        self._wrapped, self._flags, self._agreed = False, FlagExchange(self.runtime), False
        self.terms = Terms([p.name for p in players], self.runtime)
        self._prepared: dict[str, Tensor] | None = None
        self._since = time.perf_counter()
        refuse_single(self, self._parts[0])

    @property
    def model(self) -> Model:
        """What is kept: the moving average where there is one; of a split model a copy of when `gather` was called."""
        return self._whole if self._whole is not None else self.kept

    @property
    def kept(self) -> Model:
        """The model that is kept, as this process has it: split where it is split."""
        return self.average.model if self.average else self.nets.model

    def gather(self) -> None:
        """Bring the copy of a model that is split up to date; all processes must call this together."""
        if self._whole is not None:
            sharding.fill(self._whole, self.kept)

    @property
    def sharded(self) -> bool:
        """Whether the generator is split over processes."""
        return self._whole is not None

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train: the last step was made, or the held-out loss got no better."""
        return self.step >= self.steps or self.converged

    @property
    def seen(self) -> int:
        """Observations drawn so far."""
        return self.step * self.turns * self.options.batch_size

    def train(self) -> None:
        """Train until the last step, or until `stopping` is set; may be called again to go on.

        Raises `TrainingDiverged` if a loss is not finite, naming step, player and term.
        """
        self._watching = self.objective.watching
        self._since = time.perf_counter()
        with (
            torch.random.fork_rng(devices=self._cuda),
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=torch.backends.cudnn.allow_tf32
            ),
        ):  # a resumed run must repeat what the run that never stopped did
            if self.runtime.size > 1:
                self._agreed = bool(self.runtime.max(torch.tensor([float(self.stopping)])).item())
                if not (self._wrapped or self._agreed):
                    self._wrapped = True
                    distribute(self)
            for observer in self.observers:
                observer.start(self)
            while not self.done and not (self.stopping if self.runtime.size == 1 else self._agreed):
                self._one_step()
                self.step += 1
                if self.average:
                    if self._changing_average:
                        self.average.half_life = self._half_life()
                    self.average.update(self.seen, self.turns * self.options.batch_size)
                if self.step % self.options.log_every == 0 or self.step == self.steps:
                    self.flush()
                self._agreed, self.save_due = self._flags.exchange(self.stopping, self.save_wanted)
                self.save_wanted = False
                for observer in self.observers:
                    observer.step(self)
        self._flags.close(2)
        if self.converged:
            self.flush()
        self.terms.read()
        self.gather()
        for observer in self.observers:
            observer.end(self)

    def _one_step(self) -> None:
        batch: tuple[Tensor, Tensor | None] | None = None
        stream = 0
        for number, playing in enumerate(self.player_states):
            if len(self.player_states) > 1:
                self.focus(playing)
            playing.rates.apply(playing.optimizer, self.options, self.step, self.steps)
            for turn in range(playing.player.turns):
                if number == 0 or batch is None:
                    batch = self.feed.at(self.step * self.turns + turn)
                noise = self.draw(playing.player.name, stream)
                if self._dropout:  # it draws from the global generator, and each process for itself
                    rank = (self.runtime.rank,) if self.runtime.rank else ()
                    torch.manual_seed(stream_seed(self._noise_seed, self.step, _NOISE + 8 * stream, *rank))
                self._play(playing, *batch, noise)
                stream += 1

    def draw(self, player: str, stream: int) -> dict[str, Tensor]:
        """The noise of a turn at this step, the ``stream``-th of it."""
        draws = self._draws.at(self._noise_seed, self.step, _NOISE + 8 * stream)
        draws.course = course(self.options, self.step, self.steps)
        return self.objective.draw(player, draws, self.nets.model)

    @property
    def _noise_seed(self) -> int:
        return stream_seed(self.seed, _ATTEMPT, self.attempt) if self.attempt else self.seed

    def _half_life(self) -> float:
        return scheduled(self.options.average, course(self.options, self.step, self.steps))

    def _play(self, playing: PlayerState, x: Tensor, y: Tensor | None, noise: dict[str, Tensor]) -> None:
        n, limit = len(self._parts), self.options.skip_above
        skips = self.on_nan == "skip" or limit > 0
        losses, found = [], []
        before = [b.clone() for b in self.nets.buffers()] if skips else []
        weight = None if self._weights is None or y is None else self._weights.index_select(0, labels_of(y))
        y = y if self.conditional else None
        for number, part in enumerate(self._parts):
            turn = x, y, noise, weight
            if n > 1:
                noise_part = {k: v[part] if v.dim() else v for k, v in noise.items()}
                y_part, w_part = (None if v is None else v[part] for v in (y, weight))
                turn = x[part], y_part, noise_part, w_part
            with playing.no_sync() if number < n - 1 else nullcontext():
                with self.autocast(), playing_together(self.runtime.size > 1):
                    total, loss = playing.turn(*turn)
                refuse_coupled(loss, n, self.runtime.size)
                if n > 1:
                    total = total / n
                total.backward()
            terms = {name: value.detach() for name, value in (*loss.terms.items(), *loss.shown.items())}
            terms["loss"] = total.detach() * n if n > 1 else total.detach()
            losses.append(terms["loss"])
            found.append({k: terms[k].mean() / n for k in self._watching if k in terms} | dict(loss.sums))
            self.terms.add(self.step, playing.player.name, terms)
        logged = (self.step + 1) % self.options.log_every == 0 or self.step + 1 == self.steps
        most = 0.0 if self.private else self.options.clip  # there it is of each observation, before the noise
        norm = clip_gradients(playing.parameters, most) if most or skips or logged else None
        if skips and norm is not None and not self._may_move(norm, losses, limit):
            restore_buffers(self.nets, before)
            self._skip(playing, self.terms.take_back(n))
            return
        playing.skipped = 0
        if logged and norm is not None and GRAD not in terms:  # its size before clipping, of the steps that are logged
            self.terms.add(self.step, playing.player.name, {GRAD: norm.detach()})
        playing.move()
        self.objective.follow(playing.player.name, self.nets, seen_in(found, set(loss.sums), self.runtime.size))

    def _may_move(self, norm: Tensor, losses: list[Tensor], limit: float) -> bool:
        """Whether a gradient is below a limit, and it and the losses are finite, everywhere; waits for the device."""
        bad = ~torch.isfinite(torch.stack([n.float() for n in (norm, *losses)])).all()
        if limit:
            bad = bad | (norm > limit)
        return not self.runtime.max(bad[None].float()).item()

    def _skip(self, playing: PlayerState, bad: list[str]) -> None:
        """Leave a turn's update out: nothing has moved but the count."""
        playing.optimizer.zero_grad(set_to_none=True)
        playing.skipped += 1
        self.terms.skipped += 1
        if playing.skipped > SKIPS:
            limit = self.options.skip_above
            what = "not finite" + (f" or above train.skip_above={limit:g}" if limit and not bad else "")
            raise TrainingDiverged(
                f"training broke down at step {self.step + 1}: {bad[0] if bad else 'the gradient'} of player "
                f"{playing.player.name!r} was {what} in {playing.skipped} turns in a row, all of them skipped; {ADVICE}"
            )

    def focus(self, playing: PlayerState) -> None:
        """Let only this player's parameters record gradients, so that no others are computed."""
        for other in self.player_states:
            if other is not playing:
                for p in other.parameters:
                    p.requires_grad_(False)
        for p in playing.parameters:
            p.requires_grad_(True)

    def flush(self) -> None:
        """Read the terms that have gathered on the device, check that they are finite, and tell observers."""
        means = self.terms.means()
        if means:
            self._clock()
            self.note(means)

    def _clock(self) -> None:
        now = time.perf_counter()
        self.seconds, self._since = self.seconds + now - self._since, now

    def note(self, values: Mapping[str, float]) -> None:
        """Add a record to the history and tell observers."""
        record = {"step": self.step, "seconds": round(self.seconds, 3), **values}
        self.history.append(record)
        for observer in self.observers:
            observer.log(self, record)

    def validate(self) -> float | None:
        """Mean held-out loss per observation of the kept model, or None if there is none."""
        return held_out_loss(self)

    def keep_best(self) -> None:
        """Put the best model of `TrainOptions.patience` in place of the kept one: training is over."""
        if self.best is not None:
            self.model.load_state_dict(self.best)

    # Checkpoints: everything that the next step depends on.

    def prepare_state(self) -> None:
        """Get ready for `state`, all processes together; `TrainingDiverged` if a loss or a parameter is not finite."""
        self.terms.read()
        state.check(self)
        self.gather()
        self._clock()
        if self.sharded:
            self._prepared = state.tensors_of(self)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on, as tensors and plain data; the kept model is saved beside it."""
        if self._prepared is None:
            self.prepare_state()
        tensors, self._prepared = self._prepared or state.tensors_of(self), None
        return tensors, state.numbers_of(self)

    def load_state(self, kept: Mapping[str, Tensor], tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, with the kept model's tensors."""
        state.restore(self, kept, tensors, plain)

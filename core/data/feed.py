"""How batches reach the device: from data that stay on it, or through workers that read ahead."""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genzoo.core.data.observations import Data
from genzoo.core.data.rows import pick, row_bytes
from genzoo.core.distributed.env import cores
from genzoo.core.errors import GenzooError
from genzoo.core.noise import Draws, Order, stream_seed
from genzoo.core.units import free_bytes, size_text

SHUFFLE, BINARIZE = 2, 3  # streams of randomness
_AHEAD = 2  # pieces that each worker reads ahead
_PIECE_BYTES, _PIECE_BATCHES = 2**20, 16  # small batches travel together: each journey between processes costs

Stored = tuple[Tensor, Tensor | None]
_NOTHING: Stored = torch.empty(0), None


class Feed:
    """Batches of a run by their number, in an order that is a function of (seed, epoch) alone.

    Data that fit stay in the memory of the compute device in storage form, and a batch is indexed there. Others
    are read in storage form by workers that run ahead, shipped (from pinned memory, without waiting, to CUDA) and
    brought to model space on the device. Either way the batches are the same, bit for bit, and any number can
    come next. To be closed, or used in a ``with`` statement, which also says in a sentence why a worker died.

    ``batch`` counts observations over all processes, of which ``part`` is this one's; ``labels`` is whether batches
    come with labels and conditions; ``order`` is that in which observations are visited, by default each once in an
    epoch. ``memory`` is the bytes that resident data may take on the device, by default half of what is free there, and
    no limit for data that are in its memory already; ``workers`` is how many processes read what is streamed, 0 for
    none, by default as many as this process has cores less one, from 1 to 8.

    Attributes:
        data: the data, on the device if they are resident.
        resident: whether they are.
        how: what was chosen and why, for people and records.
        order: that in which observations are visited.
    """

    def __init__(
        self,
        data: Data,
        device: torch.device | str,
        batch: int,
        *,
        seed: int = 0,
        part: slice | None = None,
        labels: bool = True,
        order: Callable[[torch.device], Order] | None = None,
        memory: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self._seed, self._batch, self._part = seed, batch, part or slice(0, batch)
        self._count, self._labels = self._part.stop - self._part.start, labels
        limit = _limit(data, self.device, memory)
        self.resident = limit is None or data.nbytes <= limit
        size = size_text(data.nbytes)
        if self.resident:
            self.data = data.to(self.device)
            self.how = f"resident on {self.device.type} ({size})"
        else:
            assert limit is not None
            self.data = data
            self._workers = default_workers() if workers is None else workers
            self._batches = _batches_per_piece(self._count * row_bytes(data.rows), limit, self._workers)
            by = f"by {self._workers} worker{'s'[: self._workers > 1]}" if self._workers else "without workers"
            why = f"half of what is free on {self.device.type} is" if memory is None else "--data-memory is"
            self.how = f"streamed {by} ({size}; {why} {size_text(limit)})"
        place = self.data.device if self.resident else torch.device("cpu")
        self.order = order(place) if order else Order(len(data), stream_seed(seed, SHUFFLE), place)
        self._draws = Draws(batch, self.device, start=self._part.start, count=self._count)
        self._reader = _Reader(self.data)
        self._ahead: Iterator[Any] | None = None
        self._piece, self._here = -1, _NOTHING  # number of the piece that is on the device, and the piece

    def at(self, number: int) -> tuple[Tensor, Tensor | None]:
        """Batch ``number`` of the run, this process's part, on the device: ``(B, *spec.shape)`` in model space, and y.

        That is labels int64 ``(B,)``, or `Data.given` of them, or None. Raises `GenzooError` if an observation cannot
        be read, or a worker died.
        """
        if self.resident:
            index = self.order.take(number * self._batch, self._batch)[self._part]
            x, y = self.data.stored(index) if self._labels else (pick(self.data.rows, index), None)
        else:
            x, y = self._streamed(number)
        uniform = None
        if self.data.dynamic:
            uniform = self._draws.at(self._seed, number, BINARIZE).uniform(*self.data.spec.shape)
        return self.data.convert(x, uniform), y if self._labels else None

    def close(self) -> None:
        """End the workers; the next batch starts new ones."""
        ahead, self._ahead, self._piece = self._ahead, None, -1
        self._here = _NOTHING
        end = getattr(ahead, "_shutdown_workers", None)
        if end is None:
            return
        try:
            end()  # now: waiting for the garbage collector could leave them beside a traceback
        except RuntimeError as e:
            if "DataLoader worker" not in str(e):  # one that dies while it is being ended is no loss
                raise

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # torch raises this wherever the main thread happens to be when a worker dies.
        told = isinstance(error, RuntimeError) and _told(error, self._ahead)
        self.close()
        if told:
            raise told from None

    def _streamed(self, number: int) -> Stored:
        piece, within = divmod(number, self._batches)
        if piece != self._piece:
            x, y = self._read(piece)
            if self.device.type != "cpu":
                x = x.to(self.device, non_blocking=True)
                y = None if y is None else y.to(self.device, non_blocking=True)
            self._here, self._piece = (x, y), piece
        (x, y), rows = self._here, slice(within * self._count, (within + 1) * self._count)
        x = x[rows]
        # Floats are converted in place, and the batch may be asked for again.
        return x.clone() if x.is_floating_point() else x, None if y is None else y[rows]

    def _read(self, piece: int) -> Stored:
        if not self._workers:
            found = self._reader[self._index(piece)]
        else:
            try:
                if self._ahead is None or piece != self._piece + 1:
                    self.close()
                    self._ahead = self._start(piece)
                found = next(self._ahead)
            except (RuntimeError, OSError, EOFError) as e:  # the latter two where one dies as it hands something over
                told = _told(e, self._ahead)
                self.close()
                raise told or e from None
        if isinstance(found, GenzooError):
            self.close()
            raise found
        return found[0], found[1]

    def _index(self, piece: int) -> NDArray[np.int64]:
        """Numbers of the observations of a piece: this process's part of some batches."""
        batches = range(piece * self._batches, (piece + 1) * self._batches)
        return torch.cat([self.order.take(i * self._batch, self._batch)[self._part] for i in batches]).numpy()

    def _indices(self, piece: int) -> Iterator[NDArray[np.int64]]:
        while True:
            yield self._index(piece)
            piece += 1

    def _start(self, piece: int) -> Iterator[Any]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create")  # it was asked for
            loader = DataLoader(
                self._reader,
                sampler=self._indices(piece),
                batch_size=None,
                num_workers=self._workers,
                prefetch_factor=_AHEAD,
                pin_memory=self.device.type == "cuda",
                collate_fn=_as_it_is,
                worker_init_fn=_begin,
                generator=torch.Generator(),  # so that nothing is drawn from the global one
                # What cannot be pickled can be read, and what is in memory is shared, not copied.
                multiprocessing_context="fork" if sys.platform == "linux" else None,
            )
            return iter(loader)


def default_workers() -> int:
    """Workers that stream if nothing is said: a core is left for training."""
    return min(max(cores() // _local_processes() - 1, 1), 8)


def _local_processes() -> int:
    """How many processes of this job share the machine, as torchrun says it."""
    text = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(int(text), 1) if text.isdecimal() else 1


def _limit(data: Data, device: torch.device, memory: int | None) -> int | None:
    """Bytes that resident data may take; None is no limit."""
    if memory is not None:
        return memory
    if data.in_memory and data.device.type == device.type:
        return None
    share = _local_processes() if device.type == "cpu" else 1
    return free_bytes(device) // (2 * share)


def _batches_per_piece(batch_bytes: int, limit: int, workers: int) -> int:
    """How many batches travel together: few where they are large, or where little memory may be used."""
    most = min(_PIECE_BYTES, limit // (4 * _AHEAD * max(workers, 1)))
    return min(max(most // max(batch_bytes, 1), 1), _PIECE_BATCHES)


class _Reader(Dataset[Any]):
    """What a worker does: read a piece in storage form, or say why not: what is raised would bring its traceback."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __getitem__(self, index: NDArray[np.int64]) -> Stored | GenzooError:
        try:
            return self.data.stored(torch.from_numpy(index))
        except GenzooError as e:
            return type(e)(str(e))
        except Exception as e:
            reason = str(e).partition("\n")[0]
            return GenzooError(f"the data cannot be read: {type(e).__name__}{f': {reason}' if reason else ''}")


def _as_it_is(piece: Any) -> Any:
    return piece


def _begin(_: int) -> None:
    """Let a worker live until the run ends it, whatever signal its whole process group gets."""
    gc.freeze()  # collecting would touch, and so copy, every object that came with the fork
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def later(number: int, frame: FrameType | None) -> None:
        signal.alarm(10)  # the run may still be saving; but what will not end when it is told to, ends here

    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGTERM, later)


def _told(error: Exception, ahead: object) -> GenzooError | None:
    """Say why a worker died, if that is what torch means by an error."""
    text, workers = str(error), getattr(ahead, "_workers", ())
    if isinstance(error, RuntimeError) and "DataLoader worker" not in text:
        return None
    for worker in workers:  # the system may need a moment to say how it ended, and torch says it once more
        with suppress(RuntimeError):
            worker.join(0 if any(w.exitcode for w in workers) else 1)
    by = next((signal.Signals(-w.exitcode).name for w in workers if w.exitcode and w.exitcode < 0), "")
    if not by and "killed by signal: Killed" in text:  # before all of them had started
        by = "SIGKILL"
    how = f"was ended by {by}" if by else "ended unexpectedly"
    hint = "perhaps for want of memory, or of shared memory (/dev/shm): take fewer with --data-workers, or 0"
    return GenzooError(f"a process that reads the data {how}; {hint}")

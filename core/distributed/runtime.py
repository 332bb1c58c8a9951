"""The processes that train or sample together: who this one is, and the little that they must agree on.

`init_runtime` makes it. A `Runtime` of size 1 does nothing and costs nothing: callers need not ask if they are alone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from genzoo.core.distributed.watchdog import Watch
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.text import error_line

Batches = Iterator[tuple[Tensor, Tensor | None]]


class PeerLost(GenzooError):
    """Another process of the job is gone: this one did nothing wrong."""

    because: int = -1  # the other's number, where it is known


@dataclass
class Runtime:
    """This process among those of its job."""

    rank: int = 0  # number 0 is the one that writes, logs and shows
    size: int = 1
    local_rank: int = 0  # its number on its machine
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    host: Any = None  # a gloo group for agreements, which stay off the device and may wait long
    store: Any = None
    watch: Watch | None = None
    in_step: bool = True  # whether all that was begun together was ended together

    @property
    def first(self) -> bool:
        """Whether this process writes, logs and shows."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's part of a global batch; UsageError if the processes cannot share it equally."""
        if batch % self.size:
            raise UsageError(
                f"a batch of {batch} cannot be shared equally by {self.size} processes: "
                f"take a multiple, such as --batch-size {-(-batch // self.size) * self.size}"
            )
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def own(self, n: int) -> range:
        """Which of ``n`` pieces of work (batches of an evaluation, say) this process does: every size-th."""
        return range(self.rank, n, self.size)

    def total(self, values: Tensor) -> Tensor:
        """Sum over processes, on the CPU in float64."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over processes, on the CPU in float64."""
        return self.total(values) / self.size

    def max(self, values: Tensor) -> Tensor:
        """Largest over processes, on the CPU in float64: what any of them raised as a flag."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def _reduced(self, values: Tensor, how: Any) -> Tensor:
        values = values.detach().to("cpu", torch.float64, copy=True)
        if self.size > 1:
            dist.all_reduce(values, how, group=self.host)
        return values

    def barrier(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1), group=self.host)

    def broadcast(self, content: Any = None) -> Any:
        """Plain data of process 0, for all."""
        if self.size == 1:
            return content
        text = bytearray(json.dumps(content).encode())
        found = self._spread(torch.frombuffer(text, dtype=torch.uint8), 0)
        assert found is not None
        return json.loads(bytes(found.numpy()))

    def on_rank_zero(self, work: Callable[[], Any]) -> Any:
        """What process 0 gets from ``work`` (plain data), for all, however long it takes; what it raises, all raise."""
        if self.size == 1:
            return work()
        answer: dict[str, Any] = {}
        if self.first:
            try:
                answer = {"value": work()}
            except GenzooError as e:
                answer = {"error": str(e), "usage": isinstance(e, UsageError)}
        answer = self.broadcast(answer)
        if "error" in answer:
            error = (UsageError if answer["usage"] else GenzooError)(answer["error"])
            error.told = not self.first
            raise error
        return answer["value"]

    def require_equal(self, what: str, value: str) -> None:
        """Check that all processes have the same ``value``; UsageError, naming ``what`` differs."""
        if self.size > 1 and self.max(torch.tensor([float(self.broadcast(value) != value)])).item():
            raise UsageError(f"the processes differ in {what}: start all of them alike")

    def in_order(self, own: Batches, n: int) -> Batches:
        """All ``n`` batches that processes made in turns (`own`), in order, on process 0; nothing elsewhere."""
        for batch in self.to_all(own, n):
            if self.first:
                yield batch

    def to_all(self, own: Batches, n: int) -> Batches:
        """All ``n`` batches (a tensor and perhaps another) that processes made in turns (`own`), in order."""
        for begin in range(0, n, self.size):
            mine = next(own, (None, None))  # made by all at once, before they wait for each other
            for owner in range(min(self.size, n - begin)):
                x, y = mine if self.size == 1 else [self._spread(tensor, owner) for tensor in mine]
                assert x is not None
                yield x, y

    def _spread(self, tensor: Tensor | None, owner: int) -> Tensor | None:
        """What one process has, perhaps nothing, for all; its kind and shape go before it."""
        head = torch.full((10,), -1)
        if tensor is not None:
            tensor = tensor.detach().cpu().contiguous()
            head[: 1 + tensor.dim()] = torch.tensor([_KINDS.index(tensor.dtype), *tensor.shape])
        dist.broadcast(head, owner, group=self.host)
        kind, *shape = head.tolist()
        if kind < 0:
            return None
        if owner != self.rank or tensor is None:
            tensor = torch.empty([v for v in shape if v >= 0], dtype=_KINDS[kind])
        dist.broadcast(tensor, owner, group=self.host)
        return tensor

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """Let a failure here end the others soon, with its reason; and theirs this one, with theirs."""
        if self.size == 1:
            yield
            return
        before, self.in_step = self.in_step, False
        if self.watch is not None:
            self.watch.waiting += 1
        try:
            yield
            self.in_step = before
        except BaseException as e:
            if _is_loss(e):
                raise self._lost() from None
            if not isinstance(e, PeerLost):
                with suppress(RuntimeError):
                    self.store.set(f"genzoo/failed/{self.rank}", error_line(e))
            raise
        finally:
            if self.watch is not None:
                self.watch.waiting -= 1

    def _lost(self) -> PeerLost:
        """Find out who is gone, and why if it left word."""
        gone: int | None = None
        why, until = "", time.monotonic() + 1.5
        try:
            while gone is None and time.monotonic() < until:
                time.sleep(0.05)
                gone = self.watch.gone if self.watch is not None else None  # whose last word came before
                for r in range(self.size):
                    if r != self.rank and not why and self.store.check([f"genzoo/failed/{r}"]):
                        gone, why = r, ": " + self.store.get(f"genzoo/failed/{r}").decode()
        except RuntimeError:  # the store was process 0's
            gone = 0
        who = "a process" if gone is None else f"process {gone}"
        lost = PeerLost(f"{who} of {self.size} is gone{why or ', perhaps killed, so this one stops'}")
        lost.because = -1 if gone is None else gone
        return lost


_KINDS = (torch.uint8, torch.int64, torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int32)
_LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket (timeout|error)|timed out", re.I)


def _is_loss(error: BaseException) -> bool:
    """Whether an error says that communication broke down."""
    if isinstance(error, GenzooError):
        return False
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and bool(_LOST.search(str(error))))


class FlagExchange:
    """Flags that any process may raise and all follow after the same step, within a moment.

    The exchange runs beside the next steps, so that nobody waits for it, and only so often that it costs nothing:
    its pace, in steps, is agreed on with the flags. Alone, flags hold at once.
    """

    def __init__(self, runtime: Runtime, seconds: float = 0.05) -> None:
        self._runtime, self._seconds = runtime, seconds
        self._vote: tuple[Any, Tensor] | None = None
        self._raised: list[bool] = []
        self._pace = self._left = 1
        self._since = time.monotonic()

    def exchange(self, *flags: bool) -> tuple[bool, ...]:
        """Give this step's flags and get those that all agreed on, each of them once."""
        if self._runtime.size == 1:
            return flags
        self._raised = [a or b for a, b in zip(flags, self._raised or flags, strict=True)]
        self._left -= 1
        if self._left > 0:
            return (False,) * len(flags)
        now = time.monotonic()
        pace = round(self._pace * self._seconds / max(now - self._since, 1e-6))
        agreed, self._since = self.close(len(flags)), now
        values = torch.tensor([*self._raised, min(max(pace, 1), 1000)], dtype=torch.int32)
        work = dist.all_reduce(values, dist.ReduceOp.MAX, group=self._runtime.host, async_op=True)
        self._vote, self._raised, self._left = (work, values), [], self._pace
        return agreed

    def close(self, n: int) -> tuple[bool, ...]:
        """Wait for the exchange that is under way, and give its result."""
        if self._vote is None:
            return (False,) * n
        work, values = self._vote
        work.wait()
        self._vote, (*flags, self._pace) = None, values.tolist()
        return tuple(map(bool, flags))

"""The processes that train or sample together: who this one is, and the little that they must agree on.

`join` reads the environment that torchrun, SLURM's srun or `genzoo.launch` set. A `Runtime` of size 1 does
nothing and costs nothing, so callers need not ask whether they are alone.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.training import launched
from genzoo.core.training.watch import Watch

_store: Any = dist  # its stores are documented, and not declared

_WAIT = 180.0  # seconds until all processes must have come; importing torch from a busy disk takes a while


class PeerLost(GenzooError):
    """Another process of the job is gone: this one did nothing wrong."""

    because: int = -1  # the other's number, where it is known


@dataclass
class Runtime:
    """This process among those of its job.

    Attributes:
        rank: its number, from 0; number 0 is the one that writes, logs and shows.
        size: how many there are.
        local_rank: its number on its machine.
        device: where it computes.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    host: Any = None  # a gloo group for agreements, which stay off the device
    store: Any = None
    watch: Watch | None = None
    in_step: bool = True  # whether all that was begun together was ended together
    turns: int = 0  # how often the others waited for process 0, however long it took

    @property
    def first(self) -> bool:
        """Whether this process writes, logs and shows."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's part of a global batch.

        Raises:
            UsageError: if the processes cannot share it equally.
        """
        if batch % self.size:
            raise UsageError(
                f"a batch of {batch} cannot be shared equally by {self.size} processes: "
                f"set train.batch_size to a multiple of {self.size}"
            )
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def mine(self, n: int) -> range:
        """Which of ``n`` pieces of work (batches of an evaluation, say) this process does: every size-th."""
        return range(self.rank, n, self.size)

    def total(self, values: Tensor) -> Tensor:
        """Sum over processes, on the CPU in float64."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over processes, on the CPU in float64."""
        return self.total(values) / self.size

    def most(self, values: Tensor) -> Tensor:
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

    def tell(self, content: Any = None) -> Any:
        """Plain data of process 0, for all."""
        if self.size == 1:
            return content
        text = json.dumps(content).encode() if self.first else b""
        length = torch.tensor([len(text)])
        dist.broadcast(length, 0, group=self.host)
        buffer = torch.zeros(int(length), dtype=torch.uint8)
        if self.first:
            buffer.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(buffer, 0, group=self.host)
        return json.loads(bytes(buffer.numpy()))

    def on_first(self, work: Callable[[], Any], *, long: bool = False) -> Any:
        """What process 0 gets from ``work`` (plain data), for all; what it raises on purpose, all raise.

        Work that may be long is waited for beyond the time in which processes must answer each other.
        """
        if self.size == 1:
            return work()
        answer: dict[str, Any] = {}
        if self.first:
            try:
                answer = {"value": work()}
            except GenzooError as e:
                answer = {"error": str(e), "usage": isinstance(e, UsageError)}
        if long:
            self.turns += 1
            name = f"genzoo/turn/{self.turns}"
            if self.first:
                self.store.set(name, "1")
            while not self.store.check([name]):
                time.sleep(0.05)
        answer = self.tell(answer)
        if "error" in answer:
            error = (UsageError if answer["usage"] else GenzooError)(answer["error"])
            error.told = not self.first
            raise error
        return answer["value"]

    def same(self, what: str, value: str) -> None:
        """Check that all processes have the same ``value``.

        Raises:
            UsageError: naming what differs.
        """
        if self.size > 1 and self.most(torch.tensor([float(self.tell(value) != value)])).item():
            raise UsageError(f"the processes differ in {what}: start all of them alike")

    def in_order(self, own: Iterator[tuple[Tensor, Tensor | None]], n: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Collect ``n`` batches that processes made in turns (`mine`), in order, on process 0.

        Args:
            own: this process's batches, a tensor and perhaps another.
            n: batches of all processes together.

        Yields:
            All of them on process 0, one at a time; nothing elsewhere.
        """
        for i in range(n):
            owner = i % self.size
            if owner == self.rank:
                batch = next(own)
                if self.first:
                    yield batch
                else:
                    for tensor in batch:
                        self._send(tensor)
            elif self.first:
                x, y = self._receive(owner), self._receive(owner)
                assert x is not None
                yield x, y

    def to_all(self, own: Iterator[tuple[Tensor, Tensor | None]], n: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """As `in_order`, but every process gets all batches."""
        for i in range(n):
            owner = i % self.size
            batch = next(own) if owner == self.rank else (None, None)
            x, y = batch if self.size == 1 else (self._spread(tensor, owner) for tensor in batch)
            assert x is not None
            yield x, y

    def _spread(self, tensor: Tensor | None, owner: int) -> Tensor | None:
        """Broadcast what one process has, perhaps nothing."""
        head = torch.empty(10, dtype=torch.int64)
        if owner == self.rank:
            tensor, head = _packed(tensor)
        dist.broadcast(head, owner, group=self.host)
        if owner != self.rank:
            tensor = _room(head)
        if tensor is not None:
            dist.broadcast(tensor, owner, group=self.host)
        return tensor

    def _send(self, tensor: Tensor | None) -> None:
        tensor, head = _packed(tensor)
        dist.send(head, 0, group=self.host)
        if tensor is not None:
            dist.send(tensor, 0, group=self.host)

    def _receive(self, source: int) -> Tensor | None:
        head = torch.empty(10, dtype=torch.int64)
        dist.recv(head, source, group=self.host)
        tensor = _room(head)
        if tensor is not None:
            dist.recv(tensor, source, group=self.host)
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
            if not _is_loss(e):
                if not isinstance(e, PeerLost):
                    self._leave_word(e)
                raise
            raise self._lost() from None
        finally:
            if self.watch is not None:
                self.watch.waiting -= 1

    def _leave_word(self, error: BaseException) -> None:
        told = isinstance(error, GenzooError) or not str(error)
        sentence = str(error) or type(error).__name__
        with suppress(RuntimeError):
            self.store.set(f"genzoo/failed/{self.rank}", sentence if told else f"{type(error).__name__}: {sentence}")

    def _lost(self) -> PeerLost:
        """Find out who is gone, and why if it left word."""
        gone, why = [r for r in range(self.size) if r != self.rank], ""
        try:
            self.store.set(f"genzoo/alive/{self.rank}", "1")
            until = time.monotonic() + 1.5
            while gone and time.monotonic() < until and not why:
                for r in list(gone):
                    if self.store.check([f"genzoo/failed/{r}"]):
                        gone, why = [r], ": " + self.store.get(f"genzoo/failed/{r}").decode()
                        break
                    if self.store.check([f"genzoo/alive/{r}"]):
                        gone.remove(r)
                if self.watch is not None and self.watch.gone is not None and not why:
                    gone = [self.watch.gone]
                time.sleep(0.05)
        except RuntimeError:  # the store was process 0's
            gone = [0]
        who = "process " + ", ".join(map(str, gone)) if gone else "a process"
        end = "" if why else ", perhaps killed"
        lost = PeerLost(f"{who} of {self.size} is gone{end}{why or ', so this one stops'}")
        lost.because = gone[0] if len(gone) == 1 else -1
        return lost


_KINDS = (torch.uint8, torch.int64, torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int32)
_LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket (timeout|error)|timed out", re.I)


def _packed(tensor: Tensor | None) -> tuple[Tensor | None, Tensor]:
    """A tensor as it is sent, and what is sent before it: its kind and shape."""
    head = torch.full((10,), -1)
    if tensor is not None:
        tensor = tensor.detach().cpu().contiguous()
        head[: 1 + tensor.dim()] = torch.tensor([_KINDS.index(tensor.dtype), *tensor.shape])
    return tensor, head


def _room(head: Tensor) -> Tensor | None:
    """A tensor to receive what a head announces."""
    kind, *shape = head.tolist()
    return None if kind < 0 else torch.empty([v for v in shape if v >= 0], dtype=_KINDS[kind])


def _is_loss(error: BaseException) -> bool:
    """Whether an error says that communication broke down."""
    if isinstance(error, GenzooError):
        return False
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and bool(_LOST.search(str(error))))


class Ballot:
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

    def agree(self, *flags: bool) -> tuple[bool, ...]:
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


_joined: Runtime | None = None


def join(device: torch.device | None = None) -> Runtime:
    """Join the processes that the environment names; the first call of a process does it, later ones get the same.

    torchrun sets RANK, WORLD_SIZE, LOCAL_RANK and MASTER_*; srun sets SLURM_PROCID, SLURM_NTASKS and
    SLURM_LOCALID, from which MASTER_* follow where they are absent. A process group that a script has
    initialized itself is used as it is.

    Args:
        device: where to compute: the CPU, or CUDA, of which each process of a machine takes its own device.
            None if nothing is computed.

    Raises:
        UsageError: if the environment makes no sense, or there are too few devices.
        GenzooError: if the others do not come.
    """
    global _joined
    device = device or torch.device("cpu")
    if _joined is not None:
        if device.type == "cuda" and _joined.size > 1:
            device = _own_device(device, _joined.local_rank)
        _joined.device = device
        return _joined
    theirs = dist.is_available() and dist.is_initialized()
    size = dist.get_world_size() if theirs else launched.world()
    if size == 1:
        launched.follow_parent()
        return Runtime(device=device)
    rank = dist.get_rank() if theirs else launched.rank()
    if not 0 <= rank < size:
        raise UsageError(
            f"the environment says that this is process {rank} of {size}: start them alike, e.g. by torchrun"
        )
    local = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    runtime = Runtime(rank, size, local, _own_device(device, local))
    launched.follow_parent()
    if theirs:
        runtime.store = _store.PrefixStore("genzoo", dist.distributed_c10d._get_default_store())
    else:
        runtime.store = _meet(runtime)
        launched.joined = True
        atexit.register(part)
    backend = "gloo" if dist.get_backend() != "gloo" else None
    runtime.watch = Watch(rank, size, runtime.store)
    runtime.host = dist.new_group(backend=backend) if backend else dist.group.WORLD
    if runtime.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(len(_cores()) // _on_this_machine(size), 1))
    _joined = runtime
    return runtime


def _meet(runtime: Runtime) -> Any:
    """Find the other processes and make the default group."""
    file = os.environ.get(launched.STORE)
    backend = "gloo"
    if runtime.device.type == "cuda":
        backend = "nccl"
        torch.cuda.set_device(runtime.device)
    wait = timedelta(seconds=float(os.environ.get("GENZOO_WAIT") or _WAIT))
    try:
        if file:
            store: Any = _store.FileStore(file, runtime.size)
        else:
            _say_where(runtime)
            store, _, _ = next(_store.rendezvous("env://", runtime.rank, runtime.size, timeout=wait))
        store.set_timeout(wait)
        _await_all(store, runtime, wait)
        dist.init_process_group(backend, store=store, rank=runtime.rank, world_size=runtime.size)
    except (RuntimeError, ValueError) as e:  # torch's own errors are RuntimeErrors
        where = "" if file else f" at {os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        how = ": if only one was meant, unset SLURM_PROCID" if "SLURM_PROCID" in os.environ else ""
        detail = str(e).partition("\n")[0]
        raise GenzooError(
            f"process {runtime.rank} of {runtime.size} found no others{where} within {wait.seconds} s{how} ({detail})"
        ) from None
    return _store.PrefixStore("genzoo", store)


def _await_all(store: Any, runtime: Runtime, wait: timedelta) -> None:
    """Wait in small steps until all have come, so that a signal or a lost parent ends it."""
    store.set(f"genzoo/here/{runtime.rank}", "1")
    until = time.monotonic() + wait.total_seconds()
    names = [f"genzoo/here/{r}" for r in range(runtime.size)]
    while not store.check(names):
        if time.monotonic() > until:
            missing = [str(r) for r, name in enumerate(names) if not store.check([name])]
            raise RuntimeError(f"missing: {', '.join(missing)}")
        time.sleep(0.02)


def _say_where(runtime: Runtime) -> None:
    """Fill in MASTER_ADDR and MASTER_PORT from SLURM's variables, where they are absent."""
    env = os.environ
    if "MASTER_ADDR" not in env:
        nodes = env.get("SLURM_STEP_NUM_NODES") or env.get("SLURM_JOB_NUM_NODES") or env.get("SLURM_NNODES") or "1"
        names = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST") or env.get("SLURM_NODELIST") or ""
        launcher = env.get("SLURM_LAUNCH_NODE_IPADDR", "")  # where srun runs, which need not be where process 0 does
        env["MASTER_ADDR"] = "127.0.0.1" if nodes == "1" else first_host(names) or launcher or "127.0.0.1"
    if "MASTER_PORT" not in env:
        job = re.sub(r"\D", "", env.get("SLURM_JOB_ID") or env.get("SLURM_JOBID") or "")
        step = re.sub(r"\D", "", env.get("SLURM_STEP_ID", ""))
        env["MASTER_PORT"] = str(20_000 + (int(job or 0) * 7 + int(step or 0)) % 12_000) if job else "29500"


def first_host(nodes: str) -> str:
    """The first host of a list as SLURM writes it.

    >>> first_host("gpu[03-05,07],login")
    'gpu03'
    """
    match = re.match(r"([^,\[]+)(?:\[([^\]]+)\])?([^,\[]*)", nodes)
    if match is None:
        return ""
    stem, numbers, rest = match.groups()
    return stem + (re.split(r"[,-]", numbers)[0] if numbers else "") + rest


def _own_device(device: torch.device, local: int) -> torch.device:
    if device.type == "mps":
        raise UsageError("several processes cannot share an mps device: use --device cpu")
    if device.type != "cuda":
        return device
    there = torch.cuda.device_count()
    if device.index is not None and device.index != local:
        raise UsageError(f"each process takes a CUDA device of its own: give --device cuda, not {device}")
    if there == 1 and "SLURM_PROCID" in os.environ:  # srun shows each task its own
        local = 0
    if local >= there:
        raise UsageError(
            f"this machine has {there} CUDA device{'s' * (there != 1)}, and process {local} wants one of its own: "
            f"start {there} per machine, or use --device cpu"
        )
    return torch.device("cuda", local)


def _cores() -> Any:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _on_this_machine(size: int) -> int:
    tasks = os.environ.get("SLURM_NTASKS_PER_NODE") or os.environ.get("SLURM_TASKS_PER_NODE", "")
    return int(os.environ.get("LOCAL_WORLD_SIZE") or (re.match(r"\d*", tasks) or [""])[0] or size)


def part() -> None:
    """Leave the others at the end of a process: together, since who goes first may take the ground from under them.

    Who failed just goes, or it would wait for what never comes.
    """
    if _joined is None or not _joined.in_step or hasattr(sys, "last_value") or not dist.is_initialized():
        return
    with suppress(RuntimeError):
        _joined.barrier()
        time.sleep(0.1)  # that is over when the last one has heard of it
        dist.destroy_process_group()

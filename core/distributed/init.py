"""Joining a process group from the environment that torchrun, SLURM's srun or `--devices` set."""

from __future__ import annotations

import atexit
import os
import re
import sys
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from genzoo.core.distributed import env as job_env
from genzoo.core.distributed.runtime import Runtime
from genzoo.core.distributed.watchdog import Watch
from genzoo.core.errors import GenzooError, UsageError

_store: Any = dist  # its stores are documented, and not declared

_WAIT = 180.0  # seconds until all processes must have come; importing torch from a busy disk takes a while

_joined: Runtime | None = None


def init_runtime(device: torch.device | None = None) -> Runtime:
    """Join the processes that the environment names; the first call of a process does it, later ones get the same.

    torchrun sets RANK, WORLD_SIZE, LOCAL_RANK and MASTER_*; srun sets SLURM_PROCID, SLURM_NTASKS and
    SLURM_LOCALID, from which MASTER_* follow where they are absent. A process group that a script has
    initialized itself is used as it is. On CUDA each process of a machine takes a device of its own.

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
    size = dist.get_world_size() if theirs else job_env.world()
    if size == 1:
        job_env.follow_parent()
        return Runtime(device=device)
    rank = dist.get_rank() if theirs else job_env.rank()
    if not 0 <= rank < size:
        raise UsageError(
            f"the environment says that this is process {rank} of {size}: start them alike, e.g. by torchrun"
        )
    local = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    runtime = Runtime(rank, size, local, _own_device(device, local))
    job_env.follow_parent()
    if theirs:
        runtime.store = _store.PrefixStore("genzoo", dist.distributed_c10d._get_default_store())
    else:
        runtime.store = _meet(runtime)
        job_env.joined = True
        atexit.register(leave)
    runtime.watch = Watch(rank, size, runtime.store)
    runtime.host = dist.new_group(backend="gloo", timeout=timedelta(days=7))
    if runtime.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        tasks = os.environ.get("SLURM_NTASKS_PER_NODE") or os.environ.get("SLURM_TASKS_PER_NODE", "")
        here = int(os.environ.get("LOCAL_WORLD_SIZE") or (re.match(r"\d*", tasks) or [""])[0] or size)
        torch.set_num_threads(max(job_env.cores() // here, 1))
    _joined = runtime
    return runtime


def _meet(runtime: Runtime) -> Any:
    """Find the other processes and make the default group."""
    file = os.environ.get(job_env.STORE)
    if runtime.device.type == "cuda":
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
        backend = "nccl" if runtime.device.type == "cuda" else "gloo"
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


def leave() -> None:
    """Leave the others at the end of a process: together, since who goes first may take the ground from under them.

    Who failed just goes, or it would wait for what never comes.
    """
    if _joined is None or not _joined.in_step or hasattr(sys, "last_value") or not dist.is_initialized():
        return
    with suppress(RuntimeError):
        _joined.barrier()
        time.sleep(0.1)  # that is over when the last one has heard of it
        dist.destroy_process_group()

"""Who a process is by its environment, and what it may then be asked; alone, everything is free and the identity."""

from __future__ import annotations

import json
import os

import pytest
import torch
from torch import nn

from genzoo.core.distributed import env as job_env
from genzoo.core.distributed import init
from genzoo.core.distributed.gather import all_gather, playing_together, restore_batch_norm, sync_batch_norm
from genzoo.core.distributed.init import first_host, init_runtime
from genzoo.core.distributed.launch import launch
from genzoo.core.distributed.runtime import FlagExchange, Runtime
from genzoo.core.distributed.sharding import split_like, whole_tensor
from genzoo.core.errors import UsageError
from genzoo.core.objective import Loss
from genzoo.core.training.turns import refuse_coupled


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "GENZOO_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "4"}, (1, 4)),
        ({"RANK": "0", "WORLD_SIZE": "1", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, (0, 1)),  # torchrun in a job
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4"}, (3, 4)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2"}, (1, 2)),  # srun -n 2 in a job of 8
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1)),
        ({"SLURM_NTASKS": "8"}, (0, 1)),  # a job's shell
    ],
)
def test_who_a_process_is(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], expected: tuple[int, int]) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert (job_env.rank(), job_env.world()) == expected


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("a,b", "a"), ("gpu[03-05,07],login", "gpu03"), ("r[1,4]-ib", "r1-ib"), ("c[9-12]", "c9"), ("", "")],
)
def test_the_first_of_a_list_of_nodes(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({"SLURM_JOB_NODELIST": "n[4-5]", "SLURM_JOB_NUM_NODES": "2"}, "n4"),
        ({"SLURM_JOB_NODELIST": "n[4-5]", "SLURM_STEP_NUM_NODES": "1"}, "127.0.0.1"),
        ({"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7", "SLURM_NNODES": "2"}, "10.0.0.7"),
        ({"MASTER_ADDR": "else", "SLURM_JOB_NODELIST": "n[4-5]", "SLURM_NNODES": "2"}, "else"),
    ],
)
def test_where_the_processes_of_a_job_meet(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], address: str) -> None:
    ports = set()
    for job in ("4711", "4712"):
        monkeypatch.delenv("MASTER_PORT", raising=False)
        for name, value in (env | {"SLURM_JOB_ID": job}).items():
            monkeypatch.setenv(name, value)
        init._say_where(Runtime())
        assert os.environ["MASTER_ADDR"] == address
        assert 20_000 <= int(os.environ["MASTER_PORT"]) < 32_000  # below what systems give out by themselves
        ports.add(os.environ["MASTER_PORT"])
        if "MASTER_ADDR" not in env:
            monkeypatch.delenv("MASTER_ADDR")
    assert len(ports) == 2


def test_a_batch_is_shared_equally_or_not_at_all() -> None:
    parts = [Runtime(rank, 4).share(12) for rank in range(4)]
    assert torch.cat([torch.arange(12)[p] for p in parts]).tolist() == list(range(12))
    assert {len(range(12)[p]) for p in parts} == {3}
    with pytest.raises(UsageError, match=r"shared equally by 4 processes: .* batch_size=12"):
        Runtime(0, 4).share(10)
    assert sorted(i for rank in range(3) for i in Runtime(rank, 3).own(8)) == list(range(8))


def test_alone_there_is_nothing_to_agree_on() -> None:
    alone = init_runtime()
    assert (alone.rank, alone.size, alone.first, alone.device.type) == (0, 1, True, "cpu")
    x = torch.tensor([1.0, 2.0])
    assert alone.total(x).tolist() == alone.mean(x).tolist() == alone.max(x).tolist() == [1, 2]
    assert x.tolist() == [1, 2]
    assert alone.broadcast({"a": 1}) == {"a": 1}
    assert alone.on_rank_zero(lambda: 3) == 3
    alone.barrier()
    alone.require_equal("anything", "at all")
    assert FlagExchange(alone).exchange(True, False) == (True, False)  # at once, not a step later
    batches = iter([(x, None), (x + 1, x)])
    assert [b[0].tolist() for b in alone.in_order(batches, 2)] == [[1, 2], [2, 3]]
    assert all_gather(x) is x
    assert whole_tensor(x) is x
    assert split_like(x, torch.zeros(2)) is x
    with pytest.raises(ZeroDivisionError), alone.failing_together():
        _ = 1 / 0


def test_batch_norm_is_torchs_own_outside_of_turns_and_after() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 5), nn.BatchNorm1d(3, affine=False))
    norms, before = (net[1], net[3]), list(net.state_dict())
    sync_batch_norm(net)
    sync_batch_norm(net)
    assert [type(n).__name__ for n in norms] == ["SynchronizedBatchNorm2d", "SynchronizedBatchNorm1d"]
    assert list(net.state_dict()) == before
    x = torch.randn(6, 3, 4, 4)
    other = nn.BatchNorm2d(3)
    assert torch.equal(norms[0](x), other(x))
    with playing_together(True):  # statistics are gathered in training only
        assert torch.equal(norms[0].eval()(x), other.eval()(x))
    restore_batch_norm(net)
    assert [type(n) for n in norms] == [nn.BatchNorm2d, nn.BatchNorm1d]


def test_terms_that_no_one_gathered_are_refused_on_several_processes() -> None:
    coupled = Loss({"nll": torch.zeros(2), "kl": torch.zeros(2)}, coupled={"nll": False, "kl": True})
    refuse_coupled(coupled, parts=1, processes=1)
    with pytest.raises(UsageError, match="the terms nll depend on the whole batch, and this objective"):
        refuse_coupled(coupled, parts=1, processes=2)
    refuse_coupled(Loss(coupled.terms, coupled={"kl": True}), parts=1, processes=2)
    with pytest.raises(UsageError, match=r'"train.accumulate": "1"'):
        refuse_coupled(coupled, parts=2, processes=1)


def test_devices_are_one_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cuda = torch.device("cuda")
    assert init._own_device(cuda, 1) == torch.device("cuda:1")
    with pytest.raises(UsageError, match="has 2 CUDA devices, and process 2 wants one of its own"):
        init._own_device(cuda, 2)
    with pytest.raises(UsageError, match='give device="cuda", not cuda:0'):
        init._own_device(torch.device("cuda:0"), 1)
    with pytest.raises(UsageError, match="cannot share an mps device"):
        init._own_device(torch.device("mps"), 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("SLURM_PROCID", "1")  # srun shows each task its own device only
    assert init._own_device(cuda, 1) == torch.device("cuda:0")


def test_a_processs_last_word(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    assert not job_env.report(1, "nobody listens")
    monkeypatch.setenv(job_env.REPORTS, str(tmp_path))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert job_env.report(1, "the cause")
    assert job_env.report(2, "what followed from it")
    assert json.loads((tmp_path / "1.json").read_text()) == {"code": 1, "sentence": "the cause", "because": None}


def test_no_devices_are_refused() -> None:
    with pytest.raises(UsageError, match="must be at least 1, not 0"):
        launch(["true"], 0)

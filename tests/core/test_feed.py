"""Batches are the same wherever the data are, and workers die politely."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import genzoo
from genzoo.core.data import Data, binarize, from_arrays, from_torch
from genzoo.core.data.feed import Feed, default_workers
from genzoo.core.data.npy import Archive
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.noise import Order, stream_seed

RANDOM = np.random.default_rng(0)
NUMBERS = [0, 1, 2, 3, 3, 500, 501, 7]  # in order, again, far ahead, back


@pytest.fixture
def pair(tmp_path):
    """100 pictures with labels, in memory and in a file."""
    x, y = RANDOM.integers(0, 256, (100, 4, 5), dtype=np.uint8), np.arange(100) % 7
    np.save(tmp_path / "x.npy", x)
    return from_arrays(x, y), from_arrays(Archive(tmp_path / "x.npy")["arr_0"], y, memory=0)


@pytest.mark.parametrize(("kind", "workers"), [("no", 2), ("no", 0), ("static", 0), ("dynamic", 1), ("real", 1)])
def test_streamed_batches_are_the_resident_ones_bit_for_bit(pair, kind, workers):
    memory, lazy = (binarize(d, kind, seed=4) for d in pair) if kind != "real" else pair
    if kind == "real":  # floats, which are converted in place
        memory, lazy = (Data(d.spec.image(1, 4, 5, levels=None), d.x / 255, d.y) for d in pair)
    with (
        Feed(memory, "cpu", 8, seed=3) as resident,
        Feed(lazy, "cpu", 8, seed=3, memory=600, workers=workers) as streamed,
        Feed(memory, "cpu", 8, seed=3, memory=600, workers=workers) as shared,  # in memory, but not to be resident
    ):
        assert (resident.resident, streamed.resident, shared.resident) == (True, False, False)
        for number in NUMBERS:
            x, y = resident.at(number)
            for other in (streamed.at(number), shared.at(number)):
                assert torch.equal(x, other[0])
                assert torch.equal(y, other[1])


def test_batches_follow_the_order_of_seed_and_epoch(pair):
    with Feed(pair[1], "cpu", 30, seed=5, memory=1000, workers=1) as feed:
        seen = torch.cat([feed.at(number)[0] for number in range(10)])
    order = Order(100, stream_seed(5, 2)).take(0, 300)
    assert torch.equal(seen, pair[0].batch(order)[0])
    for epoch in order.split(100):
        assert sorted(epoch.tolist()) == list(range(100))


@pytest.mark.parametrize("kind", ["no", "dynamic"])
def test_processes_share_a_batch(pair, kind):
    whole = Feed(binarize(pair[0], kind), "cpu", 12, seed=1)
    for data, memory in ((pair[0], None), (pair[1], 500)):
        parts = [
            Feed(binarize(data, kind), "cpu", 12, seed=1, part=slice(i, i + 4), memory=memory, workers=1)
            for i in (0, 4, 8)
        ]
        for number in (0, 1, 8, 9, 30):
            x, y = (torch.cat(tensors) for tensors in zip(*(p.at(number) for p in parts), strict=True))
            assert torch.equal(x, whole.at(number)[0])
            assert torch.equal(y, whole.at(number)[1])
        for part in parts:
            part.close()


def test_held_out_data_and_their_rest_stream_alike(pair):
    (a, held_a), (b, held_b) = (d.hold_out(30, seed=2) for d in pair)
    assert torch.equal(held_a.x, held_b.x)
    with Feed(a, "cpu", 8) as resident, Feed(b, "cpu", 8, memory=100, workers=2) as streamed:
        for number in range(20):
            assert torch.equal(resident.at(number)[0], streamed.at(number)[0])


def test_the_choice_is_told(pair):
    memory, lazy = pair
    assert Feed(memory, "cpu", 8).how == "resident on cpu (2.8 kB)"  # 100 · (20 + 8) bytes
    assert Feed(lazy, "cpu", 8).how == "resident on cpu (2.8 kB)"
    assert Feed(lazy, "cpu", 8, memory=2800).resident
    for workers, by in ((0, "without workers"), (1, "by 1 worker"), (3, "by 3 workers")):
        how = Feed(lazy, "cpu", 8, memory=2799, workers=workers).how
        assert how == f"streamed {by} (2.8 kB; --data-memory is 2.8 kB)"
    assert "by 1 worker" in Feed(memory, "cpu", 8, memory=0, workers=1).how


def test_memory_decides_by_itself(pair, monkeypatch):
    monkeypatch.setattr("genzoo.core.data.feed.free_bytes", lambda device: 5000)
    memory, lazy = pair
    feed = Feed(lazy, "cpu", 8, workers=1)
    assert feed.how == "streamed by 1 worker (2.8 kB; half of what is free on cpu is 2.5 kB)"
    assert Feed(memory, "cpu", 8).resident  # it costs nothing: it is there already
    monkeypatch.setattr("genzoo.core.data.feed.free_bytes", lambda device: 6000)
    assert Feed(lazy, "cpu", 8).resident
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # which share the memory
    assert not Feed(lazy, "cpu", 8).resident


def test_workers_leave_a_core_to_training(monkeypatch):
    for cores, processes, workers in ((1, 1, 1), (2, 1, 1), (4, 1, 3), (64, 1, 8), (16, 4, 3), (2, 8, 1)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert default_workers() == workers


def test_nothing_is_drawn_from_global_generators(pair):
    torch.manual_seed(0)
    random.seed(0)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    with Feed(pair[1], "cpu", 8, memory=0, workers=1) as feed:
        feed.at(0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()


# --- whole runs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "options"), [("vae", {"data.binarize": "dynamic", "train.validation": 0.2}), ("wgan-gp", {})]
)
def test_a_run_ends_with_the_same_bytes_however_it_is_fed_and_resumed(tmp_path, recipe, options):
    np.savez(tmp_path / "d.npz", x=RANDOM.integers(0, 256, (60, 8, 8), dtype=np.uint8), y=np.arange(60) % 3)
    options = {**options, "generator": "mlp", "train.checkpoint_every": 3}
    options |= {"encoder": "mlp"} if recipe == "vae" else {"critic": "mlp"}

    def fit(name, steps, **how):
        how = {"options": options, "steps": 6, "batch_size": 4, "device": "cpu", "seed": 2, "progress": False} | how

        def stop(trainer, _):
            trainer.steps = steps

        run = genzoo.fit(recipe, tmp_path / "d.npz", tmp_path / name, on_start=stop, **how)
        record = json.loads((tmp_path / name / "training.json").read_text())
        return (tmp_path / name / "model.safetensors").read_bytes(), record["data"]["fed"], run

    whole, how, _ = fit("resident", 6)
    assert how.startswith("resident on cpu (")
    streamed, how, _ = fit("streamed", 6, data_memory="1kB", data_workers=1)
    assert re.fullmatch(r"streamed by 1 worker \(.* kB; --data-memory is 1 kB\)", how)
    assert streamed == whole
    fit("both", 3, data_memory=1000, data_workers=2)
    assert fit("both", 6, resume=True)[0] == whole
    assert not workers_of(os.getpid())


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"data_memory": "much"}, "data_memory takes a size like 512MB.*'much'"),
        ({"data_memory": -1}, "data_memory takes a size"),
        ({"data_workers": -1}, "data_workers takes a whole number from 0 to 256, not -1"),
        ({"data_workers": True}, "data_workers is a whole number, not True"),
    ],
)
def test_bad_values_are_refused_before_anything_is_read(how, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        genzoo.fit("vae", tmp_path / "not-even-there.npy", **how)


# --- what goes wrong --------------------------------------------------------------------------------------


def workers_of(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as f:
        return [int(p) for p in f.read().split()]


def run(feed, start, stop):
    for number in range(start, stop):
        feed.at(number)
        time.sleep(0.005)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_breaks_is_named(pair, workers):
    data = pair[1]
    with Feed(data, "cpu", 8, memory=0, workers=workers) as feed:
        feed.at(0)
        path = data.rows.raw.path
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(GenzooError, match=r"x\.npy was changed while it was being used as data: leave it as it is"):
            run(feed, 1, 100)
    assert not workers_of(os.getpid())


class Failing(Dataset):
    fails = False

    def __len__(self):
        return 50

    def __getitem__(self, i):
        if self.fails is True and i == 31:
            raise ValueError("cannot decode\nlong story")
        if self.fails == "hard" and i == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.full((1, 2, 2), i / 255)


def test_an_item_that_breaks_is_named():
    data = from_torch(Failing(), memory=0)
    data.rows.raw.dataset.fails = True
    with (
        Feed(data, "cpu", 8, memory=0, workers=2) as feed,
        pytest.raises(GenzooError, match=r"^the data set failed at item 31: ValueError: cannot decode$"),
    ):
        run(feed, 0, 20)
    assert not workers_of(os.getpid())


def test_a_worker_that_dies_is_reported_in_a_sentence():
    data = from_torch(Failing(), memory=0)
    data.rows.raw.dataset.fails = "hard"
    start = time.monotonic()
    with (
        pytest.raises(GenzooError, match=r"^a process that reads the data was ended by SIGKILL; perhaps"),
        Feed(data, "cpu", 8, memory=0, workers=2) as feed,
    ):
        run(feed, 0, 20)
    assert time.monotonic() - start < 20
    assert not workers_of(os.getpid())


def script(tmp_path, text):
    """A process that streams from a file of 64 MB."""
    path = tmp_path / "big.npy"
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(2**14, 64, 64))
    stored[:] = RANDOM.integers(0, 256, (64, 64), dtype=np.uint8)
    stored.flush()
    head = f"""
        import os, signal, sys, time
        from pathlib import Path
        import torch
        torch.set_num_threads(1)
        from genzoo.core.data import from_arrays
        from genzoo.core.data.feed import Feed
        from genzoo.core.data.npy import Archive
        def data():
            return from_arrays(Archive(Path({str(path)!r}))["arr_0"], memory=0)
        def feed(**how):
            return Feed(data(), "cpu", 64, memory=16 * 10**6, workers=1, **how)
    """
    return [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(text)]


@pytest.mark.slow  # what the system swaps and shares meanwhile shows in it
def test_memory_stays_near_the_limit(tmp_path):
    # Of this process and its worker, every page counted once; what the kernel caches of the file belongs to nobody.
    done = subprocess.run(
        script(
            tmp_path,
            """
            def taken(*pids):
                lines = [line for pid in pids for line in open(f"/proc/{pid}/smaps_rollup")]
                return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon", "Pss_Shm"))) / 1000
            feed = feed()
            before, most = taken("self"), 0
            for i in range(600):
                x, _ = feed.at(i)
                if i % 100 == 99:
                    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
                    assert len(children) == 1
                    most = max(most, taken("self", *children) - before)
            whole = data().to("cpu")
            print(most, taken("self", *children) - before)
            """,
        ),
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    streamed, whole = map(float, done.stdout.split())
    # A worker has pages of the interpreter that it touches, some 20 MB, and no part of the data's 67 MB.
    assert streamed < 16 + 24
    assert whole > streamed + 60  # which this way of counting would have found
    assert done.stderr == ""


@pytest.mark.slow
def test_a_process_ends_with_its_workers_even_if_nothing_is_closed(tmp_path):
    start = time.monotonic()
    text = "f = feed(); f.at(0); print(open(f'/proc/self/task/{os.getpid()}/children').read())"
    done = subprocess.run(script(tmp_path, text), capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert not any(os.path.exists(f"/proc/{pid}") for pid in done.stdout.split())
    assert time.monotonic() - start < 30


def test_workers_outlive_a_signal_to_their_group_until_the_run_has_ended(tmp_path):
    text = """
        stop = []
        for s in (signal.SIGINT, signal.SIGTERM):
            signal.signal(s, lambda *_: stop.append(1))
        with feed() as f:
            for i in range(10**6):
                f.at(i)
                if i == 50:
                    print(open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)
                if len(stop) == 2:
                    break
            for j in range(i + 1, i + 200):  # a step that was begun is played to its end
                f.at(j)
        print("whole")
    """
    process = subprocess.Popen(
        script(tmp_path, text), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    worker = int(process.stdout.readline())
    for s in (signal.SIGINT, signal.SIGTERM):
        os.killpg(process.pid, s)
        time.sleep(0.1)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip(), err) == (0, "whole", "")
    assert not os.path.exists(f"/proc/{worker}")


@pytest.mark.slow
def test_workers_end_when_the_run_is_killed(tmp_path):
    text = """
        f = feed()
        f.at(0)
        print(open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)
        time.sleep(100)
    """
    process = subprocess.Popen(script(tmp_path, text), stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    for _ in range(150):
        stat = Path(f"/proc/{worker}/stat")
        if not stat.exists() or stat.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker is still there")

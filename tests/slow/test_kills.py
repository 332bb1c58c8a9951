"""Real processes are killed at random moments; what they leave is whole, and resumed they end with the same bytes."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file

import genzoo
from genzoo.core.storage.files import ASIDE, MANIFEST, read_manifest, verify
from genzoo.core.training.runs import checkpoints, read_checkpoint

# One for each kind of state that a run has: players and turns, statistics, multipliers, parts that learn, two codes.
RECIPES = ("vae", "cvae", "vae-iaf", "vamp-vae", "factor-vae", "gan", "wgan-gp", "r3gan", "fisher-gan")
CASES = [(recipe, kind) for recipe in RECIPES for kind in ("vectors", "pictures")]
CASES += [(recipe, "sounds") for recipe in ("rave", "wavegan", "audio-codec")]
CASES += [("spec-vae", "spectra"), ("specgan", "spectra")]
CASES += [(recipe, "texts") for recipe in ("lm", "text-vae", "gumbel-gan")]
KILLS = 4  # of each case, unless it comes to its end before
KILLED = dict[tuple[str, str], int]()
TWICE = (signal.SIGINT, signal.SIGINT)
HOW = [(signal.SIGKILL,)] * 6 + [(signal.SIGTERM,), (signal.SIGINT,), TWICE, (signal.SIGTERM, signal.SIGKILL)]


def state_of(folder: Path) -> tuple[int, ...]:
    """Which folder that is: another one has its name when it was written again."""
    return folder.stat().st_ino, *(p.stat().st_mtime_ns for p in (folder, *sorted(folder.iterdir())))


def check_what_is_left(run: Path, harmed: Container[tuple[int, ...]]) -> None:
    """Nothing that has its final name is half-written."""
    for folder in checkpoints(run):
        if state_of(folder) not in harmed:  # by this test
            read_checkpoint(folder)
    for folder in (run, run / "best"):
        if (folder / MANIFEST).exists():
            verify(folder, read_manifest(folder))
    for path in run.glob("samples/*.png"):
        with Image.open(path) as image:
            image.load()
    if (run / "log.jsonl").exists():
        for line in (run / "log.jsonl").read_text().split("\n")[:-1]:
            json.loads(line)
    if checkpoints(run):
        genzoo.load(run, verbose=False).sample(2)


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    curves = [{k: v for k, v in point.items() if k != "seconds"} for point in record["curves"]]
    return {k: v for k, v in record.items() if k not in ("seconds", "hardware")} | {"curves": curves}


def log_of(run: Path) -> list[dict[str, float]]:
    """The records of the log, without times."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def check_the_end(run: Path, whole: Path) -> None:
    """It is the run that never stopped."""
    for name in ("model.safetensors", "config.json", "samples.png"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    verify(run, read_manifest(run))
    states = [load_file(checkpoints(r)[-1] / "trainer.safetensors") for r in (run, whole)]
    assert states[0].keys() == states[1].keys()
    differing = [k for k, v in states[0].items() if not v.equal(states[1][k])]
    assert not differing
    records = [json.loads((r / "training.json").read_text()) for r in (run, whole)]
    assert without_times(records[0]) == without_times(records[1])
    for name in ("samples", "best"):
        pictures = [{p.name: p.read_bytes() for p in (r / name).glob("*.[ps][na]*")} for r in (run, whole)]
        assert pictures[0] == pictures[1], name
    assert log_of(run) == log_of(whole)
    assert not list(run.rglob(f"{ASIDE}*"))
    assert {p.name for p in run.iterdir()} == {p.name for p in whole.iterdir()}


def damage(run: Path, rng: random.Random, harmed: set[tuple[int, ...]]) -> str:
    """Harm the newest checkpoints, leaving one whole; what was done."""
    found = [p for p in checkpoints(run) if state_of(p) not in harmed]
    told = ""
    for folder in found[-rng.randint(1, max(len(found) - 1, 1)) :] if len(found) > 1 else ():
        path = rng.choice(sorted(folder.iterdir()))
        content, how = path.read_bytes(), rng.choice(["flip", "cut", "empty", "delete"])
        at = rng.randrange(len(content))
        if how == "flip":
            path.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :])
        elif how == "delete":
            path.unlink()
        else:
            path.write_bytes(content[:at] if how == "cut" else b"")
        harmed.add(state_of(folder))
        told += f" {folder.name}/{path.name}: {how}"
    return told


def torment(
    start: Callable[..., Any],
    until: Callable[..., bool],
    command: list[object],
    run: Path,
    rng: random.Random,
    kills: int,
    seconds: float,
    harm: float = 0.3,
) -> Iterator[str]:
    """Start, kill, harm and resume a run until it has been killed so often, then let it end; yields what was done."""
    done, harmed = 0, set[tuple[int, ...]]()
    while True:
        resume = ("--resume",) if run.exists() else ()
        training = start(*command, *resume)
        if done >= kills:
            break
        size = (run / "log.jsonl").stat().st_size if (run / "log.jsonl").exists() else -1
        early = rng.random() >= 0.85
        if not early:  # after it has begun to log; else anywhere, in the middle of imports too
            until(
                lambda size=size: (run / "log.jsonl").exists() and (run / "log.jsonl").stat().st_size != size, training
            )
        time.sleep(rng.uniform(0, seconds))
        # Python itself answers an interrupt with a traceback while it starts.
        how = (signal.SIGKILL,) if early else rng.choice(HOW)
        if not training.running:  # it came to its end before
            break
        for number in how:
            training.send(number)
            time.sleep(rng.uniform(0, 0.02))
        code, said = training.end()
        assert code in (0, 130, 143, *(-n for n in how)), said
        assert "Traceback" not in said
        done += 1
        check_what_is_left(run, harmed)
        told = damage(run, rng, harmed) if rng.random() < harm else ""
        yield f"{'+'.join(n.name for n in how)}{told}"
    code, said = training.end()
    assert code == 0, said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "kind"), [("vae", "pictures")])
def test_two_kills(fork: Any, until: Any, command: Any, whole: Any, tmp_path: Path, recipe: str, kind: str) -> None:
    """The sweep in small, in forked processes."""
    run, expected = tmp_path / "run", whole(recipe, kind)
    seconds = json.loads((expected / "training.json").read_text())["seconds"]
    rng = random.Random(f"{recipe} {kind}")
    list(torment(fork, until, command(recipe, kind, run), run, rng, 2, seconds))
    check_the_end(run, expected)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("recipe", "kind"), CASES)
def test_random_kills(spawn: Any, until: Any, command: Any, whole: Any, tmp_path: Path, recipe: str, kind: str) -> None:
    run, expected = tmp_path / "run", whole(recipe, kind)
    seconds = json.loads((expected / "training.json").read_text())["seconds"]
    rng = random.Random(f"sweep {recipe} {kind}")
    done = list(torment(spawn, until, command(recipe, kind, run), run, rng, KILLS, seconds))
    print(f"{recipe} on {kind}: {len(done)} kills; {'; '.join(done)}")
    check_the_end(run, expected)
    KILLED[recipe, kind] = len(done)


@pytest.mark.slow
def test_there_were_enough_kills() -> None:
    """Of the sweep above, where all of it was run."""
    if set(KILLED) != set(CASES):
        pytest.skip("only some of the sweep was run")
    assert sum(KILLED.values()) >= 30, KILLED


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("recipe", "kind"), [("beta-vae", "pictures"), ("r3gan", "vectors"), ("wgan", "pictures")])
def test_kills_while_checkpoints_are_written(
    fork: Any, until: Any, command: Any, whole: Any, tmp_path: Path, recipe: str, kind: str, seed: int
) -> None:
    """With a checkpoint after every step, most kills hit one that is being written, or one that is being dropped."""
    more = ("train.checkpoint_every=1", f"train.keep={1 + seed}")
    run, expected = tmp_path / "run", whole(recipe, kind, more)
    seconds = json.loads((expected / "training.json").read_text())["seconds"]
    rng = random.Random(f"{recipe} {kind} {seed}")
    done = list(torment(fork, until, command(recipe, kind, run, *more), run, rng, 12, seconds / 8))
    print(f"{recipe} on {kind}: {len(done)} kills; {'; '.join(done)}")
    check_the_end(run, expected)
    assert len(done) >= 6


@pytest.mark.slow
def test_a_run_is_sampled_while_it_writes_and_drops_checkpoints(
    fork: Any, until: Any, command: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    training = fork(*command("gan", "vectors", run, "train.checkpoint_every=1", "train.keep=1", steps=60))
    until(lambda: bool(checkpoints(run)), training)
    loads = 0
    while training.running:
        genzoo.load(run, verbose=False).sample(1)
        loads += 1
    assert training.end()[0] == 0
    assert loads >= 3

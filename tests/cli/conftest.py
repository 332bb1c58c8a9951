"""Runs of the command line in this process, and small data and weights to run it on."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

TINY = (
    "--set", "train.batch_size=8", "--set", "latent.size=3", "--set", "train.validation=0", "--quiet",
    "--device", "cpu",
)  # fmt: skip
NARROW = {
    "vae": ("--generator", "mlp", "--encoder", "mlp", "--set", "generator.width=8", "--set", "encoder.width=8"),
    "gan": ("--generator", "mlp", "--critic", "mlp", "--set", "generator.width=8", "--set", "critic.width=8"),
}


READ = re.compile(
    r"genzoo: ([^:]+: [\d,]+ (of [\d,]+ )?[\w ]+ of [^:]+?(,|;| in |$)|the model was trained on the rest of these)"
)  # what was read


@dataclass
class Ran:
    code: int
    out: str
    err: str

    def sentence(self, *parts: str, code: int | Sequence[int] = (1, 2)) -> str:
        """Check that this failed as every failure should: in one line, after what was read, with these words in it."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if not READ.match(line)]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("genzoo: ")
        assert "please report" not in lines[0]  # the sentence for what nobody thought of
        assert "\x1b" not in self.err
        for part in parts:
            assert part in lines[0], f"{part!r} is not in {lines[0]!r}"
        assert self.code in ((code,) if isinstance(code, int) else code), self.code
        assert self.out == ""
        return lines[0]


Run = Callable[..., Ran]


@pytest.fixture
def genzoo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``genzoo ARGUMENTS`` in this process."""
    from genzoo.cli.main import main

    monkeypatch.delenv("GENZOO_DEBUG", raising=False)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["genzoo", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return Ran(int(left.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def train(genzoo: Run) -> Run:
    """``train(RECIPE, DATA, OUT, …)`` with little work to do; ``narrow=True`` for the smallest networks."""

    def run(recipe: str, data: Path, out: Path, *more: object, narrow: bool = False) -> Ran:
        parts = NARROW["gan" if "gan" in recipe else "vae"] if narrow else ()
        return genzoo("train", recipe, "--data", data, "--out", out, *unless([*TINY, *parts], more), *more)

    return run


def unless(usual: Sequence[str], more: Sequence[object]) -> list[str]:
    """Usual arguments but for those that are given again: nothing is taken twice."""
    given = [str(m) for m in more]
    asked = {g.partition("=")[0] for g in given} | {f"train.{g[2:].replace('-', '_')}" for g in given if g[:2] == "--"}
    kept: list[str] = []
    for i, word in enumerate(usual):
        if word == "--quiet":
            kept.append(word)
        elif word.startswith("--") and (usual[i + 1].partition("=")[0] if word == "--set" else word) not in asked:
            kept += [word, usual[i + 1]]
    return kept


def environment(**more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GENZOO_", "_GENZOO"))}
    return clean | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | more


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python ARGUMENTS`` as a process of its own."""

    def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment(**env),
        )

    return run


@pytest.fixture
def start(python_start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    """Start ``genzoo ARGUMENTS`` as a process of its own."""
    return lambda *arguments: python_start("-m", "genzoo.cli", *arguments)


@pytest.fixture
def python_start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``python ARGUMENTS`` as a process of its own."""
    started = []

    def run(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, *map(str, arguments)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment()))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def listing(folder: Path) -> dict[str, str]:
    """Everything under a folder, hidden files too, with the hash of its content."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture
def untouched(tmp_path: Path) -> Callable[[], None]:
    """Check that nothing under ``tmp_path`` came, went or changed since the first call."""
    before: list[dict[str, str]] = []

    def check() -> None:
        now = listing(tmp_path)
        if before:
            assert now == before[0]
        before[:] = [now]

    return check


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 grey images of 9×8 in 3 classes, in an .npz."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, x=rng.integers(0, 256, (40, 9, 8), dtype=np.uint8), y=np.arange(40) % 3)
    return path


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 points in the plane without labels, in an .npy."""
    path = tmp_path_factory.mktemp("data") / "points.npy"
    np.save(path, np.random.default_rng(1).normal(3, 2, (100, 2)).astype(np.float32))
    return path


def _trained(out: Path, recipe: str, data: Path, steps: int = 2, **options: object) -> Path:
    from genzoo.registry.verbs.fit import fit

    parts = {"generator": "mlp", "generator.width": 8, "latent.size": 3, "train.batch_size": 8, "train.validation": 0}
    other = "critic" if "gan" in recipe else "encoder"
    parts |= {other: "mlp", f"{other}.width": 8}
    fit(recipe, str(data), out, steps=steps, options=parts | options, device="cpu", progress=False)
    return out


@pytest.fixture(scope="session")
def vae(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """Weights of a VAE on ``images``."""
    return _trained(tmp_path_factory.mktemp("vae") / "run", "vae", images)


@pytest.fixture(scope="session")
def cvae(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """Weights of a conditional VAE on ``images``."""
    return _trained(tmp_path_factory.mktemp("cvae") / "run", "cvae", images)


@pytest.fixture(scope="session")
def gan(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """Weights of a GAN on ``images``."""
    return _trained(tmp_path_factory.mktemp("gan") / "run", "gan", images)


@pytest.fixture(scope="session")
def flat(tmp_path_factory: pytest.TempPathFactory, points: Path) -> Path:
    """Weights of a VAE on ``points``."""
    return _trained(tmp_path_factory.mktemp("flat") / "run", "vae", points)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def disk() -> Callable[[int], AbstractContextManager[None]]:
    """``with disk(BYTES):`` no file can grow beyond that many bytes, as on a disk that is full."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ: writes fail with EFBIG
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit

"""Models and games whose truth is known, made by fixtures that are functions."""

from __future__ import annotations

import ast
import builtins
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from genzoo.core.config import Config
from genzoo.core.data import Data, to_model
from genzoo.core.model import Model
from genzoo.core.networks import Encoder, Generator, Ports
from genzoo.core.noise import Draws
from genzoo.core.objective import Networks, Objective
from genzoo.core.posterior import NormalHead
from genzoo.core.spec import DataSpec, Latent
from genzoo.core.training.trainer import Trainer
from genzoo.plugins.likelihoods.gaussian import Gaussian
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

VECTOR = DataSpec("vector", (2,), classes=3)
WHERE = {"generator": "mlp", "encoder": "mlp", "critic": "mlp"}


class Affine(Generator):
    def __init__(self, w: Tensor, b: Tensor) -> None:
        super().__init__(Ports((w.shape[1],), (w.shape[0],)))
        self.w, self.b = torch.nn.Parameter(w), torch.nn.Parameter(b)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z @ self.w.T + self.b


class Linear(Encoder):
    """Mean A (x - b) + shift, and one log variance for all x."""

    def __init__(self, a: Tensor, b: Tensor, shift: Tensor, log_var: Tensor) -> None:
        super().__init__(Ports((a.shape[1],), (2 * a.shape[0],)))
        self.a, self.b, self.shift, self.log_var = a, b, shift, log_var

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        mean = (x - self.b) @ self.a.T + self.shift
        return torch.cat([mean, self.log_var.expand_as(mean)], 1)


class LinearGaussian:
    """x = W z + b + σ ε in model space with orthogonal columns of W, so the posterior is diagonal and known.

    Args:
        off: how far the encoder's mean is from the posterior's.
        wide: factor on its standard deviation.
    """

    sigma = 0.6
    scale, shift = (2.0, 0.5, 3.0, 1.0), (1.0, -1.0, 0.0, 5.0)  # of data units

    def __init__(self, off: float = 0.0, wide: float = 1.0) -> None:
        random = torch.Generator().manual_seed(0)
        q, _ = torch.linalg.qr(torch.randn(4, 2, generator=random))
        lengths = torch.tensor([1.5, 0.7])
        self.w, self.b = q * lengths, torch.randn(4, generator=random)
        self.variance = self.sigma**2 / (self.sigma**2 + lengths**2)  # of the posterior
        self.off, self.wide = off, wide
        self.spec = DataSpec("vector", (4,), scale=self.scale, shift=self.shift)
        a = self.variance[:, None] * self.w.T / self.sigma**2
        encoder = Linear(a, self.b, torch.full((2,), off), (self.variance * wide**2).log())
        latent, likelihood = Latent(2), Gaussian(self.spec, Gaussian.Options(sigma="fixed", value=self.sigma))
        self.model = Model(self.spec, latent, Affine(self.w, self.b), likelihood, encoder, NormalHead(latent))

    def data(self, n: int, seed: int = 1) -> Tensor:
        """Observations in data units."""
        random = torch.Generator().manual_seed(seed)
        z, eps = torch.randn(n, 2, generator=random), torch.randn(n, 4, generator=random)
        return (z @ self.w.T + self.b + self.sigma * eps) * torch.tensor(self.scale) + torch.tensor(self.shift)

    def log_p(self, x: Tensor) -> np.ndarray:
        """Log density of data units, from scipy."""
        s = np.array(self.scale)
        cov = (self.w @ self.w.T).double().numpy() + self.sigma**2 * np.eye(4)
        mean = self.b.numpy() * s + np.array(self.shift)
        return stats.multivariate_normal(mean, np.outer(s, s) * cov).logpdf(x.double().numpy())

    def divergence(self) -> float:
        """KL of the encoder's posterior from the true one: the same for every x."""
        sd = self.variance.sqrt()
        q, p = Normal(torch.full((2,), self.off), sd * self.wide), Normal(torch.zeros(2), sd)
        return kl_divergence(q, p).sum().item()

    def networks(self) -> Networks:
        return Networks(self.model)

    def to_model(self, x: Tensor) -> Tensor:
        return to_model(self.spec, x)


@pytest.fixture
def linear_gaussian() -> Any:
    return LinearGaussian


@dataclass
class Game:
    """An objective with its networks, and noise for its turns."""

    config: Config
    objective: Objective
    nets: Networks

    def noise(self, player: str, n: int, seed: int = 3, step: int = 0, steps: int = 10) -> dict[str, Tensor]:
        draws = Draws(n, "cpu", steps=steps).at(seed, step, 1)
        return self.objective.draw(player, draws, self.nets.model)

    def gradients(self, player: str, loss: Tensor) -> list[Tensor]:
        """Of a player's parameters; zero where the loss does not reach."""
        seat = next(p for p in self.objective.players() if p.name == player)
        parameters = [p for name in seat.moves for p in self.nets.part(name).parameters()]
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


@pytest.fixture
def game() -> Any:
    def make(recipe: str, spec: DataSpec = VECTOR, seed: int = 0, **given: Any) -> Game:
        """Small perceptrons unless told; ``a__b`` means ``a.b``."""
        config = compose(the_registry(), spec, recipe, small(recipe, given))
        return Game(config, *initialize(config, seed))

    return make


def small(recipe: str, given: dict[str, Any]) -> dict[str, Any]:
    """Options of small perceptrons, under what is given."""
    of = {"began": ("encoder",), "ebgan": ("encoder",), "ali": ("encoder", "critic"),
          "bigan": ("encoder", "critic"), "veegan": ("encoder", "critic")}  # fmt: skip
    kinds = "generator", *of.get(given.get("objective", recipe), ("encoder" if "vae" in recipe else "critic",))
    plain = {kind: "mlp" for kind in kinds} | {f"{kind}.width": 8 for kind in kinds}
    return plain | {"latent.size": 2} | {k.replace("__", "."): v for k, v in given.items()}


@pytest.fixture
def options() -> Any:
    return small


@pytest.fixture
def toy() -> Any:
    def make(n: int = 40, spec: DataSpec = VECTOR) -> Data:
        """Labelled vectors in a few blobs."""
        random = torch.Generator().manual_seed(5)
        y = torch.arange(n) % 3
        x = torch.randn(n, *spec.shape, generator=random) * 0.3 + y[:, None]
        return Data(spec, x, y, "toy")

    return make


@pytest.fixture
def trainer(game: Any, toy: Any) -> Any:
    def make(recipe: str, data: Data | None = None, seed: int = 0, observers: Any = (), **given: Any) -> Trainer:
        """A trainer of small perceptrons on toy vectors."""
        data = toy() if data is None else data
        built = game(recipe, data.spec, seed, **{"train__batch_size": 8, "train__steps": 6, **given})
        return Trainer(built.objective, built.nets, data, built.config.train, seed=seed, observers=observers)

    return make


@pytest.fixture
def normed(game: Any) -> Model:
    """A GAN's model with batch norm that has seen some batches, left in train mode."""
    model: Model = game("gan", DataSpec.image(1, 8, 8), generator="conv", generator__width=4).nets.model
    random = torch.Generator().manual_seed(2)
    for _ in range(3):
        model.mean(torch.randn(16, 2, generator=random))
    return model.train()


class Killed(BaseException):
    """What a process that is killed does not live to see."""


class _File:
    """A file whose writes are counted."""

    def __init__(self, file: Any, count: Callable[[str], None]) -> None:
        self._file, self._count = file, count

    def write(self, data: Any) -> Any:
        try:
            self._count("write")
        except OSError:
            self._file.write(data[: len(data) // 2])  # a disk that fills up takes what still fits
            raise
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.fixture
def failing_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``with failing_at(NUMBER, ERROR) as made:`` the system call NUMBER of those that change files fails.

    Yields the names of the calls that were made. After a ``failing_at.Killed()`` no call does anything any more.
    """

    @contextmanager
    def failing(number: int, error: BaseException) -> Iterator[list[str]]:
        made: list[str] = []
        dead = isinstance(error, Killed)

        def count(name: str) -> None:
            made.append(name)
            if len(made) == number + 1 or (dead and len(made) > number >= 0):
                raise error

        def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **how: Any) -> Any:
                count(name)
                return real(*args, **how)

            return call

        def opened(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(file: Any, mode: str = "r", *args: Any, **how: Any) -> Any:
                if set(mode) & set("wax+"):
                    count("open")
                    return _File(real(file, mode, *args, **how), count)
                return real(file, mode, *args, **how)

            return call

        def saved(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(tensors: Any, filename: Any, *args: Any, **how: Any) -> Any:
                try:
                    count("save_file")
                except OSError:
                    Path(filename).write_bytes(b"half")
                    raise
                return real(tensors, filename, *args, **how)

            return call

        with monkeypatch.context() as m:
            for name in ("replace", "rename", "fsync", "unlink", "mkdir", "rmdir", "chmod", "truncate"):
                m.setattr(os, name, counted(name, getattr(os, name)))
            from genzoo.core.storage import weights

            m.setattr(builtins, "open", opened(builtins.open))
            m.setattr(io, "open", opened(io.open))
            m.setattr(weights, "save_file", saved(weights.save_file))
            if dead:
                m.setattr(shutil, "rmtree", lambda *a, **k: None)
            yield made

    failing.Killed = Killed  # type: ignore[attr-defined]
    return failing


@pytest.fixture
def code_lines() -> Callable[..., int]:
    """Return a function that counts lines of a file, or of one class in it: neither blank, nor a comment, nor told."""

    def count(path: Path, named: str = "") -> int:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        node: Any = next(n for n in tree.body if getattr(n, "name", None) == named) if named else tree
        first, last = (node.lineno, node.end_lineno) if named else (1, len(text))
        kept = {
            i
            for i, line in enumerate(text.splitlines(), 1)
            if first <= i <= last and line.strip() and not line.strip().startswith("#")
        }
        for inner in ast.walk(node):
            if isinstance(inner, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(inner) is not None:
                kept -= set(range(inner.body[0].lineno, (inner.body[0].end_lineno or 0) + 1))
        return len(kept)

    return count


@pytest.fixture
def functions_in() -> Callable[[Path], set[str]]:
    """Return a function that names the functions at the top of a file."""

    def names(path: Path) -> set[str]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        return {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}

    return names

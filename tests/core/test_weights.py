"""Weights folders: what is written comes back exactly, nothing is read twice, and what is hashed is what is used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import genzoo
from genzoo.core.build import build
from genzoo.core.errors import GenzooError
from genzoo.core.model import Model
from genzoo.core.networks import Generator, Ports
from genzoo.core.spec import DataSpec
from genzoo.core.storage import load_model as loading
from genzoo.core.storage import user_cache, weights
from genzoo.core.storage.files import manifest_of, verify, write_folder
from genzoo.core.storage.load_model import Guarded, load_model
from genzoo.core.storage.weights import model_files, read_config
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import resolver

OPTIONS = {
    "generator": "conv", "generator.width": 4, "generator.activation": "silu", "encoder": "mlp", "encoder.width": 8,
    "latent.size": 3, "conditional": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model() -> Model:
    """A conditional VAE with batch norm that has seen something."""
    made = genzoo.create("vae", DataSpec.image(2, 8, 9, classes=3), seed=4, options=OPTIONS)
    made.train()
    made.mean(torch.randn(16, 3), torch.arange(16) % 3)
    return made.eval()


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "weights")
    return tmp_path / "weights"


def sign(folder: Path) -> None:
    listed = manifest_of(folder, ["config.json", "model.safetensors"])
    (folder / "manifest.json").write_text(json.dumps(listed))


def load(folder: Path, **how: Any) -> Model:
    """Without the command line's search for checkpoints."""
    config = read_config(folder, within=how.get("within"))
    return load_model(folder, resolver(the_registry(), config), **how)


def same(a: Model, b: Model) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return list(first) == list(second) and all(torch.equal(first[k], second[k]) for k in first)


def test_a_model_comes_back_exactly(model: Model, folder: Path) -> None:
    loaded = load(folder)
    assert same(loaded, model)
    assert loaded.config == model.config
    assert torch.equal(loaded.sample(5, seed=1), model.sample(5, seed=1))
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not any(t.is_meta for t in (*loaded.parameters(), *loaded.buffers()))


def test_saving_what_was_loaded_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    load(folder).save(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_loaded_model_can_be_trained_and_the_file_stays(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    loaded = load(folder).train().requires_grad_(True)
    with torch.no_grad():
        for p in loaded.parameters():
            p.add_(1)
    loaded.mean(torch.randn(8, 3), torch.arange(8) % 3).sum().backward()
    assert (folder / "model.safetensors").read_bytes() == before
    assert not same(loaded, load(folder))


def test_tensors_are_the_memory_mapped_file(folder: Path) -> None:
    loaded = load(folder)
    file = str((folder / "model.safetensors").resolve())
    places = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(file):
            low, high = (int(n, 16) for n in line.split()[0].split("-"))
            places.append((low, high))
    assert places
    for name, t in loaded.state_dict().items():
        assert any(low <= t.data_ptr() < high for low, high in places), name


def test_a_folder_that_is_replaced_leaves_a_loaded_model_alone(model: Model, folder: Path) -> None:
    loaded = load(folder)
    other = genzoo.create("vae", DataSpec.image(2, 8, 9, classes=3), seed=5, options=OPTIONS)
    other.save(folder.parent / "other")
    for name in ("config.json", "model.safetensors", "manifest.json"):
        os.replace(folder.parent / "other" / name, folder / name)
    assert same(loaded, model)
    shutil.rmtree(folder)
    assert same(loaded, model)


def test_initial_weights_are_never_drawn(folder: Path) -> None:
    """So that torch's compiler, which random numbers on ``meta`` would import, stays out: seconds."""
    code = f"""
import sys
from pathlib import Path
from genzoo.core.storage.load_model import Guarded, load_model
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import resolver
load_model(Path({str(folder)!r}), resolver(the_registry()))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "False\n"


# --- half precision on disk -------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float16", "bfloat16"])
def test_weights_stored_in_half_precision_load_as_float32(model: Model, tmp_path: Path, storage: Any) -> None:
    write_folder(tmp_path / "full", model_files(model))
    write_folder(tmp_path / "half", model_files(model, storage))
    full, half = (tmp_path / n / "model.safetensors" for n in ("full", "half"))
    assert (tmp_path / "half" / "config.json").read_bytes() == (tmp_path / "full" / "config.json").read_bytes()
    assert half.stat().st_size < 0.8 * full.stat().st_size
    stored, loaded = load_file(half), load(tmp_path / "half").state_dict()
    for name, exact in model.state_dict().items():
        small = exact.dim() >= 2
        assert stored[name].dtype == (getattr(torch, storage) if small else exact.dtype)
        assert loaded[name].dtype == exact.dtype
        assert torch.equal(loaded[name], exact.to(stored[name].dtype).to(exact.dtype))
        assert torch.equal(loaded[name], exact) or small


def test_half_precision_that_overflows_is_refused(tmp_path: Path) -> None:
    values = {"w": torch.full((2, 2), 70_000.0)}
    with pytest.raises(GenzooError, match=r"tensor 'w' holds 7e\+04, which float16 cannot"):
        weights.write_tensors(tmp_path / "x", values, "float16")
    weights.write_tensors(tmp_path / "x", values, "bfloat16")
    assert load_file(tmp_path / "x")["w"][0, 0] == 70144


# --- tensors that do not fit ------------------------------------------------------------------------------


def change(folder: Path, how: Callable[[dict[str, Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    values = {k: v.clone() for k, v in load_file(path).items()}
    how(values)
    save_file(values, path)
    sign(folder)


WEIGHT, SHIFT = "generator.linear.weight", "generator.layers.0.running_mean"
COUNT = "generator.layers.0.num_batches_tracked"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda t: t.pop(WEIGHT), f"tensor {WEIGHT!r} is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "tensor 'extra' is not expected"),
        (lambda t: t.clear(), "is missing"),
        (lambda t: t.update({WEIGHT: t[WEIGHT][:-1]}), f"tensor {WEIGHT!r} has shape"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].T.contiguous()}), f"tensor {WEIGHT!r} has shape"),
        (lambda t: t.update({WEIGHT: t[WEIGHT][None]}), f"tensor {WEIGHT!r} has shape"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].double()}), "is of dtype torch.float64, not torch.float32"),
        (lambda t: t.update({WEIGHT: t[WEIGHT].int()}), "is of dtype torch.int32, not torch.float32"),
        (lambda t: t.update({COUNT: t[COUNT].float()}), "is of dtype torch.float32, not torch.int64"),
        (lambda t: t.update({COUNT: t[COUNT].half()}), "is of dtype torch.float16, not torch.int64"),
        (lambda t: t[WEIGHT].view(-1)[-1].fill_(float("nan")), f"NaN or infinite numbers in tensor {WEIGHT!r}"),
        (lambda t: t[SHIFT][0].fill_(float("inf")), f"NaN or infinite numbers in tensor {SHIFT!r}"),
        (lambda t: t[SHIFT][0].fill_(float("-inf")), f"NaN or infinite numbers in tensor {SHIFT!r}"),
        (
            lambda t: t.update({WEIGHT: (t[WEIGHT] * float("inf")).bfloat16()}),
            f"NaN or infinite numbers in tensor {WEIGHT!r}",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder: Path, how: Callable[..., object], words: str) -> None:
    change(folder, how)
    for _ in range(2):  # what was found bad once is not forgotten either
        with pytest.raises(GenzooError) as caught:
            load(folder)
        assert words in str(caught.value)
        assert str(caught.value).isprintable()


def test_truth_values_that_are_neither(tmp_path: Path) -> None:
    save_file({"b": torch.tensor([True, False])}, tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(whole[:-1] + b"\x02")
    with weights.TensorFile(tmp_path / "x") as file, pytest.raises(GenzooError, match="neither true nor false"):
        file.check_numbers()


# --- hashed once, and what is hashed is used ----------------------------------------------------------------


def old(path: Path) -> None:
    """Let a file be older than the clock's ticks."""
    wait = 0.12 - (time.time() - path.stat().st_ctime)
    if wait > 0:
        time.sleep(wait)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what is hashed from here on."""
    sizes: list[int] = []
    real = hashlib.sha256

    def sha256(content: Any = b"", **how: Any) -> Any:
        sizes.append(len(content))
        return real(content, **how)

    monkeypatch.setattr(hashlib, "sha256", sha256)
    return sizes


def test_a_file_is_hashed_and_looked_at_once(folder: Path, hashed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "model.safetensors"
    size = path.stat().st_size
    old(path)
    scans: list[object] = []
    real = torch.aminmax
    monkeypatch.setattr(torch, "aminmax", lambda t: (scans.append(t), real(t))[1])
    load(folder)
    assert hashed.count(size) == 1
    assert scans
    scans.clear()
    for _ in range(3):
        load(folder)
    assert hashed.count(size) == 1
    assert not scans
    monkeypatch.setenv("GENZOO_ALWAYS_HASH", "1")
    load(folder)
    assert hashed.count(size) == 2
    assert scans


@pytest.mark.parametrize("how", ["in place", "with its old time", "replaced"])
def test_a_file_that_changed_is_hashed_again(folder: Path, how: str) -> None:
    path = folder / "model.safetensors"
    old(path)
    load(folder)
    before, whole = path.stat(), bytearray(path.read_bytes())
    whole[-1] ^= 1
    if how == "replaced":
        (folder / "new").write_bytes(whole)
        os.utime(folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(folder / "new", path)
    else:
        with open(path, "r+b") as f:
            f.write(whole)
        if how == "with its old time":
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(GenzooError, match=r"model\.safetensors is damaged: its content does not match manifest\.json"):
        load(folder)


def test_a_file_from_this_very_moment_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    user_cache.remember(path.stat(), user_cache.Seen("0" * 64))
    assert user_cache.recall(path.stat()) is None
    old(path)
    user_cache.remember(path.stat(), user_cache.Seen("0" * 64, finite=True))
    assert user_cache.recall(path.stat()) == user_cache.Seen("0" * 64, finite=True)


def test_a_hash_alone_is_not_taken_for_a_look_at_the_numbers(folder: Path) -> None:
    change(folder, lambda t: t[WEIGHT].fill_(float("nan")))
    path = folder / "model.safetensors"
    old(path)
    with weights.TensorFile(path) as file:
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert user_cache.recall(path.stat()) is not None
    with pytest.raises(GenzooError, match="NaN"):
        load(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"format": 1, "files": 3}', b'{"format": 99, "files": {}}', b"[" * 10**5,
     b'{"format": 1, "files": {"a": 1, "b": ["x", true, 1.0]}}'],
)  # fmt: skip
def test_a_damaged_cache_is_ignored_and_replaced(folder: Path, tmp_path: Path, content: bytes) -> None:
    cache = tmp_path / "cache" / "genzoo" / "verified.json"
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    old(folder / "model.safetensors")
    load(folder)
    assert len(json.loads(cache.read_bytes())["files"]) == 1
    assert os.listdir(cache.parent) == ["verified.json"]
    assert cache.stat().st_mode & 0o077 == 0


def test_a_cache_that_cannot_be_written_costs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old(folder / "model.safetensors")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "config.json"))  # a file, no folder
    load(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(folder.parent))
    load(folder)
    assert (folder.parent / ".cache" / "genzoo" / "verified.json").is_file()
    assert not Path("relative").exists()


def test_the_cache_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "_MOST", 3)
    paths = [tmp_path / str(i) for i in range(5)]
    for path in paths:
        path.write_text("x")
    old(paths[-1])
    for path in paths:
        user_cache.remember(path.stat(), user_cache.Seen("0" * 64))
    assert [user_cache.recall(p.stat()) is not None for p in paths] == [False, False, True, True, True]


def test_a_file_that_changes_while_it_is_hashed_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = folder / "model.safetensors", hashlib.sha256

    def meanwhile(content: Any = b"", **how: Any) -> Any:
        found = real(content, **how)
        if len(content) == path.stat().st_size:
            with open(path, "r+b") as f:
                f.write(b"\x00")
        return found

    monkeypatch.setattr(hashlib, "sha256", meanwhile)
    with pytest.raises(GenzooError, match="was changed while it was read"):
        load(folder)


def test_a_file_that_is_replaced_between_hashing_and_use_is_not_used(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever swaps the file for another after it was hashed finds the first one loaded."""
    real = loading._fitted

    def swap(*arguments: Any) -> Model:
        (folder / "evil").write_bytes(b"\x00" * 1000)
        os.replace(folder / "evil", folder / "model.safetensors")
        (folder / "evil").write_text("{}")
        os.replace(folder / "evil", folder / "config.json")
        return real(*arguments)

    config = read_config(folder)
    monkeypatch.setattr(loading, "_fitted", swap)
    assert same(load_model(folder, resolver(the_registry(), config)), model)


# --- a Hub cache ----------------------------------------------------------------------------------------------


def test_a_snapshot_of_a_hub_cache_loads_through_its_links(model: Model, folder: Path, tmp_path: Path) -> None:
    repo = tmp_path / "models--org--name"
    snapshot, blobs = repo / "snapshots" / ("0" * 40), repo / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for i, name in enumerate(("config.json", "model.safetensors", "manifest.json")):
        shutil.copy(folder / name, blobs / str(i))
        (snapshot / name).symlink_to(f"../../blobs/{i}")
    assert same(load(snapshot, within=blobs), model)
    verify(snapshot, ["config.json", "model.safetensors"], within=blobs)
    with pytest.raises(GenzooError, match="is a link"):
        load(snapshot)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(GenzooError, match="leads out of"):
        load(snapshot, within=blobs)
    with pytest.raises(GenzooError, match="no plain file"):
        verify(snapshot, ["model.safetensors"], within=blobs)


# --- networks that cannot be built without storage ------------------------------------------------------------


class Awkward(Generator):
    """Reads a number of a tensor while it is built, which ``meta`` has none of, and keeps one that is not saved."""

    def __init__(self, ports: Ports, options: Any = None) -> None:
        super().__init__(ports, options)
        self.linear = nn.Linear(ports.input_size, ports.output_size)
        self.register_buffer("factor", torch.full((3,), 0.5), persistent=False)
        self.first = float(self.factor[0]) if self.asks else 0.5

    asks = True

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.linear(z).view(-1, *self.ports.outputs) * self.first * self.factor[0]


@pytest.mark.parametrize("asks", [True, False])
def test_networks_that_need_storage_load_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: bool) -> None:
    monkeypatch.setattr(Awkward, "asks", asks)
    plain = genzoo.create("gan", DataSpec("vector", (2,)), options={"generator.depth": 0, "generator.width": 8})
    assert plain.config is not None
    plain.config.parts["generator"].options.clear()
    find = resolver(the_registry())

    def resolve(kind: str, name: str) -> type:
        return Awkward if kind == "generator" else find(kind, name)

    made = build(plain.config, resolve, critics=False)[1].model
    made.config = plain.config
    made.save(tmp_path / "weights")
    loaded = load_model(tmp_path / "weights", resolve)
    assert same(loaded, made)
    assert torch.equal(loaded.sample(3), made.eval().sample(3))


def test_building_stops_at_what_the_file_could_hold() -> None:
    def layers(n: int, size: int) -> nn.Module:
        return nn.Sequential(*(nn.Linear(size, size) for _ in range(n)))

    with Guarded(tensors=20, numbers=10 * 110):
        layers(10, 10)
    start = time.process_time()
    for n, size in ((10**9, 1), (2, 10**6)):
        with (
            pytest.raises(GenzooError, match="more than the 20 tensors with 1,100 numbers"),
            Guarded(20, 1100),
            torch.device("meta"),
        ):
            layers(n, size)
    with pytest.raises(GenzooError, match="more layers"), Guarded(20, 1100):
        nn.ModuleList().extend(nn.ReLU() for _ in range(10**6))
    assert time.process_time() - start < 2
    layers(200, 1)  # and nothing is left behind


def test_a_network_that_needs_storage_gets_no_more_than_the_file_holds() -> None:
    with Guarded(1, 1000):
        nn.Linear(10, 90)
        torch.zeros(()), torch.arange(1000), torch.full((10, 10), 3.0), torch.randint(0, 10**9, (3,))
        makers: list[Callable[[], object]] = [
            lambda: nn.Linear(10**5, 10**5),
            lambda: torch.zeros(10**12),
            lambda: torch.zeros(10**6, 10**6),
            lambda: torch.ones((10**6, 10**6)),
            lambda: torch.randn(size=(10**6, 10**6)),
            lambda: torch.arange(10**12),
            lambda: torch.eye(10**6),
            lambda: torch.linspace(0, 1, 10**12),
        ]
        for make in makers:
            with pytest.raises(GenzooError, match="more than the 1 tensors with 1,000 numbers"):
                make()

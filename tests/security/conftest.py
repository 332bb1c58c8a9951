"""Small weights that may be attacked, and what every attack must come to: one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genzoo
from genzoo.core.errors import GenzooError
from genzoo.core.spec import DataSpec

SMALL = {
    "gan": (
        "gan",
        DataSpec.image(1, 8, 8, classes=3),
        {"conditional": True, "generator": "conv", "generator.width": 4, "latent.size": 3, "critic": "mlp"},
    ),
    "vae": (
        "vae",
        DataSpec("vector", (2,), scale=(2.0, 3.0), shift=(0.5, 0.0), name="points"),
        {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "latent.size": 2},
    ),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained weights: ``gan`` has batch norm and labels, ``vae`` an encoder and a learned σ."""
    place = tmp_path_factory.mktemp("originals")
    for name, (recipe, spec, options) in SMALL.items():
        genzoo.create(recipe, spec, options=options).save(place / name)
    return {name: place / name for name in SMALL}


@pytest.fixture
def vae(originals: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(originals["vae"], tmp_path / "vae"))


@pytest.fixture
def gan(originals: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(originals["gan"], tmp_path / "gan"))


def signed(folder: Path) -> None:
    """Write a manifest that fits what is there, as who made the folder would."""
    listed = {}
    for name in ("config.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        listed[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": listed}))


def refused(folder: Path, *words: str) -> str:
    """Check that loading fails in one plain line with these words in it."""
    with pytest.raises(GenzooError) as caught:
        genzoo.load(folder)
    line = str(caught.value)
    assert line.isprintable(), repr(line)
    assert len(line) < 1000
    for word in words:
        assert word in line, f"{word!r} is not in {line!r}"
    return line


@pytest.fixture
def refuse() -> Callable[..., str]:
    """Sign the folder, and check that it is refused."""

    def check(folder: Path, *words: str) -> str:
        signed(folder)
        return refused(folder, *words)

    return check


@pytest.fixture
def refuse_unsigned() -> Callable[..., str]:
    """Check that a folder is refused as it is."""
    return refused


@pytest.fixture
def edit() -> Callable[[Path, Callable[[dict[str, Any]], object]], None]:
    """Change a folder's config."""

    def change(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
        config = json.loads((folder / "config.json").read_text())
        how(config)
        (folder / "config.json").write_text(json.dumps(config))

    return change


def packed(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    """The bytes of a safetensors file."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


@pytest.fixture
def pack() -> Callable[..., bytes]:
    return packed


def unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    n = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + n]), content[8 + n :]


@pytest.fixture
def unpack() -> Callable[[bytes], tuple[dict[str, Any], bytes]]:
    return unpacked

"""Weights in a bucket, against two of fsspec's real file systems."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import genzoo
from genzoo.core.errors import GenzooError
from genzoo.registry import Registry, hookimpl
from genzoo.registry.weights import resolve

fsspec = pytest.importorskip("fsspec")
TARGET = "genzoo.plugins.stores.buckets:Bucket"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    few = {"steps": 1, "batch_size": 4, "device": "cpu", "progress": False}
    return genzoo.fit("gan", "ring8", tmp_path_factory.mktemp("w") / "faces", **few).folder


@pytest.fixture
def registry(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Plugin:
        @hookimpl
        def genzoo_register(self, registry):
            for name in ("memory", "file", "no-such-protocol"):
                registry.store(name, TARGET)

    found = Registry.discover(plugins=False)
    assert found.add(Plugin(), "buckets").error is None
    return found


def test_memory_with_versions(registry, folder):
    system = fsspec.filesystem("memory")
    for name in ("/zoo/deep/faces", "/zoo/deep/faces@2"):
        system.put(str(folder), name, recursive=True)
    with system.open("/zoo/deep/faces@2/README.md", "ab") as f:
        f.write(b"")
    for name in ("memory:zoo/deep/faces", "memory:zoo/deep/faces@2"):
        found = resolve(name, registry=registry)
        for file in ("config.json", "model.safetensors"):
            assert (found.folder / file).read_bytes() == (folder / file).read_bytes()
    with system.open("/zoo/deep/faces/model.safetensors", "wb") as f:
        f.write(b"x" * (folder / "model.safetensors").stat().st_size)
    shutil.rmtree(resolve("memory:zoo/deep/faces@2", registry=registry).folder.parents[1])
    with pytest.raises(GenzooError, match=r"memory:zoo/deep/faces is refused: its model\.safetensors"):
        resolve("memory:zoo/deep/faces", registry=registry)
    with pytest.raises(GenzooError, match="there are no genzoo weights at memory:zoo/none"):
        resolve("memory:zoo/none", registry=registry)


def test_local_files(registry, folder):
    assert resolve(f"file:{folder}", registry=registry).size > 0
    (folder.parent / "odd").mkdir()
    (folder.parent / "odd" / "manifest.json").write_text("[]")
    with pytest.raises(GenzooError, match=r"its manifest\.json is damaged"):
        resolve(f"file:{folder.parent}/odd", registry=registry)


def test_what_is_not_there(registry):
    with pytest.raises(GenzooError, match="no-such-protocol:a/b cannot be opened: Protocol not known"):
        resolve("no-such-protocol:a/b", registry=registry)
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(GenzooError, match=r"s3:bucket/faces cannot be opened: .*s3fs"):
            resolve("s3:bucket/faces", registry=registry)

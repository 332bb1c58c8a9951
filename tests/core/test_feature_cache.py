"""Features on disk: found again, refused when damaged, whole whoever writes at the same time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from genzoo.core.evaluation.feature_cache import FeatureCache


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "new" / "features")


def test_what_was_put_is_found(cache):
    features = torch.randn(5, 3)
    cache.put("key", {"features": features, "logits": features[:, :1]})
    found = cache.get("key")
    assert torch.equal(found["features"], features)
    assert torch.equal(found["logits"], features[:, :1])
    assert cache.get("other") is None


@pytest.mark.parametrize("at", [0, 9, -1, -7])
def test_a_flipped_byte_is_as_good_as_absent(cache, at):
    cache.put("key", {"features": torch.randn(50, 3)})
    path = cache.path("key")
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert cache.get("key") is None


def test_a_truncated_file_and_one_of_another_key(cache):
    cache.put("key", {"features": torch.randn(50, 3)})
    content = cache.path("key").read_bytes()
    cache.path("key").write_bytes(content[:-100])
    assert cache.get("key") is None
    cache.path("other").write_bytes(content)
    assert cache.get("other") is None


def test_the_oldest_go_first(tmp_path):
    cache = FeatureCache(tmp_path, limit_bytes=3000)
    for i in range(4):
        cache.put(f"{i}", {"features": torch.zeros(250)})  # a kilobyte each
        os.utime(cache.path(f"{i}"), (i, i)) if cache.path(f"{i}").exists() else None
    assert [cache.path(f"{i}").exists() for i in range(4)] == [False, False, True, True]


def test_a_folder_that_cannot_be_made_costs_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    cache = FeatureCache(tmp_path / "file" / "below")
    cache.put("key", {"features": torch.zeros(2)})
    assert cache.get("key") is None


WRITER = """
import sys, torch
from pathlib import Path
from genzoo.core.evaluation.feature_cache import FeatureCache
cache = FeatureCache(Path(sys.argv[1]))
x = torch.arange(5000.0)
for _ in range(8):
    cache.put("key", {"features": x})
    found = cache.get("key")
    assert found is not None and torch.equal(found["features"], x)
"""


def test_two_processes_write_and_read_the_same_key(tmp_path):
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], env=env) for _ in range(2)]
    assert [p.wait(timeout=120) for p in running] == [0, 0]
    assert [p.suffix for p in tmp_path.iterdir()] == [".safetensors"]


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert FeatureCache().folder == tmp_path / "genzoo" / "features"

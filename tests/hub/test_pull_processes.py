"""Processes that pull at the same time, are killed, and start with nothing but the environment."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PULL = "from genzoo.registry.weights import resolve; import sys; print(resolve(sys.argv[1]).folder)"


def weights(size):
    files = {
        "config.json": b'{"format": 1, "recipe": "vae", "latent": {}}',
        "model.safetensors": random.Random(0).randbytes(size),
    }
    listed = {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in files.items()}
    return files | {"manifest.json": json.dumps({"format": 1, "files": listed}).encode()}


@pytest.fixture
def start(hub, tmp_path):
    started = []

    def run(*arguments, **env):
        clean = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"} | env
        pipe = subprocess.PIPE
        started.append(subprocess.Popen([sys.executable, *arguments], stdout=pipe, stderr=pipe, text=True, env=clean))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_many_at_once(hub, start, tmp_path):
    files = weights(3_000_000)
    hub.create("zoo/gan", files, tag="v1")
    hub.slow(r"model\.safetensors", 0.02, chunk=300_000, times=None)
    processes = [start("-c", PULL, "hf:zoo/gan@v1") for _ in range(4)]
    results = [p.communicate(timeout=60) for p in processes]
    assert [p.returncode for p in processes] == [0] * 4, results
    (folder,) = {Path(out.strip()) for out, _ in results}
    assert {n: (folder / n).read_bytes() for n in files} == files
    assert hub.count("GET", r"/resolve/.*model\.safetensors") == 1
    assert {err for _, err in results} == {""}


SLOW = [pytest.param(s, marks=pytest.mark.slow) for s in (signal.SIGTERM, signal.SIGINT)]


@pytest.mark.parametrize("how", [signal.SIGKILL, *SLOW])
def test_killed_in_the_middle(hub, start, how):
    files = weights(2_000_000)
    hub.create("zoo/gan", files, tag="v1")
    hub.slow(r"model\.safetensors", 0.05, chunk=100_000, times=None)
    process = start("-m", "genzoo.cli", "pull", "hf:zoo/gan@v1")
    blobs = Path(os.environ["HF_HUB_CACHE"]) / "models--zoo--gan" / "blobs"
    deadline = time.monotonic() + 30
    while not any(p.stat().st_size > 300_000 for p in blobs.glob("*incomplete")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    assert process.returncode == (-how if how == signal.SIGKILL else 128 + how)
    assert out == ""
    assert "Traceback" not in err
    (partial,) = blobs.glob("*incomplete")
    had = partial.stat().st_size
    hub.well()
    hub.requests.clear()
    again = start("-m", "genzoo.cli", "pull", "hf:zoo/gan@v1", "--json")
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    folder = Path(json.loads(out)["folder"])
    assert {n: (folder / n).read_bytes() for n in files} == files
    ranges = [h.get("Range", h.get("range")) for _, p, h in hub.requests if "model.safetensors" in p]
    assert ranges == [f"bytes={had}-"]
    assert not list(blobs.glob("*incomplete"))
    for _, _, headers in hub.requests:
        assert "torch" not in str(headers)  # what the client calls telemetry


def test_the_hub_is_imported_only_for_the_hub(start, tmp_path):
    code = (
        "import sys; from genzoo.cli.main import app\n"
        "for a in (['pull', './gone'], ['cache', 'ls'], ['list', 'weights'], ['pull', '--help']):\n"
        "    try: app(a, standalone_mode=False)\n"
        "    except Exception as e: print(e, file=sys.stderr)\n"
        "print(sorted({'torch', 'huggingface_hub', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    process = start("-c", code)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.splitlines()[-1] == "[]"

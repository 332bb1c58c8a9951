"""One thread: on networks as small as the tests', more threads only wait for each other. And a Hub on loopback."""

import importlib.util
import os
import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, and for processes that tests start
# A shell ignores SIGINT for what it starts in the background, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode adds no folder
from oracles import *  # noqa: E402, F403

Images = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A fresh Hub-compatible server (tests/hub/server.py says how to use it), an empty cache, and a token."""
    import huggingface_hub.constants

    path = Path(__file__).parent / "hub" / "server.py"
    spec = importlib.util.spec_from_file_location("hub_server", path)
    module = sys.modules["hub_server"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.Hub()
    home = tmp_path / "huggingface"
    settings = {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN": server.token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "GENZOO_LOCKED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # The client reads the environment when it is imported; in this process that has happened.
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", settings["HF_HUB_CACHE"])
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Between two tries the client waits up to 8 s.
    hurried = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(min(seconds, 0.01))})
    for module in (
        "huggingface_hub.utils._http",
        "huggingface_hub.file_download",
        "genzoo.registry.weights.client",
    ):
        monkeypatch.setattr(importlib.import_module(module), "time", hurried)
    yield server
    server.refuse()


@pytest.fixture
def pictures() -> Callable[..., Images]:
    """``pictures(N, HEIGHT, WIDTH, CHANNELS)``: 8-bit noise, channels last, none of them if 0."""

    def make(n: int = 12, height: int = 9, width: int = 8, channels: int = 0) -> Images:
        shape = (n, height, width, channels) if channels else (n, height, width)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """``folder(ARRAY, CLASSES)``: a folder of .png files, in sub-folders if there are classes."""

    def make(x: Images, classes: int = 0) -> Path:
        root = tmp_path / "pictures"
        for i, image in enumerate(x):
            place = root / f"class{i % classes}" if classes else root
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{i:03d}.png")
        return root

    return make

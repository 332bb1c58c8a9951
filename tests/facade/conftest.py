"""Small pictures to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

Images = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


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

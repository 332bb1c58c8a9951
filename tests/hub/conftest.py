"""A trained model to publish: small, and with everything that publishing asks for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

TINY = {
    "train.batch_size": 16,
    "latent.size": 2,
    "train.validation": 100,
    "generator.width": 8,
    "encoder.width": 8,
    "data.limit": 400,
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import genzoo

    out = tmp_path_factory.mktemp("runs") / "vae"
    genzoo.fit("vae", "ring8", out, steps=6, options=TINY, progress=False)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run's folder of the test's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))

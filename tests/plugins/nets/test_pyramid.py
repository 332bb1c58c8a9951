"""What networks of several resolutions refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import genzoo
from genzoo.core.errors import UsageError


def test_clips_that_are_too_short_for_a_network_are_to_be_longer(tmp_path: Path) -> None:
    np.savez(tmp_path / "short.npz", x=np.ones((20, 400), np.int16))
    with pytest.raises(UsageError, match=r"not 128x6: bring pictures to another size .*, take longer clips of sounds"):
        genzoo.fit("spec-vae", str(tmp_path / "short.npz"), options={"data.modality": "audio"}, progress=False)

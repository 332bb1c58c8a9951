"""The commands that compress and decompress, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.errors import GenzooError, UsageError

pytest.importorskip("constriction")


def test_to_a_file_and_back(tmp_path: Path) -> None:
    data = genzoo.load_data("fashion-mini", split="test")
    done = genzoo.compress("vae/fashion-mnist", data, tmp_path / "a.zoo", 9)
    assert done.size == (tmp_path / "a.zoo").stat().st_size
    assert done.scheme == "bits-back"
    genzoo.decompress(tmp_path / "a.zoo", tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as found:
        assert (found["samples"] == data.x[:9].numpy()).all()
    genzoo.decompress(tmp_path / "a.zoo", tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 9
    (tmp_path / "a.zoo").write_bytes((tmp_path / "a.zoo").read_bytes()[:-1])
    with pytest.raises(GenzooError, match="cut or changed"):
        genzoo.decompress(tmp_path / "a.zoo", tmp_path / "b.npz")
    assert not (tmp_path / "b.npz").exists()


@pytest.mark.slow
def test_other_threads_in_another_process_read_it(tmp_path: Path) -> None:
    data = genzoo.load_data("fashion-mini", split="test")
    model = genzoo.load("vae/fashion-mnist")
    done = genzoo.compress("vae/fashion-mnist", data, tmp_path / "a.zoo", 1000)
    weights = [model.log_likelihood(data.x[:1000], samples=1, seed=s).mean for s in range(3)]
    bound = -sum(weights) / 3 / np.log(2) / 784
    assert bound < done.bits < 1.01 * bound
    code = "import sys, genzoo; genzoo.decompress(sys.argv[1], sys.argv[2])"
    for threads in ("2", "7"):
        run = [sys.executable, "-c", code, str(tmp_path / "a.zoo"), str(tmp_path / f"{threads}.npz")]
        subprocess.run(run, check=True, timeout=200, env=os.environ | {"OMP_NUM_THREADS": threads})
        with np.load(tmp_path / f"{threads}.npz") as found:
            assert torch.equal(torch.from_numpy(found["samples"]), data.x[:1000])


def test_a_folder_is_not_brought_to_the_models_form_unasked(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.full((30, 30), 7, np.uint8)).save(tmp_path / "photos" / "a.png")
    with pytest.raises(UsageError, match='"size": "28x28"'):
        genzoo.compress("vae/fashion-mnist", tmp_path / "photos", tmp_path / "a.zoo")
    done = genzoo.compress("vae/fashion-mnist", tmp_path / "photos", tmp_path / "a.zoo", data_options={"size": "28"})
    assert done.count == 1

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
from genzoo.core.modality import of

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


DECODE = "import sys, genzoo; genzoo.decompress(*sys.argv[1:])"
OLDER = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}


def test_other_instructions_read_it(tmp_path: Path) -> None:
    """Where sums are taken in another order, as by an older processor; ``fast`` binds a file to those of this one."""
    data = genzoo.load_data("fashion-mini", split="test").take(slice(100))
    for fast in (False, True):
        genzoo.compress("vae/fashion-mnist", data, tmp_path / "a.zoo", portable=not fast)
        run = [sys.executable, "-c", DECODE, str(tmp_path / "a.zoo"), str(tmp_path / f"{fast}.npz")]
        said = subprocess.run(run, env=os.environ | OLDER, capture_output=True, text=True, timeout=300)
        assert (said.returncode == 0) or (fast and "fast mode binds it" in said.stderr), said.stderr
    assert (tmp_path / "False.npz").exists()
    for file in tmp_path.glob("*.npz"):
        with np.load(file) as found:
            assert torch.equal(torch.from_numpy(found["samples"]), data.x)
    if (tmp_path / "True.npz").exists():
        pytest.skip("the sums of this processor do not depend on the instructions")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_other_threads_in_another_process_read_it(tmp_path: Path) -> None:
    data = genzoo.load_data("fashion-mini", split="test")
    model = genzoo.load("vae/fashion-mnist")
    done = genzoo.compress("vae/fashion-mnist", data, tmp_path / "a.zoo", 1000)
    weights = [model.log_likelihood(data.x[:1000], samples=1, seed=s).mean for s in range(3)]
    bound = -sum(weights) / 3 / np.log(2) / 784
    assert bound < done.bits < 1.01 * bound
    for threads in ("2", "7"):
        run = [sys.executable, "-c", DECODE, str(tmp_path / "a.zoo"), str(tmp_path / f"{threads}.npz")]
        subprocess.run(run, check=True, timeout=700, env=os.environ | {"OMP_NUM_THREADS": threads})
        with np.load(tmp_path / f"{threads}.npz") as found:
            assert torch.equal(torch.from_numpy(found["samples"]), data.x[:1000])


def test_a_folder_is_not_brought_to_the_models_form_unasked(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.full((30, 30), 7, np.uint8)).save(tmp_path / "photos" / "a.png")
    with pytest.raises(UsageError, match='"size": "28x28"'):
        genzoo.compress("vae/fashion-mnist", tmp_path / "photos", tmp_path / "a.zoo")
    done = genzoo.compress("vae/fashion-mnist", tmp_path / "photos", tmp_path / "a.zoo", data_options={"size": "28"})
    assert done.count == 1


def test_every_byte_of_a_file_of_texts_comes_back(tmp_path: Path) -> None:
    model = genzoo.create("lm", genzoo.load_data(["hello world", "a bc def"]).spec,
                          options={"likelihood.hidden": 4, "likelihood.embed": 4})  # fmt: skip
    for raw in (b"", b"\n", b"a\nb", b"a\r\nb\n\n", bytes(range(256)), "\u4e2d na\u00efve \U0001f600\n".encode() * 7):
        (tmp_path / "a.txt").write_bytes(raw)
        done = genzoo.compress(model, tmp_path / "a.txt", tmp_path / "a.zoo")
        genzoo.decompress(tmp_path / "a.zoo", tmp_path / "b.txt", model)
        assert (tmp_path / "b.txt").read_bytes() == raw
    assert done.unit == "character"
    (tmp_path / "bad.txt").write_bytes(b"\xff\n")
    genzoo.compress(model, tmp_path / "bad.txt", tmp_path / "a.zoo")
    with pytest.raises(UsageError, match="not UTF-8"):
        genzoo.decompress(tmp_path / "a.zoo", tmp_path / "b.jsonl", model)
    with pytest.raises(UsageError, match=r"use \.txt or \.jsonl"):
        genzoo.decompress(tmp_path / "a.zoo", tmp_path / "b.npz", model)
    genzoo.compress(model, ["a\nb"], tmp_path / "a.zoo")
    with pytest.raises(UsageError, match="line breaks"):
        genzoo.decompress(tmp_path / "a.zoo", tmp_path / "b.txt", model)


def test_a_file_of_a_table_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = "".join(f"{i},{'' if i % 7 == 0 else 'ab'[i % 2]},{i * 1.25},{i % 3}\n" for i in range(200))
    (tmp_path / "a.csv").write_text("id,kind,size,few\n" + rows)
    model = genzoo.create("table-ar", genzoo.load_data(tmp_path / "a.csv").spec, options={"likelihood.hidden": 8})
    done = genzoo.compress(model, tmp_path / "a.csv", tmp_path / "a.zoo")
    assert (done.unit, done.count) == ("row", 200)
    genzoo.decompress(tmp_path / "a.zoo", tmp_path / "b.csv", model)
    genzoo.decompress(tmp_path / "a.zoo", tmp_path / "b.parquet", model)
    from pyarrow import csv, parquet

    assert csv.read_csv(tmp_path / "b.csv") == csv.read_csv(tmp_path / "a.csv")
    assert parquet.read_table(tmp_path / "b.parquet").column("size").to_pylist() == [i * 1.25 for i in range(200)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grey", "colour", "text", "table"])
@pytest.mark.parametrize("n", [1, 7, 300])
def test_another_process_with_other_threads_reads_it(kind: str, n: int, tmp_path: Path) -> None:
    """Of every kind, and for many observations within a hundredth of the bound, header included."""
    shape = {"grey": (1, 13, 9), "colour": (3, 7, 11)}.get(kind)
    small = {"likelihood.hidden": 8}
    if shape:
        x = torch.randint(256, (n, *shape), generator=torch.Generator().manual_seed(n)).to(torch.uint8)
        given: object = genzoo.load_data(x, options={"modality": "image", "layout": "first"})
        recipe = "multiscale"
    else:
        name, recipe = ("kjv-mini", "lm") if kind == "text" else ("penguins", "table-ar")
        given = genzoo.load_data(name, split="all").take(slice(n))
    genzoo.create(recipe, given.spec, options=small).save(tmp_path / "weights")
    model = genzoo.load(tmp_path / "weights")
    done = genzoo.compress(str(tmp_path / "weights"), given, tmp_path / "a.zoo")
    out = {"text": "b.jsonl", "table": "b.parquet"}.get(kind, "b.npz")
    for threads in ("1", "3"):
        run = [sys.executable, "-c", DECODE, str(tmp_path / "a.zoo"), str(tmp_path / out), str(tmp_path / "weights")]
        subprocess.run(run, check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": threads})
        back = genzoo.decompress(tmp_path / "a.zoo", tmp_path / f"own-{out}")
        if kind in ("text", "table"):
            assert (tmp_path / out).read_bytes() == back.read_bytes()
            continue
        with np.load(tmp_path / out) as found:
            assert (found["samples"] == x.numpy()).all()
    if kind == "text":
        again = genzoo.load_data("text-file", split="all", options={"path": str(tmp_path / out)})
        held = of(given.spec).texts(given.spec, given.x)
        assert of(again.spec).texts(again.spec, again.x) == held
    if n == 300 and kind != "table":
        found = model.log_likelihood(given.x, samples=1)
        assert done.size * 8 < -1.01 * found.values.sum().item() / np.log(2)
    whole = (tmp_path / "a.zoo").read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:40] + bytes([whole[40] ^ 8]) + whole[41:]):
        (tmp_path / "a.zoo").write_bytes(broken)
        with pytest.raises(GenzooError):
            genzoo.decompress(tmp_path / "a.zoo", tmp_path / f"c-{out}")
        assert not (tmp_path / f"c-{out}").exists()


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 1000])
@pytest.mark.parametrize("weights", [
    "beta-vae/fashion-mnist", "cvae/fashion-mnist", "lm/kjv-mini", "multiscale/fashion-mnist", "table-ar/adult",
    "text-vae/kjv-mini", "vae/emoji", "vae/fashion-mnist",
])  # fmt: skip
def test_files_are_within_a_hundredth_of_the_bound_header_included(weights: str, n: int, tmp_path: Path) -> None:
    data = genzoo.load_data(weights.partition("/")[2], split="test")
    data, model = data.take(slice(min(n, len(data)))), genzoo.load(weights)
    done = genzoo.compress(weights, data, tmp_path / "a.zoo", verify=False)
    draws = 1 if model.exact else 8
    told = data.y if model.classes else None
    scores = [model.log_likelihood(data.x, told, samples=1, seed=s).values.sum().item() for s in range(draws)]
    bound = -sum(scores) / draws / np.log(2)
    assert 0.998 * bound < 8 * done.size < 1.01 * bound  # codes of bits back are other draws than those of the bound


def test_a_number_of_observations_is_not_for_a_file_that_comes_back_whole(tmp_path):
    (tmp_path / "few.txt").write_text("in the beginning\nwas the word\n")
    with pytest.raises(UsageError, match="-n is not for a file of which everything comes back"):
        genzoo.compress("lm/kjv-mini", tmp_path / "few.txt", tmp_path / "few.gz0", 1)

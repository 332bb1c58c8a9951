"""What readers refuse before they open or unpack it: pipes, devices, impossible headers, more than memory holds."""

import io
import os
import threading
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.data import npy
from genzoo.core.errors import GenzooError
from genzoo.core.storage.strict import regular
from genzoo.plugins.datasets.fashion_mnist import read_idx
from genzoo.plugins.datasets.folder import Folder


def within(seconds, call):
    """Run something that might wait for ever, in a thread that dies with the process; what it raised."""
    caught = []

    def run():
        try:
            call()
        except GenzooError as e:
            caught.append(str(e))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits"
    return caught[0] if caught else ""


@pytest.fixture
def pipe(tmp_path):
    def make(name):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        os.mkfifo(path)
        return path

    return make


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("x.npy", lambda p: genzoo.load_data(p)),
        ("x.npz", lambda p: genzoo.load_data(p)),
        ("x.npz", lambda p: genzoo.load_data("array", options={"path": str(p)})),
        ("images/a.png", lambda p: genzoo.load_data(p.parent)),
        ("train-images.gz", lambda p: read_idx(p, 3)),
        ("train-images", lambda p: read_idx(p, 3)),
        ("s.npz", lambda p: genzoo.evaluate(p, "ring8", "mmd", n=4)),
        ("s.npy", lambda p: genzoo.evaluate(p, "ring8", "mmd", n=4)),
        ("mine.toml", lambda p: genzoo.fit(p, "ring8", steps=1)),
    ],
)
def test_a_pipe_is_not_opened(pipe, name, read):
    path = pipe(name)
    assert "pipe" in within(20, lambda: read(path)) or "no file" in within(20, lambda: read(path))


def test_a_device_is_refused_and_a_link_to_a_file_is_not(tmp_path):
    with pytest.raises(GenzooError, match="/dev/null is a device, no regular file"):
        regular(__import__("pathlib").Path("/dev/null"))
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert regular(tmp_path / "b").read_bytes() == b"1"
    (tmp_path / "c.png").symlink_to("/dev/zero")
    with pytest.raises(GenzooError, match=r"c\.png \(a device, no regular file"):
        Folder(Folder.Options(path=str(tmp_path))).load()


def with_header(shape, dtype="<f4", body=b""):
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + body


@pytest.mark.parametrize("shape", ["(True, 2)", "(-1, 2)", "(2, -3)", f"({2**62}, 2)", f"({2**40}, {2**40})"])
@pytest.mark.parametrize("kind", ["npy", "npz", "packed"])
def test_an_impossible_shape_is_a_sentence(tmp_path, shape, kind):
    content = with_header(shape, body=bytes(64))
    path = tmp_path / f"x.{'npy' if kind == 'npy' else 'npz'}"
    if kind == "npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if kind == "packed" else zipfile.ZIP_STORED) as z:
            z.writestr("x.npy", content)
    with pytest.raises(GenzooError, match=r"has the shape .* which no array has"):
        genzoo.load_data(path)


def test_what_unpacks_to_more_than_is_free_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x.npy", with_header("(1000000000, 8, 8)", "|u1", bytes(10_000)))
    monkeypatch.setattr(npy, "free_bytes", lambda: 10**9)
    with pytest.raises(GenzooError, match=r"the array 'x' has 64 GB when it is unpacked, and 1 GB of memory are free"):
        genzoo.load_data(path)
    with pytest.raises(GenzooError, match="64 GB when it is unpacked"):
        genzoo.evaluate(path, "fashion-mini", "mmd")


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.astype(np.float32) / 255], ids=["uint8", "float"])
@pytest.mark.parametrize("last", [pytest.param(False, marks=pytest.mark.slow), True])
def test_unpacking_takes_the_memory_of_the_array_once(tmp_path, make, last, monkeypatch):
    """Beside the tensor that comes out, which tracemalloc does not see, NumPy takes a few chunks."""
    monkeypatch.setattr("genzoo.core.data.rows.CHUNK_BYTES", 2**16)
    x = np.random.default_rng(0).integers(0, 255, (6000, 24, 24, 3) if last else (18000, 24, 24), dtype=np.uint8)
    packed = make(x)
    np.savez_compressed(tmp_path / "a.npz", x=packed)
    genzoo.load_data(tmp_path / "a.npz")
    tracemalloc.start()
    data = genzoo.load_data(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.in_memory
    assert peak <= 0.2 * packed.nbytes, (peak, packed.nbytes)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[len(x) // 10 :]
    plain = torch.from_numpy(x).permute(0, 3, 1, 2) if last else torch.from_numpy(x)[:, None]
    assert torch.equal(data.x, plain[order])


def test_packed_rows_are_those_of_the_array(tmp_path):
    x = np.arange(600, dtype=np.float64).reshape(100, 6)
    np.savez_compressed(tmp_path / "a.npz", x=x, f=np.asfortranarray(x))
    packed = npy.Archive(tmp_path / "a.npz")
    found = packed["x"]
    assert found.member == "x.npy"
    assert np.array_equal(found[10:20], x[10:20])
    assert np.array_equal(found[5:7], x[5:7])  # back again
    assert np.array_equal(found[np.array([9, 3, 3])], x[[9, 3, 3]])
    assert np.array_equal(found[:], x)
    assert np.array_equal(packed["f"], x)


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((2000, 8)).astype(np.float32))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(GenzooError, match=r"a\.npz is damaged"):
        genzoo.load_data(path)


def test_more_than_the_header_says_is_damage(tmp_path):
    content = io.BytesIO()
    np.save(content, np.zeros((4, 2), np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x.npy", content.getvalue() + b"more")
    with pytest.raises(GenzooError, match="longer than it says"):
        genzoo.load_data(tmp_path / "a.npz")

"""Observations that are read as they are needed are the same as those in memory."""

import os
import random
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from genzoo.core.data import Data, binarize, from_arrays, from_torch, standardized
from genzoo.core.data.dataset import uniform_at
from genzoo.core.data.npy import Archive, FileArray
from genzoo.core.data.rows import Picked
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec
from genzoo.core.units import free_bytes, parse_size, size_text
from genzoo.registry import the_registry
from genzoo.registry.verbs.data import open_data

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (40, 5, 7), dtype=np.uint8)
REAL = RANDOM.uniform(0, 1, (40, 3, 5, 7))
KINDS = {
    "grey": BYTES,
    "whole numbers": BYTES.astype(">i4"),
    "colour, last": RANDOM.integers(0, 256, (40, 5, 7, 3), dtype=np.uint8),
    "rgba": RANDOM.integers(0, 256, (40, 4, 5, 7), dtype=np.uint8),
    "truth": BYTES > 99,
    "8-bit floats": BYTES.astype(np.float32) / np.float32(255),
    "0 and 1": (BYTES > 99).astype(np.float64),
    "real": REAL,
    "real by rounding": np.clip(REAL * 1.2 - 0.1, -1e-7, 1 + 1e-7).astype(np.float32),
    "real rgba, last": RANDOM.uniform(0, 1, (40, 5, 7, 4)).astype(np.float16),
    "vectors": RANDOM.normal((1, 1e4), (3, 5), (40, 2)),
}


@pytest.fixture(params=KINDS)
def both(request, tmp_path, monkeypatch):
    """The same data in memory, and in a file read in pieces of a few rows."""
    monkeypatch.setattr("genzoo.core.data.rows.CHUNK_BYTES", 2000)
    monkeypatch.setattr("genzoo.core.data.rows.CHUNK_BYTES", 2000)
    x, y = KINDS[request.param], np.arange(40) % 3
    np.save(tmp_path / "x.npy", x)
    lazy = from_arrays(Archive(tmp_path / "x.npy")["arr_0"], y, memory=0, name="d")
    assert not lazy.in_memory
    return from_arrays(x.copy(), y, name="d"), lazy


def same(a: Data, b: Data) -> bool:
    return (
        a.spec == b.spec
        and a.rows.dtype == b.rows.dtype
        and torch.equal(a.x, b.x)
        and torch.equal(a.y, b.y)
        and (a.dynamic, a.split, len(a), a.nbytes) == (b.dynamic, b.split, len(b), b.nbytes)
        and a.fingerprint() == b.fingerprint()
    )


def test_what_is_read_from_a_file_is_what_is_in_memory(both):
    memory, lazy = both
    assert same(memory, lazy)
    index = torch.randint(40, (100,), generator=torch.Generator().manual_seed(0))
    for a, b in zip(memory.batch(index), lazy.batch(index), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(memory.stored(index[:1])[0], lazy.stored(index[:1])[0])
    assert lazy.to("cpu").in_memory
    assert same(memory, lazy.to("cpu"))


def test_choosing_and_holding_out(both):
    memory, lazy = both
    for chosen in (slice(7), slice(3, 30, 2), [4, 4, -1], torch.arange(39, -1, -1)):
        a, b = memory.take(chosen), lazy.take(chosen)
        assert same(a, b)
        assert not b.in_memory
    for a, b in zip(memory.hold_out(9, seed=3), lazy.hold_out(9, seed=3), strict=True):
        assert same(a, b)
        assert same(a.take([5, 1]), b.take([5, 1]))
    for wrong in ([40], [-41]):
        with pytest.raises(IndexError, match="0 to 39"):
            lazy.take(wrong)


def test_making_other_data_of_them(both):
    memory, lazy = both
    if memory.spec.modality == "vector":
        assert same(standardized(memory), standardized(lazy))
        return
    for mode in ("no", "static", "dynamic"):
        a, b = binarize(memory, mode, seed=5), binarize(lazy, mode, seed=5)
        assert same(a, b)
        if memory.spec.levels != 2 and mode == "static":
            # An image's pixels depend on its number, not on which others there are.
            assert torch.equal(binarize(lazy.take(slice(9)), mode, seed=5).x, a.x[:9])
            assert not torch.equal(binarize(lazy, mode, seed=6).x, a.x)


def test_few_levels_binarize_dynamically_from_anywhere():
    spec, x = DataSpec.image(1, 1, 2, levels=5), torch.tensor([[[[1, 3]]]], dtype=torch.uint8).repeat(4, 1, 1, 1)
    lazy = Data(spec, Picked(Picked(x, torch.arange(4)), torch.tensor([3, 0])))
    assert torch.equal(binarize(lazy, "dynamic").x, torch.tensor([[[[0.25, 0.75]]]]).repeat(2, 1, 1, 1))


def test_most_of_a_tensor_is_not_copied():
    data = from_arrays(BYTES.copy())
    train, held = data.hold_out(4, seed=0)
    assert isinstance(train.rows, Picked)
    assert train.rows.base is data.rows
    assert train.to("cpu").rows.base is data.rows
    assert held.rows.base is data.rows
    assert isinstance(data.take([1, 2]).rows, torch.Tensor)  # few: they need not keep all in memory
    again = train.take(torch.arange(30))
    assert again.rows.base is data.rows
    assert torch.equal(again.x, train.x[:30])


def test_arrays_that_fit_are_read_and_others_are_not(tmp_path):
    np.save(tmp_path / "x.npy", BYTES)
    for memory, fits in ((BYTES.nbytes, True), (BYTES.nbytes - 1, False), (None, True)):
        for raw in (Archive(tmp_path / "x.npy")["arr_0"], np.load(tmp_path / "x.npy", mmap_mode="r")):
            assert from_arrays(raw, memory=memory).in_memory == fits
    # Floats that are 8-bit images take a quarter of their file, and that is what counts.
    np.save(tmp_path / "f.npy", KINDS["8-bit floats"])
    assert from_arrays(Archive(tmp_path / "f.npy")["arr_0"], memory=BYTES.nbytes).in_memory
    # What is in memory already stays, unless it had to be copied to be converted.
    assert from_arrays(BYTES.copy(), memory=0).in_memory
    assert not from_arrays(REAL, memory=0).in_memory


def test_nan_is_found_wherever_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("genzoo.core.data.rows.CHUNK_BYTES", 64)
    x = np.ones((50, 2), np.float32)
    x[33, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(UsageError, match=r"has 1 values .*first at index \(33, 1\)"):
        from_arrays(Archive(tmp_path / "x.npy")["arr_0"], memory=0)


# --- files ------------------------------------------------------------------------------------------------


def opened(path, memory=0, split="train", **options):
    return open_data(the_registry(), path, options, split=split, memory=memory)


def test_the_array_data_set_reads_both_kinds_of_file_as_needed(tmp_path):
    x, y = KINDS["colour, last"], np.arange(40) % 3
    np.save(tmp_path / "d.npy", x)
    np.savez(tmp_path / "d.npz", x=x, y=y, x_test=x[:5], y_test=y[:5])
    for name in ("d.npy", "d.npz"):
        for split in ("train", "test"):
            lazy, memory = (opened(tmp_path / name, m, split) for m in (0, 10**9))
            assert (lazy.in_memory, memory.in_memory) == (False, True)
            assert lazy.fingerprint() == memory.fingerprint()
    a, b = (opened(tmp_path / "d.npz", m, limit=17, binarize="static") for m in (0, 10**9))
    assert len(a) == 17
    assert torch.equal(a.x, b.x)


def test_files_that_cannot_be_read_by_rows_are_read_otherwise(tmp_path):
    np.savez_compressed(tmp_path / "small.npz", x=BYTES)
    assert Archive(tmp_path / "small.npz")["x"].member == "x.npy"
    np.save(tmp_path / "columns.npy", np.asfortranarray(BYTES))
    assert not isinstance(Archive(tmp_path / "columns.npy")["arr_0"], FileArray)
    for name in ("small.npz", "columns.npy"):
        assert torch.equal(opened(tmp_path / name).x, opened(tmp_path / name, 10**9).x)
    assert not opened(tmp_path / "columns.npy").in_memory


def test_a_vector_split_is_standardized_by_its_train_part(tmp_path):
    np.save(tmp_path / "v.npy", KINDS["vectors"])
    for split in ("train", "test"):
        assert opened(tmp_path / "v.npy", 0, split).spec == opened(tmp_path / "v.npy", 10**9, split).spec


def test_a_file_that_changes_is_named(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, BYTES)
    data = opened(path)
    good = path.read_bytes()
    path.write_bytes(good[:-9])
    with pytest.raises(GenzooError, match=r"x\.npy was changed while"):
        data.batch(torch.tensor([3]))
    path.unlink()
    with pytest.raises(GenzooError, match=r"x\.npy cannot be read: No such file"):
        data.batch(torch.tensor([3]))
    path.write_bytes(good[:-9])
    with pytest.raises(GenzooError, match=r"x\.npy is damaged, truncated"):
        opened(path)


def test_a_flipped_bit_in_an_archive_is_found(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=BYTES)
    with zipfile.ZipFile(path) as archive:
        at = archive.infolist()[0].header_offset + 500
    damaged = bytearray(path.read_bytes())
    damaged[at] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(GenzooError, match=r"x\.npz is damaged"):
        opened(path)


@pytest.fixture
def folder(tmp_path):
    """Grey, colour and transparent pictures of one size, in two classes."""
    for i in range(12):
        place = tmp_path / "faces" / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        mode, channels = [("L", ()), ("RGB", (3,)), ("LA", (2,)), ("RGBA", (4,))][i % 4 if i < 8 else 0]
        pixels = RANDOM.integers(0, 256, (6, 8, *channels), dtype=np.uint8)
        Image.fromarray(pixels, mode).save(place / f"{i:02}.png")
    return tmp_path / "faces"


@pytest.mark.parametrize("options", [{}, {"size": "4x5"}, {"mode": "grey"}, {"limit": 5, "binarize": "static"}])
def test_a_folder_is_decoded_as_needed(folder, options):
    for split in ("train", "test"):
        lazy, memory = (opened(folder, m, split, **options) for m in (0, 10**9))
        assert (lazy.in_memory, memory.in_memory) == (False, True)
        assert same(lazy, memory)


def test_a_folder_of_grey_pictures_stays_grey(folder):
    for path in folder.glob("*/*.png"):
        Image.open(path).convert("L").save(path)
    lazy = opened(folder, 0)
    assert lazy.spec.shape == (1, 6, 8)
    assert lazy.fingerprint() == opened(folder, 10**9).fingerprint()


def test_a_folder_is_checked_first_and_names_what_breaks_later(folder):
    data = opened(folder, 0)
    paths = sorted(folder.glob("*/*.png"))
    Image.new("RGB", (9, 9)).save(paths[0])
    paths[5].write_bytes(paths[5].read_bytes()[:50])
    found = []
    for i in range(len(data)):
        try:
            data.batch(torch.tensor([i]))
        except GenzooError as e:
            found.append(str(e))
    found = sorted(found)  # either may be in the test split
    assert found
    names = [os.path.relpath(p, folder) for p in (paths[0], paths[5])]
    assert all(any(n in text for n in names) for text in found)
    assert all("now 9x9" in text or "cannot be read any more" in text for text in found)
    with pytest.raises((GenzooError, UsageError), match=r"differ in size|cannot be read"):
        opened(folder, 0)


# --- torch data sets --------------------------------------------------------------------------------------


class Augmented(Dataset):
    classes = ("cat", "dog")

    def __init__(self, broken=None):
        self.broken = broken

    def __len__(self):
        return 20

    def __getitem__(self, i):
        if i == self.broken:
            raise OSError(f"picture {i} is gone")
        flip = random.random() < 0.5
        x = torch.rand(1, 4, 5) * np.random.rand()
        return (x.flip(2) if flip else x), i % 2


def test_a_map_style_data_set_beyond_memory_is_read_as_needed():
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state(), random.getstate()
    memory, lazy = from_torch(Augmented(), memory=10**6), from_torch(Augmented(), memory=10)
    assert (memory.in_memory, lazy.in_memory) == (True, False)
    assert same(memory, lazy)  # what is random about an item is drawn once, and stays
    assert lazy.spec.class_names == ("cat", "dog")
    index = torch.tensor([7, 2, 7])
    assert torch.equal(lazy.batch(index)[0], memory.batch(index)[0])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_lazy_data_set_is_checked_first():
    with pytest.raises(GenzooError, match="item 13: OSError: picture 13 is gone"):
        from_torch(Augmented(13), memory=10)
    data = from_torch(Augmented(), memory=10)
    data.rows.raw.dataset.broken = 4
    with pytest.raises(GenzooError, match="item 4: OSError"):
        data.batch(torch.tensor([1, 4]))


# --- memory and draws -------------------------------------------------------------------------------------


def test_sizes_as_people_write_them():
    for text, size in {
        "512MB": 512 * 10**6, "2GB": 2 * 10**9, "1.5 GiB": 3 * 2**29, "40m": 40 * 10**6, "7": 7, "0": 0, ".5kb": 500,
        "1KiB": 1024, " 3 b ": 3, "1TB": 10**12,
    }.items():  # fmt: skip
        assert parse_size(text, "--data-memory") == size
    assert parse_size(123, "x") == 123
    assert parse_size(None, "x") is parse_size("auto", "x") is None
    for bad in ("", "much", "-1", -1, "1XB", "1 2MB", "infMB", True, 1.5, "1e9", "GB"):
        with pytest.raises(UsageError, match=r"data_memory=… takes a size like 512MB.*not"):
            parse_size(bad, "--data-memory")
    assert [size_text(n) for n in (0, 999, 45_200_000, 1_234_000_000)] == ["0 bytes", "999 bytes", "45 MB", "1.23 GB"]
    assert 10**6 < free_bytes() < 10**15


def test_too_much_for_memory_is_refused_in_a_sentence(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", BYTES)
    monkeypatch.setattr("genzoo.core.data.observations.free_bytes", lambda _: 1000)
    with pytest.raises(UsageError, match=r"needs 1.26 kB of memory, more than is free: take a part"):
        opened(tmp_path / "x.npy").x  # noqa: B018


def test_draws_of_rows_are_those_of_splitmix64():
    from genzoo.core.noise import stream_seed

    state, mask, expected = stream_seed(9, 0xB17), (1 << 64) - 1, []
    for _ in range(12):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        expected.append(((z ^ (z >> 31)) >> 40) / 2**24)
    assert uniform_at(9, torch.tensor([0, 1, 2]), 4).flatten().tolist() == expected
    assert uniform_at(9, torch.tensor([2]), 4)[0].tolist() == expected[8:]
    many = uniform_at(0, torch.arange(1000), 1000).double()
    assert 0 <= many.min() < 1e-4 < 1 - 1e-4 < many.max() < 1
    assert abs(many.mean() - 0.5) < 4.5 * (1 / 12 / 1e6) ** 0.5
    assert abs(many.mean(0).var() * 1000 * 12 - 1) < 0.25  # columns, and so rows, are independent
    assert abs(many.mean(1).var() * 1000 * 12 - 1) < 0.25


class Numbers:
    """As many rows as asked for, each its number and a constant; counts what is read."""

    dtype = torch.float32

    def __init__(self, n, constant=1.0):
        self.shape, self.constant, self.read = (n, 2), constant, []

    def __len__(self):
        return self.shape[0]

    def take(self, index):
        self.read += index.tolist()
        return torch.stack([index.float(), torch.full((len(index),), self.constant)], 1)


def test_the_fingerprint_of_a_billion_observations_reads_some_from_the_first_to_the_last():
    spec = DataSpec("vector", (2,))
    rows = Numbers(10**9)
    found = Data(spec, rows).fingerprint()
    assert len(rows.read) == 2**16
    assert rows.read == sorted(set(rows.read))
    assert (rows.read[0], rows.read[-1]) == (0, 10**9 - 1)
    others = [Numbers(10**9 - 1), Numbers(10**9, 2.0)]
    assert len({found, *(Data(spec, r).fingerprint() for r in others)}) == 3
    few = Numbers(1000)
    assert Data(spec, few).fingerprint() == Data(spec, few.take(torch.arange(1000))).fingerprint()  # of these, all

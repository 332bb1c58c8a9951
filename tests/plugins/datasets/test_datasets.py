"""The zoo's data sets, and what happens to files that are not what they should be."""

import gzip
import io
import os
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import coerce_all, options_of
from genzoo.plugins.apps.bench import bench_cli
from genzoo.plugins.datasets import fashion_mnist
from genzoo.plugins.datasets.arrays import ArrayFile
from genzoo.plugins.datasets.bundled import FashionMini
from genzoo.plugins.datasets.fashion_mnist import FashionMNIST, read_idx
from genzoo.plugins.datasets.folder import Folder, parse_size
from genzoo.plugins.datasets.toys import Grid25, Ring8
from genzoo.registry import the_registry
from genzoo.registry.verbs.data import entry_for, open_data
from genzoo.registry.weights.hub import without_asking

# --- toys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "modes"), [(Ring8, 8), (Grid25, 25)])
def test_toys_have_the_moments_they_claim(source, modes):
    data = source().load("train")
    assert (len(data), data.spec.shape, data.spec.classes) == (100_000, (2,), modes)
    assert data.spec.scale[0] == pytest.approx(8**0.5 if source is Grid25 else 0.5**0.5)
    assert data.spec.shift == (0.0,)
    counts = data.y.bincount(minlength=modes)
    expected = 100_000 / modes
    assert (((counts - expected) ** 2) / expected).sum() < modes + 5 * (2 * modes) ** 0.5  # chi-square
    residual = (data.x.double() - torch.tensor(source.centres, dtype=torch.float64)[data.y]) / source.sigma
    for k in range(modes):
        mine = residual[data.y == k]
        assert (mine.mean(0).abs() * len(mine) ** 0.5 < 4.5).all()
    n = residual.numel()
    assert abs(residual.std().item() - 1) < 4.5 / (2 * n) ** 0.5
    assert abs((residual[:, 0] * residual[:, 1]).mean().item()) < 4.5 / len(residual) ** 0.5


def test_toys_are_the_published_ones():
    assert torch.tensor(Ring8.centres).norm(dim=1).tolist() == pytest.approx([1] * 8)
    assert torch.pdist(torch.tensor(Ring8.centres)).min().item() == pytest.approx(2 * np.sin(np.pi / 8))
    assert sorted(Grid25.centres) == [(a, b) for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)]
    assert (Ring8.sigma, Grid25.sigma) == (0.01, 0.05)


def test_toys_follow_their_seed_and_splits_differ():
    few = Ring8.Options(samples=50)
    assert Ring8(few).load().fingerprint() == Ring8(few).load().fingerprint()
    assert Ring8(few).load().fingerprint() != Ring8(Ring8.Options(samples=50, seed=1)).load().fingerprint()
    test = Ring8(few).load("test")
    assert len(test) == 5
    assert not torch.equal(test.x, Ring8(few).load().x[:5])
    with pytest.raises(UsageError, match="only images"):
        Ring8(Ring8.Options(binarize="static")).load()


# --- Fashion-MNIST ----------------------------------------------------------------------------------------


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def small_fashion(tmp_path, monkeypatch):
    """Three images per split where genzoo looks first, half of the files gzipped, and nothing elsewhere."""
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([9, 0, 4], np.uint8)))
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(images[:2]))
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr(fashion_mnist, "COUNTS", {"train": 3, "test": 2})
    monkeypatch.setattr(fashion_mnist, "_from_hub", lambda split: "no network in tests")
    return folder, images


def test_fashion_mnist_is_read_from_genzoos_folder(small_fashion):
    folder, images = small_fashion
    data = FashionMNIST().load("train")
    assert torch.equal(data.x[:, 0], torch.from_numpy(images))
    assert data.y.tolist() == [9, 0, 4]
    assert (data.spec.classes, data.spec.class_names[9], data.license) == (10, "Ankle boot", "MIT")
    with pytest.raises(GenzooError, match="t10k-labels"):
        FashionMNIST().load("test")
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([9, 10], np.uint8)))
    with pytest.raises(UsageError, match=r"label 10 .*0 to 9"):
        FashionMNIST().load("test")


def test_fashion_mnist_that_is_nowhere_names_three_ways(small_fashion, tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "empty"))
    with pytest.raises(GenzooError) as e:
        FashionMNIST().load()
    for way in (str(tmp_path / "empty" / "fashion-mnist"), "dataset-fashion-mnist", "genzoo[hub-data]", "no network"):
        assert way in str(e.value)


def test_the_data_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("GENZOO_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fashion_mnist.data_folder() == tmp_path / "genzoo" / "data"


def test_an_unreachable_hub_is_asked_once(monkeypatch):
    import huggingface_hub as hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def download(**how):
        asked.append(how)
        raise LocalEntryNotFoundError("not in the cache")

    def metadata(url, timeout):
        raise ConnectionError("no route")

    monkeypatch.setattr(fashion_mnist.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "get_hf_file_metadata", metadata)
    assert "ConnectionError" in fashion_mnist._from_hub("train")
    assert [a["local_files_only"] for a in asked] == [True]
    with without_asking():
        assert "not to be asked" in fashion_mnist._from_hub("train")


def test_fashion_mnist_as_parquet(monkeypatch, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import huggingface_hub as hub
    import pyarrow.parquet as pq

    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
    rows = []
    for image in images:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        rows.append({"bytes": out.getvalue(), "path": None})
    pq.write_table(pa.table({"image": rows, "label": [3, 9]}), tmp_path / "x.parquet")
    monkeypatch.setattr(hub, "hf_hub_download", lambda **how: str(tmp_path / "x.parquet"))
    got, labels = fashion_mnist._from_hub("test")
    assert np.array_equal(got, images)
    assert labels.tolist() == [3, 9]


def test_broken_idx_files_are_named(tmp_path):
    good = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(good))
    assert np.array_equal(read_idx(path, 3), np.arange(24).reshape(2, 3, 4))
    plain = tmp_path / "images"
    cases = [
        (path, gzip.compress(good)[:-12], "images.gz is damaged or truncated"),
        (path, b"not gzip at all", "images.gz is damaged or truncated"),
        (plain, good[:-1], "announces 24 values and holds 23"),
        (plain, good + b"x", "announces 24 values and holds 25"),
        (plain, b"\0\0\x0d\x03" + good[4:], "no IDX file"),
        (plain, good[:9], "no IDX file"),
        (plain, b"", "no IDX file"),
    ]
    for file, content, says in cases:
        file.write_bytes(content)
        with pytest.raises(GenzooError, match=says):
            read_idx(file, 3)
    plain.write_bytes(good)
    with pytest.raises(GenzooError, match="with 1 axes"):
        read_idx(plain, 1)


def test_fashion_mini_is_balanced_and_disjoint():
    train, test = FashionMini().load("train"), FashionMini().load("test")
    assert train.y.bincount().tolist() == [600] * 10
    assert test.y.bincount().tolist() == [100] * 10
    assert train.x.shape == (6000, 1, 28, 28)
    assert train.spec == test.spec
    everything = torch.cat([train.x, test.x]).flatten(1)
    assert len(everything.unique(dim=0)) >= 6990  # Fashion-MNIST itself has a few duplicates
    assert 60 < train.x.float().mean() < 85  # 72.9 in the whole set
    assert FashionMini.file.stat().st_size < 4_000_000


@pytest.mark.skipif(not fashion_mnist.DEBIAN.is_dir(), reason="needs the whole of Fashion-MNIST")
def test_fashion_mini_is_rebuilt_from_the_whole_set(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    bench_cli.laboratory()
    from genzoo_bench import bundled_data

    bundled_data.fashion_mini(tmp_path, tmp_path)
    with np.load(tmp_path / "fashion_mini.npz") as new, np.load(FashionMini.file) as old:
        assert sorted(new.files) == sorted(old.files)
        assert all(np.array_equal(new[k], old[k]) for k in new.files)


# --- folders ----------------------------------------------------------------------------------------------


def save(path, value=0, size=(8, 6), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def load_folder(path, split="train", **options):
    given = coerce_all(options_of(Folder.Options), {"path": str(path), **options}, "data")
    return Folder(Folder.Options(**given)).load(split)


def test_a_flat_folder_is_split_by_sorted_names(tmp_path):
    for i in range(30):
        save(tmp_path / f"{i:02}.png", i)
    train, test = load_folder(tmp_path), load_folder(tmp_path, "test")
    assert (len(train), len(test), train.spec.shape, train.y) == (27, 3, (1, 6, 8), None)
    values = [int(i[0, 0, 0]) for data in (train, test) for i in data.x]
    assert sorted(values) == list(range(30))
    assert all((i == i[0, 0, 0]).all() for i in train.x)
    assert load_folder(tmp_path).fingerprint() == train.fingerprint()
    assert torch.equal(load_folder(tmp_path, limit=5).x, train.x[:5])


def test_class_folders_give_labels(tmp_path):
    for i in range(20):
        save(tmp_path / "cats" / f"{i}.png", 10 + i)
        save(tmp_path / "dogs" / "deep" / f"{i}.bmp", 100 + i)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    train = load_folder(tmp_path)
    assert train.spec.class_names == ("cats", "dogs")
    assert torch.equal(train.y, (train.x[:, 0, 0, 0] >= 100).long())
    assert load_folder(tmp_path, limit=10).y.unique().tolist() == [0, 1]
    save(tmp_path / "loose.png")
    with pytest.raises(UsageError, match=r"loose\.png.*cats"):
        load_folder(tmp_path)


def test_train_and_test_folders_are_the_splits(tmp_path):
    for i in range(3):
        save(tmp_path / "train" / "a" / f"{i}.png", 1)
        save(tmp_path / "train" / "b" / f"{i}.png", 2)
    save(tmp_path / "test" / "b" / "0.png", 2)
    save(tmp_path / "test" / "a" / "0.png", 1)
    for split, n in (("train", 6), ("test", 2)):
        data = load_folder(tmp_path, split)
        assert len(data) == n
        assert torch.equal(data.x[:, 0, 0, 0].long(), data.y + 1)
    save(tmp_path / "test" / "c" / "0.png")
    with pytest.raises(UsageError, match="'c'"):
        load_folder(tmp_path, "test")


def test_modes_and_transparency(tmp_path):
    save(tmp_path / "a.png", 100)
    assert load_folder(tmp_path).spec.shape == (1, 6, 8)
    assert load_folder(tmp_path, mode="colour").spec.shape == (3, 6, 8)
    save(tmp_path / "b.png", (255, 0, 0, 0), mode="RGBA")  # wholly transparent: white
    save(tmp_path / "c.png", (255, 0, 0, 255), mode="RGBA")
    palette = Image.new("P", (8, 6), 0)
    palette.putpalette([7, 8, 9])
    palette.save(tmp_path / "d.png", transparency=0)
    palette.save(tmp_path / "e.gif")
    Image.fromarray(np.full((6, 8), 51400, np.uint16)).save(tmp_path / "f.png")
    save(tmp_path / "g.jpg", (0, 0, 0, 0), mode="CMYK")
    data = [d for split in ("train", "test") for d in load_folder(tmp_path, split, mode="colour").x]
    assert sorted(tuple(d[:, 0, 0].tolist()) for d in data) == [
        (7, 8, 9),
        (100, 100, 100),
        (200, 200, 200),
        (255, 0, 0),
        (255, 255, 255),
        (255, 255, 255),
        (255, 255, 255),
    ]
    assert load_folder(tmp_path, mode="grey").spec.shape == (1, 6, 8)


def test_different_sizes_name_two_files_and_the_option(tmp_path):
    save(tmp_path / "a.png", 255, (8, 6))
    save(tmp_path / "b.png", 255, (9, 6))
    save(tmp_path / "c.png", 255, (20, 40))
    with pytest.raises(UsageError, match=r"[abc]\.png is \d+x\d+ and [abc]\.png is \d+x\d+ .*size"):
        load_folder(tmp_path)
    assert load_folder(tmp_path, size="10x5").spec.shape == (1, 10, 5)
    assert load_folder(tmp_path, size="16").spec.shape == (1, 16, 16)
    assert parse_size("30x44") == (30, 44)
    for bad in ("0", "x", "4x", "big", "-3"):
        with pytest.raises(UsageError, match="size"):
            parse_size(bad)


def test_resizing_is_antialiased_and_crops_the_centre(tmp_path):
    board = (np.indices((64, 192)).sum(0) % 2 * 255).astype(np.uint8)
    board[:, :64] = board[:, 128:] = 0  # only the middle third survives the crop
    Image.fromarray(board).save(tmp_path / "a.png")
    x = load_folder(tmp_path, size="8").x.float()
    assert x[..., 1:-1].min() > 115
    assert x[..., 1:-1].max() < 140  # a chessboard seen from afar is grey, not black or white


def test_photographs_are_turned_upright(tmp_path):
    image = Image.new("L", (8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert load_folder(tmp_path).spec.shape == (1, 8, 6)


@pytest.fixture
def folder_with_bad_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8)
    for i in range(10):
        Image.fromarray(noise).save(tmp_path / f"good{i}.png")
    whole = (tmp_path / "good0.png").read_bytes()
    (tmp_path / "bad1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad2.jpg").write_text("this is no image")
    (tmp_path / "bad3.gif").write_bytes(b"")
    (tmp_path / "bad4.png").symlink_to(tmp_path / "gone.png")
    return tmp_path


def test_bad_files_are_named_and_counted(folder_with_bad_files):
    root = folder_with_bad_files
    for i in range(10):  # all that is good is in both splits, all that is bad in train
        save(root / "test" / f"{i}.png")
    (root / "train").mkdir()
    for file in root.glob("*.*"):
        file.rename(root / "train" / file.name)
    with pytest.raises(GenzooError) as e:
        load_folder(root)
    text = str(e.value)
    assert "4 of 14 image files" in text
    assert len([n for n in ("bad1.png", "bad2.jpg", "bad3.gif", "bad4.png") if f"train/{n} (" in text]) == 3
    assert "skip_bad" in text
    assert "\n" not in text
    with pytest.warns(UserWarning, match="4 of 14 image files") as warned:
        assert len(load_folder(root, skip_bad=True)) == 10
    assert "bad" in str(warned[0].message)
    assert len(load_folder(root, "test")) == 10


def test_only_bad_files_are_an_error_even_when_skipping(tmp_path):
    (tmp_path / "a.png").write_text("no")
    (tmp_path / "b.png").write_text("no")
    with pytest.raises(GenzooError, match=r"1 of 1 image files.*not an image"):
        load_folder(tmp_path, skip_bad=True)


def test_a_decompression_bomb_is_a_bad_file(tmp_path):
    # A PNG that announces 50,000 x 50,000 pixels: refused by its header, before any is decoded.
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)

    def chunk(kind, body):
        import zlib

        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(png)
    with pytest.raises(GenzooError, match=r"bomb\.png \(too many pixels\)"):
        load_folder(tmp_path)
    large = png.replace(chunk(b"IHDR", header), chunk(b"IHDR", struct.pack(">IIBBBBB", 8_500, 8_500, 8, 0, 0, 0, 0)))
    (tmp_path / "bomb.png").write_bytes(large)
    with pytest.raises(GenzooError, match=r"bomb\.png \(8500x8500 pixels are too many\)"):
        load_folder(tmp_path)


def test_folders_without_images(tmp_path):
    with pytest.raises(UsageError, match="no images"):
        load_folder(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        load_folder(tmp_path / "none")
    with pytest.raises(UsageError, match="needs a path"):
        Folder().load()
    save(tmp_path / "a.png")
    assert len(load_folder(tmp_path)) == 1
    with pytest.raises(UsageError, match="one image only"):
        load_folder(tmp_path, "test")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_named(tmp_path):
    save(tmp_path / "a" / "0.png")
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(GenzooError, match="Permission denied"):
            load_folder(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o755)


# --- array files ------------------------------------------------------------------------------------------


def load_array(path, split="train", **options):
    return ArrayFile(ArrayFile.Options(path=str(path), **options)).load(split)


def test_npy_is_split_and_standardized_by_its_train_split(tmp_path):
    x = np.random.default_rng(0).normal(50, 3, (200, 2)).astype(np.float32)
    np.save(tmp_path / "points.npy", x)
    train, test = load_array(tmp_path / "points.npy"), load_array(tmp_path / "points.npy", "test")
    assert (len(train), len(test), train.name, train.y) == (180, 20, "points", None)
    assert train.spec == test.spec
    model, _ = train.batch(torch.arange(180))
    torch.testing.assert_close(model.mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    together = torch.cat([train.x, test.x])
    assert torch.equal(together.sort(0)[0], torch.from_numpy(np.sort(x, 0)))
    assert load_array(tmp_path / "points.npy", standardize=False).spec.scale == (1.0,)


def test_npz_keys(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (20, 4, 5), dtype=np.uint8), np.arange(20) % 3
    file = tmp_path / "d.npz"
    for kind in ({"x": x, "y": y}, {"images": x, "labels": y}, {"data": x, "y": y}, {"X": x, "Y": y}):
        np.savez(file, **kind)
        data = load_array(file)
        assert (len(data), data.spec.classes) == (18, 3)
    np.savez(file, x, y)
    assert load_array(file).spec.classes == 3
    np.savez(file, anything=x)
    assert load_array(file).y is None
    for kind, says in (
        ({"x": x, "images": x}, "x, images"),
        ({"x": x, "y": y, "labels": y}, "y, labels"),
        ({"foo": x, "bar": y}, "foo, bar"),
        ({}, r"\(none\)"),
    ):
        np.savez(file, **kind)
        with pytest.raises(UsageError, match=says):
            load_array(file)


def test_npz_with_a_test_split(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (20, 4, 5), dtype=np.uint8), np.arange(20) % 3
    file = tmp_path / "d.npz"
    np.savez(file, x_train=x, y_train=y, x_test=x[:4], y_test=[0, 1, 0, 1])
    train, test = load_array(file), load_array(file, "test")
    assert (len(train), len(test)) == (20, 4)
    assert train.spec == test.spec
    for bad, says in (
        ({"x_test": x[:4], "y_test": [0, 1, 2, 3]}, "the label 3 to test"),
        ({"x_test": x[:4]}, "labels to train on and no labels to test"),
        ({"x_test": x[:4, :3], "y_test": [0] * 4}, r"\(4, 5\).*\(3, 5\)"),
        ({"x_test": x[:4] / 300, "y_test": [0] * 4}, "whole numbers of 8 bits.*floats"),
    ):
        np.savez(file, x=x, y=y, **bad)
        with pytest.raises(UsageError, match=says):
            load_array(file, "test")


def test_broken_array_files(tmp_path):
    npy, npz = tmp_path / "a.npy", tmp_path / "a.npz"
    np.save(npy, np.zeros((100, 5, 5), np.uint8))
    np.savez_compressed(npz, x=np.random.default_rng(0).integers(0, 256, (100, 5, 5), dtype=np.uint8))
    whole, packed = npy.read_bytes(), npz.read_bytes()
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    for file, content in (
        (npy, whole[:-100]),
        (npy, whole[:40]),
        (npy, b""),
        (npy, b"hello"),
        (npz, packed[:-100]),
        (npz, bytes(flipped)),
        (npz, b"PK\x03\x04"),
        (npz, b""),
    ):
        file.write_bytes(content)
        with pytest.raises(GenzooError, match=rf"{file.name} is damaged, truncated or no NumPy file") as e:
            load_array(file)
        assert "\n" not in str(e.value)
    with pytest.raises(UsageError, match="no file"):
        load_array(tmp_path / "none.npy")
    with pytest.raises(UsageError, match="needs a path"):
        ArrayFile().load()


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.save(tmp_path / "a.npy", np.array([Trap()], object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as z:
        z.write(tmp_path / "a.npy", "x.npy")
    for file in ("a.npy", "a.npz"):
        with pytest.raises(UsageError, match=rf"{file} holds Python objects"):
            load_array(tmp_path / file)
    assert not (tmp_path / "sprung").exists()


# --- paths and the plugin ---------------------------------------------------------------------------------


def test_a_path_means_the_data_set_that_reads_it(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    (tmp_path / "a.xls").touch()

    def meant(path):
        entry, options = entry_for(the_registry(), path)
        return entry.name, options

    assert meant(tmp_path) == ("folder", {"path": str(tmp_path)})
    assert meant(str(tmp_path / "a.npy")) == ("array", {"path": str(tmp_path / "a.npy")})
    with pytest.raises(UsageError, match=r"a\.xls.*folder of images.*\.npy or .*\.npz"):
        entry_for(the_registry(), tmp_path / "a.xls")
    with pytest.raises(UsageError, match="no file or folder"):
        entry_for(the_registry(), tmp_path / "none")


def test_the_plugin_needs_no_torch():
    code = "import sys, genzoo.plugins.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_folders_whose_names_are_no_utf_8_have_names_that_can_be_written(tmp_path):
    for name in (b"a", b"cl\xff"):
        sub = os.fsencode(tmp_path) + b"/\xfe/" + name
        try:
            os.makedirs(sub)
        except OSError:
            pytest.skip("this file system takes no such names")
        for i in range(3):
            Image.new("L", (8, 8), i).save(os.path.join(os.fsdecode(sub), f"{i}.png"))
    data = open_data(the_registry(), os.fsdecode(os.fsencode(tmp_path) + b"/\xfe"))
    assert (data.name, data.spec.class_names) == ("?", ("a", "cl?"))


def test_a_folder_may_be_called_as_what_reads_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert entry_for(the_registry(), "folder")[1] == {}
    (tmp_path / "folder").mkdir()
    (tmp_path / "ring8").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "folder" / "a.png")
    assert entry_for(the_registry(), "folder")[1] == {"path": "folder"}
    assert entry_for(the_registry(), "ring8")[1] == {}

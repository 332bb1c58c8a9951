"""What people have in folders and files is read whole, or what is left out is said."""

from __future__ import annotations

import json
import os
import warnings
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.data.summary import was_read
from genzoo.core.errors import GenzooError, UsageError


def pictures(root, n=6, mode="L", suffix="png", start=0, size=(8, 6)):
    root.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        value = 100 + start + i
        Image.new(mode, size, (value,) * 3 if mode == "RGB" else value).save(root / f"{start + i:03}.{suffix}")


def load(path, split="all", **options):
    """Data, and everything that was said of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = genzoo.load_data(str(path), split=split, options=options)
    said = was_read(data)["said"]
    assert len(caught) <= len(said)
    return data, " | ".join(said)


@pytest.mark.parametrize(
    "names", [("bus", "car", "train"), ("control", "test"), ("Train", "car"), ("val", "test"), ("a", "valid")]
)
def test_a_class_may_be_called_as_a_split_is(tmp_path, names):
    for k, name in enumerate(names):
        pictures(tmp_path / name, start=10 * k)
    data, said = load(tmp_path)
    assert (len(data), sorted(data.spec.class_names)) == (6 * len(names), sorted(names))
    assert f"{names[0]} 6" in said


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("TRAIN", "Val"), ("training", "validation"), ("Train", "valid"), ("train", "testing")],
)
def test_splits_in_any_case(tmp_path, train, test):
    pictures(tmp_path / train / "a", 4)
    pictures(tmp_path / train / "b", 4, start=10)
    pictures(tmp_path / test / "b", 2, start=20)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "boxes.json").write_text("{}")
    data, said = load(tmp_path, "train")
    assert (len(data), data.spec.class_names) == (8, ("a", "b"))
    assert "its train split (beside it: " in said
    held, _ = load(tmp_path, "test")
    assert held.y.tolist() == [1, 1]
    assert len(load(tmp_path)[0]) == 10


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "pgm", "pbm", "pnm", "avif", "tga", "JPG", "dib"])
def test_suffixes_that_pillow_reads(tmp_path, suffix):
    pictures(tmp_path, 3)
    for i in range(3):
        Image.new("L", (8, 6), 10).save(
            tmp_path / "x",
            {"jfif": "jpeg", "jpe": "jpeg", "JPG": "jpeg", "pgm": "ppm", "pbm": "ppm", "pnm": "ppm"}.get(
                suffix, suffix
            ),
        )
        (tmp_path / "x").rename(tmp_path / f"y{i}.{suffix}")
    assert len(load(tmp_path)[0]) == 6


def test_what_is_left_out_is_counted(tmp_path):
    pictures(tmp_path, 4)
    for name in ("a.heic", "b.HEIC", "notes.txt", "LICENSE", ".hidden.png", "._000.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\1\2")
    (tmp_path / "picture-without-suffix").write_bytes((tmp_path / "000.png").read_bytes())
    data, said = load(tmp_path)
    assert len(data) == 5
    for part in (
        ".heic files 2",
        ".txt files 1",
        "files without a suffix 1",
        "hidden files 1",
        "files of the system 2",
    ):
        assert part in said
    with pytest.warns(UserWarning, match="heic"):
        genzoo.load_data(str(tmp_path))


def test_links_are_followed_once(tmp_path):
    pictures(tmp_path / "store" / "cats", 4)
    pictures(tmp_path / "store" / "dogs", 4, start=10)
    root = tmp_path / "data"
    root.mkdir()
    for name in ("cats", "dogs"):
        (root / name).symlink_to(tmp_path / "store" / name)
    (root / "cats again").symlink_to(root / "cats")
    (tmp_path / "store" / "cats" / "loop").symlink_to(root)
    data, said = load(root)
    assert (len(data), data.spec.class_names) == (8, ("cats", "dogs")) or data.spec.classes == 2
    assert "links to folders that were read already" in said
    assert "linked folders were followed" in said


def test_several_pictures_in_a_file_are_said(tmp_path):
    pages = [Image.new("L", (8, 6), v) for v in (10, 60, 90)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "b.gif", save_all=True, append_images=pages[1:])
    assert (
        "2 files hold several pictures (pages or frames): the first of each is read, 4 are left out"
        in load(tmp_path)[1]
    )


def test_classes_that_are_empty_are_said_and_those_within(tmp_path):
    pictures(tmp_path / "a" / "deep")
    pictures(tmp_path / "b", start=10)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0.heic").write_bytes(b"x")
    data, said = load(tmp_path)
    assert data.spec.class_names == ("a", "b")
    assert "sub-folders without images, which are no classes: 'c'" in said
    assert "folders within classes (deep) are no classes of their own" in said


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    for k in (1, 2, 10):
        pictures(tmp_path / str(k), start=k)
    assert load(tmp_path)[0].spec.class_names == ("1", "2", "10")


# --- numbers ----------------------------------------------------------------------------------------------

RAMP = np.linspace(0, 1, 48).reshape(6, 8)
EIGHT = np.rint(RAMP * 255).astype(np.uint8)


def put(folder, kind, scale, name="0"):
    folder.mkdir(exist_ok=True)
    if kind == "png":
        Image.fromarray(np.rint(RAMP * scale).astype(np.uint16)).save(folder / f"{name}.png")
    elif kind == "tif":
        Image.fromarray((RAMP * scale).astype(np.float32)).save(folder / f"{name}.tif")
    elif kind == "npy":
        np.save(folder / "x.npy", np.stack([np.rint(RAMP * scale).astype(np.uint16)] * 3))
        return folder / "x.npy"
    else:
        np.save(folder / "x.npy", np.stack([RAMP * scale] * 3))
        return folder / "x.npy"
    return folder


@pytest.mark.parametrize("kind", ["png", "tif", "npy", "float"])
@pytest.mark.parametrize("scale", [255, 65535])
def test_plain_ranges_need_no_word(tmp_path, kind, scale):
    data, _ = load(put(tmp_path, kind, scale))
    x = data.x[0, 0].float() / (255 if data.spec.levels else 1)
    assert np.abs(x.numpy() - RAMP).max() < 0.003


@pytest.mark.parametrize("kind", ["png", "tif", "npy", "float"])
@pytest.mark.parametrize("scale", [4095, 1023])
def test_twelve_bits_need_the_word_that_the_sentence_gives(tmp_path, kind, scale):
    path = put(tmp_path, kind, scale)
    with pytest.raises(UsageError, match=rf'options={{"white": "{scale}"}}'):
        load(path)
    data, said = load(path, white=str(scale))
    x = data.x[0, 0].float() / (255 if data.spec.levels else 1)
    assert np.abs(x.numpy() - RAMP).max() < 0.003
    assert str(scale) in said


def test_the_range_is_that_of_all_files(tmp_path):
    for i in range(20):  # most are dark
        put(tmp_path, "png", 65535 if i == 7 else 300, f"{i:02}")
    bright = [int(load(tmp_path, split)[0].x.max()) for split in ("train", "test")]
    assert sorted(bright) == [1, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_of_any_width_that_were_eight_bits(dtype):
    pixels = torch.arange(256, dtype=torch.uint8).reshape(4, 8, 8)
    data = genzoo.load_data((pixels.float() / 255).to(dtype))
    assert data.spec.levels == 256
    assert torch.equal(data.x[:, 0], pixels)
    rough = genzoo.load_data(torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert rough.spec.levels is None
    assert (
        genzoo.load_data(
            torch.tensor([0.0, 0.5, 1.0]).expand(2, 5, 3).to(dtype), options={"layout": "grey"}
        ).spec.levels
        is None
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_minus_one_to_one_by_the_words_of_the_sentence():
    x = np.stack([RAMP * 2 - 1] * 3)
    with pytest.raises(UsageError, match=r'options=\{"black": "-1", "white": "1"\}'):
        genzoo.load_data(x)
    data = genzoo.load_data(x, options={"black": "-1", "white": "1"})
    assert np.abs(data.x[0, 0].numpy() - RAMP).max() < 1e-6


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_eight_bit_numbers_that_are_dark_or_masks():
    mask = (EIGHT > 100).astype(np.uint8)[None]
    with pytest.warns(UserWarning, match="0 and 1 only"):
        assert genzoo.load_data(mask).spec.levels == 2
    with pytest.warns(UserWarning, match=r'brightest of all pixels is 15 of 255.*options=\{"white": "15"\}'):
        genzoo.load_data((EIGHT // 17)[None])
    assert int(genzoo.load_data((EIGHT // 17)[None], options={"white": "15"}).x.max()) == 255


def test_sixteen_bit_colour_keeps_all_bits(tmp_path):
    import struct
    import zlib

    a = np.stack([np.rint(RAMP * 4095)] * 3, -1).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in a)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(UsageError, match=r'"white": "4095"'):
        load(tmp_path)
    assert np.array_equal(load(tmp_path, white="4095")[0].x[0, 1].numpy(), EIGHT)


def test_channels_are_what_they_are(tmp_path):
    Image.new("RGBA", (8, 6), (255, 0, 0, 0)).save(tmp_path / "a.png")
    Image.new("L", (8, 6), 50).save(tmp_path / "b.png")
    white, said = load(tmp_path)
    assert white.spec.shape == (3, 6, 8)
    assert "1 files with transparency, composited on white" in said
    kept, _ = load(tmp_path, alpha="keep")
    assert kept.x[:, :, 0, 0].tolist() == [[255, 0, 0, 0], [50, 50, 50, 255]]
    four = np.full((2, 4, 6, 8), 255, np.uint8)
    four[:, 3] = 0
    with pytest.warns(UserWarning, match="taken for colour and opacity"):
        assert genzoo.load_data(four).spec.shape == (3, 6, 8)
    assert genzoo.load_data(four, options={"alpha": "keep"}).spec.shape == (4, 6, 8)
    with pytest.raises(UsageError, match="one colour picture"):
        genzoo.load_data(np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "p").mkdir()
    Image.fromarray(EIGHT).convert("P").save(tmp_path / "p" / "a.png")
    assert load(tmp_path / "p")[0].spec.shape == (1, 6, 8)


# --- labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "classes", "names"),
    [
        ([1, 2, 3, 1], 3, ("1", "2", "3")),
        ([0, 5, 900, 5], 3, ("0", "5", "900")),
        ([-1, 1, 0, 1], 3, ("-1", "0", "1")),
        ([0, 1, 2, 2], 3, ()),
        ([3.0, 7.0, 3.0, 3.0], 2, ("3", "7")),
        (["dog", "cat", "dog", "dog"], 2, ("cat", "dog")),
        (["10", "2", "1", "2"], 3, ("1", "2", "10")),
        ([[1], [2], [1], [2]], 2, ("1", "2")),
        (np.eye(3)[[0, 2, 1, 2]], 3, ()),
        ([True, False, True, True], 2, ()),
    ],
)
def test_distinct_labels_are_the_classes(tmp_path, y, classes, names):
    x = np.zeros((4, 6, 8), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.asarray(y))
    for data in (
        genzoo.load_data(x, labels=y),
        genzoo.load_data((x, y)),
        genzoo.load_data(str(tmp_path / "d.npz"), split="all"),
    ):
        assert (data.spec.classes, data.spec.class_names) == (classes, names)
        assert data.y.unique().tolist() == list(range(classes))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_attributes_are_conditions():
    data = genzoo.load_data((np.zeros((4, 6, 8), np.uint8), np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]])))
    assert (data.spec.classes, len(data.spec.conditions)) == (0, 3)
    assert data.condition[0].tolist() == [1, 1, 0]


METADATA = {
    "metadata.csv": "file_name,label\n" + "".join(f"{i:03}.png,{'dog' if i % 2 else 'cat'}\n" for i in range(6)),
    "metadata.jsonl": "".join(json.dumps({"file_name": f"{i:03}.png", "label": i % 2 + 1}) + "\n" for i in range(6)),
    "dataset.json": json.dumps({"labels": [[f"{i:03}.png", i % 2] for i in range(6)]}),
}


@pytest.mark.parametrize("name", METADATA)
def test_labels_beside_the_pictures(tmp_path, name):
    pictures(tmp_path)
    (tmp_path / name).write_text(METADATA[name])
    data, said = load(tmp_path)
    assert data.spec.class_names == {"csv": ("cat", "dog"), "jsonl": ("1", "2"), "json": ("0", "1")}[name.split(".")[1]]
    assert torch.equal(data.y, data.x[:, 0, 0, 0].long() % 2)
    assert f"labels are those of {name}" in said
    assert load(tmp_path, labels="none")[0].y is None
    pictures(tmp_path, 1, start=50)
    with pytest.raises(UsageError, match=r'1 of 7 pictures .*050\.png.*"labels": "none"'):
        load(tmp_path)


def test_a_column_by_name(tmp_path):
    pictures(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,breed\n" + "".join(f"{i:03}.png,b{i // 3}\n" for i in range(6)))
    data, said = load(tmp_path)
    assert data.y is None
    assert "data.labels=COLUMN" in said
    assert load(tmp_path, labels="breed")[0].spec.class_names == ("b0", "b1")
    with pytest.raises(UsageError, match="no colour"):
        load(tmp_path, labels="colour")


@pytest.mark.parametrize(
    "top", ["", "d/", "train/", "test/", "d//", "/d/", "./d/", "d\\"]
)  # from within, and from beside
def test_a_zip_is_read_as_its_folder_would_be(tmp_path, top):
    pictures(tmp_path / "d" / "cats", 5)
    pictures(tmp_path / "d" / "dogs", 5, start=20)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as z:
        for file in sorted((tmp_path / "d").rglob("*.png")):
            z.write(file, top + str(file.relative_to(tmp_path / "d")))
        z.writestr("README.txt", b"x")
        z.writestr("LICENSE", b"x")
        z.writestr("__MACOSX/._a.png", b"x")
    for split in ("train", "test", "all"):
        one, _ = load(tmp_path / "d", split)
        two, said = load(tmp_path / "d.zip", split)
        assert one.fingerprint() == two.fingerprint()
        assert one.read.files.tolist() == two.read.files.tolist()
    assert "files of the system 1" in said
    (tmp_path / "bad.zip").write_bytes(b"PK\5\6" + bytes(18))
    with pytest.raises(GenzooError, match="no images"):
        load(tmp_path / "bad.zip")
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4junk")
    with pytest.raises(GenzooError, match=r"no \.zip file"):
        load(tmp_path / "bad.zip")


def test_a_zip_packed_from_beside_keeps_labels_splits_and_pictures_without_a_suffix(tmp_path):
    pictures(tmp_path / "p", 4)
    files = sorted((tmp_path / "p").glob("*.png"))
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as z:
        for i, file in enumerate(files):
            z.write(file, f"d/{i}")  # no suffix
        z.writestr("d/metadata.csv", "file_name,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(4)))
    assert load(tmp_path / "labels.zip", "all")[0].spec.class_names == ("a", "b")
    with zipfile.ZipFile(tmp_path / "splits.zip", "w") as z:
        for i, file in enumerate(files):
            z.write(file, f"d/{('train', 'train', 'train', 'test')[i]}/{i}.png")
    assert [len(load(tmp_path / "splits.zip", split)[0]) for split in ("train", "test")] == [3, 1]


def test_files_go_with_their_observations(tmp_path):
    pictures(tmp_path, 20)
    for split in ("train", "test", "all"):
        data, _ = load(tmp_path, split)
        assert [100 + int(name[:3]) for name in data.read.files] == data.x[:, 0, 0, 0].tolist()
    few = data.take([3, -1]).hold_out(1, 0)[0]
    assert [100 + int(name[:3]) for name in few.read.files] == few.x[:, 0, 0, 0].tolist()
    assert os.path.basename(data.read.files[0]) == "000.png"


# --- keys and layouts of .npz -----------------------------------------------------------------------------


def test_layouts_of_npz(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (20, 6, 8), dtype=np.uint8), np.arange(20) % 3
    file = tmp_path / "d.npz"
    np.savez(file, train_images=x[:12], train_labels=y[:12, None], val_images=x[12:16], val_labels=y[12:16, None],
             test_images=x[16:], test_labels=y[16:, None])  # fmt: skip
    data, said = load(file, "train")
    assert (len(data), data.spec.classes, len(load(file, "test")[0])) == (12, 3, 4)
    assert "beside it: test 4, val 4" in said
    np.savez(
        file, imgs=(x > 99).astype(np.uint8), latents_classes=np.stack([y] * 6, 1), metadata=np.array({"a": 1}, object)
    )
    data, _ = load(file)
    assert (data.spec.levels, data.factors.shape, data.factor_names[1]) == (2, (20, 6), "shape*")
    np.savez(file, faces=x, who=y)
    with pytest.raises(UsageError, match=r'"x": "faces"'):
        load(file)
    data, _ = load(file, x="faces", y="who")
    assert (len(data), data.spec.classes) == (20, 3)
    with pytest.raises(UsageError, match="none called nose"):
        load(file, x="nose")


# --- parquet ----------------------------------------------------------------------------------------------


def test_parquet_as_the_hub_keeps_it(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import io

    import pyarrow.parquet as pq

    def encoded(value):
        file = io.BytesIO()
        Image.new("L", (8, 6), value).save(file, "png")
        return file.getvalue()

    def shard(name, values, labels):
        rows = [{"bytes": encoded(v), "path": f"{v}.png"} for v in values]
        table = pa.table({"image": rows, "label": pa.array(labels, pa.int64())})
        features = {"info": {"features": {"image": {}, "label": {"names": ["cat", "dog", "newt"]}}}}
        pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / name)

    shard("train-00000-of-00002.parquet", range(100, 106), [0, 1, 2, 0, 1, 2])
    data, said = load(tmp_path / "train-00000-of-00002.parquet")
    assert (len(data), data.spec.class_names) == (6, ("cat", "dog", "newt"))
    assert data.x[:, 0, 0, 0].tolist() == list(range(100, 106))
    shard("train-00001-of-00002.parquet", range(110, 114), [0, 0, 1, 1])
    shard("test-00000-of-00001.parquet", range(120, 123), [2, 1, 0])
    data, said = load(tmp_path, "train")
    assert (len(data), data.spec.classes) == (10, 3)
    assert "beside it: test 3" in said
    assert load(tmp_path, "test")[0].y.sum() == 3
    assert load(tmp_path, labels="none")[0].y is None
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(GenzooError, match=r"damaged or no \.parquet file"):
        load(tmp_path / "t.parquet")


# --- mirror -----------------------------------------------------------------------------------------------


def test_mirrored_images_follow_the_others(tmp_path):
    x = np.arange(10 * 6 * 8, dtype=np.uint8).reshape(10, 6, 8)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(10) % 2)
    data, said = load(tmp_path / "d.npz", "train", mirror="true")
    assert len(data) == 18
    assert torch.equal(data.x[9:], data.x[:9].flip(-1))
    assert torch.equal(data.y[9:], data.y[:9])
    assert "mirrored" in said
    assert len(load(tmp_path / "d.npz", "test", mirror="true")[0]) == 1
    with pytest.raises(UsageError, match="only images are mirrored"):
        genzoo.load_data(np.zeros((4, 2)), options={"mirror": "true"})


def test_a_link_to_itself_costs_no_other_file(tmp_path):
    from PIL import Image

    for i in range(6):
        Image.new("L", (8, 8), 40 * i).save(tmp_path / f"{i}.png")
    (tmp_path / "loop").symlink_to("loop")
    assert len(genzoo.load_data(tmp_path, split="all")) == 6

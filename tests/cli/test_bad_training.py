"""What can be asked wrongly of ``genzoo train``: one sentence, exit code 1 or 2, nothing written."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Any]  # genzoo(*arguments) or train(recipe, data, out, *arguments); see conftest.py
USAGE = 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "objective.gp_wieght=5"], ["objective", "'gp_wieght'", "did you mean --set objective.gp_weight=5"]),
        (["--set", "gp_weight=5"], ["no option 'gp_weight'", "did you mean --set objective.gp_weight=5"]),
        (["--set", "gp_wieght=5"], ["no option 'gp_wieght'", "did you mean --set objective.gp_weight=5"]),
        (["--set", "objectiv.gp_weight=1"], ["no group 'objectiv'", "did you mean 'objective'"]),
        (
            ["--set", "data.binarise=static"],
            ["data has no option 'binarise'", "did you mean --set data.binarize=static"],
        ),
        (["--set", "data.path=elsewhere"], ["path was given twice", "data.path"]),
        (["--set", "train.lr=abc"], ["train.lr takes a number", "not 'abc'"]),
        (["--set", "train.lr=nan"], ["train.lr takes a finite number, not 'nan'"]),
        (["--set", "train.lr=-1"], ["train.lr must be at least 0, not -1"]),
        (["--set", "train.betas=0.5"], ["train.betas takes a list", "2 values"]),
        (["--set", "train.optimizer=adan"], ["train.optimizer takes one of 'adam'", "not 'adan'"]),
        (["--set", "latent.size=0"], ["latent.size must be at least 1, not 0"]),
        (["--set", "objective.gp_weight"], ["--set takes NAME=VALUE, not 'objective.gp_weight'"]),
        (["--set", "conditional=perhaps"], ["conditional takes true or false, not 'perhaps'"]),
        (["--set", "train.accumulate=3"], ["train.batch_size (8)", "multiple of train.accumulate (3)"]),
        (["--set", "train.validation=1e6"], ["cannot hold out 1000000"]),
        (["--steps", "0"], ["steps must be at least 1, not 0"]),
        (["--steps", "-5"], ["steps must be at least 1, not -5"]),
        (["--steps", "x"], ["'--steps'", "int"]),
        (["--epochs", "0"], ["epochs must be more than 0, not 0"]),
        (["--epochs", "-1"], ["epochs must be", "-1"]),
        (["--epochs", "nan"], ["epochs takes a finite number"]),
        (["--steps", "3", "--epochs", "1"], ["either --steps or --epochs"]),
        (["--batch-size", "0"], ["batch_size must be at least 1, not 0"]),
        (["--stpes", "3"], ["--stpes", "--steps"]),
        (["--threads", "0"], ["'--threads'"]),
        (["--device", "warp"], ["no device 'warp'", "auto, cpu"]),
        (["--precision", "float8"], ["precision is auto, float32 or bfloat16, not 'float8'"]),
        (["--critic", "convv"], ["no critic 'convv'", "did you mean 'conv'"]),
        (["--critic", "bernoulli"], ["no critic 'bernoulli'", "a likelihood of that name"]),
        (["--encoder", "mlp"], ["objective 'wgan-gp' has no encoder"]),
        (["--set", "encoder.width=3"], ["objective 'wgan-gp' has no encoder"]),
        (["--likelihood", "gaussian"], ["objective 'wgan-gp' has no likelihood"]),
        (["--critic", "mlp", "--set", "critic.norm=batch"], ["batch", "penalty"]),
        (["--resume"], ["holds no checkpoint to resume from"]),
        (["--init", "nowhere"], ["no weights folder", "'nowhere'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("-") else "",
)
def test_requests_that_make_no_sense(
    train: Run, images: Path, tmp_path: Path, untouched: Callable[[], None], arguments: list[str], words: list[str]
) -> None:
    untouched()
    ran = train("wgan-gp", images, tmp_path / "deep" / "run", *arguments)
    ran.sentence(*words, code=USAGE)
    untouched()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vea", "--data", "ring8", "--out", "x"], ["no recipe 'vea'", "did you mean 'vae'"]),
        (["bernoulli", "--data", "ring8", "--out", "x"], ["no recipe 'bernoulli'", "likelihood"]),
        (["vae", "--data", "ring9", "--out", "x"], ["'ring9'", "did you mean 'ring8'"]),
        (["vae", "--data", "./nosuch", "--out", "x"], ["no file or folder ./nosuch"]),
        (["vae", "--data", "", "--out", "x"], ["name the data with --data"]),
        (["vae", "--out", "x"], ["name the data with --data"]),
        (["vae", "--data", "ring8"], ["--out"]),
        (["--data", "ring8", "--out", "x"], ["name a recipe"]),
        (["--objective", "vea", "--data", "ring8", "--out", "x"], ["no objective 'vea'"]),
        (["vae", "--data", "ring8", "--out", "x", "--conditional", "--set", "data.samples=0"], ["data.samples"]),
        (["vae", "extra", "--data", "ring8", "--out", "x"], ["extra"]),
    ],
)
def test_names_that_do_not_exist(
    genzoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    genzoo("train", *arguments).sentence(*words, code=USAGE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_a_near_name_is_offered(genzoo: Run, tmp_path: Path, images: Path) -> None:
    near = images.parent / "smal.npz"
    genzoo("train", "vae", "--data", near, "--out", tmp_path / "x").sentence(str(near), "did you mean 'small.npz'")


# --- data that cannot be used -----------------------------------------------------------------------------


def grey(n: int = 12, height: int = 9, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width), dtype=np.uint8)


def with_nan() -> np.ndarray:
    x = grey().astype(np.float32) / 255
    x[3, 4, 5] = np.nan
    return x


ARRAYS = {
    "wrong rank": (dict(x=np.zeros((4, 2, 3, 4, 5), np.uint8)), ["shape (4, 2, 3, 4, 5)", "(N, H, W)"]),
    "one number each": (dict(x=np.zeros(9, np.float32)), ["shape (9,)"]),
    "floats out of range": (dict(x=grey() / 100), ["floats from", "to 2.5", "[0, 1]"]),
    "floats of twelve bits": (dict(x=grey().astype(np.float32) * 16), ["--set data.white=4095"]),
    "numbers beyond 8 bits": (
        dict(x=grey().astype(np.int32) * 9),
        ["8-bit pixels are 0 to 255", "--set data.white=4095"],
    ),
    "NaN": (dict(x=with_nan()), ["1 values that are NaN or infinite", "(3, 4, 5)"]),
    "infinite": (dict(x=np.full((5, 2), np.inf, np.float32)), ["10 values that are NaN or infinite"]),
    "text": (dict(x=np.array([["a", "b"]])), ["text, not of numbers"]),
    "complex": (dict(x=np.zeros((5, 2), complex)), ["complex numbers"]),
    "none": (dict(x=np.zeros((0, 9, 8), np.uint8)), ["empty"]),
    "no pixels": (dict(x=np.zeros((3, 0, 8), np.uint8)), ["empty"]),
    "too few labels": (dict(x=grey(), y=np.zeros(5, int)), ["labels", "(5,)", "12 observations"]),
    "label that is no number": (dict(x=grey(), y=np.full(12, 0.5)), ["label 0.5", "not a whole number"]),
    "label out of range in the test split": (
        dict(x=grey(), y=np.arange(12) % 3, x_test=grey(), y_test=np.arange(12)),
        ["label 3", "none of those to train on"],
    ),
    "unknown keys": (dict(first=grey(), second=grey()), ["first, second", "call the observations"]),
    "Python objects": (dict(x=np.array([{}, []], object)), ["Python objects"]),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_cannot_be_trained_on(
    genzoo: Run, train: Run, tmp_path: Path, untouched: Callable[[], None], vae: Path, case: str
) -> None:
    arrays, words = ARRAYS[case]
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    untouched()
    out = tmp_path / "run"
    if "test split" in case:
        ran = genzoo("encode", vae, "--data", path, "--out", tmp_path / "codes.npz")
    else:
        ran = train("vae", path, out, "--steps", 1)
    ran.sentence(*words)
    untouched()


def test_8_bit_images_are_accepted(train: Run, images: Path, tmp_path: Path) -> None:
    ran = train("vae", images, tmp_path / "run", "--steps", 1, narrow=True)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "pickle", "no such member"])
@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_array_files_that_are_damaged(
    train: Run, tmp_path: Path, untouched: Callable[[], None], ending: str, damage: str
) -> None:
    path = tmp_path / f"data.{ending}"
    np.savez(path, x=grey()) if ending == "npz" else np.save(path, grey())
    whole = path.read_bytes()
    if damage == "no such member" and ending == "npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "nothing here")
    else:
        path.write_bytes({"truncated": whole[: len(whole) // 2], "garbage": b"\x00garbage" * 50, "empty": b"",
                          "pickle": b"\x80\x04K\x01.", "no such member": whole[:7]}[damage])  # fmt: skip
    untouched()
    ran = train("vae", path, tmp_path / "run", "--steps", 1)
    ran.sentence("data")
    untouched()


def folder_of_images(folder: Path, n: int = 6, size: tuple[int, int] = (8, 9)) -> Path:
    folder.mkdir(parents=True)
    for i in range(n):
        Image.fromarray(grey(n, *size)[i]).save(folder / f"{i}.png")
    return folder


def no_images(folder: Path) -> None:
    folder.mkdir()


def only_text(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("no picture")


def corrupt(folder: Path) -> None:
    folder_of_images(folder)
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])


def sizes(folder: Path) -> None:
    folder_of_images(folder, 4)
    for i in range(4):
        Image.fromarray(grey(1, 12, 12)[0]).save(folder / f"large{i}.png")


def loose_and_classes(folder: Path) -> None:
    folder_of_images(folder)
    folder_of_images(folder / "cats")


def too_small(folder: Path) -> None:
    folder_of_images(folder, 4, (5, 5))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (no_images, ["has no images", ".png"]),
        (only_text, ["has no images"]),
        (corrupt, ["1 of 5", "3.png", "skip_bad"]),
        (sizes, ["differ in size", "large", "is 12x12", "size=8"]),
        (loose_and_classes, ["images of its own", "cats"]),
        (too_small, ["5x5", "--set data.size=8", "mlp"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_folders_that_cannot_be_trained_on(
    train: Run,
    tmp_path: Path,
    untouched: Callable[[], None],
    make: Callable[[Path], None],
    words: list[str],
) -> None:
    make(tmp_path / "pictures")
    untouched()
    ran = train("vae", tmp_path / "pictures", tmp_path / "run", "--steps", 1)
    ran.sentence(*words)
    untouched()


def test_images_that_are_left_out_are_named_in_one_line(train: Run, tmp_path: Path) -> None:
    corrupt(tmp_path / "pictures")
    ran = train("vae", tmp_path / "pictures", tmp_path / "run", "--steps", 1, "--set", "data.skip_bad=true")
    assert ran.code == 0, ran.err
    first = next(line for line in ran.err.splitlines() if "cannot be read" in line)
    assert first.startswith("genzoo: 1 of 5")
    assert "folder.py" not in ran.err
    assert "_report" not in ran.err


def test_a_file_that_is_no_data(genzoo: Run, tmp_path: Path) -> None:
    (tmp_path / "table.xls").write_text("1,2\n")
    ran = genzoo("train", "vae", "--data", tmp_path / "table.xls", "--out", tmp_path / "run")
    ran.sentence("table.xls is no data", ".npy or .npz", code=USAGE)


@pytest.mark.parametrize("recipe", ["cvae", "wgan-gp"])
def test_conditional_without_labels(
    train: Run, points: Path, tmp_path: Path, untouched: Callable[[], None], recipe: str
) -> None:
    untouched()
    ran = train(recipe, points, tmp_path / "run", "--steps", 1, "--conditional")
    ran.sentence("conditional", "labels", code=USAGE)
    untouched()


# --- where to write ---------------------------------------------------------------------------------------


def test_out_below_a_file(train: Run, images: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    (tmp_path / "file").write_text("mine")
    untouched()
    ran = train("vae", images, tmp_path / "file" / "a" / "run", "--steps", 1)
    ran.sentence("cannot write", f"{tmp_path / 'file'} is a file, not a folder", code=1)
    untouched()


def test_out_is_a_file(train: Run, images: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    (tmp_path / "file").write_text("mine")
    untouched()
    ran = train("vae", images, tmp_path / "file", "--steps", 1)
    ran.sentence("is a file", "folder", code=USAGE)
    untouched()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_out_where_the_system_lets_nobody_write(train: Run, images: Path) -> None:
    ran = train("vae", images, "/proc/genzoo/run", "--steps", 1)
    ran.sentence("cannot write /proc/genzoo/run", "choose another place", code=1)


def test_out_with_other_files(train: Run, images: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    untouched()
    ran = train("vae", images, tmp_path / "run", "--steps", 1)
    ran.sentence("is not empty", "new folder", code=USAGE)
    untouched()


def test_out_with_a_run(train: Run, images: Path, vae: Path) -> None:
    before = {p: p.read_bytes() for p in vae.rglob("*") if p.is_file()}
    ran = train("vae", images, vae, "--steps", 1)
    ran.sentence("already holds a run", "--resume", code=USAGE)
    assert before == {p: p.read_bytes() for p in vae.rglob("*") if p.is_file()}


def test_resuming_with_other_settings_or_data(
    train: Run, images: Path, tmp_path: Path, untouched: Callable[[], None]
) -> None:
    def again(data: Path, *more: object) -> Any:
        return train("vae", data, tmp_path / "run", "--steps", 2, *more, narrow=True)

    assert again(images).code == 0
    untouched()
    again(images, "--resume", "--set", "train.lr=0.5").sentence("train.lr = 0.001", "0.5", code=USAGE)
    again(images, "--resume", "--seed", 9).sentence("seed 0, not 9", code=USAGE)
    other = tmp_path.parent / f"{tmp_path.name}.npz"
    np.savez(other, x=grey(40), y=np.arange(40) % 3)
    again(other, "--resume").sentence("was started with data.name", code=USAGE)
    same = tmp_path.parent / f"{tmp_path.name}" / ".." / images.name
    np.savez(same, x=255 - grey(40), y=np.arange(40) % 3)
    again(same, "--resume").sentence("other data", code=USAGE)
    untouched()


def test_init_that_does_not_fit(
    train: Run, images: Path, vae: Path, gan: Path, tmp_path: Path, untouched: Callable[[], None]
) -> None:
    def start(*more: object) -> Any:
        return train("vae", images, tmp_path / "run", "--steps", 1, *more, narrow=True)

    untouched()
    start("--set", "generator.width=9", "--init", vae).sentence("does not fit", "tensor", "shape", code=USAGE)
    start("--init", gan).sentence("does not fit", "tensor", code=USAGE)
    start("--init", images).sentence("is samples or data, not weights", code=USAGE)
    untouched()


def test_what_could_not_be_saved_is_refused_before_the_first_step(train: Run, tmp_path: Path) -> None:
    for folder, told in ((tmp_path / "set" / "a\x1bb", "a\\x1bb"), (tmp_path / "s\x07et" / "a", "s\\x07et")):
        for which in (folder, folder.parent / "b"):
            which.mkdir(parents=True)
            for i in range(8):
                Image.fromarray(np.full((8, 8), 30 * i, np.uint8)).save(which / f"{i}.png")
        ran = train("vae", folder.parent, tmp_path / "run", "--steps", 2, narrow=True)
        ran.sentence("could not be saved", told, code=2)
        assert not (tmp_path / "run").exists()

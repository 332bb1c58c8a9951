"""Exploring without a browser: what each tab answers, and what is said of what cannot be read."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.data import Data, from_arrays
from genzoo.core.evaluation.evidence import as_floats
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.compare.figures import Figure
from genzoo.plugins.apps.explore import uploads
from genzoo.plugins.apps.explore.fragments import condition
from genzoo.plugins.apps.explore.subject import ACROSS, Subject, Told

SMALL = {"encoder": "mlp", "generator": "mlp", "generator.width": 16, "encoder.width": 16, "latent.size": 5}
TEXTS = DataSpec("text", (9,), 7, facts={"tokens": "characters", "alphabet": "abc "})


def made(recipe: str, spec: DataSpec, options: dict[str, Any] | None = None, data: Any = None) -> Subject:
    return Subject(recipe, genzoo.create(recipe, spec, options=SMALL if options is None else options), data=data)


def pictures(n: int = 40, classes: int = 0) -> Any:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(256, (n, 1, 8, 8), dtype=torch.uint8, generator=g)
    return from_arrays(x, torch.arange(n) % classes if classes else None, name="noise")


@pytest.fixture
def vae() -> Subject:
    return made("vae", DataSpec.image(1, 8, 8), data=pictures())


def png(path: Path, size: tuple[int, int] = (8, 8), mode: str = "L") -> Path:
    Image.fromarray(np.arange(size[0] * size[1], dtype=np.uint8).reshape(size)).convert(mode).save(path)
    return path


def answer(s: Subject, file: str | None, typed: str, number: float | None) -> Figure:
    """What is said of the reconstruction of what is given."""
    return s.attempts(lambda: s.reconstruct(uploads.observed(s, file, typed, number), Told()))[0]


def test_tabs_follow_what_a_model_can_do(vae: Subject) -> None:
    assert {k for k, why in vae.lacks.items() if not why} >= {"Samples", "Code", "Walk", "Reconstruct", "Neighbours"}
    assert vae.lacks["Stages"] == "its codes are drawn at once"
    gan = made("gan", DataSpec("vector", (2,)), {})
    assert gan.lacks["Reconstruct"] == "the model has no encoder"
    assert "--data" in gan.lacks["Neighbours"]
    assert "its likelihood" in gan.lacks["Compress"]
    assert not gan.lacks["Code"]
    assert made("vq-vae", DataSpec.image(1, 16, 16), {}).lacks["Code"].startswith("its codes are tokens")
    rows = made("table-ar", of("table").examples()[0], {})
    assert rows.lacks["Code"] == rows.lacks["Walk"] == "the model has no codes"
    assert not rows.truncates
    assert vae.truncates


def test_classes_of_observations_go_by_name() -> None:
    spec = replace(pictures(classes=3).spec, class_names=("cat", "dog", "owl"))
    data = pictures(classes=3)
    data = replace(data, spec=replace(data.spec, class_names=("Owl", "Dog", "emu")))
    s = made("cvae", spec, data=data)
    assert [uploads.label_of(s, None, "", k) for k in (0, 1)] == ["owl", "dog"]
    (emu,) = s.attempts(lambda: [Figure(caption=uploads.label_of(s, None, "", 2))])
    assert "has no class 'emu'" in emu.absent
    (figure,) = s.score(as_floats(data.take([0])), Told("owl"))  # the unseen emus are no obstacle
    assert "distance" in str(figure.picture)


def test_samples_are_those_of_the_seed(vae: Subject) -> None:
    (figure,) = vae.samples(6, 3, None, Told())
    expected = of(vae.spec).fragment(vae.spec, vae.model.sample(6, seed=3), 6)
    assert expected is not None
    assert figure.picture.tobytes() == expected.content.tobytes()  # type: ignore[union-attr]
    assert figure.alt.startswith("6 images by vae")


def test_a_class_is_told_by_name_and_a_wrong_one_is_refused() -> None:
    names = ("cat", "dog")
    cvae = made("cvae", DataSpec.image(1, 8, 8, classes=2, class_names=names), {**SMALL, "conditional": True})
    assert cvae.classes == [*names]
    (figure,) = cvae.samples(4, 0, None, Told("dog"))
    expected = of(cvae.spec).fragment(cvae.spec, cvae.model.sample(4, seed=0, labels="dog"), 4)
    assert expected is not None
    assert figure.picture.tobytes() == expected.content.tobytes()  # type: ignore[union-attr]
    (wrong,) = cvae.attempts(lambda: cvae.stages(0, Told("cow")))
    assert "no class 'cow': its classes are cat, dog" in wrong.absent
    x = torch.zeros(1, 1, 8, 8)
    (untold,) = cvae.attempts(lambda: cvae.reconstruct(x, Told()))
    assert "choose one" in untold.absent
    assert cvae.walk((0, 1), 4, ("cat", "cat"))[0].picture is not None


def test_sliders_begin_at_the_code_of_the_seed_and_move_one_number(vae: Subject) -> None:
    start = vae.start(2, Told())
    found, z = vae.sweep(2, Told()), vae.model.codes(0, 1, seed=2)
    assert start == pytest.approx([float(z[0, d].clamp(-2.5, 2.5)) for d in found.dimensions])
    still, moved = vae.turned(2, [], Told())[0], vae.turned(2, [-2.5, *start[1:]], Told())[0]
    assert still.picture.tobytes() != moved.picture.tobytes()  # type: ignore[union-attr]
    z[0, found.dimensions[0]] = -2.5
    expected = of(vae.spec).fragment(vae.spec, vae.model.decode(z, numbers=True))
    assert expected is not None
    assert moved.picture.tobytes() == expected.content.tobytes()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("recipe", "spec", "options", "stages"),
    [
        ("two-level-vae", DataSpec("vector", (2,)), {}, (2, 2)),
        ("vq-vae", DataSpec.image(1, 16, 16), {}, (16, 16, 16, 16)),
        ("top-down-vae", DataSpec.image(1, 16, 16), {}, None),
    ],
)
def test_a_stage_keeps_what_was_drawn_before_it(
    recipe: str, spec: DataSpec, options: dict[str, Any], stages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = made(recipe, spec, options)
    sizes, seen = s.model.prior.stages, []
    assert sizes == (stages or sizes)
    assert sum(sizes) == torch.Size(s.model.prior.noise_shape).numel()
    sample = type(s.model.prior).sample
    monkeypatch.setattr(type(s.model.prior), "sample", lambda self, u, *a, **k: seen.append(u) or sample(self, u, *a))
    figures = s.stages(0, Told())
    assert all(f.picture is not None for f in figures)
    u = seen[-1].flatten(1)
    first, rows = u[0], u[1:].view(-1, ACROSS, u.shape[1])
    ends = [0, *accumulate(sizes)]
    for row in rows:
        kept = int((row == first).all(0).int().cumprod(0).sum())
        assert kept in ends
        if kept < len(first):
            assert len(row[:, kept:].unique(dim=0)) == ACROSS
    assert int((rows[0] == first).all(0).sum()) == 0


def test_what_is_given_is_reconstructed_scored_and_found_again(vae: Subject, tmp_path: Path) -> None:
    x = uploads.observed(vae, None, "", 3)
    assert torch.equal(x, vae.training.take([3]).x.float() / 255)  # type: ignore[union-attr]
    (figure,) = vae.reconstruct(x, Told())
    error = (vae.model.reconstruct(x) * 255).round().div(255).sub(x).square().mean().sqrt().item()
    assert f"{error:.3g}" in figure.caption
    (near,) = vae.neighbours(x)
    grid = np.asarray(near.picture.convert("L"))  # type: ignore[union-attr]
    assert (grid[1:9, 1:9] == grid[1:9, 10:18]).all()  # it is its own nearest
    (scores,) = vae.score(x, Told())
    assert "reconstruction" in str(scores.picture)
    assert "odder than" in str(scores.picture)
    file = png(tmp_path / "mine.png", (20, 30), "RGB")
    assert uploads.observed(vae, str(file), "", 3).shape == (1, 1, 8, 8)
    many = tmp_path / "many.npz"
    np.savez(many, x=np.zeros((70, 1, 8, 8), np.uint8))
    assert len(uploads.observed(vae, str(many), "", None)) == 64


def test_compressed_observations_come_back(vae: Subject) -> None:
    pytest.importorskip("constriction")
    x = uploads.observed(vae, None, "", 0)
    figures, content = vae.compress(x, Told())
    assert f"{len(content):,}" in str(figures[0].picture)
    assert torch.equal(vae.model.decompress(content).float() / 255, x)


def test_bad_uploads_are_answered_in_a_sentence(vae: Subject, tmp_path: Path) -> None:
    files: dict[str, bytes] = {
        "empty.png": b"", "text.png": b"not a picture", "words.txt": b"hello", "x.npz": b"PK\x03\x04", "none.npy": b"",
        "model.safetensors": b"\x00" * 8, "song.wav": b"RIFF", "a.zip": b"PK", "noending": b"\x00",
    }  # fmt: skip
    stored = io.BytesIO()
    np.savez(stored, x=np.full((1, 3, 9), np.nan))
    files["nan.npz"] = stored.getvalue()
    stored = io.BytesIO()
    np.save(stored, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    files["pickled.npy"] = stored.getvalue()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        figure = answer(vae, str(tmp_path / name), "", 0)
        assert figure.picture is None
        assert figure.absent.startswith(f"{name} cannot be "), figure.absent
        assert "images of 1×8×8" in figure.absent
        assert str(tmp_path) not in figure.absent
    for number, words in ((40, "0 to 39"), (-1, "0 to 39"), (0.5, "no 0.5")):
        assert words in answer(vae, None, "", number).absent
    assert "give a file" in answer(made("vae", DataSpec.image(1, 8, 8)), None, "", 0).absent


def test_a_picture_beyond_measure_and_a_table_of_nothing_are_a_sentence(vae: Subject, tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    Image.new("1", (20_000, 20_000)).save(huge)
    rows = made("table-ar", of("table").examples()[0], {})
    for s, name, content in ((vae, "huge.png", None), (rows, "empty.csv", b""), (rows, "head.csv", b"colour,age\n"),
                             (rows, "other.csv", b"a,b\n1,2\n"), (rows, "text.csv", b"\x89PNG\r\n")):  # fmt: skip
        if content is not None:
            (tmp_path / name).write_bytes(content)
        (wrong,) = s.attempts(lambda s=s, name=name: s.score(uploads.observed(s, str(tmp_path / name), "", 0), Told()))  # type: ignore[misc]
        assert wrong.absent.startswith(f"{name} cannot be "), wrong.absent
        assert "\n" not in wrong.absent
        assert len(wrong.absent) < 400


def test_what_can_be_typed_is_typed() -> None:
    plane, lines = made("vae", DataSpec("vector", (2,)), {}), made("text-vae", TEXTS, {})
    assert uploads.observed(plane, None, "0.5, -1", None).tolist() == [[0.5, -1.0]]
    for typed, words in (("a b", "no numbers"), ("1 2 3", "has 2 numbers"), ("nan 1", "")):
        wrong = answer(plane, None, typed, 0)
        assert wrong.absent
        assert words in wrong.absent
    x = uploads.observed(lines, None, "abc", None)
    assert of(TEXTS).lines(TEXTS, x) == ["abc"]
    assert "<li>abc</li>" in str(lines.reconstruct(x, Told())[0].picture)
    assert "more than 8" in answer(lines, None, "a" * 20, None).absent


def test_every_kind_of_data_is_shown() -> None:
    """Samples of each are looked at by what their kind says, and nothing asks which it is."""
    from genzoo.core.modality import every

    for kind in every():
        spec = kind.examples()[0]
        recipe = {"table": "table-ar", "text": "lm"}.get(kind.name, "vae")
        s = Subject(recipe, genzoo.create(recipe, spec))
        (figure,) = s.attempts(lambda s=s: s.samples(4, 0, None, Told()))  # type: ignore[misc]
        assert figure.picture is not None, (kind.name, figure.absent)


def test_rows_can_be_asked_to_meet_a_condition(vae: Subject) -> None:
    s = made("table-ar", of("table").examples()[0], {})
    assert (s.selects, vae.selects) == (True, False)
    (figure,) = s.samples(5, 0, None, Told(), "colour = 'red'")
    assert str(figure.picture).count("<td>red</td>") == 5
    (wrong,) = s.attempts(lambda: s.samples(5, 0, None, Told(), "nothing = 1"))
    assert "nothing" in wrong.absent


def test_a_condition_is_shown_that_a_row_meets() -> None:
    row = {"two words": 1.5, "old": True, "age": 39, "who": "O'Hara", "sex": "F"}
    assert condition(row) == "age >= 39 AND who = 'O''Hara'"
    assert condition({"none": None, "nan": float("nan"), "most": float("inf")}) == ""
    assert condition({"nan": float("nan"), "pay": 1234567}) == "pay >= 1234567"
    assert condition({"share": 0.123456789}) == "share >= 0.123456789"
    s = made("table-ar", of("table").examples()[0], {})
    (figure,) = s.samples(3, 0, None, Told(), condition({"colour": "blue", "age": 2}))
    assert str(figure.picture).count("<td>blue</td>") == 3


def test_what_numbers_of_a_code_do_to_lines_is_said_number_by_number() -> None:
    s = made("text-vae", TEXTS, {})
    one, *rows = s.turned(0, [], Told())
    dimensions = s.sweep(0, Told()).dimensions[: len(rows)]
    assert [f.caption for f in rows] == [f"Number {d} at -2.5, 0, 2.5 standard deviations." for d in dimensions]
    assert [str(f.picture).count("<li>") for f in (one, *rows)] == [1, 3, 3, 3]


def test_the_nearest_of_lines_stand_below_what_is_looked_at() -> None:
    data = Data(TEXTS, of(TEXTS).to_storage(TEXTS, torch.cat([of(TEXTS).typed(TEXTS, w) for w in ("cab", "abc", "b")])))
    s = made("lm", TEXTS, {}, data=data)
    (figure,) = s.neighbours(of(TEXTS).typed(TEXTS, "abc"))
    assert str(figure.picture).startswith("<ol><li>abc</li><li>abc</li>")
    assert "distances 0, " in figure.caption


def test_without_gradio_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genzoo.plugins.apps.explore.interface.find_spec", lambda name: None)
    with pytest.raises(genzoo.GenzooError, match=r"pip install 'genzoo\[explore\]'"):
        genzoo.explore("vae/fashion-mnist")


def test_what_is_asked_wrongly_is_refused() -> None:
    with pytest.raises(genzoo.UsageError, match="1 to 4 models, not 5"):
        genzoo.explore(["vae/fashion-mnist"] * 5)
    with pytest.raises(genzoo.UsageError, match="2 different names"):
        genzoo.explore(["vae/fashion-mnist", "vae/emoji"], names=["a"])

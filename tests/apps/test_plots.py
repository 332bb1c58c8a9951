"""Drawings, films, and what they are made of."""

from __future__ import annotations

import builtins
import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.math.traversal import traverse
from genzoo.core.pictures import grids as pictures
from genzoo.core.pictures.drawing import LIGHT, Drawing, Line, Words, curves, losses, nice, thin
from genzoo.core.pictures.grids import save_movie
from genzoo.plugins.apps.draw import draw


def luminance(colour: str) -> float:
    linear = [((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10 else v / 255 / 12.92 for v in bytes.fromhex(colour[1:])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


CSS = (Path(__file__).parents[2] / "plugins" / "apps" / "compare" / "page.css").read_text()


def test_colours_can_be_told_from_the_paper() -> None:
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})", text)) for text in CSS.split("@media (prefers-color-scheme: dark)")
    )
    assert [n for n in LIGHT if n != "quiet" and light[n] != LIGHT[n]] == []
    for theme in (LIGHT, light, dark):
        for name in set(LIGHT) - {"paper", "rule"}:
            low, high = sorted((luminance(theme["paper"]), luminance(theme[name])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, name  # WCAG AA


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-13, 41, [-20, 0, 20, 40, 60]), (5, 5, [2, 3, 4, 5, 6, 7, 8])],
)
def test_ticks_are_round_and_hold_the_range(low: float, high: float, ticks: list[float]) -> None:
    found = nice(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    if low < high:
        assert found == pytest.approx(ticks)


def test_a_thing_has_one_colour_in_all_drawings() -> None:
    line, names = [(0.0, 1.0), (1.0, 2.0)], ["a", "b", "c"]
    drawn = [curves(dict.fromkeys(some, line), names=names).marks for some in ("abc", "bc")]
    every, few = ({(m.colour, m.dash) for m in marks if isinstance(m, Line) and m.colour != "rule"} for marks in drawn)
    assert (len(every), len(few)) == (3, 2)
    assert few < every


def test_a_curve_goes_through_its_points() -> None:
    drawing = curves({"a": [(0, 0.0), (50, 10.0), (100, 5.0)], "b": [(0, float("nan"))]})
    (line,) = [m for m in drawing.marks if isinstance(m, Line) and len(m.points) == 3]
    (x0, y0), (x1, y1), (x2, y2) = line.points
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y1 - y0 == pytest.approx(2 * (y2 - y0))  # upwards is less
    assert y1 < y0
    assert [m.text for m in drawing.marks if isinstance(m, Words) and m.text in "ab"] == ["a"]


def test_wild_steps_do_not_flatten_a_curve() -> None:
    calm: list[tuple[float, float]] = [(float(i), i / 1000) for i in range(1000)]
    drawing = curves({"loss": [*calm[:5], (5.0, 1e9), *calm[6:]]})
    assert "1" in [m.text for m in drawing.marks if isinstance(m, Words)] or "1.0" in [
        m.text for m in drawing.marks if isinstance(m, Words)
    ]
    assert len(thin(calm, 10)) == 10
    assert (thin(calm, 10)[0], thin(calm, 10)[-1]) == (calm[0], calm[-1])


def test_svg_is_xml_and_hostile_names_are_text() -> None:
    text = curves({'<b a="1">&': [(0, 1.0), (1, 2.0)]}, title="<script>").svg(title='"><x>')
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"] == '"><x>'
    assert {e.tag.rpartition("}")[2] for e in root.iter()} == {"svg", "title", "rect", "text", "path"}
    assert "var(" not in text
    assert "var(--c1)" in curves({"a": [(0, 1.0), (1, 2.0)]}).svg(themed=True)


def test_pixels_follow_the_lines() -> None:
    image = Drawing(40, 20, [Line([(0, 10), (40, 10)], "c1", 4)]).image(2)
    assert image.size == (80, 40)
    assert image.getpixel((40, 20)) == tuple(bytes.fromhex(LIGHT["c1"][1:]))
    dashed = Drawing(40, 20, [Line([(0, 10), (40, 10)], "c1", 4, (10, 10))]).image(1)
    assert [dashed.getpixel((x, 10)) == (255, 255, 255) for x in (5, 15, 25, 35)] == [False, True, False, True]


def test_losses_of_a_log() -> None:
    log: list[Any] = [
        {"step": 1, "seconds": 2, "critic/loss": 1.0, "critic/real": 2.0},
        {"step": 2, "held-out loss": 3.0},
    ]
    assert losses(log) == {"critic/loss": [(1.0, 1.0)], "held-out loss": [(2.0, 3.0)]}
    assert losses(log, ["critic/real"]) == {"critic/real": [(1.0, 2.0)]}
    with pytest.raises(genzoo.GenzooError, match=r"'kl' was not logged: there are critic/loss"):
        losses(log, ["kl"])


def frames(n: int) -> list[Image.Image]:
    return [Image.new("RGB", (15, 9), (20 * i, 255 - 20 * i, 0)) for i in range(n)]


def test_a_gif_holds_every_frame_and_its_time(tmp_path: Path) -> None:
    save_movie(frames(5), tmp_path / "a.gif", fps=10, hold=2)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 5  # type: ignore[attr-defined]
        times, colours = [], []
        for i in range(5):
            film.seek(i)
            times.append(film.info["duration"])
            colours.append(film.convert("RGB").getpixel((3, 3)))
    assert times == [100] * 4 + [2000]
    assert all(abs(c[0] - 20 * i) < 4 for i, c in enumerate(colours))  # type: ignore[index]


def test_an_mp4_plays(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    save_movie(frames(6), tmp_path / "a.mp4", fps=3, hold=0)
    reader = ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    about = next(reader)
    assert about["size"] == (16, 10)  # even numbers
    assert about["duration"] == pytest.approx(2, abs=0.1)
    assert len(list(reader)) == 6


def test_without_the_encoder_an_mp4_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(genzoo.GenzooError, match=r"pip install 'genzoo\[movies\]', or write a .gif"):
        save_movie(frames(2), tmp_path / "a.mp4")
    assert builtins.list(tmp_path.iterdir()) == []
    with pytest.raises(genzoo.UsageError, match=r"\.gif or \.mp4"):
        save_movie(frames(2), tmp_path / "a.avi")


class Sum(genzoo.Generator):
    """Each code's numbers, weighted, as one grey."""

    def __init__(self, ports: Any) -> None:
        super().__init__(ports)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        weights = torch.tensor([0.01, 0.0, 0.1])
        return torch.tanh(z @ (weights * self.scale))[:, None, None, None].expand(-1, 1, 8, 8)


def test_a_traversal_moves_one_number_and_puts_the_active_first() -> None:
    spec = genzoo.DataSpec.image(1, 8, 8)
    model = genzoo.create("wgan-gp", spec, options={"generator": "mlp", "critic": "mlp", "latent.size": 3})
    model.generator = Sum(model.generator.ports)
    found = traverse(model, 2, 5, seed=3, reach=2)
    assert found.dimensions == (2, 0)
    assert found.activity[0] > found.activity[1] > 0
    assert found.values == (-2, -1, 0, 1, 2)
    z = model.codes(0, 1, seed=3).repeat(5, 1)
    z[:, 2] = torch.linspace(-2, 2, 5)
    assert torch.equal(found.x[0], model.decode(z))
    with pytest.raises(genzoo.UsageError, match="no number 3 in a code of 3"):
        traverse(model, dimensions=(3,))


def test_with_data_the_order_is_that_of_the_kl() -> None:
    data = genzoo.load_data("fashion-mini", split="test").take(slice(50))
    small = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "latent.size": 5}
    model = genzoo.create("vae", data.spec, options=small)
    found = traverse(model, 5, 3, data=data)
    kl = model.posterior_numbers(data.x)[1].double().mean(0)
    assert list(found.dimensions) == kl.argsort(descending=True).tolist()
    assert found.activity == pytest.approx(kl.sort(descending=True).values.tolist(), rel=1e-5)
    assert found.measure == "nats"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ring") / "run"
    options = {"generator.width": 16, "critic.width": 16, "train.sample_every": 2, "train.log_every": 1}
    genzoo.fit("wgan-gp", "ring8", out, steps=6, options=options, device="cpu", progress=False)
    return out


def test_a_film_of_a_training_in_the_plane(ring: Path, tmp_path: Path) -> None:
    with Image.open(draw.training(ring, tmp_path / "a.gif")) as film:
        assert film.n_frames == 3  # type: ignore[attr-defined]
    colours = {c for _, c in Image.open(ring / "samples" / "step-0000002.png").convert("RGB").getcolors(10**6)}  # type: ignore[union-attr]
    assert any(r > 240 and b < 170 for r, _, b in colours)  # type: ignore[misc]  # the critic's surface, high
    assert any(b > 225 and g < 205 for _, g, b in colours)  # type: ignore[misc]  # and low
    draw.training(ring, tmp_path / "a.png")
    draw.curves([ring], tmp_path / "a.svg")
    ElementTree.parse(tmp_path / "a.svg")
    assert draw.curves(ring, tmp_path / "b.png", terms=["critic/penalty"]).is_file()


def test_drawing_the_critic_changes_nothing_of_a_run(ring: Path, tmp_path: Path) -> None:
    options = {"generator.width": 16, "critic.width": 16, "train.sample_every": 6, "train.log_every": 1}
    genzoo.fit("wgan-gp", "ring8", tmp_path / "b", steps=6, options=options, device="cpu", progress=False)
    a, b = (json.loads((f / "manifest.json").read_bytes()) for f in (ring, tmp_path / "b"))
    assert a["files"]["model.safetensors"] == b["files"]["model.safetensors"]


def test_the_surface_is_where_it_belongs() -> None:
    points = pictures.plane(2.0, 5)
    assert points[0].tolist() == [-2, 2]  # top left
    assert points[4].tolist() == [2, 2]
    assert points[20].tolist() == [-2, -2]
    image = pictures.scatter(torch.zeros(0, 2), torch.zeros(0, 2), limit=2.0, under=points[:, 0].view(5, 5), size=100)
    assert image.getpixel((95, 50)) == pytest.approx(pictures.HIGH, abs=8)
    assert image.getpixel((5, 50)) == pytest.approx(pictures.LOW, abs=8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda run, out: draw.training(out, out / "a.gif"), "holds no pictures of a training"),
        (lambda run, out: draw.training(run, out / "a.txt"), "cannot write a picture to 'a.txt'"),
        (lambda run, out: draw.traversal(run, out / "a.png"), "takes a model of images"),
        (lambda run, out: draw.interpolation(run, out / "a.gif"), "takes a model of images"),
        (lambda run, out: draw.curves(run, out / "a.gif"), "use curves to .svg or .png"),
        (lambda run, out: draw.curves(run, out / "a.svg", terms=["no"]), "'no' was not logged"),
    ],
)
def test_mistakes_are_one_sentence(ring: Path, tmp_path: Path, call: Any, words: str) -> None:
    with pytest.raises(genzoo.GenzooError, match=words):
        call(ring, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step-0000001.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(genzoo.GenzooError, match=r"step-0000001\.png is no picture"):
        draw.training(tmp_path, tmp_path / "a.gif")

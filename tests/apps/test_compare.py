"""Side by side: who wins, what is refused, and a page that can be read anywhere and broken out of nowhere."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.evaluation.report import Absent, Interval, Report, Result
from genzoo.core.record import TrainingRecord
from genzoo.plugins.apps.compare.compare import Compared, comparison_path
from genzoo.plugins.apps.compare.comparison import Candidate, Comparison, differing, distinct, protocol_words
from genzoo.plugins.apps.compare.page import LOSSLESS, page, picture
from genzoo.plugins.apps.compare.reading import learned_by_heart
from genzoo.registry.verbs.evaluate import save_report
from genzoo.registry.weights.history import History, history_of


def result(metric: str, value: float, low: float | None, high: float | None, **more: Any) -> Result:
    how: dict[str, Any] = {"direction": "lower", "protocol": f"metric={metric}/1 data=d:test@0 fake=10", "n_fake": 10}
    return Result(metric, value, Interval(low, high, 0.95, "made up"), **(how | more))


def report(name: str, *results: Result, absent: tuple[Absent, ...] = ()) -> Report:
    return Report(name, results, absent, {"data": "d", "split": "test", "fake": 10, "seed": 0})


@pytest.mark.parametrize(
    ("intervals", "direction", "best"),
    [
        (((1, 2), (3, 4), (5, 6)), "lower", 0),
        (((1, 2), (3, 4), (5, 6)), "higher", 2),
        (((1, 3.5), (3, 4), (5, 6)), "lower", None),  # the best two overlap
        (((1, 2), (2, 4), (5, 6)), "lower", None),  # and so do those that touch
        (((1, 2), (3, 4), (5, 6)), "none", None),
        (((1, 2), (None, None), (5, 6)), "lower", None),  # one of them might be anything
        (((1, 2),), "lower", None),  # nobody to win against
    ],
)
def test_a_winner_only_where_intervals_part(intervals: Any, direction: str, best: int | None) -> None:
    reports = [report(str(i), result("m", 1.5, *ends, direction=direction)) for i, ends in enumerate(intervals)]
    assert Comparison.of(reports).rows[0].best == best


def test_who_lacks_a_metric_does_not_win_or_lose_it() -> None:
    a = report("a", result("m", 1, 0.5, 1.5), result("own", 1, 0, 2))
    b = report("b", result("m", 3, 2.5, 3.5), absent=(Absent("own", "it has no encoder"), Absent("x", "no labels")))
    found = Comparison.of([a, b])
    own = found.rows[1]
    assert (own.best, own.reasons) == (None, ("", "it has no encoder"))
    assert found.absences() == {"no labels": ["x"]}
    assert found.to_dict()["best"] == {"m": "a", "own": None}


def test_numbers_of_different_protocols_are_refused_with_the_reason() -> None:
    a, b = (
        report("a", result("m", 1, 0, 2)),
        report("b", result("m", 3, 2, 4, protocol="metric=m/1 data=d:test@0 fake=99")),
    )
    with pytest.raises(genzoo.UsageError, match="fake=10 against fake=99"):
        Comparison.of([a, b])
    with pytest.raises(genzoo.UsageError, match="nothing to compare"):
        genzoo.compare([], "fashion-mini")


def test_names_are_short_and_distinct() -> None:
    assert distinct(["/runs/a/vae", "/runs/b/vae"]) == ["a/vae", "b/vae"]
    assert distinct(["./one/", "gan/mnist@1"]) == ["one", "gan/mnist@1"]
    assert distinct(["/x/vae"] * 3) == ["vae", "vae (2)", "vae (3)"]


def test_what_differs_and_what_is_shared() -> None:
    assert differing([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": None}]) == ["b", "c"]
    reports = [report("a", result("m", 1, 0, 2), result("k", 1, 0, 2, protocol="metric=k/1 data=d:test@0 fake=10 k=3"))]
    shared, own = protocol_words(Comparison.of(reports))
    assert shared == {"data": "d:test@0", "fake": "10"}
    assert own == {"m": "metric=m/1", "k": "metric=k/1 k=3"}


class Reader(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag]


NASTY = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e'


def test_nothing_breaks_out_of_the_page() -> None:
    r = result(
        NASTY, 1, 0, 2, title=NASTY, unit=NASTY, details={"shares": {NASTY: 0.2}, "shares of the data": {NASTY: 1}}
    )
    shares = result("classes", 1, 0, 2, details=r.details | {"classifier": NASTY}, extractor=NASTY)
    absent = (Absent("x", NASTY), Absent(NASTY + "y", "there is none"))
    a = Report(NASTY, (r, shares), absent, {"data": NASTY, "split": NASTY, "genzoo": NASTY})
    found = Comparison.of([a, a], [NASTY, NASTY + "2"])
    plain = {"recipe": NASTY, "data": {"name": NASTY, "observations": 3}, "seed": 1, "steps": 2, "of": 3}
    record = TrainingRecord.from_dict(plain | {"hardware": {"name": NASTY, "threads": NASTY}})
    log = ({"step": 1, NASTY: 1.0}, {"step": 2, NASTY: 2.0})
    made = History(record=record, log=log)
    sides = tuple(Candidate(n, NASTY, history=made) for n in found.names)
    read = Reader(page(Compared(found.names, found.reports, found.rows, sides), title=NASTY))
    assert read.all("script") == []
    assert [a for _, attributes in read.tags for a in attributes if a.startswith("on")] == []
    assert all((a["src"] or "").startswith("data:image/") for a in read.all("img"))
    assert "alert(1)" in "".join(read.words)  # it is shown, as the text that it is
    assert "\u202e" not in "".join(read.words)


@pytest.fixture(scope="module")
def compared() -> Compared:
    """Two untrained models, and samples, against a hundred pictures."""
    from genzoo.core.data import Data

    data: Data = genzoo.load_data("fashion-mini", split="test").take(slice(100))
    small = {"generator": "mlp", "generator.width": 8}
    vae = genzoo.create("vae", data.spec, options=small | {"encoder": "mlp", "encoder.width": 8, "latent.size": 4})
    gan = genzoo.create("wgan-gp", data.spec, options=small | {"critic": "mlp", "latent.size": 4})
    train = genzoo.load_data("fashion-mini").take(slice(200))
    return genzoo.compare([vae, gan, data.x[:60]], data, "kid,classes,psnr", training=train, cache=False, device="cpu")


def test_all_are_measured_alike(compared: Compared) -> None:
    assert compared.names == ("vae", "wgan-gp", "samples")
    assert {r["kid"].n_fake for r in compared.reports} == {60}  # as many as the fewest
    assert compared.rows[0].best == 2  # real pictures win against noise
    psnr = next(r for r in compared.rows if r.metric == "psnr")
    assert psnr.reasons == ("", "the model has no encoder", "these are samples without their model")


def test_the_page_shows_all_and_needs_nothing(compared: Compared, tmp_path: Path) -> None:
    path = compared.save(tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert len(text) < 5_000_000
    read = Reader(text)
    words = " ".join(read.words)
    assert read.all("script") == read.all("link") == read.all("iframe") == []
    assert re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert all(a.get("alt") for a in read.all("img"))
    # three grids, three rows of neighbours, one traversal, one interpolation, one row of reconstructions
    assert len(read.all("img")) == 9
    assert "Traversals:" in words
    assert "Interpolations:" in words
    assert "the model has no encoder" in words
    assert "Ankle boot" in words  # a bar for each class
    assert words.count("best") >= 1
    assert all(a.get("scope") in ("col", "row") for a in read.all("th"))
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(read.all(landmark)) == 1
    assert read.all("html") == [{"lang": "en"}]
    ids = [a["id"] for _, a in read.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in read.all("a") if a["href"]} <= set(ids)


def test_equal_seeds_give_equal_pages(compared: Compared) -> None:
    assert page(compared) == page(compared)


def test_saved_reports_compare_without_models(compared: Compared, tmp_path: Path) -> None:
    files = [save_report(r, tmp_path / f"{i}.json") for i, r in enumerate(compared.reports)]
    again = genzoo.compare(files)
    assert [r.best for r in again.rows] == [r.best for r in compared.rows]
    assert "a report keeps no samples" in page(again)
    assert json.loads(again.save(tmp_path / "all.json").read_bytes())["best"]["kid"] == again.names[2]


@pytest.mark.parametrize("name", ["report.png", "report", ""])
def test_a_comparison_is_html_or_json(name: str) -> None:
    with pytest.raises(genzoo.UsageError):
        comparison_path(name)


def test_mistakes(compared: Compared) -> None:
    model = compared.sides[0].model
    with pytest.raises(genzoo.UsageError, match="name the data"):
        genzoo.compare([model])
    with pytest.raises(genzoo.UsageError, match="2 different names"):
        genzoo.compare([model, model], compared.data, names=["a", "a"])
    with pytest.raises(genzoo.GenzooError, match="mig cannot be measured of any of them: the factors"):
        genzoo.compare([model], compared.data, "kid,mig", cache=False)


def test_points_in_the_plane(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    data = genzoo.load_data("ring8", split="test").take(slice(80))
    found = genzoo.compare([torch.from_numpy(x)], data, "modes", cache=False)
    text = page(found)
    assert "80 samples (small) over 80 observations (large)." in text
    assert "the data is not made of images" in text


def test_what_was_learned_by_heart_is_found() -> None:
    training = ["the quick brown fox jumps", "over the lazy dog and away", "nothing in common with it"]
    lines = ["a quick brown fox sits", "xyz", "under the lazy dog", "qqqqqqqqqqqq"]
    assert learned_by_heart(lines, training) == [
        ("a quick brown fox sits", training[0], " quick brown fox "),
        ("under the lazy dog", training[1], "er the lazy dog"),
    ]  # fmt: skip
    assert learned_by_heart(["xyz", ""], training) == []
    assert learned_by_heart(training * 3, training)[0] == (training[1], training[1], training[1])


def test_texts_are_read_with_what_they_come_from(tmp_path: Path) -> None:
    texts = [f"<b>the {w} & the {v}</b>" for w in ("king", "son", "house") for v in ("land", "sea", "day", "man")]
    data = genzoo.load_data(texts)
    small = {"likelihood.hidden": 8, "likelihood.embed": 4}
    vae = genzoo.create("text-vae", data.spec, options=small | {"encoder.hidden": 4, "latent.size": 2})
    lm = genzoo.create("lm", data.spec, options=small)
    given = {"training": data, "cache": False, "n": 12, "device": "cpu"}
    text = page(genzoo.compare([vae, lm], data, "distinct-n", names=["vae", "lm"], **given))
    read = Reader(text)
    words = " ".join(" ".join(read.words).split())
    assert read.all("b") == []  # texts are shown as they are written
    assert words.count("the model has no code") == 1
    assert "the model has no encoder" in words
    assert "Interpolations: from one random code to another in each list." in words
    assert "Below: the text that its code gives." in words
    assert words.count(texts[0]) >= 1
    assert "the data is not made of images" not in words


def test_wide_rows_scroll_within_their_place() -> None:
    pytest.importorskip("pyarrow")
    data = genzoo.load_data("penguins")
    small = {"generator.width": 8, "encoder.width": 8}
    models = [genzoo.create("vae", data.spec, options=small, seed=k) for k in (0, 1)]
    text = page(genzoo.compare(models, data, "columns", n=50, cache=False, device="cpu"))
    before = re.findall(r'(<div class="scroll"[^>]*tabindex="0">)?<table', text)
    assert len(before) >= 3  # of metrics, and rows of both
    assert all(before)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = os.environ.get("AXE")  # path of axe.min.js, of the axe-core package


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_finds_it_accessible(compared: Compared, tmp_path: Path, scheme: str) -> None:
    """In headless Chromium, 360 pixels wide: nothing scrolls sideways, and axe finds nothing serious."""
    text = page(compared)
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)  # the test's own script must run
    # Chromium's window is never narrower than 500 pixels, a frame is.
    judge = """<script>addEventListener('load', async () => {
      const wide = document.documentElement.scrollWidth, found = window.axe ? (await axe.run()).violations : [];
      const bad = found.filter(v => ['serious', 'critical'].includes(v.impact)).map(v => v.id);
      parent.postMessage(JSON.stringify({wide, view: innerWidth, axe: !!window.axe, bad}), '*');
    })</script>"""
    axe = f"<script>{Path(AXE).read_text()}</script>" if AXE else ""
    (tmp_path / "page.html").write_text(text.replace("</body>", f"{axe}{judge}</body>"), encoding="utf-8")
    outer = """<!doctype html><iframe src="page.html" width="360" height="800"></iframe><pre id="out">waiting</pre>
      <script>addEventListener('message', e => { document.getElementById('out').textContent = e.data })</script>"""
    (tmp_path / "outer.html").write_text(outer)
    dark = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", *dark,
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=30000", "--dump-dom",
         (tmp_path / "outer.html").as_uri()],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    said = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stderr[-2000:]
    found = json.loads(said[1].replace("&quot;", '"'))
    assert found["wide"] <= found["view"] <= 360
    assert found["bad"] == []
    if not AXE:
        pytest.skip("no sideways scroll; set AXE to axe-core's axe.min.js to check the rest")
    assert found["axe"]


def test_what_a_strangers_weights_tell_is_taken_for_text(tmp_path: Path) -> None:
    records = [{"step": "x", "loss": NASTY}, 7, {"step": 1}]
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    (tmp_path / "training.json").write_text(json.dumps({"curves": records}))
    shutil.copy(_weights(tmp_path / "w") / "config.json", tmp_path)
    shutil.copy(tmp_path / "w" / "model.safetensors", tmp_path)
    assert history_of(tmp_path).log == ({"step": 1},)
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.5}\n[1]\n{"step": 2, "lo')
    found = history_of(tmp_path)
    assert found.log == ({"step": 1, "loss": 2.5},)
    assert found.options()["latent.size"] == 3
    assert found.options()["objective"] == "vae"


def _weights(folder: Path) -> Path:
    parts = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "latent.size": 3}
    genzoo.create("vae", genzoo.DataSpec.image(1, 8, 8), options=parts).save(folder)
    return folder


@pytest.mark.parametrize(("size", "kind"), [(28, "png"), (256, "webp"), (1500, "webp")])
def test_pictures_stay_small(size: int, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    markup = picture(Image.fromarray(noise), "noise")
    found = re.fullmatch(
        r'<img src="data:image/(\w+);base64,([^"]+)" alt="noise" width="(\d+)" height="(\d+)">', markup
    )
    assert found
    content = base64.b64decode(found[2])
    assert found[1] == kind
    assert len(content) <= LOSSLESS
    assert (found[3], found[4]) == (str(size), str(size))
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == kind.upper()
        if kind == "png":
            assert np.array_equal(np.asarray(image), noise)


def test_a_run_with_a_report_in_it_is_a_run(tmp_path: Path) -> None:
    run = _weights(tmp_path / "run")
    (run / "report.json").write_text("{}")
    x = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    found = genzoo.compare([run, run], genzoo.load_data(x), "psnr", cache=False, device="cpu", names=["a", "b"])
    assert found.rows[0].best is None
    assert found.sides[0].model is not None

"""The explorer as people meet it, in a browser: needs genzoo[explore], playwright, axe-playwright-python, chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.skipif(not CHROMIUM, reason="needs chromium")]
Start = Callable[..., tuple[Any, str]]
PATIENCE = 120_000  # milliseconds, on a busy machine


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """``process, url = start(*ARGUMENTS)``: an explorer that serves."""
    running = []

    def explore(*arguments: object) -> tuple[Any, str]:
        command = [sys.executable, "-m", "genzoo.cli", "explore", *map(str, arguments), "--no-browser"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.communicate(timeout=60)
        return process, url

    yield explore
    for process in running:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def two(start: Start) -> str:
    """A VAE and a conditional one, side by side."""
    return start("vae/fashion-mnist", "cvae/fashion-mnist", "--data", "fashion-mini")[1]


@pytest.fixture
def page(browser: Any, two: str) -> Iterator[Any]:
    found = browser.new_page(viewport={"width": 1280, "height": 1000})
    found.set_default_timeout(PATIENCE)
    found.asked = []
    found.said = []
    found.on("request", lambda request: found.asked.append(request.url))
    found.on("console", lambda message: found.said.append(message.text) if message.type == "error" else None)
    found.goto(two)
    shown(found, 2)
    yield found
    assert [u for u in found.asked if not u.startswith((two, "data:", "blob:"))] == []  # nobody else is asked
    assert found.said == []
    found.close()


def shown(page: Any, figures: int) -> list[Any]:
    """The pictures that are to be seen, once there are as many and nothing is being computed."""
    page.wait_for_function(
        "n => [...document.querySelectorAll('figure, p.absent')].filter(e => e.offsetParent).length >= n", arg=figures
    )
    page.wait_for_function("() => !document.querySelector('.generating, .pending')")
    page.wait_for_timeout(300)
    return [f for f in page.locator("figure, p.absent").all() if f.is_visible()]


def sources(page: Any) -> list[str]:
    return [i.get_attribute("src") for i in page.locator("figure img").all() if i.is_visible()]


def opened(page: Any, tab: str) -> None:
    """Open a tab, of a narrow page from the menu of those that found no room."""
    found = page.get_by_role("tab", name=tab, exact=True).filter(visible=True)
    if not found.count():
        page.locator(".overflow-menu > button").click()
        found = page.locator(".overflow-dropdown button").filter(has_text=tab)
    found.click()


def changed(page: Any, before: list[str]) -> list[str]:
    """The pictures, once they are others."""
    deadline = time.monotonic() + PATIENCE / 1000
    while sources(page) in (before, []) and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert sources(page) != before
    return sources(page)


def test_somebody_with_no_manual_samples_walks_reconstructs_and_compares(page: Any, tmp_path: Path) -> None:
    first = sources(page)
    assert len(first) == 2
    page.get_by_role("button", name="Next seed").first.click()
    second = changed(page, first)
    page.get_by_label("Seed", exact=True).first.fill("0")
    assert changed(page, second) == first  # equal seeds, equal samples
    page.get_by_label("Class", exact=True).first.click()
    page.get_by_role("option", name="Sneaker").click()
    page.get_by_text("64 samples of Sneaker.").wait_for()
    assert sources(page)[0] == first[0]  # the one without classes does not care

    opened(page, "Walk")
    assert len(shown(page, 2)) == 2
    opened(page, "Code")
    assert len(shown(page, 4)) == 4
    before = sources(page)
    slider = page.get_by_role("slider").filter(visible=True).first
    slider.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    after = changed(page, before)
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True, True, True]

    opened(page, "Reconstruct")
    page.get_by_text("Above: given. Below: made again.").filter(visible=True).nth(1).wait_for()  # of the data's first
    mine = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(mine)
    panel = page.get_by_role("tabpanel").filter(visible=True)
    before = sources(page)
    panel.locator("input[type=file]").first.set_input_files(mine)
    changed(page, before)


@pytest.mark.parametrize(
    ("tab", "button", "words"),
    [
        ("Reconstruct", "Reconstruct", "Root mean square error"),
        ("Neighbours", "Nearest to these samples", "nearest by the features of scattering"),
        ("Score", "Score", "unseen observations that are less odd"),
        ("Compress", "Compress", "What comes back is exactly what was looked at"),
    ],
)
def test_tabs_about_observations_answer_for_both(page: Any, tab: str, button: str, words: str) -> None:
    opened(page, tab)
    page.get_by_role("button", name=button, exact=True).click()
    page.get_by_text(words).filter(visible=True).nth(1).wait_for()
    assert len(shown(page, 2)) == (4 if tab == "Score" else 2)  # which shows what is looked at


def test_bad_uploads_are_answered_in_a_sentence(page: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing of the kind")
    opened(page, "Reconstruct")
    page.get_by_role("tabpanel").filter(visible=True).locator("input[type=file]").first.set_input_files(bad)
    answer = page.locator("p.absent").filter(visible=True)
    answer.nth(1).wait_for()
    assert answer.first.inner_text().startswith("bad.png cannot be used")
    assert "Traceback" not in page.content()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 400)])
def test_every_tab_is_clean_to_axe(page: Any, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1000})
    page.reload()
    shown(page, 2)
    found, folder = {}, os.environ.get("GENZOO_SCREENSHOTS")
    for tab in ["Samples", "Code", "Walk", "Reconstruct", "Neighbours", "Score", "Compress", "About"]:
        opened(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing is cut off
        if tab in ("Reconstruct", "Score", "Compress"):
            page.get_by_role("button", name=tab, exact=True).click()
        if tab != "About":
            shown(page, 2)
        page.mouse.move(0, 0)
        violations = axe.Axe().run(page).response["violations"]
        found |= {f"{tab}: {v['id']}": v["nodes"][0]["html"][:200] for v in violations}
        if folder:
            page.screenshot(path=Path(folder) / f"{scheme}-{width}-{tab}.png", full_page=True)
    assert found == {}


def test_all_of_it_is_reached_by_the_keyboard(page: Any) -> None:
    """Every control that is seen is come to by Tab; tabs change by Enter."""
    page.get_by_role("tab", name="Samples").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shown(page, 4)
    assert page.get_by_role("tab", name="Code").get_attribute("aria-selected") == "true"
    marked = page.evaluate(
        "() => [...document.querySelectorAll('input, button, textarea')].filter(e => e.offsetParent && !e.disabled && "
        "e.tabIndex >= 0).map((e, i) => e.dataset.marked = `${i}`)"
    )
    seen = set()
    for _ in range(3 * len(marked)):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("() => document.activeElement.dataset.marked"))
    assert len(marked) > 20
    assert set(marked) <= seen


@pytest.fixture
def explored(browser: Any, start: Start) -> Iterator[Callable[..., Any]]:
    """``explored(WEIGHTS)``: its page, looked at until there is something to see."""
    pages = []

    def opening(weights: str) -> Any:
        process, url = start(weights)
        found = browser.new_page(viewport={"width": 1200, "height": 1000})
        pages.append((found, process))
        found.set_default_timeout(PATIENCE)
        found.goto(url)
        shown(found, 1)
        return found

    yield opening
    for found, process in pages:
        assert [v for v in axe.Axe().run(found).response["violations"] if v["impact"] != "minor"] == []
        if folder := os.environ.get("GENZOO_SCREENSHOTS"):
            found.screenshot(path=Path(folder) / f"{found.title().split('/')[0]}.png", full_page=True)
        found.close()
        process.terminate()
        process.communicate(timeout=60)


def test_rows_are_asked_for_by_a_condition_and_read_from_a_file(explored: Callable[..., Any], tmp_path: Path) -> None:
    page = explored("table-ar/adult")
    where = page.get_by_label("Only rows where")
    example = where.get_attribute("placeholder").removeprefix("such as ")
    assert re.fullmatch(r"age >= \d+ AND \w+ = '.+'", example)
    where.fill("sex = 'Female' AND age > 60")
    where.press("Enter")
    page.wait_for_function(
        "() => { const rows = [...document.querySelectorAll('tr:has(td)')].filter(e => e.offsetParent); "
        "return rows.length == 12 && rows.every(r => +r.cells[0].innerText > 60 && /Female/.test(r.innerText)) }"
    )
    opened(page, "Score")
    shown(page, 2)
    nothing = tmp_path / "nothing.csv"
    nothing.write_bytes(b"")
    page.get_by_role("tabpanel").filter(visible=True).locator("input[type=file]").set_input_files(nothing)
    page.locator("p.absent").filter(visible=True).wait_for()
    assert page.locator("p.absent").filter(visible=True).inner_text().startswith("nothing.csv cannot be ")


def test_lines_are_typed_and_made_again(explored: Callable[..., Any]) -> None:
    page = explored("text-vae/kjv-mini")
    assert page.locator("figure li").filter(visible=True).count() == 10
    opened(page, "Code")
    page.get_by_text("at -2.5, 0, 2.5 standard deviations").nth(2).wait_for()
    opened(page, "Reconstruct")
    shown(page, 2)
    typed = page.get_by_label("A text").filter(visible=True)
    typed.fill("And God said, Let there be light.")
    typed.press("Enter")
    page.locator("li", has_text="And God said, Let there be light.").filter(visible=True).first.wait_for()


def test_sounds_are_heard(explored: Callable[..., Any]) -> None:
    page = explored("rave/spoken-digits")
    page.wait_for_function("() => [...document.querySelectorAll('audio')].filter(a => a.duration > 0.1).length >= 6")
    opened(page, "Walk")
    shown(page, 1)
    assert page.locator("audio").filter(visible=True).count() >= 2


def test_two_at_once_and_nothing_is_left_of_either(start: Start, two: str) -> None:
    before = folders()
    (a, one), (b, other) = (start("vae/emoji") for _ in range(2))
    assert len({one, other, two}) == 3
    for url in (one, other):
        assert b"genzoo" in urlopen(url, timeout=30).read()
    assert len(folders() - before) == 2
    a.send_signal(signal.SIGINT)
    b.send_signal(signal.SIGTERM)
    for process, url in ((a, one), (b, other)):
        assert process.wait(30) == 0
        assert process.stderr.read().splitlines() == ["Ctrl-C closes it"]
        with pytest.raises(URLError):
            urlopen(url, timeout=5)
    assert folders() == before
    for process in (a, b):  # nor children of theirs
        assert not children(process.pid)
    assert urlopen(two, timeout=30).status == 200  # and others go on


def folders() -> set[str]:
    return {p.name for p in Path(tempfile.gettempdir()).glob("genzoo-explore-*")}


def children(pid: int) -> list[str]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if re.split(r"\) ", text)[-1].split()[1] == str(pid):
            found.append(text)
    return found


def test_a_port_that_is_taken_is_a_sentence(start: Start, two: str) -> None:
    port = two.rpartition(":")[2].strip("/")
    command = [sys.executable, "-m", "genzoo.cli", "explore", "vae/emoji", "--no-browser", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    said = f"genzoo: cannot serve a page on 127.0.0.1:{port}, which is taken: leave out --port and --host"
    assert done.stderr.splitlines()[-1] == said

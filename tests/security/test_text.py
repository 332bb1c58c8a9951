"""Text of others reaches terminals, cards, pages, pictures and code snippets, and acts on none of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from PIL import Image

import genzoo
from genzoo.core import text
from genzoo.core.pictures.drawing import Drawing, Words
from genzoo.core.record import TrainingRecord
from genzoo.core.spec import DataSpec
from genzoo.core.storage.card import card
from genzoo.core.templates import render

# An escape sequence, a carriage return, a right-to-left override, a zero-width space, quotes of all kinds, markup.
NASTY = "x\x1b[31m\r\u202ey\u200b'\"`\\ $(z) <b>**[l](http://e)** | ![i](j) &lt; _k_"


def calm(shown: str) -> bool:
    """Whether text only has what a terminal prints."""
    return all(c.isprintable() or c == "\n" for c in shown)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.mark.parametrize(
    "given", [NASTY, "", "plain – text ü 字", "```", "`", "a]", "]", "\\", "'", '"', "\n\n# h\n```"]
)
def test_each_sink_shows_the_text_and_nothing_else(given: str) -> None:
    assert calm(text.one_line(given))
    assert "\n" not in text.one_line(given)
    assert calm(text.lines(given))
    inline = f"a {text.markdown(given)}(b) {text.code(given)} c"
    assert calm(inline)
    tokens = [t for block in MarkdownIt("gfm-like", {"linkify": False}).parse(inline) for t in block.children or ()]
    assert {t.type for t in tokens} <= {"text", "code_inline", "text_special"}
    told = "".join(t.content for t in tokens)
    clean = text.one_line(given)
    assert told.replace(" ", "") == f"a {clean}(b) {clean.replace('|', '¦')} c".replace(" ", "")
    page = Tags(f'<p title="{text.html(given)}">{text.html(given)}</p>')
    assert page.tags == ["p"]
    assert calm(page.said)
    assert eval(text.python(given), {"__builtins__": {}}) == given
    assert calm(text.python(given))
    assert "\n" not in text.python(given) + text.shell(given)
    assert calm(text.shell(given))
    ran = subprocess.run(["bash", "-c", f"printf %s {text.shell(given)}"], capture_output=True, check=True)
    assert ran.stdout.decode() == given


def test_plain_names_stay_as_they_are() -> None:
    for name in ("fashion-mini", "open_nsfw", "R1 (2018)", "x86_64", "Ünï 字", "[0.1, 0.2]", "a+b=c; 50 %", "v1.0!"):
        assert text.one_line(name) == text.lines(name) == name
        assert text.markdown(name).replace("\\", "") == name
    assert text.markdown("open_nsfw, x86_64, R1 (2018)") == "open_nsfw, x86_64, R1 (2018)"
    assert text.shell("fashion-mini") == "fashion-mini"


def nasty_card() -> str:
    spec = DataSpec.image(1, 8, 8, classes=2, class_names=(NASTY, "b"), name=NASTY)
    config = genzoo.create("vae", spec, options={"encoder": "mlp", "generator": "mlp", "conditional": True}).config
    assert config is not None
    for part in config.parts.values():
        object.__setattr__(part, "version", NASTY)
        object.__setattr__(part, "distribution", NASTY)
    record: dict[str, Any] = {
        "recipe": NASTY, "data": {"name": NASTY, "license": NASTY, "observations": 9, "held_out": 1},
        "seed": 0, "steps": 1, "of": 2, "seen": 3, "seconds": 1.0, "python": NASTY, "parameters": 3,
        "hardware": {"device": "cpu", "name": NASTY, "threads": 1, "torch": NASTY},
        "called with": {"precision": NASTY}, "metrics": {NASTY: 1.0},
        "about": {"summary": NASTY, "paper": NASTY, "data paper": NASTY, "tags": [NASTY], "command": ["genzoo", NASTY]},
        "evaluation": {
            "subject": NASTY, "record": {"data": NASTY, "split": NASTY}, "format": 1,
            "results": [], "absent": [{"metric": NASTY, "reason": NASTY}],
        },
    }  # fmt: skip
    return card(config, TrainingRecord.from_dict(record), picture="samples.png", name=NASTY, license=NASTY)


def test_a_card() -> None:
    shown = nasty_card()
    assert calm(shown)
    _, head, body = shown.split("---\n", 2)
    assert yaml.safe_load(head)["datasets"] == [NASTY]
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(body)
    inline = [t for block in tokens for t in block.children or ()]
    assert not [t for t in (*tokens, *inline) if t.type.startswith("html")]
    links = {t.attrs["href"] for t in inline if t.type == "link_open"}
    assert links == {"https://pypi.org/project/genzoo/"}
    assert [t.attrs["src"] for t in inline if t.type == "image"] == ["samples.png"]
    (script,) = [t.content for t in tokens if t.type == "fence" and t.info == "python"]
    compile(script, "card", "exec")
    assert text.python(NASTY) in script
    for commands in (t.content for t in tokens if t.type == "fence" and t.info == "console"):
        for line in commands.replace("\\\n", " ").splitlines():
            words = ["bash", "-c", f"printf '%s\\0' {line.removeprefix('$ ')}"]
            said = subprocess.run(words, capture_output=True, check=True).stdout.decode().split("\0")
            assert {w for w in said if "\x1b" in w} <= {NASTY, f"{NASTY}=={NASTY}"}


def test_a_page_and_a_drawing(tmp_path: Path) -> None:
    (tmp_path / "x.html.j2").write_text('<p title="{{ text }}">{{ text }}</p>')
    page = Tags(render(tmp_path / "x.html.j2", {"text": NASTY}))
    assert page.tags == ["p"]
    assert calm(page.said)
    drawn = Drawing(100, 100, [Words((1, 1), NASTY)]).svg(title=NASTY, themed=True)
    assert calm(drawn)
    assert "b" not in Tags(drawn).tags


PLUGIN = f"""
from genzoo.registry import hookimpl
NASTY = {NASTY[7:]!r}  # a registrar refuses what is not on one line
@hookimpl
def genzoo_register(registry):
    registry.objective("nasty", "nasty_model:Nasty", summary=NASTY, paper=NASTY)
    registry.recipe("nasty-recipe", objective="nasty", generator="mlp", critic="mlp", summary=NASTY)
"""
MODEL = f"""
from genzoo.plugins.gan.gan import GAN
class Nasty(GAN):
    def draw(self, *a, **k):
        raise RuntimeError({NASTY!r})
"""
COMMANDS = """
import sys
from genzoo.cli.main import main
for command in {commands!r}:
    sys.argv = ["genzoo", *command]
    try:
        main()
    except SystemExit as e:
        print("left with", e.code, file=sys.stderr)
"""


def test_a_terminal(tmp_path: Path) -> None:
    """Version, name of an entry point, summary, message of an exception, names of data and classes."""
    site, images = tmp_path / "site", tmp_path / "data\u202e" / "set\u200b"
    for which in ("a\u202e", "b\u200b"):
        (images / which).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((8, 8), 30 * i, np.uint8)).save(images / which / f"{i}.png")
    info = site / "dist_nasty-1.dist-info"
    info.mkdir(parents=True)
    points = "fine = nasty_plugin\nnasty\u202e\x1b[31m<b> = nasty_plugin\nbroken = broken_plugin\nodd\u202e = no such\n"
    (info / "entry_points.txt").write_text(f"[genzoo]\n{points}", encoding="utf-8")
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: dist-nasty\nVersion: 1\x1b[31m\u202e\n", encoding="utf-8"
    )
    (site / "nasty_plugin.py").write_text(PLUGIN, encoding="utf-8")
    (site / "nasty_model.py").write_text(MODEL, encoding="utf-8")
    (site / "broken_plugin.py").write_text(f"raise RuntimeError({NASTY!r})", encoding="utf-8")
    out = tmp_path / "run"
    commands = [
        ["list"], ["plugins"], ["plugins", "doctor"], ["show", "nasty-recipe"], ["show", NASTY],
        ["plugins", "disable", NASTY], ["recipe", "save", "nasty-recipe", "--out", str(tmp_path / "r.toml")],
        ["train", "nasty-recipe", "--data", str(images), "--out", str(out), "--steps", "1", "--device", "cpu"],
        ["train", NASTY, "--data", str(images), "--out", str(out)],
        ["sample", str(tmp_path / NASTY.replace("/", "")), "--out", str(tmp_path / "x.png")],
    ]  # fmt: skip
    env = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_")}
    env |= {"PYTHONPATH": str(site), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
    env |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    code = COMMANDS.format(commands=commands)
    ran = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, encoding="utf-8")
    for shown in (ran.stdout, ran.stderr):
        assert calm(shown), next(line for line in shown.split("\n") if not calm(line))
    assert "Traceback" not in ran.stderr
    assert "nasty-recipe" in ran.stdout, ran.stderr
    assert "RuntimeError" in ran.stderr


def test_no_command_prints_by_itself() -> None:
    """They print by `genzoo.registry.console.output`, or by `genzoo.core.text`, which nothing passes raw."""
    root = Path(__file__).parents[2]
    files = [*root.glob("cli/*.py"), *root.glob("plugins/apps/*/*_cli.py"), *root.glob("registry/**/*.py")]
    raw = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"(?<![\w.])print\(", line) and not re.search(r"lines\(|one_line\(|json\.dumps|version|K\"", line)
    ]
    assert [r for r in raw if not r.startswith("registry/console/output.py")] == []

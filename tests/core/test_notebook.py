"""What a notebook shows: bars, and results as HTML without a stranger's markup."""

from __future__ import annotations

import io
import sys
import types
from html.parser import HTMLParser

import numpy as np
import pytest

import genzoo as gz
from genzoo.core import notebook
from genzoo.core.evaluation.report import Absent, Report, Result

MARKUP = "<script>alert(1)</script>\" onload='x'"


class Tags(HTMLParser):
    """Tags that a page opens."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}


def safe(page: str, *words: str) -> Tags:
    found = Tags(page)
    assert set(found.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "p", "b", "small", "img"}
    assert found.names <= {"style", "alt", "src"}
    for word in words:
        assert word in page
    return found


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of IPython, whose stderr is no terminal."""
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]


def test_bars_are_shown_where_they_can_be_seen(kernel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notebook.shows_progress()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))  # type: ignore[arg-type]
    assert not notebook.shows_progress()  # IPython is imported, and nobody uses it
    monkeypatch.setattr(sys, "stderr", types.SimpleNamespace(isatty=lambda: True))
    assert notebook.shows_progress()


def test_training_shows_its_bar_in_a_notebook(kernel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    x = np.random.default_rng(0).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    parts = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "train.batch_size": 8}
    run = gz.fit("vae", x, steps=2, options=parts)
    assert "vae" in stream.getvalue()
    assert "2/2" in stream.getvalue()
    shown = safe(run._repr_html_(), "vae, trained", "steps", "data:image/png;base64,")
    assert "img" in shown.tags
    assert "img" in safe(run.model._repr_html_(), "images of 1×8×8", "parameters").tags


def test_reports_are_tables() -> None:
    result = Result("frechet", 1.5, title=f"Fréchet {MARKUP}", direction="lower")
    report = Report(
        f"me {MARKUP}", (result,), (Absent("fid", f"add --extractor inception {MARKUP}"),), {"data": MARKUP}
    )
    page = report._repr_html_()
    safe(page, "1.5", "absent: fid", "extractor=&quot;inception&quot;")
    from genzoo.plugins.apps.compare.comparison import Comparison
    from genzoo.plugins.apps.diagnose.verdicts import Diagnosis, Remedy, Verdict

    safe(Comparison.of([report, report], names=[f"a{MARKUP}", "b"])._repr_html_(), "1.5", "metric")
    remedies = (Remedy("longer", options=(("train.steps", 5),)),)
    found = Diagnosis(MARKUP, (Verdict("undertrained", "problem", MARKUP, (), remedies),))
    safe(found._repr_html_(), "1 problem", "options={&quot;train.steps&quot;: &quot;5&quot;}")


@pytest.mark.parametrize(("asked", "seen", "shown"), [(None, True, True), (None, False, False), (False, True, False)])
def test_bars_show_unasked_where_somebody_sees_them(monkeypatch, capsys, asked, seen, shown):
    monkeypatch.setattr(notebook, "shows_progress", lambda: seen)
    gz.evaluate(np.zeros((60, 2), np.float32), np.ones((60, 2), np.float32), "mmd", progress=asked)
    assert ("measuring" in capsys.readouterr().err) == shown

"""The page of an explorer: a tab for each thing that a model can do, and a column for each model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import as_floats
from genzoo.core.math.traversal import REACH
from genzoo.core.modality import of
from genzoo.core.text import html
from genzoo.plugins.apps.compare import page as compared
from genzoo.plugins.apps.compare.comparison import Candidate
from genzoo.plugins.apps.compare.figures import Figure
from genzoo.plugins.apps.explore.fragments import condition
from genzoo.plugins.apps.explore.subject import SLIDERS, Figures, Subject, Told
from genzoo.plugins.apps.explore.uploads import label_of, observed

EACH = "each in turn"  # of the classes
WAITING = "Being computed: the first answer of a tab may take some seconds."
WIDEST = 880  # pixels of a picture
FACTOR = 4  # by which its pixels are enlarged where there is room
Ask = Callable[..., Figures]


def need_gradio() -> None:
    """Raise `GenzooError` where the package gradio is missing; it takes long to import."""
    if find_spec("gradio") is None:
        raise GenzooError("the explorer needs the package gradio: pip install 'genzoo[explore]'")


def gradio() -> Any:
    """The package gradio."""
    need_gradio()
    return import_module("gradio")


def look() -> dict[str, Any]:
    """How the page looks: fonts of this machine, and the colours of a page of comparisons."""
    colours = Path(compared.__file__).with_name("page.css").read_text(encoding="utf-8").partition("* {")[0]
    own = Path(__file__).with_name("explore.css").read_text(encoding="utf-8")
    mono = ["ui-monospace", "monospace"]
    theme = gradio().themes.Base(font=["system-ui", "sans-serif"], font_mono=mono, primary_hue="blue")
    return {"theme": theme, "css": own, "head": f"<style>{colours}</style>"}  # of css, gradio keeps no dark :root


def block(figure: Figure) -> str:
    """A figure as HTML, or the reason for its absence."""
    if figure.absent:
        return f'<p class="absent" role="status">{html(figure.absent)}</p>'
    content, wide = str(compared.drawn(figure)), 420  # of a drawing
    if isinstance(figure.picture, Image.Image):
        wide = min(figure.picture.width * FACTOR, WIDEST)
    if isinstance(figure.picture, str):
        content = f'<div class="scroll" tabindex="0" role="group" aria-label="{html(figure.alt)}">{content}</div>'
    else:
        content = f'<div style="max-width: {wide}px">{content}</div>'
    caption = f"<figcaption>{html(figure.caption)}</figcaption>" if figure.caption else ""
    return f"<figure>{content}{caption}</figure>"


def lacking(s: Subject, tab: str) -> Figure:
    """Why a model has no answer in a tab, which is there for one beside it."""
    return Figure(absent=f"Not of this model: {s.lacks[tab]}.")


class Page:
    """Builds the page of some models; files to take away are put into a folder."""

    def __init__(self, subjects: Sequence[Subject], folder: str) -> None:
        self.subjects, self.folder, self.gr = list(subjects), folder, gradio()

    def build(self) -> Any:
        """The page, ready to be served."""
        gr, subjects = self.gr, self.subjects
        builders = {
            "Samples": self._samples, "Code": self._code, "Walk": self._walk, "Stages": self._stages,
            "Reconstruct": self._reconstruct, "Neighbours": self._neighbours, "Score": self._score,
            "Compress": self._compress,
        }  # fmt: skip
        title = " · ".join(s.name for s in subjects)
        with gr.Blocks(title=f"{title} – genzoo explore", analytics_enabled=False, fill_width=True) as page:
            gr.HTML(f"<h1>{html(title)}</h1><p>{html(self._lead())}</p>")
            with gr.Tabs():
                for name, build in builders.items():
                    if any(not s.lacks[name] for s in subjects):
                        with gr.Tab(name) as tab:
                            build(page, tab)
                with gr.Tab("About"):
                    self._about()
        return page

    def _lead(self) -> str:
        can = [name for name in self.subjects[0].lacks if any(not s.lacks[name] for s in self.subjects)]
        kinds = " and ".join(dict.fromkeys(s.kind.describe(s.spec) for s in self.subjects))
        several = " Both" if len(self.subjects) == 2 else " All" if len(self.subjects) > 2 else ""
        alike = f"{several} are given the same seeds." if several else ""
        return f"Made to give {kinds}.{alike} Here: {', '.join(can).lower()}."

    # Controls.

    def _seed(self, label: str = "Seed", value: int = 0) -> Any:
        return self.gr.Number(value, label=label, precision=0, minimum=0, maximum=2**31, min_width=110)

    def _classes(self, label: str = "Class", each: str = EACH) -> Any:
        """A class by name: of whichever model has classes."""
        names = list(dict.fromkeys(name for s in self.subjects for name in s.classes))
        choices = [each, *names] if each else names
        return self.gr.Dropdown(choices, value=choices[0] if choices else None, label=label, visible=bool(names),
                                min_width=150)  # fmt: skip

    def _conditions(self) -> Any:
        names = list(dict.fromkeys(name for s in self.subjects if s.model.conditions for name in s.spec.conditions))
        return self.gr.Textbox("", label=f"Conditions: {', '.join(names)}", visible=bool(names), min_width=150)

    def _columns(self, first: str = WAITING) -> list[Any]:
        """Where each model's answers stand; until there is one, what a visitor does or waits for."""
        gr, found = self.gr, []
        with gr.Row(equal_height=False):
            for s in self.subjects:
                with gr.Column(min_width=280):
                    if len(self.subjects) > 1:
                        gr.HTML(f"<h2>{html(s.name)}</h2>")
                    found.append(gr.HTML(f'<p class="waiting">{html(first)}</p>'))
        return found

    def _source(self, name: str = "") -> list[Any]:
        """What somebody gives: a file, a line, the number of an observation; and what a model is told of it."""
        gr, subjects = self.gr, self.subjects
        many = " or ".join(dict.fromkeys(s.kind.many for s in subjects))
        asks = next((s.kind.asks for s in subjects if s.kind.asks), "")
        sizes = [len(d) for s in subjects if (d := s.unseen if s.unseen is not None else s.training) is not None]
        with gr.Row(equal_height=False):
            file = gr.File(label=f"A file of {many}{name}", height=120, min_width=240)
            with gr.Column(min_width=200):
                typed = gr.Textbox("", label=f"{asks}{name}", visible=bool(asks))
                number = gr.Number(0 if sizes else None, label=f"Or number of an observation of the data{name}",
                                   precision=0, visible=bool(sizes))  # fmt: skip
            with gr.Column(min_width=160):
                label = self._classes(f"Its class{name}", "as the data say")
                condition = self._conditions()
        return [file, typed, number, label, condition]

    # Answers.

    def _answered(self, tab: str, ask: Ask) -> Callable[..., Any]:
        """What a control calls: the answers of every model, as many as there are columns."""

        def answer(*inputs: Any) -> Any:
            found = [[lacking(s, tab)] if s.lacks[tab] else s.attempts(partial(ask, s, *inputs)) for s in self.subjects]
            parts = ["".join(map(block, figures)) for figures in found]
            return parts if len(parts) > 1 else parts[0]

        return answer

    def _connect(self, events: list[Any], answer: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        self.gr.on(events, answer, inputs, outputs, trigger_mode="always_last", show_progress="minimal",
                   api_visibility="private")  # fmt: skip

    def _next(self, seed: Any) -> None:
        """A button for the seed after this one."""
        button = self.gr.Button("Next seed", min_width=110)
        button.click(
            lambda value: int(value or 0) + 1, [seed], [seed], api_visibility="private", show_progress="hidden"
        )

    def _given(self, go: Any, source: list[Any], tab: Any = None) -> list[Any]:
        """What asks about an observation: a button, a file, Enter, and a tab that opens, where data are known."""
        known = tab is not None and any(s.unseen is not None or s.training is not None for s in self.subjects)
        opening = [tab.select] if known else []
        return [*opening, go.click, source[0].upload, *(x.submit for x in source[1:3])]

    def _observations(self, name: str, tab: Any, ask: Callable[[Subject, Tensor, Told], Figures]) -> None:
        """A tab about observations that somebody gives."""
        source, go = self._source(), self.gr.Button(name, variant="primary")

        def answer(s: Subject, *given: Any) -> Figures:
            return ask(s, observed(s, *given[:3]), _told_of(s, *given))

        outputs = self._columns("Give a file, or press the button.")
        self._connect(self._given(go, source, tab), self._answered(name, answer), source, outputs)

    def _asked(self) -> str:
        """How a condition on samples is written, by a row of the data."""
        data = next((d for s in self.subjects if s.selects and (d := s.unseen or s.training) is not None), None)
        row: Any = None if data is None else of(data.spec).presented(data.spec, as_floats(data.take([0])))
        written = condition(row.to_pylist()[0]) if hasattr(row, "to_pylist") else ""
        return f"such as {written}" if written else ""

    # Tabs.

    def _samples(self, page: Any, tab: Any) -> None:
        gr, subjects = self.gr, self.subjects
        usual = min(min(s.kind.preview for s in subjects), 64) if subjects[0].kind.renders else subjects[0].kind.preview
        with gr.Row():
            n = gr.Number(usual, label="Samples", precision=0, minimum=1, maximum=2000, min_width=100)
            seed = self._seed()
            label = self._classes()
            truncation = gr.Slider(0, 3, value=0, step=0.1, label="Truncation, 0 for none",
                                   visible=any(s.truncates for s in subjects), min_width=200)  # fmt: skip
            where = gr.Textbox("", label="Only rows where", placeholder=self._asked(), min_width=240,
                               visible=any(s.selects for s in subjects))  # fmt: skip
            condition = self._conditions()
            self._next(seed)

        def ask(s: Subject, n: int, seed: int, label: str, truncation: float, where: str, condition: str) -> Figures:
            count = max(1, min(int(n or usual), 2000))
            return s.samples(count, int(seed or 0), truncation or None, _told(s, label, condition), where or "")

        inputs = [n, seed, label, truncation, where, condition]
        events = [page.load, where.submit, *(i.change for i in inputs if i is not where)]
        self._connect(events, self._answered("Samples", ask), inputs, self._columns())

    def _code(self, page: Any, tab: Any) -> None:
        """Sliders along the numbers of a code that matter most; each model has its own."""
        gr, subjects = self.gr, self.subjects
        with gr.Row():
            seed, label, condition = self._seed(), self._classes(each=""), self._conditions()
            self._next(seed)
        with gr.Row(equal_height=False):
            for s in subjects:
                with gr.Column(min_width=280):
                    if len(subjects) > 1:
                        gr.HTML(f"<h2>{html(s.name)}</h2>")
                    if s.lacks["Code"]:
                        gr.HTML(block(lacking(s, "Code")))
                        continue
                    count = min(SLIDERS, s.model.latent.numbers)
                    sliders = [gr.Slider(-REACH, REACH, value=0, step=0.05, label=f"Number {i}", buttons=[])
                               for i in range(count)]  # fmt: skip
                    out = gr.HTML()
                    self._turning(s, tab, [seed, label, condition], sliders, out)

    def _turning(self, s: Subject, tab: Any, told: list[Any], sliders: list[Any], out: Any) -> None:
        """Connect a model's sliders."""
        gr = self.gr

        def begin(seed: int, label: str, condition: str) -> list[Any]:
            what, values, names = _told(s, label, condition), list[float](), list[str]()

            def ask() -> Figures:  # all under the model's lock: another visitor turns at another seed
                found = s.sweep(int(seed or 0), what)
                unit = " nats" if found.measure == "nats" else ""
                names.extend(
                    f"Number {d} ({a:.3g}{unit})" for d, a in zip(found.dimensions, found.activity, strict=True)
                )
                values.extend(s.start(int(seed or 0), what))
                return s.turned(int(seed or 0), [], what)

            figures = s.attempts(ask)
            shown = "".join(map(block, figures))
            if figures[0].absent:
                return [shown, *(gr.skip() for _ in sliders)]
            return [shown, *(gr.update(value=round(v, 2), label=n) for v, n in zip(values, names, strict=True))]

        def turn(seed: int, label: str, condition: str, *values: float) -> str:
            figures = s.attempts(partial(s.turned, int(seed or 0), list(values), _told(s, label, condition)))
            return "".join(map(block, figures))

        self._connect([tab.select, *(t.change for t in told)], begin, told, [out, *sliders])
        self._connect([x.input for x in sliders], turn, [*told, *sliders], [out])

    def _walk(self, page: Any, tab: Any) -> None:
        gr = self.gr
        encodes = any(s.model.encoder is not None for s in self.subjects)
        with gr.Row():
            a, b = self._seed("From the code of seed", 0), self._seed("To the code of seed", 1)
            steps = gr.Slider(2, 24, value=8, step=1, label="Steps")
            first, last = self._classes("From class", ""), self._classes("To class", "")
            condition = self._conditions()
            go = gr.Button("Walk", variant="primary", min_width=110)
        files: list[Any] = []
        with gr.Row(visible=encodes):
            files = [gr.File(label=f"{word} (a file, in place of the seed)", height=120, min_width=240)
                     for word in ("From", "To")]  # fmt: skip

        def ask(
            s: Subject, a: int, b: int, steps: float, first: str, last: str, condition: str, *paths: Any
        ) -> Figures:
            seeds = (int(a or 0), int(b or 0))
            ends = [observed(s, path, "", None) if path else seed for path, seed in zip(paths, seeds, strict=True)]
            told = tuple(_told(s, label, condition).label for label in (first, last))
            return s.walk((ends[0], ends[1]), int(steps), (told[0], told[1]), condition)

        inputs = [a, b, steps, first, last, condition, *files]
        events = [tab.select, go.click, *(i.change for i in inputs)]
        self._connect(events, self._answered("Walk", ask), inputs, self._columns())

    def _stages(self, page: Any, tab: Any) -> None:
        with self.gr.Row():
            seed, label, condition = self._seed(), self._classes(each=""), self._conditions()
            self._next(seed)

        def ask(s: Subject, seed: int, label: str, condition: str) -> Figures:
            return s.stages(int(seed or 0), _told(s, label, condition))

        inputs = [seed, label, condition]
        self._connect([tab.select, *(i.change for i in inputs)], self._answered("Stages", ask), inputs,
                      self._columns())  # fmt: skip

    def _reconstruct(self, page: Any, tab: Any) -> None:
        self._observations("Reconstruct", tab, lambda s, x, told: s.reconstruct(x, told))

    def _score(self, page: Any, tab: Any) -> None:
        def ask(s: Subject, x: Tensor, told: Told) -> Figures:
            return [s.shown(x, f"{len(x)} {s.kind.many}", "What is looked at."), *s.score(x, told)]

        self._observations("Score", tab, ask)

    def _neighbours(self, page: Any, tab: Any) -> None:
        """Of samples, or of what somebody gives."""
        gr = self.gr
        with gr.Row():
            seed = self._seed("Samples of seed")
            go = gr.Button("Nearest to these samples", variant="primary", min_width=110)
        source = self._source()
        other = gr.Button("Nearest to what is given")

        def of_samples(s: Subject, seed: int) -> Figures:
            if s.lacks["Samples"]:
                raise UsageError(s.lacks["Samples"])
            return s.neighbours(s.model.sample(6, seed=int(seed or 0), numbers=True).cpu())

        outputs = self._columns()
        answer = self._answered("Neighbours", lambda s, *given: s.neighbours(observed(s, *given[:3])[:8]))
        self._connect([go.click, tab.select], self._answered("Neighbours", of_samples), [seed], outputs)
        self._connect(self._given(other, source), answer, source, outputs)

    def _compress(self, page: Any, tab: Any) -> None:
        gr, subjects = self.gr, self.subjects
        source, go = self._source(), gr.Button("Compress", variant="primary")
        outputs = self._columns()
        with gr.Row():
            files = [gr.File(label=f"Compressed by {s.name}", interactive=False, height=100, visible=False)
                     for s in subjects]  # fmt: skip

        def compress(*given: Any) -> list[Any]:
            shown, written = [], []
            for i, s in enumerate(subjects):
                made = list[bytes]()

                def ask(s: Subject = s, made: list[bytes] = made) -> Figures:
                    figures, content = s.compress(observed(s, *given[:3]), _told_of(s, *given))
                    made.append(content)
                    return figures

                figures = [lacking(s, "Compress")] if s.lacks["Compress"] else s.attempts(ask)
                shown.append("".join(map(block, figures)))
                path = Path(tempfile.mkdtemp(dir=self.folder)) / f"compressed-{i + 1}.zoo" if made else None
                if path is not None:
                    path.write_bytes(made[0])
                written.append(gr.update(value=None if path is None else str(path), visible=path is not None))
            return [*shown, *written]

        self._connect(self._given(go, source, tab), compress, source, [*outputs, *files])

    def _about(self) -> None:
        with self.gr.Row(equal_height=False):
            for s in self.subjects:
                side = Candidate(s.name, s.source or "a model in memory", s.model, history=s.history)
                facts = compared.facts_of(side)
                lacks = [f"no {tab.lower()}: {why}" for tab, why in s.lacks.items() if why]
                facts |= {"Cannot": "; ".join(lacks)} if lacks else {}
                rows = "".join(f"<dt>{html(k)}</dt><dd>{html(v)}</dd>" for k, v in facts.items())
                with self.gr.Column(min_width=280):
                    self.gr.HTML(f"<h2>{html(s.name)}</h2><dl>{rows}</dl>")


def _told(s: Subject, label: str | None, condition: str | None) -> Told:
    """What a model is told: nothing of what another one beside it takes."""
    names = s.classes
    chosen = label or ""
    chosen = "" if chosen == EACH or not names else chosen
    return Told(chosen, condition or "" if s.model.conditions else "")


def _told_of(s: Subject, *given: Any) -> Told:
    """Likewise, of observations: their class as the data say it, where nobody chose one."""
    *source, label, condition = given
    chosen = "" if label in (None, "as the data say") else label
    return _told(s, chosen or label_of(s, *source), condition)

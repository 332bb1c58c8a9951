"""Trained models in a page on this machine: opened, served and closed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.model import Model
from genzoo.core.text import one_line
from genzoo.plugins.apps.compare.comparison import distinct
from genzoo.plugins.apps.explore.interface import Page, look, need_gradio
from genzoo.plugins.apps.explore.subject import Subject
from genzoo.registry.verbs.sample import open_model

LOOPBACK = "127.0.0.1"
LARGEST_FILE = "100mb"
MOST = 4  # models side by side


class _Settings:
    """What gradio reads from the environment while a page is served: no reports to anybody, a folder for uploads.

    All explorers of a process share it; the last one to close takes it away.
    """

    def __init__(self) -> None:
        self.users, self.folder, self.before = 0, "", dict[str, str | None]()
        self.lock = threading.Lock()

    def enter(self) -> str:
        """Make the settings, if there are none; the folder."""
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.folder = tempfile.mkdtemp(prefix="genzoo-explore-")
                near = ",".join(filter(None, (os.environ.get("NO_PROXY"), LOOPBACK, "localhost")))
                wanted = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": self.folder, "NO_PROXY": near}
                self.before = {name: os.environ.get(name) for name in wanted}
                os.environ.update(wanted)
            return self.folder

    def leave(self) -> None:
        """Take them away, if nobody else needs them."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
                shutil.rmtree(self.folder, ignore_errors=True)
                for name, value in self.before.items():
                    os.environ.pop(name, None)
                    os.environ.update({name: value} if value is not None else {})


_SETTINGS = _Settings()


class Explorer:
    """A page that is served; `close` ends it, and so does leaving a ``with`` block.

    Attributes:
        url: to open in a browser.
    """

    def __init__(self, subjects: Sequence[Subject], host: str, port: int | None, browser: bool) -> None:
        self._closed, self._ended = threading.Event(), False
        folder = _SETTINGS.enter()
        try:
            self._page = Page(subjects, folder).build()
            self._page.queue(default_concurrency_limit=2)
            _, url, _ = self._page.launch(
                server_name=host, server_port=port, inbrowser=browser, prevent_thread_lock=True, quiet=True,
                share=False, ssr_mode=False, enable_monitoring=False, footer_links=[], max_file_size=LARGEST_FILE,
                **look(),
            )  # fmt: skip
        except OSError as e:
            _SETTINGS.leave()
            at = f"{host}:{port}" if port else host
            taken = "empty port" in str(e)  # gradio goes on with advice that is not ours
            why = ", which is taken" if taken else f" ({one_line(str(e))})"
            raise GenzooError(f"cannot serve a page on {at}{why}: leave out --port and --host") from e
        except BaseException:
            _SETTINGS.leave()
            raise
        self.url = str(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self) -> None:
        """Serve until Ctrl-C, a signal to end, or `close` in another thread."""
        before = None
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, lambda *_: self._closed.set())
        try:
            while not self._closed.wait(0.2):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            self.close()
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    def close(self) -> None:
        """End it: nobody listens any more, and what was uploaded is gone."""
        self._closed.set()
        if not self._ended:
            self._ended = True
            with suppress(Exception):
                self._page.close(verbose=False)
            _SETTINGS.leave()


@checked
def explore(
    weights: Any,
    data: Any = None,
    *,
    names: Sequence[str] | None = None,
    device: str = "auto",
    host: str = LOOPBACK,
    port: int | None = None,
    browser: bool = False,
    wait: bool = True,
    say: Callable[[str], object] | None = None,
) -> Explorer:
    """Serve a page in which trained models are played with: samples, codes, walks, uploads.

    It needs the package gradio (``pip install 'genzoo[explore]'``), asks no other machine for anything, and listens
    on this one alone.

    Args:
        weights: a model, or what `genzoo.load` takes; or a list of up to four, which then stand side by side.
        data: what they were trained on; by default the data set that their record names, if it is here.
        names: what to call each.
        device: where to compute.
        host: the address to listen on; any but the default lets other machines in.
        port: default a free one from 7860 on.
        browser: open the page in a browser.
        wait: serve until Ctrl-C; otherwise the call gives back an `Explorer`, which is to be closed.
        say: is told the address.

    Raises:
        GenzooError: if gradio is missing, the weights cannot be read, or the data do not fit them.
    """
    given = list(weights) if isinstance(weights, (list, tuple)) else [weights]
    if not 1 <= len(given) <= MOST:
        raise UsageError(f"an explorer shows 1 to {MOST} models, not {len(given)}")
    if names is not None and (len(names) != len(given) or len(set(names)) != len(names)):
        raise UsageError(f"{len(given)} different names are needed, one for each, not {', '.join(names) or 'none'}")
    need_gradio()
    sources = [None if isinstance(w, Model) else os.fspath(w) for w in given]
    called = [s or (w.config.recipe if w.config else "") or "model" for s, w in zip(sources, given, strict=True)]
    titles = names or distinct(called)
    subjects = [
        Subject(title, open_model(w, device), source, data)
        for title, w, source in zip(titles, given, sources, strict=True)
    ]
    explorer = Explorer(subjects, host, port, browser)
    if say is not None:
        say(explorer.url)
    if wait:
        explorer.wait()
    return explorer

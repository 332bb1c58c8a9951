"""A Hub on loopback for tests: huggingface_hub's real client works against it, and it breaks on request.

Use the fixture ``hub`` (tests/conftest.py): a fresh `Hub`, with HF_ENDPOINT, HF_HUB_CACHE and HF_TOKEN set for the
test, and for processes that it starts::

    hub.url, hub.token                  # endpoint and a token of user "ada", who writes to ada/… and zoo/…
    hub.reader                          # a token of "eve", who may only read; hub.fake: one that nobody has
    repo = hub.create("zoo/gan", {"config.json": b"{}"}, tag="v1", private=False, gated=False)
    repo.add({"config.json": b"[]"})    # a commit by somebody else; returns it (.oid, .files)
    repo.tags["v2"] = repo.branches["main"]; hub.repositories["zoo/gan"].commit_at("v1").oid
    hub.requests                        # [(method, path?query, {lower-case header: value})]
    hub.count("GET", "/resolve/")       # how many there were

Faults. ``what`` is a regular expression searched in "METHOD unquoted-path?query", such as
``r"GET .*/resolve/.*model\\.safetensors"``; each happens ``times`` times (None: always) and then things are well::

    hub.fail(what, 500, times=2)                        # or 401, 403, 429 (retry_after=1), 503 …
    hub.fail(what, 403, code="GatedRepo")               # X-Error-Code: RepoNotFound, RevisionNotFound, EntryNotFound
    hub.cut(what, after=1000)                           # the connection dies after that many bytes of the body
    hub.flip(what, at=100)                              # one wrong byte, right size
    hub.short(what, by=10)                              # ends early and says that this is all
    hub.slow(what, seconds=.2)                          # waits before it answers; chunk= bytes at a time, waiting each
    hub.stale(what, "0" * 40)                           # HEAD answers with an old ETag
    hub.when(what, callable)                            # runs it first: e.g. a commit that moves the branch just now
    hub.drop(what)                                      # hangs up without an answer, and does nothing
    hub.lose(what)                                      # does what it is asked, and the answer is lost
    hub.refuse()                                        # nobody listens any more (hub.listen() goes back to the port)

Beside ``python tests/hub/server.py [PORT]`` it runs by hand. It answers resolve directly: a redirect to the same host
would lose X-Repo-Commit.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

if str(Path(__file__).parent) not in sys.path:  # where its other modules are, however this one is imported
    sys.path.append(str(Path(__file__).parent))
from hub_answers import Handler
from hub_repositories import Blob, Repository


@dataclass
class Fault:
    """Something that goes wrong with requests that match, a number of times."""

    what: str
    kind: str
    times: int | None = 1
    values: dict[str, Any] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that it can end them all."""

    daemon_threads = True

    def __init__(self, *given: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*given)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the server's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Hub:
    """The server, what it holds, and the faults that wait to happen."""

    token, reader, fake = "hf_writer", "hf_reader", "hf_nobody"

    def __init__(self, port: int = 0) -> None:
        self.users = {self.token: ("ada", ("ada", "zoo")), self.reader: ("eve", ("eve",))}
        self.writers = {self.token}
        self.granted: set[tuple[str, str]] = set()  # (user, repository): who was let into gated ones
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.page = 100
        self.lock = threading.RLock()
        self.port = port
        self.listen()

    def listen(self) -> None:
        """Begin to answer, on the same port as before if there was one."""
        handler = type("Handler", (Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def refuse(self) -> None:
        """Stop listening; what is held stays."""
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()

    def create(
        self, name: str, files: dict[str, bytes | Blob | None] | None = None, *, tag: str = "",
        private: bool = False, gated: str | bool = False,
    ) -> Repository:  # fmt: skip
        """Add a repository, with a commit of files and a tag on it."""
        repo = self.repositories[name] = Repository(name, private, gated)
        if files:
            repo.add(files)
        if tag:
            repo.tags[tag] = repo.branches["main"]
        return repo

    def count(self, method: str, what: str = "") -> int:
        """How many requests there were."""
        return sum(m == method and re.search(what, path) is not None for m, path, _ in self.requests)

    def _fault(self, what: str, kind: str, times: int | None = 1, **values: Any) -> None:
        with self.lock:
            self.faults.append(Fault(what, kind, times, values))

    def fail(
        self, what: str, status: int, *, code: str = "", message: str = "", times: int | None = 1, retry_after: int = 0
    ) -> None:
        self._fault(what, "fail", times, status=status, code=code, message=message, retry_after=retry_after)

    def cut(self, what: str, after: int, *, times: int | None = 1) -> None:
        self._fault(what, "cut", times, after=after)

    def flip(self, what: str, at: int = 0, *, times: int | None = 1) -> None:
        self._fault(what, "flip", times, at=at)

    def short(self, what: str, by: int = 1, *, times: int | None = 1) -> None:
        self._fault(what, "short", times, by=by)

    def slow(self, what: str, seconds: float, *, chunk: int = 0, times: int | None = 1) -> None:
        self._fault(what, "slow", times, seconds=seconds, chunk=chunk)

    def stale(self, what: str, etag: str, *, times: int | None = 1) -> None:
        self._fault(what, "stale", times, etag=etag)

    def when(self, what: str, do: Callable[[], object], *, times: int | None = 1) -> None:
        self._fault(what, "when", times, do=do)

    def drop(self, what: str, *, times: int | None = 1) -> None:
        self._fault(what, "drop", times)

    def lose(self, what: str, *, times: int | None = 1) -> None:
        self._fault(what, "lose", times)

    def well(self) -> None:
        """Forget all faults."""
        with self.lock:
            self.faults.clear()

    def take(self, request: str, *kinds: str) -> dict[str, Any] | None:
        """The values of a fault of one of these kinds that happens to this request now."""
        with self.lock:
            for fault in self.faults:
                if fault.kind in kinds and fault.times != 0 and re.search(fault.what, request):
                    if fault.times is not None:
                        fault.times -= 1
                    return {"kind": fault.kind, **fault.values}
        return None


if __name__ == "__main__":
    hub = Hub(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(f"HF_ENDPOINT={hub.url} HF_TOKEN={hub.token} HF_HUB_DISABLE_XET=1", flush=True)
    threading.Event().wait()

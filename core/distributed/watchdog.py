"""Noticing that another process of the job is gone, also where this one waits for it on a device that never answers.

Every process keeps one connection to process 0; the system closes it when a process ends, however it ended. Process 0
tells the others who that was. What a collective of gloo would raise at once, one of NCCL may wait for, for minutes.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from genzoo.core.distributed import env
from genzoo.core.text import tell

PATIENCE = 4.0  # seconds that the main thread has to find out by itself


class Watch:
    """Ends this process where another is gone and it goes on waiting: while `waiting` is above 0.

    Attributes:
        gone: the number of the first process that was found gone, None so far.
        waiting: how many reasons there are to depend on the others; alone with its own business, it is left alone.
    """

    def __init__(self, rank: int, size: int, store: Any) -> None:
        self.rank, self.size = rank, size
        self.gone: int | None = None
        self.waiting = 0
        self._sockets: list[socket.socket] = []
        try:
            if rank == 0:
                listener = socket.create_server(("", 0), backlog=size)
                self._sockets.append(listener)
                store.set("genzoo/watch", str(listener.getsockname()[1]))
            else:
                port = int(store.get("genzoo/watch"))
                address = os.environ.get("MASTER_ADDR") if env.STORE not in os.environ else None
                link = socket.create_connection((address or "127.0.0.1", port), timeout=10)
                link.settimeout(None)
                link.sendall(rank.to_bytes(4, "big"))
                self._sockets.append(link)
        except (OSError, RuntimeError, ValueError):
            return  # a network that forbids it: then gloo's own errors must do
        os.register_at_fork(after_in_child=self._close)  # a worker that outlives its parent would hide its end
        threading.Thread(target=self._attend if rank == 0 else self._listen, daemon=True, name="genzoo-watch").start()

    def _close(self) -> None:
        for s in self._sockets:
            s.close()

    def _attend(self) -> None:
        """Process 0: take in the others, and see who goes."""
        selector, ranks = selectors.DefaultSelector(), dict[socket.socket, int]()
        listener = self._sockets[0]
        selector.register(listener, selectors.EVENT_READ)
        while self.gone is None:
            for key, _ in selector.select():
                s: Any = key.fileobj
                if s is listener:
                    link, _ = listener.accept()
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    self._sockets.append(link)
                    selector.register(link, selectors.EVENT_READ)
                    continue
                told = _receive(s)
                if told is not None:
                    ranks[s] = told
                    continue
                selector.unregister(s)
                if s in ranks and self.gone is None:  # else somebody who knocked by mistake
                    self.gone = ranks[s]
                    for link in ranks:
                        with suppress(OSError):
                            link.sendall(self.gone.to_bytes(4, "big"))
        self._react()

    def _listen(self) -> None:
        """The others: hear who is gone, or that process 0 is."""
        link = self._sockets[0]
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        told = _receive(link)
        self.gone = 0 if told is None else told
        self._react()

    def _react(self) -> None:
        """End this process, if it still waits for the others after a while."""
        time.sleep(PATIENCE)
        if not self.waiting:
            return
        sentence = f"process {self.gone} of {self.size} is gone, perhaps killed, so this one stops"
        if not env.report(1, sentence, because=self.gone):
            with suppress(OSError, ValueError):
                tell(sentence)
        os._exit(1)


def _receive(s: socket.socket) -> int | None:
    """Four bytes as a number; None if the other end is closed."""
    try:
        data = s.recv(4, socket.MSG_WAITALL)
    except OSError:
        return None
    return int.from_bytes(data, "big") if len(data) == 4 else None

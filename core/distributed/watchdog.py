"""Noticing that another process of the job is gone, also where this one waits for it on a device that never answers.

Every process keeps one connection to process 0; the system closes it when a process ends, however it ended. Process 0
tells the others who that was. What a collective of gloo would raise at once, one of NCCL may wait for, for minutes.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
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
        self._links: list[socket.socket] = []  # of process 0 to the others, of the others to process 0
        try:
            if rank == 0:
                listener = socket.create_server(("", 0), backlog=size)
                store.set("genzoo/watch", str(listener.getsockname()[1]))
                _thread(self._accept, listener)
            else:
                address = os.environ.get("MASTER_ADDR") if env.STORE not in os.environ else None
                port = int(store.get("genzoo/watch"))
                link = socket.create_connection((address or "127.0.0.1", port), timeout=10)
                link.settimeout(None)
                link.sendall(_number(rank))
                self._links.append(link)
                _thread(self._follow, link, 0)
        except (OSError, RuntimeError, ValueError):
            return  # a network that forbids it: then gloo's own errors must do
        os.register_at_fork(after_in_child=self._close)  # a worker that outlives its parent would hide its end

    def _close(self) -> None:
        for link in self._links:
            link.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            _thread(self._welcome, listener.accept()[0])

    def _welcome(self, link: socket.socket) -> None:
        rank = _receive(link)
        if rank is not None:
            self._links.append(link)
            self._follow(link, rank)

    def _follow(self, link: socket.socket, peer: int) -> None:
        """Wait until a connection's other end is gone, or tells who is; end this process, if it then still waits."""
        told = _receive(link)
        if self.gone is not None:
            return
        self.gone = peer if told is None else told
        for other in self._links if self.rank == 0 else ():
            with suppress(OSError):
                other.sendall(_number(self.gone))
        time.sleep(PATIENCE)
        if not self.waiting:
            return
        sentence = f"process {self.gone} of {self.size} is gone, perhaps killed, so this one stops"
        if not env.report(1, sentence, because=self.gone):
            with suppress(OSError, ValueError):
                tell(sentence)
        os._exit(1)


def _thread(work: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True, name="genzoo-watch").start()


def _number(rank: int) -> bytes:
    return rank.to_bytes(4, "big")


def _receive(link: socket.socket) -> int | None:
    """Four bytes as a number; None if the other end is closed."""
    try:
        data = link.recv(4, socket.MSG_WAITALL)
    except OSError:
        return None
    return int.from_bytes(data, "big") if len(data) == 4 else None

"""Doing the next piece of work while this one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """Yield ``make(item)`` for each item, in order, while a thread makes the next one.

    An error in ``make`` is raised where its result would have come.
    """
    if len(items) < 2:  # not worth a thread
        yield from map(make, items)
        return
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting = pool.submit(make, items[0])
        for item in items[1:]:
            made, waiting = waiting.result(), pool.submit(make, item)
            yield made
        yield waiting.result()

"""Work done one ahead."""

from __future__ import annotations

import threading

import pytest

from genzoo.core.ahead import ahead


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_results_come_in_order(n):
    assert list(ahead(lambda i: i * i, range(n))) == [i * i for i in range(n)]


def test_the_next_is_made_while_this_one_is_used():
    made = [threading.Event() for _ in range(4)]
    results = ahead(lambda i: made[i].set(), range(4))
    next(results)
    assert made[1].wait(10)  # nobody asked for it yet
    assert not made[3].is_set()
    results.close()


def test_an_error_comes_where_its_result_would():
    def make(i):
        if i == 2:
            raise ValueError("two")
        return i

    seen = []
    with pytest.raises(ValueError, match="two"):
        seen.extend(iter(ahead(make, range(5))))
    results = ahead(make, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert threading.active_count() < 20

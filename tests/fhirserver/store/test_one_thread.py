"""Work in the background that one thread does, however many ask for it."""

from __future__ import annotations

import threading

import pytest

from fhirserver.store.one_thread import OneThread


def test_who_asks_while_it_is_at_work_gets_the_same_thread() -> None:
    one, go, done = OneThread("one"), threading.Event(), threading.Event()

    def do() -> None:
        go.wait(10)
        done.set()

    first = one.begin(do, lambda: not done.is_set())
    assert one.begin(do, lambda: False) is first
    go.set()
    first.join(10)
    assert not first.is_alive()
    assert one.begin(do, lambda: False) is not first


def test_what_is_ordered_when_it_is_about_to_end_is_done_all_the_same() -> None:
    one, orders, done = OneThread("one"), [0], [0]

    def do() -> None:
        done[0] = orders[0]

    for _ in range(500):
        orders[0] += 1
        thread = one.begin(do, lambda: done < orders)
    thread.join(10)
    assert (done, thread.is_alive()) == ([500], False)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_that_fails_makes_way_for_another() -> None:
    def fail() -> None:
        raise ValueError

    one = OneThread("one")
    failing = one.begin(fail, lambda: True)
    failing.join(10)
    following = one.begin(fail, lambda: False)
    following.join(10)
    assert following is not failing

"""The window of work under way: order, bounds, clashes, errors, and how it is ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from migrator.errors import Interrupted
from migrator.retry.window import Window

THREADS = 4


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as made:
        yield made


def test_results_come_in_the_order_of_the_items_whatever_ends_first(pool: ThreadPoolExecutor) -> None:
    second_ended = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_ended.wait(30)
        if number == 1:
            second_ended.set()
        return number * 10

    window: Window[int, int] = Window(pool, work, at_once=lambda: 2)
    assert list(window.results(range(20))) == [number * 10 for number in range(20)]


@pytest.mark.parametrize("queued", [0, 3])
def test_no_more_run_or_wait_than_asked(pool: ThreadPoolExecutor, queued: int) -> None:
    go_on = threading.Event()
    window: Window[int, bool] = Window(pool, lambda _: go_on.wait(30), at_once=lambda: 2, queued=queued)
    for number in range(2 + queued):
        assert window.has_room(number)
        window.submit(number)
    assert not window.has_room(99)
    go_on.set()


def test_what_has_ended_gives_its_place_as_far_ahead_as_asked(pool: ThreadPoolExecutor) -> None:
    first = threading.Event()
    window: Window[int, bool] = Window(pool, lambda n: n > 0 or first.wait(30), at_once=lambda: 2, ahead=2)
    submitted = 0
    while window.has_room(submitted):
        window.submit(submitted)
        submitted += 1
    assert submitted == 4
    assert not window.ended
    first.set()
    assert window.oldest() == (0, True)


def test_what_clashes_waits_until_the_other_is_settled(pool: ThreadPoolExecutor) -> None:
    window: Window[str, str] = Window(
        pool, str.upper, at_once=lambda: 4, ahead=4, clash=lambda one, other: one == other
    )
    window.submit("a")
    window.submit("b")
    assert window.has_room("c")
    assert not window.has_room("b")
    window.drop()
    assert not window.has_room("b")
    window.drop()
    assert window.has_room("b")


def test_after_an_error_nothing_more_begins_and_what_is_older_is_settled_first(pool: ThreadPoolExecutor) -> None:
    first = threading.Event()
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise ValueError(number)
        first.wait(30)
        return number

    window: Window[int, int] = Window(pool, work, at_once=lambda: 2, ahead=10)
    window.submit(0)
    window.submit(1)
    assert not window.has_room(2)
    first.set()
    results = window.results([2])
    assert next(results) == 0
    with pytest.raises(ValueError, match="1"):
        next(results)
    assert begun == [0, 1]


def test_the_next_item_is_taken_only_when_there_is_room(pool: ThreadPoolExecutor) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    results = Window(pool, int, at_once=lambda: 1, queued=1).results(items())
    assert next(results) == 0
    assert taken == [0, 1]


def test_waiting_ends_with_what_look_raises(pool: ThreadPoolExecutor) -> None:
    go_on = threading.Event()

    def stopped() -> None:
        raise Interrupted("Stopped.")

    window: Window[int, bool] = Window(pool, lambda _: go_on.wait(30), at_once=lambda: 1, look=stopped)
    window.submit(0)
    with pytest.raises(Interrupted):
        window.oldest()
    go_on.set()
    assert window.abandon()


def test_abandoned_work_has_ended_or_never_begins() -> None:
    go_on = threading.Event()
    ended: list[int] = []

    def work(number: int) -> None:
        go_on.wait(30)
        ended.append(number)

    with ThreadPoolExecutor(1) as pool:
        window: Window[int, None] = Window(pool, work, at_once=lambda: 1, queued=1)
        window.submit(0)
        window.submit(1)
        threading.Timer(0.05, go_on.set).start()
        assert window.abandon()
        assert ended == [0]
    assert ended == [0]


def test_nothing_under_way_is_nothing_to_abandon(pool: ThreadPoolExecutor) -> None:
    assert not Window(pool, int, at_once=lambda: 1).abandon()


def test_a_timeout_of_the_work_is_its_error_and_not_a_reason_to_wait_on(pool: ThreadPoolExecutor) -> None:
    looked = 0

    def look() -> None:
        nonlocal looked
        looked += 1
        assert looked < 5

    def work(_: int) -> None:
        raise TimeoutError("no answer")

    window: Window[int, None] = Window(pool, work, at_once=lambda: 2, look=look)
    with pytest.raises(TimeoutError, match="no answer"):
        list(window.results(range(3)))

"""So many a second and no more, however they are taken, and a burst that is bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from migrator.retry import waiting
from migrator.retry.bucket import BURST_S, Bucket
from tests.unit.retry.test_retrier import Time

STEPS = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5_000)), max_size=50)


def waiting_by(note: Callable[[float], None]) -> Callable[[float], bool]:
    """A wait that nothing stops."""

    def wait(seconds: float) -> bool:
        note(seconds)
        return True

    return wait


@given(st.floats(0.01, 10_000), STEPS)
def test_never_faster_than_said(per_s: float, steps: list[tuple[float, int]]) -> None:
    """At any time so many went as had come, and the burst; and nobody waits longer than for that."""
    time = Time()
    bucket = Bucket(per_s, time.clock, waiting_by(time.sleep))
    begun, gone = time.now, 0
    for idle_s, count in steps:
        time.now += idle_s
        before = time.now
        bucket.take(count)
        gone += count
        elapsed_s = time.now - begun
        assert gone <= per_s * (elapsed_s + BURST_S) * (1 + 1e-9) + 1e-6
        assert time.now - before <= count / per_s * (1 + 1e-9) + 1e-6


def test_what_is_steadily_taken_goes_at_the_rate() -> None:
    """Ten batches of 500 at 1,000 a second take five seconds."""
    time = Time()
    bucket = Bucket(1000, time.clock, waiting_by(time.sleep))
    for _ in range(10):
        bucket.take(500)
    assert time.now - 1000.0 == 5.0
    assert time.waits == [0.5] * 10


def test_several_at_once_wait_behind_each_other() -> None:
    """Those who come while others wait are told to wait for those, too."""
    time = Time()
    waits: list[float] = []
    bucket = Bucket(10, time.clock, waiting_by(waits.append))
    for _ in range(4):
        bucket.take(5)
    assert waits == [0.5, 1.0, 1.5, 2.0]


def test_threads_share_it() -> None:
    """Nothing is taken twice and nothing is lost."""
    time = Time()
    waits: list[float] = []
    bucket = Bucket(100, time.clock, waiting_by(waits.append))

    def work() -> None:
        for _ in range(500):
            bucket.take(1)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(waits) == 2000
    assert abs(max(waits) - 20.0) < 1e-6


def test_stopping_ends_the_wait() -> None:
    """Whoever waited is told; whoever need not wait goes on."""
    stopping = threading.Event()
    stopping.set()
    waiting.works_for(stopping)
    try:
        bucket = Bucket(0.001)
        assert not bucket.take(1_000_000)
        assert Bucket(1e9).take(0)
    finally:
        waiting.works_for(threading.Event())

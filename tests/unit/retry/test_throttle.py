"""The throttle: down by halves, up by steps, never beyond what was configured nor below what works."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.model import BatchLimits
from migrator.model.events import LimitsChanged
from migrator.retry.throttle import SUCCESSES_PER_STEP, Throttle
from tests.support.fakes import Recorder
from tests.support.processes import joined, started


def state(throttle: Throttle) -> tuple[int, int, int]:
    """What it allows."""
    return throttle.max_docs, throttle.max_bytes, throttle.in_flight


def test_begins_with_all_that_was_configured() -> None:
    """Nothing is held back before anything failed."""
    throttle = Throttle(BatchLimits(500, 4_000_000), 4)
    assert state(throttle) == (500, 4_000_000, 4)
    assert not throttle.reduced


def test_a_fault_halves_what_is_in_flight() -> None:
    """A failure that is not an overload leaves the batches as they are."""
    throttle = Throttle(BatchLimits(500, 4_000_000), 4)
    throttle.failed(overload=False, reason="reset")
    assert state(throttle) == (500, 4_000_000, 2)
    assert throttle.reduced


def test_overload_halves_batches_too() -> None:
    """Down to one document in flight at a time."""
    throttle = Throttle(BatchLimits(500, 4_000_000), 4)
    throttle.failed(overload=True, reason="429")
    assert state(throttle) == (250, 2_000_000, 2)
    for _ in range(20):
        throttle.failed(overload=True, reason="429")
    assert state(throttle) == (1, 65_536, 1)


@pytest.mark.parametrize("max_bytes", [1, 1000, 65_535, 65_536, 65_537])
def test_small_limits_do_not_grow_by_failing(max_bytes: int) -> None:
    """What was configured is the most, however small it is."""
    throttle = Throttle(BatchLimits(10, max_bytes), 1)
    throttle.failed(overload=True, reason="429")
    assert throttle.max_bytes <= max_bytes


def test_success_brings_it_back() -> None:
    """A step up after a few successes in a row; a failure between begins the count again."""
    throttle = Throttle(BatchLimits(100, 1_000_000), 4)
    throttle.failed(overload=True, reason="429")
    for _ in range(SUCCESSES_PER_STEP - 1):
        throttle.succeeded(50, 0.1, written=50)
    assert state(throttle) == (50, 500_000, 2)
    throttle.succeeded(50, 0.1, written=50)
    assert state(throttle) == (60, 600_000, 3)
    for _ in range(SUCCESSES_PER_STEP - 1):
        throttle.succeeded(50, 0.1, written=50)
    throttle.failed(overload=False, reason="reset")
    throttle.succeeded(50, 0.1, written=50)
    assert state(throttle) == (60, 600_000, 1)


@given(
    st.integers(1, 1000),
    st.integers(1, 10_000_000),
    st.integers(1, 16),
    st.lists(st.sampled_from(["ok", "fault", "overload"]), max_size=200),
)
def test_stays_within_bounds(max_docs: int, max_bytes: int, in_flight: int, happenings: list[str]) -> None:
    """Whatever happens it allows something, and not more than was configured; success alone brings all back."""
    throttle = Throttle(BatchLimits(max_docs, max_bytes), in_flight)
    for happening in happenings:
        if happening == "ok":
            throttle.succeeded(1, 0.1, written=1)
        else:
            throttle.failed(overload=happening == "overload", reason="")
        assert 1 <= throttle.max_docs <= max_docs
        assert 1 <= throttle.max_bytes <= max_bytes
        assert 1 <= throttle.in_flight <= in_flight
    for _ in range(SUCCESSES_PER_STEP * 20):
        throttle.succeeded(1, 0.1, written=1)
    assert (max_docs, max_bytes, in_flight) == state(throttle)


def test_says_what_changed() -> None:
    """Each change is told with its reason, and what changes nothing is not told."""
    recorder = Recorder()
    throttle = Throttle(BatchLimits(2, 1000), 2, recorder)
    for _ in range(5):
        throttle.failed(overload=True, reason="429")
    throttle.succeeded(1, 0.1, written=1)
    for _ in range(20):
        throttle.succeeded(1, 0.1, written=1)
    assert [LimitsChanged(1, 1, "429"), LimitsChanged(2, 2, "recovering")] == recorder.events


def test_a_listener_may_ask_it() -> None:
    """The lock is not held while somebody listens."""
    seen: list[tuple[int, int, int]] = []
    throttle = Throttle(BatchLimits(10, 1000), 4)

    def listen(_event: object) -> None:
        throttle.listener = lambda _event: None
        joined(started(lambda: throttle.failed(overload=False, reason="x")))
        seen.append(state(throttle))

    throttle.listener = listen
    throttle.failed(overload=False, reason="reset")
    assert seen == [(10, 1000, 1)]


def test_batches_of_which_little_is_written_are_as_large_as_they_may_be() -> None:
    """Where a look finds what is there, fewer requests are cheaper; writing goes on with what was best for it."""
    recorder = Recorder()
    throttle = Throttle(BatchLimits(1_000, 2_000_000), 8, recorder, seeks=True)
    before = state(throttle)
    throttle.succeeded(before[0], 0.1, written=before[0] // 20)
    assert state(throttle)[0] == 1_000
    throttle.succeeded(1_000, 0.1, written=51)
    assert state(throttle) == before
    assert recorder.events == [
        LimitsChanged(1_000, before[2], "little is written"),
        LimitsChanged(before[0], before[2], "more is written"),
    ]
    throttle.failed(overload=True, reason="429")
    throttle.succeeded(before[0] // 2, 0.1, written=0)
    assert state(throttle)[0] < before[0], "what was too much is not tried again at once"

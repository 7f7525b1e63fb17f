"""Trying again: bounded in attempts and time, jittered, announced, honouring what the server asks for."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import BatchRefused, Interrupted, TransientError, Unauthorized
from migrator.model import BatchLimits
from migrator.model.events import LimitsChanged, Listener, RetryScheduled, ignore
from migrator.retry.retrier import MAX_ATTEMPTS_AT_ONE_DOCUMENT, Retrier, RetryPolicy, repeat_while
from migrator.retry.throttle import Throttle
from tests.support.fakes import Recorder


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.waits.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        """The time."""
        return self.now


class Attempts:
    """A call that fails as told, once for each error, and then gives its number."""

    def __init__(self, errors: Sequence[BaseException], time: Time | None = None, takes_s: float = 0.0) -> None:
        self.errors = list(errors)
        self.numbers: list[int] = []
        self._time = time or Time()
        self._takes_s = takes_s

    def __call__(self, number: int) -> int:
        """One attempt."""
        self.numbers.append(number)
        self._time.now += self._takes_s
        if len(self.numbers) <= len(self.errors):
            raise self.errors[len(self.numbers) - 1]
        return number


def retrier(time: Time, listener: Listener = ignore, **policy: float) -> Retrier:
    """One whose waiting costs nothing."""
    return Retrier(RetryPolicy(**policy), listener, sleep=time.sleep, clock=time.clock)  # type: ignore[arg-type]


def test_a_passing_fault_passes() -> None:
    """The call is repeated until it works, and each attempt knows its number."""
    time = Time()
    attempts = Attempts([TransientError("busy")] * 3)
    assert retrier(time).call("load", attempts) == 4
    assert attempts.numbers == [1, 2, 3, 4]
    assert len(time.waits) == 3


@pytest.mark.parametrize("most", [1, 2, 7])
def test_attempts_are_bounded(most: int) -> None:
    """The last error comes out after so many attempts."""
    time = Time()
    attempts = Attempts([TransientError(f"number {number}") for number in range(1, 100)])
    with pytest.raises(TransientError, match=f"number {most}$"):
        retrier(time, max_attempts=most).call("load", attempts)
    assert most == len(attempts.numbers) == len(time.waits) + 1


def test_time_is_bounded() -> None:
    """When nothing has succeeded for so long, attempts left do not matter."""
    time = Time()
    attempts = Attempts([TransientError("slow")] * 1000, time, takes_s=7.0)
    with pytest.raises(TransientError):
        retrier(time, max_attempts=1000, max_outage_s=60.0).call("load", attempts)
    assert 30.0 < time.now - 1000.0 < 60.0 + 7.0 + 20.0


def test_an_idle_time_is_no_outage() -> None:
    """A call that comes long after the last one has its share of time."""
    time = Time()
    made = retrier(time, max_outage_s=60.0)
    time.now += 10_000
    assert made.call("load", Attempts([TransientError("once")])) == 2


def test_one_success_gives_all_new_time() -> None:
    """Calls share one retrier, so that the success of one says that the server is there."""
    time = Time()
    made = retrier(time, max_outage_s=60.0, max_attempts=1000)

    def attempt(number: int) -> int:
        if number == 40:
            return number
        made.call("another", Attempts([]))
        # Beyond what a call alone would have, within what a success gives.
        time.now += 40.0
        raise TransientError("this one only")

    assert made.call("load", attempt) == 40


@pytest.mark.parametrize("error", [Unauthorized("no"), ValueError("bug"), KeyboardInterrupt()])
def test_other_errors_come_out_at_once(error: BaseException) -> None:
    """A refused password is never sent twice."""
    time = Time()
    attempts = Attempts([error])
    with pytest.raises(type(error)):
        retrier(time).call("load", attempts)
    assert (attempts.numbers, time.waits) == ([1], [])


def test_a_wait_that_was_asked_for_is_kept() -> None:
    """Retry-After is the least time, not the most."""
    time = Time()
    retrier(time).call("load", Attempts([TransientError("429", retry_after_s=33.0)]))
    assert len(time.waits) == 1
    assert time.waits[0] >= 33.0


def test_a_wait_that_is_too_long_is_an_outage() -> None:
    """A server that asks for an hour is down, and the run ends while somebody watches, who is told what to do."""
    time = Time()
    with pytest.raises(TransientError) as caught:
        retrier(time).call("load", Attempts([TransientError("429", retry_after_s=3600.0)]))
    assert time.waits == []
    assert "left alone for 3600 s" in caught.value.text
    assert "--max-outage" in caught.value.text


def test_waits_that_are_asked_for_count_as_outage() -> None:
    """Each of them may be borne; all together are no longer than an outage may last."""
    time = Time()
    with pytest.raises(TransientError, match="100 s"):
        retrier(time, max_outage_s=250.0).call("load", Attempts([TransientError("429", retry_after_s=100.0)] * 9))
    assert [round(wait) for wait in time.waits] == [100, 100]
    patient = retrier(time, max_outage_s=1000.0)
    assert patient.call("load", Attempts([TransientError("429", retry_after_s=100.0)] * 9)) == 10


@given(st.integers(1, 30), st.floats(0.01, 5.0), st.floats(0.1, 60.0))
def test_waits_are_jittered_and_bounded(failures: int, first_wait_s: float, max_wait_s: float) -> None:
    """Each wait is random below a bound that doubles up to the greatest."""
    time = Time()
    made = retrier(time, max_attempts=100, max_outage_s=1e9, first_wait_s=first_wait_s, max_wait_s=max_wait_s)
    made.call("load", Attempts([TransientError("busy")] * failures))
    bounds = [min(max_wait_s, first_wait_s * 2**number) for number in range(failures)]
    assert [(wait, bound) for wait, bound in zip(time.waits, bounds, strict=True) if not 0 <= wait <= bound] == []


def test_waits_differ() -> None:
    """Two clients that failed together do not come back together."""
    waits = []
    for _ in range(8):
        time = Time()
        retrier(time).call("load", Attempts([TransientError("busy")] * 4))
        waits.append(tuple(time.waits))
    assert len(set(waits)) == 8


def test_each_wait_is_announced() -> None:
    """Nobody wonders why nothing happens; what to do is said only where the run ends."""
    time = Time()
    recorder = Recorder()
    errors = [TransientError("busy.", hint="Wait."), TransientError("still busy.")]
    retrier(time, recorder).call("load c", Attempts(errors))
    assert [
        RetryScheduled("load c", 1, time.waits[0], "busy."),
        RetryScheduled("load c", 2, time.waits[1], "still busy."),
    ] == recorder.events


def test_the_throttle_hears_of_failures() -> None:
    """Overload makes batches smaller, other faults only fewer at once."""
    recorder = Recorder()
    throttle = Throttle(BatchLimits(100, 1_000_000), 4, recorder)
    made = Retrier(throttle=throttle, sleep=lambda _seconds: None)
    made.call("load", Attempts([TransientError("reset")]))
    made.call("load", Attempts([TransientError("429", overload=True)]))
    assert [LimitsChanged(100, 2, "reset"), LimitsChanged(50, 1, "429")] == recorder.of(LimitsChanged)


def test_one_document_is_blamed_after_few_attempts() -> None:
    """A refusal that is tried again is tried less often than an outage: the server answers."""
    time = Time()
    errors = [BatchRefused("500", status=500, error="badarg", reason="", server_fault=True)] * 100
    attempts = Attempts(errors)
    with pytest.raises(BatchRefused):
        retrier(time).call("load", attempts, retry_on=lambda _error: True)
    assert len(attempts.numbers) == MAX_ATTEMPTS_AT_ONE_DOCUMENT


def test_stopping_ends_a_wait() -> None:
    """A signal does not wait for the server."""
    stopping = threading.Event()
    made = Retrier(RetryPolicy(first_wait_s=3600.0, max_wait_s=3600.0), stopping=stopping)

    def attempt(_number: int) -> None:
        stopping.set()
        raise TransientError("busy", retry_after_s=60.0)

    with pytest.raises(Interrupted, match="with resume=True"):
        made.call("load", attempt)


def test_repeats_while_the_result_says_so() -> None:
    """The loop of a conflict ends when nothing is open."""
    results = iter([[1, 2], [2], []])
    time = Time()
    assert repeat_while(bool, lambda: next(results), max_attempts=12, sleep=time.sleep) == []
    assert len(time.waits) == 2
    assert max(time.waits) <= 1.0


def test_repeats_no_oftener_than_it_may() -> None:
    """What is still open after the last step is given back."""
    results = iter(range(1, 100))
    assert repeat_while(bool, lambda: next(results), max_attempts=5, sleep=lambda _seconds: None) == 5


def test_what_a_repeated_step_raises_comes_out() -> None:
    """Errors are not results."""
    with pytest.raises(TransientError):
        repeat_while(bool, lambda: Attempts([TransientError("x")])(1), max_attempts=5, sleep=lambda _seconds: None)


class Large:
    """Stands for a batch."""


def test_a_call_that_passes_keeps_nothing() -> None:
    """What a call was about is free again at once, without a collection of garbage: batches are large."""
    gc.disable()
    try:
        batch, step = Large(), Large()
        kept = [weakref.ref(batch), weakref.ref(step)]

        def call(batch: Large) -> bool:
            # As loading does, which asks whether an error goes with the batch.
            return Retrier().call("load", lambda _number: bool(batch), retry_on=lambda _error: not batch)

        assert call(batch)
        assert repeat_while(lambda done, step=step: not step, lambda: bool(kept), max_attempts=3)  # type: ignore[misc]
        del batch, step
        assert [None, None] == [reference() for reference in kept]
    finally:
        gc.enable()


def test_what_was_opened_after_a_break_is_closed_by_who_leaves_early() -> None:
    """At once, and not when garbage is collected: it may hold a connection."""
    left: list[int] = []
    opened: list[int] = []

    def items() -> Iterator[int]:
        opened.append(1)
        if len(opened) == 1:
            raise TransientError("gone")
        try:
            yield from range(5)
        finally:
            left.append(1)

    found = Retrier(sleep=lambda _: None).iterate("reading", items)
    assert next(found) == 0
    assert left == []
    found.close()  # type: ignore[attr-defined] # it is a generator
    assert left == [1]

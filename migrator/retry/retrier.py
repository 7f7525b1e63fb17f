"""Trying again: bounded in attempts and time, jittered, announced, and only what may pass later.

This is the only module that knows tenacity; `migrator.pipeline.wrapper` wraps loaders and extractors with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from migrator.errors import BatchRefused, Interrupted, MigratorError, TransientError
from migrator.model.events import Listener, RetryScheduled, ignore
from migrator.retry.throttle import Throttle
from migrator.retry.waiting import works_for

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

# The server answers and is well: a few failures at one document are enough to call it the cause.
MAX_ATTEMPTS_AT_ONE_DOCUMENT = 4
LEFT_ALONE_HINT = (
    "The server asks to be left alone for {:g} s, longer than an outage may last ({:g} s, --max-outage): "
    "go on later with --resume."
)


def is_transient(error: BaseException) -> bool:
    """True for what the same call may not meet later."""
    return isinstance(error, TransientError)


class Patience(Protocol):
    """What says how long to try: a job, a connection, a feature's options."""

    @property
    def max_attempts(self) -> int:
        """As in `RetryPolicy`."""

    @property
    def max_outage_s(self) -> float:
        """As in `RetryPolicy`."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try.

    Args:
        max_attempts: of one call, the first one included.
        max_outage_s: give up when nothing at all has succeeded for so long.
        first_wait_s: upper bound of the first wait; it doubles with each attempt.
        max_wait_s: upper bound of every wait, the server's own `Retry-After` excepted. That is heeded as long as
            `max_outage_s` bears it; a server that asks for a longer wait is taken as down.
    """

    max_attempts: int = 10
    max_outage_s: float = 300.0
    first_wait_s: float = 0.2
    max_wait_s: float = 20.0

    @classmethod
    def of(cls, config: Patience) -> RetryPolicy:
        """The policy that a job or its like asks for."""
        return cls(max_attempts=config.max_attempts, max_outage_s=config.max_outage_s)


FIRST_CONTACT = RetryPolicy(max_attempts=3, first_wait_s=0.2, max_wait_s=1.0)
"""Nobody waits long for a first answer: the address may be wrong."""


@dataclass
class Retrier:
    """Runs calls under a policy. One is shared by all wrappers of a run, so that it knows of every success.

    Args:
        policy: the bounds.
        listener: receives every wait.
        throttle: told of overload and success.
        stopping: set when the run was asked to stop; a wait then ends with Interrupted.
        clock: seconds, for tests.
    """

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    listener: Listener = ignore
    throttle: Throttle | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    sleep: Callable[[float], None] | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._last_success = self.clock()

    def succeeded(self) -> None:
        """Note that the other side works."""
        self._last_success = self.clock()

    def call(
        self,
        operation: str,
        attempt: Callable[[int], T],
        *,
        retry_on: Callable[[BaseException], bool] = is_transient,
    ) -> T:
        """Call `attempt(number)` until it returns, fails for good, or the policy ends it."""
        works_for(self.stopping)
        # An outage is counted from the moment when somebody asked: idle time before it does not count.
        self._last_success = max(self._last_success, self.clock() - self.policy.max_outage_s / 2)
        # Most calls pass at once. What tenacity makes for one refers to itself in a circle and would keep all that
        # the call is about, whole batches, until the next collection of garbage.
        try:
            result = attempt(1)
        except Exception as error:
            if not retry_on(error):
                raise
            result = self._again(operation, attempt, error, retry_on)
        self.succeeded()
        return result

    def iterate(self, operation: str, opened: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Yield what an iterator gives; one that breaks off is opened again.

        Args:
            operation: what is done, for people.
            opened: opens it; after a break it must go on after the last item that was given.
        """
        broken: TransientError | None = None
        empty: list[T] = []

        def begin(number: int) -> tuple[Iterator[T], list[T]]:
            if number == 1 and broken is not None:
                # The break is the first failure: announced, waited for and bounded like any other.
                raise broken
            items = opened()
            for item in items:
                return items, [item]
            return items, empty

        while True:
            items, first = self.call(operation, begin)
            broken = None
            try:
                yield from first
                # A large one is not to be held twice.
                first.clear()
                yield from items
            except TransientError as error:
                broken = error
            else:
                return
            finally:
                # Whoever leaves after the first item would leave it open: tenacity still holds what it gave.
                if isinstance(items, Generator):
                    items.close()

    def _again(
        self,
        operation: str,
        attempt: Callable[[int], T],
        first: Exception,
        retry_on: Callable[[BaseException], bool],
    ) -> T:
        import tenacity  # most runs need it never, and it loads asyncio, and tornado where that is there

        jitter = tenacity.wait_random_exponential(multiplier=self.policy.first_wait_s, max=self.policy.max_wait_s)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, TransientError) else None
            return max(asked or 0.0, jitter(state))

        def stop(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, TransientError) else None
            most = MAX_ATTEMPTS_AT_ONE_DOCUMENT if isinstance(error, BatchRefused) else self.policy.max_attempts
            lasts_s = self.clock() - self._last_success + (asked or 0.0)
            if asked and lasts_s > self.policy.max_outage_s and isinstance(error, TransientError):
                error.hint = LEFT_ALONE_HINT.format(asked, self.policy.max_outage_s)
            return state.attempt_number >= most or lasts_s > self.policy.max_outage_s

        def announce(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if self.throttle is not None and isinstance(error, TransientError):
                self.throttle.failed(overload=error.overload, reason=error.message)
            # What to do about it is for whoever reads an error that ended a run.
            reason = error.message if isinstance(error, MigratorError) else str(error)
            self.listener(RetryScheduled(operation, state.attempt_number, state.upcoming_sleep, reason))

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(retry_on),
            wait=wait,
            stop=stop,
            before_sleep=announce,
            sleep=self.pause,
            reraise=True,
        )
        number = 0

        def numbered() -> T:
            nonlocal number
            number += 1
            if number == 1:
                raise first
            return attempt(number)

        return retrying(numbered)

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Interrupted: the run was asked to stop.
        """
        if self.sleep is not None:
            self.sleep(seconds)
        elif self.stopping.wait(seconds):
            raise Interrupted("Stopped while waiting for the server.", hint="Go on later with --resume.")


def repeat_while(
    condition: Callable[[T], bool],
    step: Callable[[], T],
    *,
    max_attempts: int,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Repeat a step while its result says so, with short jittered waits; the last result in the end."""
    # As in `Retrier.call`: what ends at once leaves nothing behind.
    first = step()
    if not condition(first) or max_attempts < 2:
        return first
    import tenacity  # as above

    done = iter([first])
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(condition),
        stop=tenacity.stop_after_attempt(max_attempts),
        wait=tenacity.wait_random_exponential(multiplier=0.02, max=1.0),
        sleep=sleep,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )

    def again() -> T:
        for result in done:
            return result
        return step()

    return retrying(again)

"""Trying again: bounded in attempts and time, jittered, announced, and only what may pass later.

The wrappers have the face of what they wrap. This is the only module that knows tenacity.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_result,
    stop_after_attempt,
    wait_exponential_jitter,
    wait_random_exponential,
)

from migrator.errors import BatchRefused, Interrupted, TransientError
from migrator.events import Listener, RetryScheduled, ignore
from migrator.model import Batch, Document, Extractor, Fault, Loader, Outcome, Position, Record
from migrator.throttle import Throttle

T = TypeVar("T")

# A batch that fails so often in the same way while the server answers is sent on in parts.
SAME_FAILURES_BEFORE_SPLIT = 3
# The server answers and is well: a few failures at one document are enough to call it the cause.
MAX_ATTEMPTS_AT_ONE_DOCUMENT = 4
# A smaller body is not what a proxy or server drops for its size.
MIN_BYTES_TO_SPLIT_AFTER_RESET = 65_536


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try.

    Args:
        max_attempts: of one call, the first one included.
        max_outage_s: give up when nothing at all has succeeded for so long.
        first_wait_s: upper bound of the first wait; it doubles with each attempt.
        max_wait_s: upper bound of every wait, the server's own `Retry-After` excepted.
        max_retry_after_s: a server that asks for a longer wait is taken as down.
    """

    max_attempts: int = 10
    max_outage_s: float = 300.0
    first_wait_s: float = 0.2
    max_wait_s: float = 20.0
    max_retry_after_s: float = 120.0


@dataclass
class Retrier:
    """Runs calls under a policy. One is shared by all wrappers of a run, so that it knows of every success.

    Args:
        policy: the bounds.
        listener: hears of every wait.
        throttle: told of overload and success.
        stopping: set when the run was told to stop; a wait then ends with Interrupted.
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

    def call(self, operation: str, attempt: Callable[[int], T], *, retry_on: Callable[[BaseException], bool]) -> T:
        """Call `attempt(number)` until it returns, fails for good, or the policy ends it."""
        jitter = wait_random_exponential(multiplier=self.policy.first_wait_s, max=self.policy.max_wait_s)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, TransientError) else None
            return max(asked or 0.0, jitter(state))

        def stop(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after_s if isinstance(error, TransientError) else None
            most = MAX_ATTEMPTS_AT_ONE_DOCUMENT if isinstance(error, BatchRefused) else self.policy.max_attempts
            return (
                state.attempt_number >= most
                or self.clock() - self._last_success > self.policy.max_outage_s
                or (asked or 0.0) > self.policy.max_retry_after_s
            )

        def announce(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if self.throttle is not None and isinstance(error, TransientError):
                self.throttle.failed(overload=error.overload, reason=error.message)
            self.listener(RetryScheduled(operation, state.attempt_number, state.upcoming_sleep, str(error)))

        retrying = Retrying(
            retry=retry_if_exception(retry_on),
            wait=wait,
            stop=stop,
            before_sleep=announce,
            sleep=self._sleep,
            reraise=True,
        )
        number = 0

        def numbered() -> T:
            nonlocal number
            number += 1
            return attempt(number)

        # An outage is counted from the moment when somebody asked: an idle time before is none.
        self._last_success = max(self._last_success, self.clock() - self.policy.max_outage_s / 2)
        result = retrying(numbered)
        self.succeeded()
        return result

    def _sleep(self, seconds: float) -> None:
        if self.sleep is not None:
            self.sleep(seconds)
        elif self.stopping.wait(seconds):
            raise Interrupted("Stopped while waiting for the server.", hint="Go on later with --resume.")


def repeat_while(
    condition: Callable[[T], bool], step: Callable[[], T], *, max_attempts: int, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Repeat a step while its result says so, with short jittered waits; the last result in the end."""
    retrying = Retrying(
        retry=retry_if_result(condition),
        stop=stop_after_attempt(max_attempts),
        wait=wait_exponential_jitter(initial=0.01, max=1.0, jitter=0.05),
        sleep=sleep,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    return retrying(step)


def is_transient(error: BaseException) -> bool:
    """True for what the same call may not meet later."""
    return isinstance(error, TransientError)


class RetryingLoader:
    """A loader that tries again. After an unknown outcome it says so with `resend`."""

    def __init__(self, inner: Loader, retrier: Retrier) -> None:
        self._inner = inner
        self._retrier = retrier
        self.max_in_flight = inner.max_in_flight

    def describe(self) -> str:
        """As the wrapped loader's."""
        return self._inner.describe()

    def target_name(self, collection: str) -> str:
        """As the wrapped loader's."""
        return self._inner.target_name(collection)

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:
        """As the wrapped loader's."""
        return self._inner.screen(id, top_level, body)

    def prepare(self, collection: str, mark: int | None) -> None:
        """As the wrapped loader's, tried again."""
        self._retrier.call(
            f"prepare {collection}", lambda _: self._inner.prepare(collection, mark), retry_on=is_transient
        )

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """As the wrapped loader's, tried again; a failure that goes with the batch becomes BatchRefused."""
        unknown = resend
        signatures: list[str] = []

        def attempt(number: int) -> Sequence[Outcome]:
            nonlocal unknown
            try:
                outcomes = self._inner.load(batch, resend=unknown)
            except TransientError as error:
                unknown = unknown or error.outcome_unknown
                signatures.append(error.signature)
                if self._goes_with_the_batch(batch, signatures):
                    raise BatchRefused(
                        error.message,
                        status=error.status or 0,
                        error=error.signature,
                        reason=error.message,
                        maybe_written=True,
                        server_fault=True,
                    ) from error
                raise
            except BatchRefused as error:
                unknown = unknown or error.maybe_written
                raise
            if number > 1:
                return [outcome._replace(attempts=max(outcome.attempts, number)) for outcome in outcomes]
            return outcomes

        def retry_on(error: BaseException) -> bool:
            # One document that the server chokes on is given every chance before it is called the cause.
            poisoned = isinstance(error, BatchRefused) and error.server_fault and len(batch.documents) == 1
            return is_transient(error) or poisoned

        start = self._retrier.clock()
        result = self._retrier.call(f"load {batch.collection}", attempt, retry_on=retry_on)
        if self._retrier.throttle is not None:
            self._retrier.throttle.succeeded(len(batch.documents), self._retrier.clock() - start)
        return result

    def flush(self, collection: str) -> int | None:
        """As the wrapped loader's."""
        return self._inner.flush(collection)

    def finish(self, collection: str) -> None:
        """As the wrapped loader's, tried again."""
        self._retrier.call(f"finish {collection}", lambda _: self._inner.finish(collection), retry_on=is_transient)

    def close(self) -> None:
        """As the wrapped loader's."""
        self._inner.close()

    @staticmethod
    def _goes_with_the_batch(batch: Batch, signatures: list[str]) -> bool:
        last = signatures[-SAME_FAILURES_BEFORE_SPLIT:]
        if len(batch.documents) < 2 or len(last) < SAME_FAILURES_BEFORE_SPLIT or len(set(last)) > 1:
            return False
        if last[0] in {"reset", "read timeout"}:
            return batch.size_bytes > MIN_BYTES_TO_SPLIT_AFTER_RESET
        return last[0].startswith(("500 ", "504 "))


class RetryingExtractor:
    """An extractor that goes on after the last record it gave when reading breaks off."""

    def __init__(self, inner: Extractor, retrier: Retrier) -> None:
        self._inner = inner
        self._retrier = retrier
        self.ordered = inner.ordered

    def describe(self) -> str:
        """As the wrapped extractor's."""
        return self._inner.describe()

    def collections(self) -> Sequence[str]:
        """As the wrapped extractor's, tried again."""
        return self._retrier.call("list collections", lambda _: self._inner.collections(), retry_on=is_transient)

    def count(self, collection: str) -> int | None:
        """As the wrapped extractor's, tried again."""
        return self._retrier.call(
            f"count {collection}", lambda _: self._inner.count(collection), retry_on=is_transient
        )

    def identity(self, collection: str) -> str:
        """As the wrapped extractor's, tried again."""
        return self._retrier.call(
            f"look at {collection}", lambda _: self._inner.identity(collection), retry_on=is_transient
        )

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """As the wrapped extractor's; a broken reading is taken up after the last record."""
        position = after

        def opened(_: int) -> tuple[Iterator[Record], Record | None]:
            records = self._inner.extract(collection, after=position)
            return records, next(records, None)

        while True:
            records, record = self._retrier.call(f"extract {collection}", opened, retry_on=is_transient)
            try:
                while record is not None:
                    position = record.position
                    yield record
                    record = next(records, None)
            except TransientError as error:
                if self._retrier.throttle is not None:
                    self._retrier.throttle.failed(overload=error.overload, reason=error.message)
            else:
                return

    def close(self) -> None:
        """As the wrapped extractor's."""
        self._inner.close()

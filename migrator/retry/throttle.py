"""How much is sent at once: grows by small steps while that gains, shrinks by halves when the server complains."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from migrator.model import BatchLimits
from migrator.model.events import LimitsChanged, Listener, ignore

SUCCESSES_PER_STEP = 4
# Smaller batches than this make no server's life easier.
MIN_BYTES = 65_536
# Where the search for the best begins: what most servers are near.
START_DOCS = 500
START_IN_FLIGHT = 6
# With no more than this share of a batch to write, most of what it takes is to look what is there.
FEW = 0.05


@dataclass
class Throttle:
    """Batch size and batches in flight between 1 and what was configured. Safe for threads.

    Args:
        limits: the largest batch.
        max_in_flight: the most batches at once.
        listener: receives every change.
        seeks: begin in the middle and find out what the server likes best; else begin with the most.
        clock: seconds, for tests.
    """

    limits: BatchLimits
    max_in_flight: int
    listener: Listener = ignore
    seeks: bool = False
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        # What works as far as is known; what is sent is less after failures, until they are forgotten.
        self._tuner = Tuner(
            docs=min(START_DOCS, self.limits.max_docs) if self.seeks else self.limits.max_docs,
            in_flight=min(START_IN_FLIGHT, self.max_in_flight) if self.seeks else self.max_in_flight,
            max_docs=self.limits.max_docs,
            max_in_flight=self.max_in_flight,
        )
        self.max_docs = self._tuner.docs.value
        self.in_flight = self._tuner.in_flight.value
        self._bytes = self.limits.max_bytes
        self._successes = 0

    @property
    def max_bytes(self) -> int:
        """Most bytes in a batch: of many at once each is smaller, so that all together stay within bounds."""
        together = self.limits.max_bytes * START_IN_FLIGHT // self.in_flight if self.seeks else self._bytes
        return max(1, min(self._bytes, together))

    @property
    def reduced(self) -> bool:
        """True while less is sent than works as far as is known."""
        return (
            self.max_docs < self._tuner.docs.value
            or self._bytes < self.limits.max_bytes
            or self.in_flight < self._tuner.in_flight.value
        )

    def failed(self, *, overload: bool, reason: str) -> None:
        """A call failed: fewer at once; and smaller batches too when it was too much."""
        with self._lock:
            before = (self.max_docs, self.in_flight)
            self._successes = 0
            self._tuner.disturbed(overload=overload and self.seeks)
            self.in_flight = max(1, self.in_flight // 2)
            if overload:
                self.max_docs = max(1, self.max_docs // 2)
                self._bytes = max(min(MIN_BYTES, self.limits.max_bytes), self._bytes // 2)
            changed = (self.max_docs, self.in_flight) != before
        if changed:
            self.listener(LimitsChanged(self.max_docs, self.in_flight, reason))

    def succeeded(self, documents: int, seconds: float, *, written: int) -> None:
        """A batch went through: after a few of them, a step back up, or one on in the search.

        Args:
            documents: of the batch.
            seconds: it took.
            written: so many of them were not there before. To look is the cheaper the more documents are looked
                for at once, and says nothing of writing.
        """
        with self._lock:
            before = (self.max_docs, self.in_flight)
            reason = "recovering"
            if self.reduced:
                self._recover()
            elif written <= documents * FEW:
                self.max_docs, reason = self.limits.max_docs, "little is written"
            elif self.max_docs > self._tuner.docs.value:
                self.max_docs, reason = self._tuner.docs.value, "more is written"
            elif self.seeks and self._tuner.measured(self.clock(), documents, seconds):
                self.max_docs, self.in_flight = self._tuner.docs.value, self._tuner.in_flight.value
                reason = "seeking"
            changed = (self.max_docs, self.in_flight) != before
        if changed:
            self.listener(LimitsChanged(self.max_docs, self.in_flight, reason))

    def _recover(self) -> None:
        self._successes += 1
        if self._successes < SUCCESSES_PER_STEP:
            return
        self._successes = 0
        self.max_docs = min(self._tuner.docs.value, self.max_docs + max(1, self.limits.max_docs // 10))
        self._bytes = min(self.limits.max_bytes, self._bytes + max(1, self.limits.max_bytes // 10))
        self.in_flight = min(self._tuner.in_flight.value, self.in_flight + 1)


# A rate is taken over so many batches and so long: shorter ones say nothing.
WINDOW_BATCHES = 16
WINDOW_S = 2.0
# A trial is kept when the rate grew by so much; the way up is by steps, the way down by a share.
GAIN = 1.05
STEPS = 10
DOWN = 0.75
# Batches that take so much longer a document than they once did stand in a queue.
QUEUED = 3.0
# Of what would be sent at once and in a batch so much must have been, or the source is what is slow.
BUSY = 0.8
# Trials cost something themselves: so many windows pass before the first, and more after each that gained nothing.
FIRST_REST = 4
MAX_REST = 64


@dataclass
class _Knob:
    value: int
    most: int
    step: int
    up: bool = True
    rest: int = FIRST_REST
    resting: int = FIRST_REST

    def tried(self) -> int:
        """The value to try next."""
        down = max(1, int(self.value * DOWN))
        wanted = min(self.most, self.value + self.step) if self.up else down
        # At a bound the other way is the only one.
        return wanted if wanted != self.value else down

    def in_vain(self) -> None:
        """The trial gained nothing: the other way next, and later."""
        self.up = not self.up
        self.rest = min(MAX_REST, self.rest * 2)
        self.resting = self.rest

    def gained(self) -> None:
        """The trial gained: on in that direction, at once."""
        self.rest = self.resting = 1


class Tuner:
    """The best batch size and number of batches at once so far, and the trial that is under way.

    Args:
        docs: documents in a batch to begin with.
        in_flight: batches at once to begin with.
        max_docs: the most.
        max_in_flight: the most.
    """

    def __init__(self, *, docs: int, in_flight: int, max_docs: int, max_in_flight: int) -> None:
        self.docs = _Knob(docs, max_docs, max(1, max_docs // STEPS))
        self.in_flight = _Knob(in_flight, max_in_flight, 1)
        self._trial: _Knob | None = None
        self._value_before = self._value_tried = 0
        self._rate_before = self._rate_tried = 0.0
        self._gain = GAIN
        self._turn = 0
        self._least_s = float("inf")
        self._started: float | None = None
        self._batches = self._documents = 0
        self._seconds = 0.0

    def disturbed(self, *, overload: bool = False) -> None:
        """Something failed: what was measured says nothing, and a trial is taken back; too much is made less."""
        if self._trial is not None:
            self._trial.value = self._value_before
            self._trial.in_vain()
            self._trial, self._rate_tried = None, 0.0
        if overload:
            self.in_flight.value = max(1, int(self.in_flight.value * DOWN))
        self._begin()

    def measured(self, now: float, documents: int, seconds: float) -> bool:
        """A batch of so many documents took so long; true when what is to be sent has changed."""
        if self._started is None:
            # The first one was sent before the window began.
            self._started = now
            return False
        self._batches += 1
        self._documents += documents
        self._seconds += seconds
        elapsed = now - self._started
        if self._batches < max(WINDOW_BATCHES, 2 * self.in_flight.value) or elapsed < WINDOW_S:
            return False
        rate = self._documents / elapsed
        changed = self._judge(rate) if self._trial is not None else self._try(rate, elapsed)
        self._begin()
        return changed

    def _begin(self) -> None:
        self._started = None
        self._batches = self._documents = 0
        self._seconds = 0.0

    def _judge(self, rate: float) -> bool:
        assert self._trial is not None
        knob = self._trial
        if not self._rate_tried:
            if rate >= self._rate_before * self._gain:
                # Better than before; whether that is the trial's merit shows when it is taken back.
                self._rate_tried = rate
            else:
                knob.in_vain()
                self._trial = None
            knob.value = self._value_before
            return True
        better = self._rate_tried >= rate * self._gain
        self._trial, self._rate_tried = None, 0.0
        if better:
            knob.value = self._value_tried
            knob.gained()
        else:
            knob.in_vain()
        return better

    def _try(self, rate: float, elapsed: float) -> bool:
        document_s = self._seconds / self._documents
        queued = document_s > QUEUED * self._least_s
        # Old times are forgotten slowly, as documents may have grown.
        self._least_s = min(self._least_s * 1.02, document_s)
        knobs = self._knobs(elapsed)
        for knob in knobs:
            knob.resting -= 1
        self._turn += 1
        for knob in knobs[self._turn % 2 :] + knobs[: self._turn % 2]:
            if queued and knob is self.in_flight:
                knob.up, knob.resting = False, 0
            value = knob.tried()
            if knob.resting <= 0 and value != knob.value:
                self._trial = knob
                # Fewer in a queue is better when it is not slower.
                self._gain = 1 / GAIN if queued and value < knob.value else GAIN
                self._value_before, self._value_tried, self._rate_before = knob.value, value, rate
                knob.value = value
                return True
        return False

    def _knobs(self, elapsed: float) -> list[_Knob]:
        """What a trial could tell something of."""
        found = []
        # So many were on their way on the average.
        if self._seconds / elapsed >= BUSY * self.in_flight.value:
            found.append(self.in_flight)
        if self._documents / self._batches >= BUSY * self.docs.value:
            found.append(self.docs)
        return found

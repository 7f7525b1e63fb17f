"""Finds how much a server likes to get at once, by trying a little more or less and keeping what gains.

Rates differ from moment to moment for many reasons, so a trial must be better than what was before and after it.

More in flight and larger batches help until the server is busy; then they only wait longer, and above a thousand
documents CouchDB spends more on each.
"""

from __future__ import annotations

from dataclasses import dataclass

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
# Trials cost something themselves: so many windows pass before the first, and after one in vain ever more.
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
        self._docs = _Knob(docs, max_docs, max(1, max_docs // STEPS))
        self._in_flight = _Knob(in_flight, max_in_flight, 1)
        self._trial: _Knob | None = None
        self._value_before = self._value_tried = 0
        self._rate_before = self._rate_tried = 0.0
        self._gain = GAIN
        self._turn = 0
        self._least_s = float("inf")
        self._started: float | None = None
        self._batches = self._documents = 0
        self._seconds = 0.0

    @property
    def docs(self) -> int:
        """Documents in a batch."""
        return self._docs.value

    @property
    def in_flight(self) -> int:
        """Batches at once."""
        return self._in_flight.value

    def disturbed(self, *, overload: bool = False) -> None:
        """Something failed: what was measured says nothing, and a trial is taken back; too much is made less."""
        if self._trial is not None:
            self._trial.value = self._value_before
            self._trial.in_vain()
            self._trial, self._rate_tried = None, 0.0
        if overload:
            self._in_flight.value = max(1, int(self._in_flight.value * DOWN))
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
        if self._batches < max(WINDOW_BATCHES, 2 * self.in_flight) or elapsed < WINDOW_S:
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
            if queued and knob is self._in_flight:
                knob.up, knob.resting = False, 0
            value = knob.tried()
            if knob.resting <= 0 and value != knob.value:
                self._trial = knob
                # Less in a queue is better when it is no slower.
                self._gain = 1 / GAIN if queued and value < knob.value else GAIN
                self._value_before, self._value_tried, self._rate_before = knob.value, value, rate
                knob.value = value
                return True
        return False

    def _knobs(self, elapsed: float) -> list[_Knob]:
        """What a trial could tell something of."""
        found = []
        # So many were on their way on the average.
        if self._seconds / elapsed >= BUSY * self.in_flight:
            found.append(self._in_flight)
        if self._documents / self._batches >= BUSY * self.docs:
            found.append(self._docs)
        return found

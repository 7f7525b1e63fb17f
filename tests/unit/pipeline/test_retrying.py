"""The wrappers that try again: no document lost, none doubled, and the loader told what is not known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import BatchRefused, ConfigError, MigratorError, TransientError, Unauthorized
from migrator.model import Batch, BatchLimits, Extractor, Loader, Outcome, Status
from migrator.model.events import RetryScheduled
from migrator.pipeline.wrapper import (
    MIN_BYTES_TO_SPLIT_AFTER_RESET,
    SAME_FAILURES_BEFORE_SPLIT,
    RetryingExtractor,
    RetryingLoader,
)
from migrator.retry.retrier import Retrier, RetryPolicy
from migrator.retry.throttle import Throttle
from tests.support.fakes import FakeExtractor, FakeLoader, FaultyLoader, Forwarding, Recorder, batch_of, numbered


def retrier(recorder: Recorder | None = None, **policy: int) -> Retrier:
    """One that does not wait."""
    return Retrier(RetryPolicy(**policy), recorder or Recorder(), sleep=lambda _seconds: None)


def busy(**fields: bool | str) -> TransientError:
    """A fault that passes."""
    return TransientError("busy", **fields)  # type: ignore[arg-type]


def test_has_the_face_of_what_it_wraps() -> None:
    """Everything but the trying again is the wrapped loader's and extractor's own."""
    loader = FakeLoader(max_in_flight=3, screened=["a"])
    wrapped = RetryingLoader(loader, retrier())
    assert isinstance(wrapped, Loader)
    assert (wrapped.max_in_flight, wrapped.describe(), wrapped.target_name("c")) == (3, "fake target", "db_c")
    assert wrapped.screen("a", {}, b"") == loader.screen("a", {}, b"")
    wrapped.prepare("c", 7)
    assert wrapped.flush("c") is None
    wrapped.finish("c")
    wrapped.close()
    assert (loader.prepared, loader.flushed, loader.finished, loader.closed) == ([("c", 7)], ["c"], ["c"], True)
    inner = FakeExtractor({"c": numbered(2)})
    extractor = RetryingExtractor(inner, retrier())
    assert isinstance(extractor, Extractor)
    assert (extractor.ordered, extractor.describe(), extractor.collections()) == (True, "fake source", ["c"])
    assert (extractor.count("c"), extractor.identity("c")) == (2, "")
    extractor.close()
    assert inner.closed


def test_every_step_is_tried_again() -> None:
    """Making a database and finishing can meet a busy server too."""

    class Shaky(Forwarding):
        def __init__(self) -> None:
            super().__init__(FakeLoader())
            self.failed: set[str] = set()

        def _once(self, name: str) -> None:
            if name not in self.failed:
                self.failed.add(name)
                raise busy()

        def prepare(self, collection: str, mark: int | None) -> None:
            self._once("prepare")
            super().prepare(collection, mark)

        def finish(self, collection: str) -> None:
            self._once("finish")
            super().finish(collection)

    shaky = Shaky()
    recorder = Recorder()
    wrapped = RetryingLoader(shaky, retrier(recorder))
    wrapped.prepare("c", None)
    wrapped.finish("c")
    assert [event.operation for event in recorder.of(RetryScheduled)] == ["prepare c", "finish c"]


@pytest.mark.parametrize("error", [Unauthorized("no"), ConfigError("no"), MigratorError("no")])
def test_what_does_not_pass_is_sent_once(error: MigratorError) -> None:
    """Only a transient fault is tried again."""
    faulty = FaultyLoader(FakeLoader(), dict.fromkeys(range(1, 9), error))
    with pytest.raises(type(error)):
        RetryingLoader(faulty, retrier()).load(batch_of("a"))
    assert faulty.count == 1


@pytest.mark.parametrize("after", [False, True])
def test_an_unknown_outcome_is_told(after: bool) -> None:
    """After a lost answer the loader is told to look first, for this batch and every attempt that follows."""
    inner = FakeLoader()
    faults: dict[int, BaseException] = {1: busy(), 2: busy(outcome_unknown=True), 3: busy()}
    faulty = FaultyLoader(inner, faults, [1, 2, 3] if after else [])
    wrapped = RetryingLoader(faulty, retrier())
    outcomes = wrapped.load(batch_of("a", "b"))
    status = Status.UNCHANGED if after else Status.WRITTEN
    assert [Outcome("a", status, attempts=4), Outcome("b", status, attempts=4)] == list(outcomes)
    assert inner.writes == {"a": 1, "b": 1}
    wrapped.load(batch_of("c"))
    resends = [call.resend for call in inner.calls]
    assert resends == ([False, False, True, True, False] if after else [True, False])


def test_a_batch_of_a_resend_stays_one() -> None:
    """When the caller knows of an earlier attempt, the first call says so."""
    inner = FakeLoader()
    RetryingLoader(inner, retrier()).load(batch_of("a"), resend=True)
    assert [call.resend for call in inner.calls] == [True]


def refused(**fields: bool) -> BatchRefused:
    """A refusal of a batch."""
    return BatchRefused("no", status=413, error="e", reason="r", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("unknown", [False, True])
def test_who_divides_a_batch_knows_of_lost_answers(unknown: bool) -> None:
    """A refusal after a lost answer says that some of the documents may be written."""
    faulty = FaultyLoader(FakeLoader(), {1: busy(outcome_unknown=unknown), 2: refused()})
    with pytest.raises(BatchRefused) as caught:
        RetryingLoader(faulty, retrier()).load(batch_of("a", "b"))
    assert unknown == caught.value.maybe_written


def test_a_refused_document_has_every_chance() -> None:
    """A server's fault at one document is tried again; at several, it is divided at once."""
    fault = BatchRefused("500", status=500, error="badarg", reason="", server_fault=True)
    faults: dict[int, BaseException] = dict.fromkeys(range(1, 100), fault)
    one = FaultyLoader(FakeLoader(), {1: fault, 2: fault})
    assert RetryingLoader(one, retrier()).load(batch_of("a"))[0].attempts == 3
    for ids, count in ((("a",), 4), (("a", "b"), 1)):
        faulty = FaultyLoader(FakeLoader(), faults)
        with pytest.raises(BatchRefused):
            RetryingLoader(faulty, retrier()).load(batch_of(*ids))
        assert count == faulty.count


@pytest.mark.parametrize(
    ("signatures", "size", "calls"),
    [
        (["500 timeout"] * 9, 0, SAME_FAILURES_BEFORE_SPLIT),
        (["504 gateway"] * 9, 0, SAME_FAILURES_BEFORE_SPLIT),
        (["500 a", "500 b"] * 5, 0, None),
        (["500 a", "500 b", *["500 a"] * 9], 0, 5),
        (["503 busy"] * 9, 0, None),
        (["429 busy"] * 9, 0, None),
        (["reset"] * 9, 0, None),
        (["reset"] * 9, MIN_BYTES_TO_SPLIT_AFTER_RESET, SAME_FAILURES_BEFORE_SPLIT),
        (["read timeout"] * 9, MIN_BYTES_TO_SPLIT_AFTER_RESET, SAME_FAILURES_BEFORE_SPLIT),
        ([""] * 9, MIN_BYTES_TO_SPLIT_AFTER_RESET, None),
    ],
)
def test_a_fault_that_goes_with_the_batch_is_a_refusal(
    signatures: Sequence[str], size: int, calls: int | None
) -> None:
    """The same failure again and again, of a kind that a smaller body may not meet, divides the batch."""
    faults = {number: busy(signature=signature) for number, signature in enumerate(signatures, 1)}
    faulty = FaultyLoader(FakeLoader(), faults)
    wrapped = RetryingLoader(faulty, retrier(max_attempts=9))
    with pytest.raises(BatchRefused if calls else TransientError) as caught:
        wrapped.load(batch_of("a", "b", size=size))
    assert (calls or 9) == faulty.count
    if isinstance(caught.value, BatchRefused):
        assert caught.value.maybe_written
        assert caught.value.server_fault


def test_one_document_is_no_batch_to_divide() -> None:
    """With one document alone such a fault stays what it is."""
    faulty = FaultyLoader(FakeLoader(), {n: busy(signature="500 timeout") for n in range(1, 10)})
    with pytest.raises(TransientError):
        RetryingLoader(faulty, retrier(max_attempts=5)).load(batch_of("a"))
    assert faulty.count == 5


def test_the_throttle_hears_of_success() -> None:
    """What was made smaller grows again with every batch that goes through."""
    made = retrier()
    made.throttle = Throttle(BatchLimits(100, 1_000_000), 4)
    made.throttle.failed(overload=True, reason="busy")
    wrapped = RetryingLoader(FakeLoader(), made)
    for number in range(100):
        wrapped.load(batch_of(f"d{number}"))
    assert not made.throttle.reduced


@pytest.mark.parametrize("count", [0, 1, 5])
def test_reading_goes_on_behind_the_last_record(count: int) -> None:
    """Wherever reading breaks off, one or two times, every record comes once and in order."""
    items = numbered(count)
    whole = list(FakeExtractor({"c": items}).extract("c"))
    for first, second in itertools.product(range(1, count + 2), range(2, 2 * count + 4)):
        inner = FakeExtractor({"c": items}, {first: busy(), second: busy()})
        assert whole == list(RetryingExtractor(inner, retrier()).extract("c"))
        assert whole[count // 2 :] == list(RetryingExtractor(inner, retrier()).extract("c", after=count // 2))


@given(st.integers(0, 12), st.sets(st.integers(1, 40), max_size=12))
def test_reading_survives_any_breaks(count: int, breaks: set[int]) -> None:
    """However often it breaks, as long as the policy bears it."""
    items = numbered(count)
    inner = FakeExtractor({"c": items}, {step: busy() for step in breaks})
    extractor = RetryingExtractor(inner, retrier(max_attempts=15))
    assert [record.document for record in extractor.extract("c")] == list(items)


def test_a_source_that_does_not_come_back_is_given_up() -> None:
    """The attempts at one place are bounded; what was read before was given."""
    inner = FakeExtractor({"c": numbered(9)}, {step: busy() for step in range(4, 100)})
    given: list[object] = []
    with pytest.raises(TransientError):
        given.extend(RetryingExtractor(inner, retrier(max_attempts=4)).extract("c"))
    assert len(inner.openings) == 4
    assert inner.openings == [("c", None), ("c", 3), ("c", 3), ("c", 3)]


def test_a_break_in_the_middle_is_announced_and_waited_for() -> None:
    """A reading that breaks off is a failure like one that does not begin: Retry-After counts."""
    waits: list[float] = []
    recorder = Recorder()
    made = Retrier(listener=recorder, sleep=waits.append, throttle=Throttle(BatchLimits(), 4))
    inner = FakeExtractor({"c": numbered(5)}, {3: TransientError("429", retry_after_s=7.0)})
    assert len(list(RetryingExtractor(inner, made).extract("c"))) == 5
    assert len(waits) == 1
    assert waits[0] >= 7.0
    assert [event.operation for event in recorder.of(RetryScheduled)] == ["extract c"]
    assert made.throttle is not None
    assert made.throttle.in_flight == 2


def test_other_errors_of_a_source_come_out() -> None:
    """A file that is damaged is not read again and again."""
    inner = FakeExtractor({"c": numbered(5)}, {3: ConfigError("damaged")})
    with pytest.raises(ConfigError):
        list(RetryingExtractor(inner, retrier()).extract("c"))
    assert len(inner.openings) == 1


def test_looking_is_tried_again() -> None:
    """Names, numbers and identities come over the same line as documents."""

    class Shaky(FakeExtractor):
        def __init__(self) -> None:
            super().__init__({"c": numbered(2)})
            self.failed: set[str] = set()

        def _once(self, name: str) -> None:
            if name not in self.failed:
                self.failed.add(name)
                raise busy()

        def collections(self) -> Sequence[str]:
            self._once("collections")
            return super().collections()

        def count(self, collection: str) -> int | None:
            self._once("count")
            return super().count(collection)

        def identity(self, collection: str) -> str:
            self._once("identity")
            return super().identity(collection)

    wrapped = RetryingExtractor(Shaky(), retrier())
    assert (wrapped.collections(), wrapped.count("c"), wrapped.identity("c")) == (["c"], 2, "")


def test_a_batch_is_passed_on_as_it_is() -> None:
    """The wrapper changes nothing of what is sent."""
    seen: list[Batch] = []
    wrapped = RetryingLoader(FakeLoader(hold=seen.append), retrier())
    batch = batch_of("a", "b")
    wrapped.load(batch)
    assert seen == [batch]
    assert seen[0] is batch

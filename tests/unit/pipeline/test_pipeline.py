"""The one loop: what is settled when, what is saved when, and how it ends."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.codec import decode
from migrator.errors import (
    ConfigError,
    EndpointError,
    Interrupted,
    MigratorError,
    RejectsError,
    TransientError,
    UnaccountedError,
    Unauthorized,
)
from migrator.extractors.ndjson import NdjsonExtractor
from migrator.loaders.ndjson import NdjsonLoader
from migrator.model import Batch, BatchLimits, Counts, Fault, Loader, Outcome, Position, Record, Reject
from migrator.model.events import (
    BatchLoaded,
    CheckpointSaved,
    CollectionFinished,
    CollectionStarted,
    DocumentRejected,
    RunFinished,
    RunStarted,
)
from migrator.pipeline import batching
from migrator.pipeline.loop import MaxErrors, Pipeline
from migrator.pipeline.wrapper import RetryingExtractor
from migrator.retry.retrier import Retrier
from migrator.retry.throttle import Throttle
from tests.support.fakes import (
    Crash,
    FakeExtractor,
    FakeLoader,
    FaultyLoader,
    Forwarding,
    Item,
    ListSink,
    Recorder,
    numbered,
    protocols_hold,
)


class Saves(CheckpointFile):
    """Keeps every state that would be written, and checks the order of effects."""

    def __init__(self, sink: ListSink | None = None) -> None:
        super().__init__(None)
        self.states: list[Checkpoint] = []
        self._sink = sink

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep it; by now all rejects must be durable."""
        if self._sink is not None:
            assert len(self._sink.rejects) == self._sink.durable == checkpoint.rejects_bytes
        self.states.append(copy.deepcopy(checkpoint))

    def positions(self, collection: str = "c") -> list[object]:
        """The positions in the order in which they were saved, each once."""
        found = [state.collections[collection].position for state in self.states]
        return list(dict.fromkeys(found))


def pipeline(
    items: Sequence[Item] | FakeExtractor, loader: Loader, *, max_docs: int = 1, in_flight: int = 4, **fields: Any
) -> Pipeline:
    """A pipeline of small batches that saves at once."""
    sink = fields.setdefault("rejects", ListSink())
    return Pipeline(
        extractor=items if isinstance(items, FakeExtractor) else FakeExtractor({"c": items}),
        loader=loader,
        throttle=Throttle(BatchLimits(max_docs, 1_000_000), in_flight),
        **{"checkpoint_file": Saves(sink), "checkpoint_interval_s": 0.0, **fields},
    )


def saves(made: Pipeline) -> Saves:
    """Its checkpoint file."""
    assert isinstance(made.checkpoint_file, Saves)
    return made.checkpoint_file


def test_the_fakes_are_what_they_stand_for() -> None:
    """They have the face of the protocols."""
    assert len(protocols_hold()) == 2


def test_moves_everything() -> None:
    """Every document of every collection arrives, and the report says so."""
    loader = FakeLoader()
    data = {"a": numbered(7), "b": numbered(3), "empty": []}
    report = pipeline(FakeExtractor(data), loader, max_docs=2).run(["a", "b", "empty"])
    assert {name: list(documents) for name, documents in data.items()} == {
        name: loader.documents(name) for name in data
    }
    assert [Counts(read=7, written=7), Counts(read=3, written=3), Counts()] == [
        collection.counts for collection in report.collections.values()
    ]
    assert [collection.database for collection in report.collections.values()] == ["db_a", "db_b", "db_empty"]
    assert report.ok
    assert loader.finished == ["a", "b", "empty"]


def test_says_what_it_does() -> None:
    """Listeners hear of the start, each batch, each save and the end, in this order."""
    recorder = Recorder()
    pipeline(numbered(2), FakeLoader(), in_flight=1, listener=recorder).run(["c"])
    expected = [RunStarted, CollectionStarted, BatchLoaded, CheckpointSaved, BatchLoaded, CheckpointSaved]
    expected += [CheckpointSaved, CollectionFinished, CheckpointSaved, RunFinished]
    assert expected == [type(event) for event in recorder.events]
    assert recorder.events[0] == RunStarted("fake source", "fake target", ("c",), 2)


def test_an_unknown_total_is_unknown() -> None:
    """One collection that cannot be counted makes the total unknown, not smaller."""
    recorder = Recorder()
    extractor = FakeExtractor({"a": numbered(1), "b": numbered(1)})
    extractor.count = lambda collection: None if collection == "b" else 1  # type: ignore[method-assign]
    pipeline(extractor, FakeLoader(), listener=recorder).run(["a", "b"])
    assert recorder.of(RunStarted)[0].total is None


class Gate:
    """Holds the first batch of a loader back until chosen others have been loaded."""

    def __init__(self, others: int) -> None:
        self._loaded = threading.Semaphore(0)
        self._others = others
        self.seen: list[object] = []
        self.look: Callable[[], list[object]] = list

    def __call__(self, batch: Batch) -> None:
        """Wait, or count."""
        if batch.end != 1:
            self._loaded.release()
            return
        for _ in range(self._others):
            assert self._loaded.acquire(timeout=10)
        self.seen = self.look()


def test_settles_the_oldest_first() -> None:
    """Batches that end early never move the checkpoint past one that is open."""
    gate = Gate(3)
    made = pipeline(numbered(8), FakeLoader(hold=gate))
    gate.look = saves(made).positions
    made.run(["c"])
    assert gate.seen == []
    assert saves(made).positions() == list(range(1, 9))


def test_a_failure_keeps_what_is_before_it() -> None:
    """When the third of four fails, two are settled, and the fourth is not, though it is loaded."""
    loader = FakeLoader()
    failing = ThirdFails(loader)
    made = pipeline(numbered(12), failing)
    with pytest.raises(Unauthorized):
        made.run(["c"])
    assert saves(made).states[-1].collections["c"].position == 2
    assert saves(made).states[-1].collections["c"].counts == Counts(read=2, written=2)
    assert ("d00003",) in [call.ids for call in loader.calls]
    assert ("d00010",) not in [call.ids for call in loader.calls]
    assert made.stopping.is_set()


class ThirdFails(Forwarding):
    """Fails at the third document when the fourth is loaded."""

    def __init__(self, inner: Loader) -> None:
        super().__init__(inner)
        self._fourth = threading.Event()

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Wait, and fail."""
        if batch.end == 3:
            assert self._fourth.wait(10)
            raise Unauthorized("No.")
        outcomes = super().load(batch, resend=resend)
        if batch.end == 4:
            self._fourth.set()
        return outcomes


def test_goes_on_where_it_was() -> None:
    """A resumed run reads after the position, hands the mark back, and counts what was carried."""
    state = CollectionState(position=5, mark=77, counts=Counts(read=5, written=5))
    done = CollectionState(position=9, finished=True, counts=Counts(read=9, written=9))
    checkpoint = Checkpoint(job={}, collections={"done": done, "c": state})
    extractor = FakeExtractor({"done": numbered(9), "c": numbered(8)})
    loader = FakeLoader()
    recorder = Recorder()
    report = pipeline(extractor, loader, checkpoint=checkpoint, listener=recorder).run(["done", "c"])
    assert extractor.openings == [("c", 5)]
    assert loader.prepared == [("c", 77)]
    assert report.collections["c"].counts == Counts(read=3, written=3)
    assert report.collections["done"].counts == Counts()
    assert report.carried == Counts(read=14, written=14)
    assert checkpoint.totals == Counts(read=17, written=17)
    assert [event.resumed for event in recorder.of(CollectionStarted)] == [True, True]


def test_a_mark_without_a_position_is_not_used() -> None:
    """When nothing was settled the target starts over."""
    loader = FakeLoader()
    checkpoint = Checkpoint(job={}, collections={"c": CollectionState(mark=5)})
    pipeline(numbered(1), loader, checkpoint=checkpoint).run(["c"])
    assert loader.prepared == [("c", None)]


def test_filtering_moves_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that filters everything out settles it all the same."""
    monkeypatch.setattr(batching, "MAX_RECORDS_PER_BATCH", 4)
    loader = FakeLoader()
    made = pipeline(numbered(10), loader, transform=lambda _document: None)
    report = made.run(["c"])
    assert saves(made).positions() == [4, 8, 10]
    assert report.totals == Counts(read=10, filtered=10)
    assert loader.calls == []


def test_rejects_are_durable_before_the_position() -> None:
    """Whenever a checkpoint is saved, every reject after its position is on disk (`Saves` looks)."""
    items: list[Item] = [*numbered(3), b"{", Fault("odd", "odd"), {"_id": ""}, *numbered(6)[3:]]
    recorder = Recorder()
    made = pipeline(items, FakeLoader(refused=["d00001", "d00004"]), listener=recorder)
    report = made.run(["c"])
    assert isinstance(made.rejects, ListSink)
    stages = [(reject.id, reject.stage, reject.error) for reject in made.rejects.rejects]
    assert stages == [
        ("d00001", "load", "forbidden"),
        ("", "extract", "invalid_json"),
        ("", "extract", "odd"),
        ("", "load", "empty_id"),
        ("d00004", "load", "forbidden"),
    ]
    assert report.totals == Counts(read=9, written=4, rejected=5)
    assert not report.ok
    assert made.rejects.rejects == [event.reject for event in recorder.of(DocumentRejected)]


def test_the_target_is_durable_before_the_position() -> None:
    """The loader is flushed before each save, and its mark is in it."""
    order: list[str] = []

    class Ordered(Forwarding):
        def flush(self, collection: str) -> int | None:
            order.append("flush")
            return len(order)

    class Noting(Saves):
        def save(self, checkpoint: Checkpoint) -> None:
            order.append(f"save {checkpoint.collections['c'].mark}")

    pipeline(numbered(2), Ordered(FakeLoader()), in_flight=1, checkpoint_file=Noting()).run(["c"])
    assert order == ["flush", "save 1", "flush", "save 3", "flush", "save 5", "save 5"]


def test_two_documents_of_one_id_are_never_in_flight_together() -> None:
    """The later meets the earlier at the target; which one wins is no matter of luck."""
    waited = threading.Event()

    def hold(batch: Batch) -> None:
        if batch.end == 1:
            # Long enough for the twin to be sent, if it were.
            waited.wait(0.1)

    items: list[Item] = [{"_id": "a", "n": 1}, {"_id": "b"}, {"_id": "a", "n": 2}, {"_id": "c"}]
    loader = FakeLoader(hold=hold)
    report = pipeline(items, loader).run(["c"])
    assert loader.shared_ids == set()
    assert loader.most_in_flight >= 2
    assert loader.documents("c")[0] == {"_id": "a", "n": 1}
    assert report.totals == Counts(read=4, written=3, rejected=1, conflicts=1)


@pytest.mark.parametrize(("throttled", "able"), [(1, 4), (4, 1), (2, 4), (3, 3)])
def test_no_more_in_flight_than_allowed(throttled: int, able: int) -> None:
    """Neither the throttle's nor the loader's own bound is passed."""
    met = threading.Barrier(min(throttled, able))
    loader = FakeLoader(max_in_flight=able, hold=lambda _batch: void(met.wait(10)))
    pipeline(numbered(12), loader, in_flight=throttled).run(["c"])
    assert min(throttled, able) == loader.most_in_flight


def void(_value: object) -> None:
    """Drop a value."""


@pytest.mark.parametrize(
    ("limit", "counts", "passed"),
    [
        (MaxErrors(), Counts(read=1000, rejected=1000), False),
        (MaxErrors(count=0), Counts(read=1, rejected=0), False),
        (MaxErrors(count=0), Counts(read=1, rejected=1), True),
        (MaxErrors(count=3), Counts(read=1000, rejected=3), False),
        (MaxErrors(count=3), Counts(read=1000, rejected=4), True),
        (MaxErrors(percent=1.0), Counts(read=99, rejected=99), False),
        (MaxErrors(percent=1.0), Counts(read=100, rejected=1), False),
        (MaxErrors(percent=1.0), Counts(read=100, rejected=2), True),
        (MaxErrors(percent=0.5), Counts(read=1000, rejected=5), False),
        (MaxErrors(percent=0.5), Counts(read=1000, rejected=6), True),
        (MaxErrors(percent=0), Counts(read=100, rejected=1), True),
        (MaxErrors(percent=100), Counts(read=100, rejected=100), False),
    ],
)
def test_how_many_rejects_are_too_many(limit: MaxErrors, counts: Counts, passed: bool) -> None:
    """More than N, or more than N per cent of at least a hundred."""
    assert passed == limit.passed(counts)
    assert passed == (limit.error(counts) is not None)


def test_those_changed_on_their_way_are_a_failed_verification() -> None:
    """The exit code says which it was, also where the run ends early."""
    found = [MaxErrors(count=1).error(Counts(read=9, rejected=2, altered=altered)) for altered in (0, 1)]
    assert [error.exit_code for error in found if error] == [3, 4]


def test_what_is_read_from_is_closed_before_the_run_ends() -> None:
    """Not when an error's traceback is collected, in any thread: a connection can be closed in its own alone."""
    left: list[threading.Thread] = []

    class Connected(FakeExtractor):
        def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
            try:
                yield from super().extract(collection, after=after)
            finally:
                left.append(threading.current_thread())

    loader = FakeLoader(refused=[f"d{number:05d}" for number in range(20)])
    made = pipeline(Connected({"c": numbered(500)}), loader, in_flight=1, max_errors=MaxErrors(count=2))
    with pytest.raises(RejectsError) as caught:
        made.run(["c"])
    # Its traceback holds all that it met.
    assert caught.value.__traceback__
    assert left == [threading.current_thread()]


def test_too_many_rejects_end_the_run() -> None:
    """The run ends at the batch that passes the limit, settled and saved, and can go on from there."""
    refused = [f"d{number:05d}" for number in range(2, 9)]
    loader = FakeLoader(refused=refused)
    made = pipeline(numbered(20), loader, in_flight=1, max_errors=MaxErrors(count=2))
    with pytest.raises(RejectsError, match="3 of 5 documents were rejected") as caught:
        made.run(["c"])
    assert "--resume" in caught.value.hint
    assert saves(made).states[-1].collections["c"].position == 5
    assert isinstance(made.rejects, ListSink)
    assert refused[:3] == [reject.id for reject in made.rejects.rejects]
    assert made.rejects.durable == 3


def test_a_percentage_ends_the_run() -> None:
    """Half a per cent of a thousand is passed by the sixth."""
    loader = FakeLoader(refused=[f"d{number:05d}" for number in range(1000)])
    made = pipeline(numbered(1000), loader, in_flight=1, max_docs=100, max_errors=MaxErrors(percent=0.5))
    with pytest.raises(RejectsError, match="100 of 100"):
        made.run(["c"])


def test_stopping_drains_and_saves() -> None:
    """After the signal nothing new is sent, all that was sent is settled, and the next run sends the rest."""
    stopping = threading.Event()

    def hold(batch: Batch) -> None:
        if batch.end == 3:
            stopping.set()

    loader = FakeLoader(hold=hold)
    items = numbered(50)
    made = pipeline(items, loader, stopping=stopping)
    with pytest.raises(Interrupted, match="with resume=True"):
        made.run(["c"])
    saved = saves(made).states[-1]
    assert loader.sent == saved.collections["c"].position == saved.totals.read < 50
    assert loader.finished == []
    assert not saved.finished
    sent = loader.sent
    report = pipeline(items, loader, checkpoint=saved).run(["c"])
    assert loader.sent == 50 == sent + report.totals.read
    assert items == loader.documents("c")


def test_stopping_before_the_start_sends_nothing() -> None:
    """A stop that comes early is a stop."""
    stopping = threading.Event()
    stopping.set()
    loader = FakeLoader()
    with pytest.raises(Interrupted):
        pipeline(numbered(5), loader, stopping=stopping).run(["c"])
    assert loader.calls == []


@pytest.mark.parametrize("how", ["broken", "stopped", "failed", "done"])
def test_the_end_is_saved_whatever_the_interval(how: str) -> None:
    """However long saves lie apart: when a run ends, all that was settled is saved."""
    stopping = threading.Event()
    breaks = {8: EndpointError("Gone.")} if how == "broken" else {}
    faults: dict[int, BaseException] = {8: EndpointError("Away.")} if how == "failed" else {}
    hold = (lambda batch: stopping.set() if batch.end == 7 else None) if how == "stopped" else void
    loader = FaultyLoader(FakeLoader(hold=hold), faults)
    made = pipeline(
        FakeExtractor({"c": numbered(9)}, breaks),
        loader,
        in_flight=1,
        stopping=stopping,
        checkpoint_interval_s=1e9,
    )
    with contextlib.suppress(EndpointError, Interrupted):
        made.run(["c"])
    assert saves(made).states[-1].collections["c"].position == (9 if how == "done" else 7)


def test_sends_no_more_than_the_throttle_lets() -> None:
    """What the throttle learned before is kept to: half the batches, and half the documents in each."""
    loader = FakeLoader()
    made = pipeline(numbered(40), loader, max_docs=8)
    made.throttle.failed(overload=True, reason="busy")
    made.run(["c"])
    assert loader.most_in_flight <= 2
    assert {4} == {len(call.ids) for call in loader.calls}


def test_a_broken_source_settles_what_is_in_flight() -> None:
    """What was sent before the source broke is not sent again by the next run."""
    items = numbered(10)
    loader = FakeLoader()
    made = pipeline(FakeExtractor({"c": items}, {8: EndpointError("Gone.")}), loader)
    with pytest.raises(EndpointError, match="Gone"):
        made.run(["c"])
    assert saves(made).states[-1].collections["c"].position == 7 == loader.sent


@pytest.mark.parametrize("in_flight", [1, 4])
def test_nothing_is_doubled_in_a_file_when_the_source_breaks(tmp_path: Path, in_flight: int) -> None:
    """A mark of a file never counts lines that the position does not."""
    items = numbered(10)
    file = CheckpointFile(tmp_path / "checkpoint.json")
    broken = FakeExtractor({"c": items}, {8: EndpointError("Gone.")})
    with pytest.raises(EndpointError, match="Gone"):
        pipeline(broken, NdjsonLoader(tmp_path / "out"), in_flight=in_flight, checkpoint_file=file).run(["c"])
    resumed = pipeline(items, NdjsonLoader(tmp_path / "out"), checkpoint=file.load(), checkpoint_file=file)
    assert resumed.run(["c"]).totals.read == 3
    assert items == lines_of(tmp_path / "out")


def test_nothing_is_doubled_in_a_file_when_rejects_cannot_be_written(tmp_path: Path) -> None:
    """A batch that was loaded, and could not be settled, is behind the mark of the checkpoint too."""

    class Full(ListSink):
        def write(self, rejects: Sequence[Reject]) -> None:
            raise EndpointError("No room.")

    items: list[Item] = [*numbered(5), b'{"torn', {"_id": "z"}]
    file = CheckpointFile(tmp_path / "checkpoint.json")
    first = NdjsonLoader(tmp_path / "out")
    with pytest.raises(EndpointError, match="No room"):
        pipeline(items, first, max_docs=4, checkpoint_file=file, rejects=Full()).run(["c"])
    first.close()
    resumed = pipeline(items, NdjsonLoader(tmp_path / "out"), checkpoint=file.load(), checkpoint_file=file)
    assert resumed.run(["c"]).totals.rejected == 1
    assert [*numbered(5), {"_id": "z"}] == lines_of(tmp_path / "out")


def lines_of(folder: Path) -> list[Any]:
    """What the one file of a folder holds."""
    records = NdjsonExtractor(folder).extract("c")
    return [decode(record.text) for record in records if record.text is not None]


class Counting(Forwarding):
    """Counts what it wrote, as a loader of files does, but lets several batches in."""

    def __init__(self, inner: Loader) -> None:
        super().__init__(inner)
        self.written = 0

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Count."""
        self.written += len(batch.documents)
        return super().load(batch, resend=resend)

    def flush(self, collection: str) -> int | None:
        """The number."""
        return self.written


def test_a_mark_and_its_position_belong_together() -> None:
    """Even a loader of marks that takes several batches at once never gets a mark ahead of its position."""
    made = pipeline(numbered(40), Counting(FakeLoader()))
    made.run(["c"])
    states = [state.collections["c"] for state in saves(made).states]
    assert [state.position for state in states] == [state.mark for state in states]
    assert states[-1].position == 40


@pytest.mark.parametrize("after", [False, True])
def test_a_mark_and_its_position_belong_together_after_a_failure(after: bool) -> None:
    """When a batch fails while later ones are written, the last saved pair stays."""
    faulty = FaultyLoader(FakeLoader(), {5: TransientError("Away.")}, [5] if after else [])
    made = pipeline(numbered(40), Counting(faulty))
    with pytest.raises(TransientError):
        made.run(["c"])
    states = [state.collections["c"] for state in saves(made).states]
    assert [state.position for state in states] == [state.mark for state in states]


class Forgetful(Forwarding):
    """Gives no outcome for one document."""

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """All but one."""
        return [outcome for outcome in super().load(batch, resend=resend) if outcome.id != "d00004"]


def test_a_document_without_an_end_is_named_and_not_passed() -> None:
    """The position stays before the batch with the lost outcome."""
    made = pipeline(numbered(9), Forgetful(FakeLoader()), max_docs=2)
    with pytest.raises(UnaccountedError, match="d00004"):
        made.run(["c"])
    assert saves(made).states[-1].collections["c"].position == 4


def test_a_name_that_cannot_be_stops_before_anything_is_made() -> None:
    """Names of all collections are asked for first."""
    loader = FakeLoader()
    with pytest.raises(ConfigError):
        pipeline(FakeExtractor({"a": numbered(1), "": numbered(1)}), loader).run(["a", ""])
    assert loader.prepared == []


def test_what_kills_the_process_is_not_held_up() -> None:
    """A BaseException from a loader's thread comes out as it is."""
    with pytest.raises(Crash):
        pipeline(numbered(9), FaultyLoader(FakeLoader(), {3: Crash()})).run(["c"])


def test_an_error_of_a_transformer_that_is_no_transform_error_comes_out() -> None:
    """An unguarded function's bug ends the run; what is before it is settled."""

    def transform(document: Any) -> Any:
        return {**document, "half": 1 / (document["number"] - 5)}

    made = pipeline(numbered(9), FakeLoader(), transform=transform)
    with pytest.raises(ZeroDivisionError):
        made.run(["c"])
    assert saves(made).states[-1].collections["c"].position == 5


def test_saves_no_oftener_than_asked() -> None:
    """Between two saves of a running collection lies the interval."""
    times = iter(range(10_000))
    made = pipeline(numbered(100), FakeLoader(), clock=lambda: float(next(times)), checkpoint_interval_s=50.0)
    made.run(["c"])
    assert len(saves(made).states) < 20
    assert saves(made).states[-1].finished


def test_places_are_named_through_the_wrapper() -> None:
    """A torn line is named by file and line though the extractor is wrapped."""

    class Located(FakeExtractor):
        def describe_position(self, collection: str, position: object) -> str:
            return f"{collection}.ndjson:{position}"

    made = pipeline([], FakeLoader())
    made.extractor = RetryingExtractor(Located({"c": [{"_id": "a"}, b"{"]}), Retrier())
    made.run(["c"])
    assert isinstance(made.rejects, ListSink)
    assert made.rejects.rejects[0].reason.startswith("c.ndjson:2: ")


def test_a_source_without_places_is_wrapped_too() -> None:
    """An extractor that names no places has none."""
    wrapped = RetryingExtractor(FakeExtractor({}), Retrier())
    assert wrapped.describe_position("c", 1) == ""


def test_rejects_of_earlier_runs_are_not_forgotten() -> None:
    """A run that goes on from one with rejects is not ok, though it rejected nothing itself."""
    state = CollectionState(position=5, counts=Counts(read=5, written=4, rejected=1))
    report = pipeline(numbered(8), FakeLoader(), checkpoint=Checkpoint(job={}, collections={"c": state})).run(
        ["c"]
    )
    assert report.totals.rejected == 0
    assert not report.ok


def test_errors_of_the_first_step_come_out() -> None:
    """A target that cannot be prepared is an error before anything is read."""

    class Closed(Forwarding):
        def prepare(self, collection: str, mark: int | None) -> None:
            raise MigratorError("Closed.")

    extractor = FakeExtractor({"c": numbered(3)})
    with pytest.raises(MigratorError, match="Closed"):
        pipeline(extractor, Closed(FakeLoader())).run(["c"])
    assert extractor.openings == []

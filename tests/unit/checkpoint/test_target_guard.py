"""A position belongs to the target that it was taken at: another one of that name is never taken for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from migrator.checkpoint import target_guard
from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.checkpoint.target_guard import TargetGuard, is_same
from migrator.errors import CheckpointError, MigratorError, TargetMissing, TargetReplaced, TransientError
from migrator.model import Batch, BatchLimits, Counts, Outcome, Report
from migrator.pipeline.loop import Pipeline
from migrator.pipeline.wrapper import RetryingLoader
from migrator.retry.retrier import Retrier
from migrator.retry.throttle import Throttle
from tests.support.fakes import Crash, FakeExtractor, FakeLoader, ListSink, numbered
from tests.support.runs import run_once

DOCUMENTS = {"a": numbered(12), "b": numbered(9)}
Event = Callable[["Database"], None]
Moment = tuple[str, int]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differences are read again at once."""
    monkeypatch.setattr(target_guard, "PAUSES_S", (0.0, 0.0))


@pytest.mark.parametrize(
    ("recorded", "now", "same"),
    [
        ("17 aa", "17 aa", True),
        ("17 aa", "17 bb", False),
        ("17 aa", "18 aa", False),
        ("17 aa", "17 none", False),
        ("17 aa", "", False),
        ("17 aa", "17 ?", True),
        ("17 aa", "? aa", True),
        ("17 aa", "? ?", True),
        ("17 ?", "17 bb", True),
        ("17 ?", "18 bb", False),
        ("17 none", "17 bb", True),
        ("17 none", "18 none", False),
        ("? aa", "17 aa", True),
        ("? aa", "17 bb", False),
        # As older versions kept it.
        ("17", "17 aa", True),
        ("17", "18 aa", False),
        ("", "", True),
        ("", "17 aa", False),
        ("25 1700", "25 1700", True),
        ("25 1700", "25 1701", False),
        ("25 1700", "26 1700", False),
    ],
)
def test_what_both_tell_decides(recorded: str, now: str, same: bool) -> None:
    """What one side cannot tell is not compared; a mark that was there must be there."""
    assert is_same(recorded, now) is same


class Database(FakeLoader):
    """Collections in databases that can vanish and come again, each time as another one.

    `at` holds what happens before a call: ("load", n), ("finish", n), ("prepare", n), each counted from 1.
    """

    def __init__(self, at: dict[Moment, Event] | None = None, *, crash: Moment | None = None) -> None:
        super().__init__(max_in_flight=1)
        self.at = dict(at or {})
        self.crash = crash
        self.counted: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        self.next = 0
        self.tells = True

    def identity(self, collection: str) -> str | None:
        """The number of the database."""
        if not self.tells:
            return None
        return f"0 {self.numbers[collection]}" if collection in self.numbers else ""

    def is_empty(self, collection: str) -> bool:
        """As it is."""
        return not self.store.get(collection)

    def delete(self) -> None:
        """All databases are gone."""
        self.store.clear()
        self.numbers.clear()

    def create(self, collection: str) -> None:
        """A new one."""
        self.next += 1
        self.numbers[collection] = self.next
        self.store[collection] = {}

    def replace(self) -> None:
        """Each is deleted and made again."""
        for name in list(self.numbers):
            self.create(name)

    def empty(self) -> None:
        """Somebody deletes all documents."""
        for name in self.store:
            self.store[name] = {}

    def _happens(self, what: str) -> None:
        self.counted[what] = self.counted.get(what, 0) + 1
        moment = (what, self.counted[what])
        if event := self.at.pop(moment, None):
            event(self)
        if self.crash == moment:
            self.crash = None
            raise Crash

    def prepare(self, collection: str, mark: int | None) -> None:
        """Make it where it is missing."""
        self._happens("prepare")
        if collection not in self.numbers:
            self.create(collection)
        super().prepare(collection, mark)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """As a server: 404 where there is no database."""
        self._happens("load")
        if batch.collection not in self.numbers:
            raise TargetMissing("Database does not exist.")
        return super().load(batch, resend=resend)

    def finish(self, collection: str) -> None:
        """Note the moment."""
        self._happens("finish")
        super().finish(collection)


def run(loader: Database, file: Path, *, restart: bool = False) -> Report:
    """One run of the command, which goes on where there is something to go on from."""
    return run_once(loader, file, DOCUMENTS, restart=restart)


def whole(loader: Database) -> bool:
    """Everything is there."""
    return all(loader.documents(name) == list(documents) for name, documents in DOCUMENTS.items())


KILLED_AT = [("load", 2), ("load", 6), ("finish", 1), ("load", 9), ("finish", 2)]
EVENTS = {"deleted": Database.delete, "replaced": Database.replace}
MOMENTS = [
    *(("load", number) for number in range(2, 12)),
    ("finish", 1),
    ("prepare", 2),
    ("finish", 2),
]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[0]}{moment[1]}")
def test_what_happens_on_the_way_is_said(tmp_path: Path, moment: Moment, event: str) -> None:
    """Whenever it happens: the run ends with 6, so do runs that go on, and a restart makes it whole."""
    loader = Database({moment: EVENTS[event]})
    for _ in range(2):
        with pytest.raises(TargetReplaced, match="deleted or replaced since this job began") as raised:
            run(loader, tmp_path / "cp.json")
        assert (raised.value.exit_code, raised.value.flag) == (6, "--restart")
    assert run(loader, tmp_path / "cp.json", restart=True).ok
    assert whole(loader)


@pytest.mark.parametrize("event", [*EVENTS, "emptied"])
@pytest.mark.parametrize("crash", KILLED_AT)
def test_what_happens_between_a_kill_and_the_next_run_is_said(tmp_path: Path, crash: Moment, event: str) -> None:
    """Nothing is made at the target before it is looked at, and complete collections count too."""
    loader = Database(crash=crash)
    with pytest.raises(Crash):
        run(loader, tmp_path / "cp.json")
    {**EVENTS, "emptied": Database.empty}[event](loader)
    prepared = len(loader.prepared)
    with pytest.raises(TargetReplaced):
        run(loader, tmp_path / "cp.json")
    assert len(loader.prepared) == prepared
    assert run(loader, tmp_path / "cp.json", restart=True).ok
    assert whole(loader)


@pytest.mark.parametrize("crash", [("load", 1), *KILLED_AT])
def test_the_same_target_is_gone_on_with(tmp_path: Path, crash: Moment) -> None:
    """Without a replacement nothing is refused, nor read again."""
    loader = Database(crash=crash)
    with pytest.raises(Crash):
        run(loader, tmp_path / "cp.json")
    assert run(loader, tmp_path / "cp.json").ok
    assert whole(loader)
    assert set(loader.writes.values()) <= {1, 2}


@pytest.mark.parametrize("event", EVENTS)
def test_before_anything_is_settled_nothing_is_lost(tmp_path: Path, event: str) -> None:
    """A target that is replaced before the first document is confirmed is as good as the one before."""
    loader = Database(crash=("load", 1))
    with pytest.raises(Crash):
        run(loader, tmp_path / "cp.json")
    EVENTS[event](loader)
    assert run(loader, tmp_path / "cp.json").ok
    assert whole(loader)


@pytest.mark.parametrize("event", [None, "deleted", "emptied", "replaced"])
def test_a_checkpoint_of_the_version_before_is_accepted_and_completed(tmp_path: Path, event: str | None) -> None:
    """It names no target, so one that is there and holds something is taken; one that is gone is not."""
    loader, file = Database(crash=("load", 5)), CheckpointFile(tmp_path / "cp.json")
    with pytest.raises(Crash):
        run(loader, tmp_path / "cp.json")
    old = file.load()
    for state in old.collections.values():
        state.target = None
    file.save(old)
    if event:
        {**EVENTS, "emptied": Database.empty}[event](loader)
    if event:
        with pytest.raises(TargetReplaced):
            run(loader, tmp_path / "cp.json")
    else:
        assert run(loader, tmp_path / "cp.json").ok
        assert whole(loader)
        assert {state.target for state in file.load().collections.values()} == {"0 1", "0 2"}


def test_where_nobody_can_tell_nothing_is_compared(tmp_path: Path) -> None:
    """As loaders of other packages may, and servers that tell neither time nor mark."""
    loader = Database(crash=("load", 5))
    loader.tells = False
    with pytest.raises(Crash):
        run(loader, tmp_path / "cp.json")
    assert run(loader, tmp_path / "cp.json").ok
    assert whole(loader)


def test_a_node_that_does_not_know_yet_is_asked_again(tmp_path: Path) -> None:
    """A 404 that passes is not a loss: the batch is sent again, and what the guard reads once does not decide."""
    loader = Database()
    told: list[str | None] = []
    identity = loader.identity

    def late(collection: str) -> str | None:
        told.append("" if len(told) % 3 == 1 else identity(collection))
        return told[-1]

    missing = iter([False, True, False, True, False, False, False, False, False, False, False, False, False])
    load = loader.load

    def sometimes(batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        if next(missing, False):
            raise TargetMissing("No DB shards could be opened.")
        return load(batch, resend=resend)

    loader.identity = late  # type: ignore[method-assign]
    loader.load = sometimes  # type: ignore[method-assign]
    assert run(loader, tmp_path / "cp.json").ok
    assert whole(loader)
    assert "" in told


def test_a_target_that_is_always_missing_and_always_there_ends_the_run(tmp_path: Path) -> None:
    """A server that says 404 to writes alone is not asked for ever."""

    class Odd(Database):
        def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
            raise TargetMissing("404")

    with pytest.raises(TargetMissing):
        run(Odd(), tmp_path / "cp.json")


@pytest.mark.parametrize("event", EVENTS)
def test_an_outage_is_looked_behind_at_once(tmp_path: Path, event: str) -> None:
    """What was replaced while the server did not answer is found before the next batch counts."""
    loader = Database()
    calls = 0

    class Restarted(RetryingLoader):
        """The server goes down at the third batch, and comes back with other databases."""

        def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
            nonlocal calls
            calls += 1
            return super().load(batch, resend=resend)

    def down(database: Database) -> None:
        EVENTS[event](database)
        if event == "deleted":
            database.create("a")
        raise TransientError("down", outcome_unknown=True)

    loader.at[("load", 3)] = down
    retrying = Restarted(loader, Retrier(sleep=lambda _seconds: None))
    kept = CheckpointFile(tmp_path / "cp.json")
    with pytest.raises(TargetReplaced):
        Pipeline(
            extractor=FakeExtractor(DOCUMENTS),
            loader=retrying,
            rejects=ListSink(),
            throttle=Throttle(BatchLimits(max_docs=2), 1),
            checkpoint_file=kept,
            checkpoint_interval_s=0,
        ).run(["a", "b"])
    assert calls == 3
    assert kept.load().collections["a"].position == 4


@pytest.mark.parametrize("what", ["identity", "is_empty"])
def test_wrappers_pass_the_question_on(what: str) -> None:
    """Also where the innermost loader knows no answer."""
    retrier = Retrier()
    assert not getattr(RetryingLoader(FakeLoader(), retrier), what)("a")
    database = Database()
    database.create("a")
    assert getattr(RetryingLoader(RetryingLoader(database, retrier), retrier), what)("a")


def test_the_message_names_the_target_and_what_to_do() -> None:
    """Which one, what became of it, and the way out."""
    guard = TargetGuard(Database(), hint="Do this.", flag="--that")
    with pytest.raises(TargetReplaced) as raised:
        guard.refuse_other("a", "0 1")
    assert raised.value.message.startswith("fake target/db_a is gone: it was deleted or replaced")
    assert (raised.value.hint, raised.value.flag) == ("Do this.", "--that")
    assert isinstance(raised.value, CheckpointError)


@pytest.mark.parametrize("target", [1, True, [], {}])
def test_a_checkpoint_with_a_target_of_another_kind_is_damaged(tmp_path: Path, target: object) -> None:
    """As any other field of it."""
    file = CheckpointFile(tmp_path / "cp.json")
    state = CollectionState(1, counts=Counts(read=1, written=1))
    state.target = target  # type: ignore[assignment]
    file.save(Checkpoint({}, {"a": state}))
    with pytest.raises(CheckpointError, match="damaged"):
        file.load()


def test_a_check_that_fails_is_no_replacement(tmp_path: Path) -> None:
    """A server that does not answer when it is asked who it is ends the run as one that does not answer."""
    loader = Database()

    def down(_database: Database) -> None:
        def identity(_collection: str) -> str | None:
            raise TransientError("down")

        loader.identity = identity  # type: ignore[assignment, method-assign]

    loader.at[("finish", 1)] = down
    with pytest.raises(MigratorError) as raised:
        run(loader, tmp_path / "cp.json")
    assert raised.value.exit_code == 5
    with contextlib.suppress(AttributeError):
        del loader.identity
    assert run(loader, tmp_path / "cp.json").ok
    assert whole(loader)

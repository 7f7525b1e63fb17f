"""`--replicate`, and a target that is deleted or replaced while the server works: said, whatever it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from migrator.checkpoint import target_guard
from migrator.config import JobConfig
from migrator.couch.settings import MARK
from migrator.errors import EndpointError, MigratorError, TargetReplaced
from migrator.jobs import replicate as replicating
from tests.support.stub_server import Asked, Reply, StubServer, recorded_reply

MISSING = {"error": "not_found", "reason": "missing"}


class Scheduler:
    """A server with the source `a`, the target `b` once it is made, and a replicator that does nothing."""

    def __init__(self) -> None:
        self.created = 0
        self.there = False
        self.marks: dict[int, bytes] = {}
        self.jobs: set[str] = set()
        self.looks = 0
        self.posted_at = 0.0
        self.happens: dict[int, Callable[[], None]] = {}
        self.ends = "completed"
        self.reason = ""
        self.server = StubServer(self._answer)

    def delete(self) -> None:
        """The target is gone."""
        self.there = False

    def make(self) -> None:
        """There is a target, within the second of the one before."""
        self.created += 1
        self.there = True

    def _answer(self, asked: Asked) -> Reply:
        path = asked.path.partition("?")[0].strip("/").split("/")
        if path == [""]:
            welcome = json.loads(recorded_reply("welcome").data)
            return Reply(200, {**welcome, "features": ["scheduler"]})
        if path[0] == "_scheduler":
            return self._look(path[-1])
        if path == ["_replicator"] and asked.method == "PUT":
            return Reply(412, {"error": "file_exists", "reason": "The database could not be created."})
        if path[0] == "_replicator":
            return self._job(asked, path)
        if path == ["b"] and asked.method == "PUT":
            self.make()
            return Reply(201, {"ok": True})
        if path[0] == "b" and not self.there:
            return Reply(404, {"error": "not_found", "reason": "Database does not exist."})
        if len(path) == 1:
            return Reply(
                200, {"db_name": path[0], "doc_count": 2, "update_seq": "2-x", "instance_start_time": "17"}
            )
        if path == ["b", "_local", MARK]:
            if asked.method == "PUT":
                self.marks[self.created] = asked.body
                return Reply(201, {"ok": True})
            mark = self.marks.get(self.created)
            return Reply(200, {"_id": f"_local/{MARK}", **json.loads(mark)}) if mark else Reply(404, MISSING)
        return Reply(404, MISSING)

    def _job(self, asked: Asked, path: list[str]) -> Reply:
        if asked.method == "POST":
            self.posted_at = time.monotonic()
            self.jobs.add(asked.json["_id"])
            return Reply(201, {"ok": True})
        if asked.method == "DELETE":
            self.jobs.discard(path[-1])
            return Reply(200, {"ok": True})
        return Reply(200, {"_id": path[-1], "_rev": "1-a"}) if path[-1] in self.jobs else Reply(404, MISSING)

    def _look(self, id: str) -> Reply:
        self.looks += 1
        if event := self.happens.pop(self.looks, None):
            event()
        info = {"revisions_checked": 2, "missing_revisions_found": 2, "docs_written": 2, "doc_write_failures": 0}
        state = self.ends if self.looks >= 3 else "running"
        failed = {"error": self.reason} if self.reason and self.looks >= 3 else {}
        return Reply(200, {"id": "", "state": state, "info": {**info, **failed}, "error_count": len(failed)})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(target_guard, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(replicating, "POLL_S", 0.01)
    monkeypatch.setattr(replicating, "APART_S", 0.0)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """Of one test."""
    made = Scheduler()
    yield made
    made.server.close()


def replicate(scheduler: Scheduler) -> int:
    """One run; how many revisions were written."""
    url = scheduler.server.url
    config = JobConfig(source=f"{url}/a", target=f"{url}/b", replicate=True, max_attempts=2)
    return replicating.replicate_job(config, environ={}).report.totals.written


EVENTS: dict[str, Callable[[Scheduler], None]] = {"deleted": Scheduler.delete, "replaced": Scheduler.make}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_target_that_is_replaced_meanwhile_is_said(scheduler: Scheduler, event: str, before: int) -> None:
    """The server calls it completed, which is not a success. The same command again is, and leaves no job."""
    scheduler.happens[before] = lambda: EVENTS[event](scheduler)
    with pytest.raises(TargetReplaced, match="deleted or replaced since this job began") as raised:
        replicate(scheduler)
    assert (raised.value.exit_code, raised.value.flag) == (6, "")
    assert "Run it again" in raised.value.hint
    assert scheduler.jobs == set()
    assert replicate(scheduler) == 2


@pytest.mark.parametrize("event", EVENTS)
def test_it_is_the_reason_why_the_server_gives_up(scheduler: Scheduler, event: str) -> None:
    """`db_not_found` of a target that was there is no wrong name."""
    scheduler.ends, scheduler.reason = "crashing", "db_not_found: could not open the target"
    scheduler.happens[3] = lambda: EVENTS[event](scheduler)
    with pytest.raises(TargetReplaced):
        replicate(scheduler)


@pytest.mark.parametrize("event", EVENTS)
def test_what_happened_between_a_kill_and_the_next_run(
    scheduler: Scheduler, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that was killed nothing is kept: the server compares everything with what is there."""

    class Killed(BaseException):
        """As SIGKILL: nothing is tidied up, not even the job."""

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(replicating._Replication, "_look", lambda *_arguments: kill())
        patched.setattr(replicating._Replication, "_remove", lambda *_arguments: None)
        with pytest.raises(Killed):
            replicate(scheduler)
    assert len(scheduler.jobs) == 1
    EVENTS[event](scheduler)
    assert replicate(scheduler) == 2
    assert (scheduler.jobs, scheduler.there) == (set(), True)


def test_the_same_target_is_a_success(scheduler: Scheduler) -> None:
    """Without a replacement nothing is said, also the second time."""
    assert [replicate(scheduler), replicate(scheduler)] == [2, 2]
    assert scheduler.created == 1


def test_two_runs_do_not_begin_within_one_second(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's history has whole seconds: what a run before had done would be counted as this one's."""
    monkeypatch.setattr(replicating, "APART_S", 0.5)
    began = time.monotonic()
    replicate(scheduler)
    assert scheduler.posted_at - began >= 0.5


def test_a_failure_of_its_own_stays_one(scheduler: Scheduler) -> None:
    """The target is the one that it was, so the server's reason is the reason."""
    scheduler.ends, scheduler.reason = "crashing", "unauthorized: wrong password"
    with pytest.raises(MigratorError) as raised:
        replicate(scheduler)
    assert isinstance(raised.value, EndpointError)
    assert "wrong password" in str(raised.value)

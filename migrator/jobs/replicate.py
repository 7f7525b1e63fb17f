"""Hands a copy to CouchDB's own replicator, follows it, and says what became of it.

The server calls a job completed that skipped documents, and counts on from run to run; here a run is good only
when no document is missing that any run since the last look at everything had skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

from migrator.checkpoint.file import Checkpoint, CheckpointFile
from migrator.checkpoint.target_guard import TargetGuard
from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import database_url
from migrator.couch.replicator import COMPLETED, History, JobState, Numbers, Replicator, read_history, side
from migrator.couch.settings import guard_database
from migrator.errors import EndpointError, Interrupted, without_passwords
from migrator.jobs.dispatch import check_modes
from migrator.jobs.open import Around, OpenJob, default_paths, open_job
from migrator.jobs.registry import open_client
from migrator.jobs.run import JobResult
from migrator.model import CollectionReport, Counts, Report, events
from migrator.retry.retrier import FIRST_CONTACT, Retrier

POLL_S = 0.2
MAX_POLL_S = 1.0
# A server tells its runs of one replication apart by the second in which each began.
APART_S = 1.1
# Between the posting of a document and the scheduler's notice of it.
UNKNOWN_S = 30.0
TELL_EVERY_S = 5.0
AGAIN = "Run it again: the server then compares everything once more."


@dataclass
class _Job:
    """One database's replication under way."""

    name: str
    database: str
    id: str
    counts: Counts
    guard: TargetGuard
    posted: float
    moved: float
    told: float = float("-inf")
    errors: int = 0
    replication_id: str = ""
    seen: Numbers = field(default_factory=Numbers)


def replicate_job(
    config: JobConfig, *, clock: Callable[[], float] = time.monotonic, **around: Unpack[Around]
) -> JobResult:
    """Replicate a job's databases, as many at once as `in_flight` says.

    Raises:
        ConfigError: the job cannot be a replication, or the server has no replicator.
        EndpointError: the server gave a replication up; its reason is named.
        Interrupted: asked to stop; the jobs are removed, and the next run goes on where they were.
        LockedError: another run replicates the same.
    """
    environ = around.get("environ")
    check_modes(config, environ)
    started = clock()
    with contextlib.ExitStack() as stack:
        job = stack.enter_context(open_job(config, **around))
        job.fingerprint["operation"] = "replicate"
        source = stack.enter_context(contextlib.closing(open_client(config, "source", environ)[0]))
        target = stack.enter_context(contextlib.closing(open_client(config, "target", environ)[0]))
        runner = Replicator(target if config.replicator == "target" else source)
        job.retrier.call("look for the replicator", lambda _: runner.check())
        # Nothing is kept in it; it keeps two runs apart.
        stack.enter_context(CheckpointFile(default_paths(job)[0]).lock())
        return _Replication(job, source, target, runner, clock).run(started)


@dataclass
class _Replication:
    job: OpenJob
    source: CouchClient
    target: CouchClient
    runner: Replicator
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self.active: dict[str, _Job] = {}
        self.began = time.monotonic()
        # Removing a job must not be given up because we were asked to stop.
        self.steady = Retrier(FIRST_CONTACT, self.job.listener)

    def run(self, started: float) -> JobResult:
        job = self.job
        report = Report({name: CollectionReport(job.names[name], Counts()) for name in job.collections}, 0.0)
        source = job.extractor.describe()
        self.job.listener(events.RunStarted(source, job.bare_loader.describe(), tuple(job.collections), None))
        waiting = list(job.collections)
        pause = POLL_S
        try:
            while waiting or self.active:
                while waiting and len(self.active) < job.config.in_flight:
                    name = waiting.pop(0)
                    self.active[name] = self._start(name, report.collections[name].counts)
                    pause = POLL_S
                if self.job.stopping.wait(pause):
                    raise Interrupted(
                        "Stopped; the replication is removed.", hint="The same command goes on where it was."
                    )
                pause = min(MAX_POLL_S, pause * 1.3)
                for each in list(self.active.values()):
                    if self._look(each):
                        del self.active[each.name]
                        self._remove(each)
                        self.job.listener(events.CollectionFinished(each.name, each.counts))
        finally:
            for each in self.active.values():
                self._remove(each)
        report = replace(report, seconds=self.clock() - started)
        self.job.listener(events.RunFinished(report))
        return JobResult(report, None, None, Checkpoint(job=job.fingerprint, finished=True))

    def _start(self, name: str, counts: Counts) -> _Job:
        job, database = self.job, self.job.names[name]
        self.job.listener(events.CollectionStarted(name, database, job.extractor.count(name), resumed=False))
        here, there = side(self.source.endpoint, name), side(self.target.endpoint, database)
        id = "migrator-" + hashlib.sha256(f"{here['url']} {there['url']}".encode()).hexdigest()[:20]
        document: dict[str, Any] = {"source": here, "target": there}
        if job.config.restart:
            # All revisions are compared again, and those that were refused are tried again.
            document["since_seq"] = "0"
        self._retry(f"prepare {database}", lambda _: self._create(name, database))
        guard = guard_database(self.target, job.retrier, database, hint=AGAIN)
        # Whatever ran before this one began in an earlier second then.
        self.job.stopping.wait(max(0.0, self.began + APART_S - time.monotonic()))
        self._retry(f"replicate {name}", lambda _: self.runner.start(id, document))
        now = self.clock()
        return _Job(name, database, id, counts, guard, now, now)

    def _create(self, name: str, database: str) -> None:
        """Create the target database as the source's is, unless the job says otherwise."""
        if self.target.database_info(database) is not None:
            return
        info = self.source.database_info(name) or {}
        cluster, config = info.get("cluster", {}), self.job.config
        partitioned = config.partitioned or info.get("props", {}).get("partitioned") is True
        q, n = config.q or cluster.get("q"), config.n or cluster.get("n")
        self.target.create_database(database, q=q, n=n, partitioned=partitioned)

    def _look(self, each: _Job) -> bool:
        """Ask how a job is; True when it is done."""
        state = self._retry(f"follow {each.name}", lambda _: self.runner.state(each.id))
        now = self.clock()
        if state is None:
            if now - each.posted > UNKNOWN_S or each.seen != Numbers():
                raise EndpointError(
                    f"The replication of {each.name} is gone from the server: somebody removed it.",
                    hint="Start it again with the same command.",
                )
            return False
        each.replication_id = state.replication_id or each.replication_id
        if state.numbers != each.seen and (state.numbers.checked or state.state == COMPLETED):
            each.seen, each.moved = state.numbers, now
        if state.state == COMPLETED:
            self._settle(each, state)
            return True
        if state.hopeless or (state.error_count and now - each.moved > self.job.config.max_outage_s):
            self._give_up(each, state)
        if state.error_count > each.errors:
            each.errors = state.error_count
            self.job.listener(
                events.RetryScheduled(f"replicate {each.name}", each.errors, 0.0, self._safe(state.reason))
            )
        if state.numbers.pending is not None and now - each.told > TELL_EVERY_S:
            each.told = now
            self.job.listener(events.LagMeasured(each.name, state.numbers.pending))
        return False

    def _give_up(self, each: _Job, state: JobState) -> None:
        each.guard.check(each.database)
        source = database_url(self.source.endpoint, each.name)
        raise EndpointError(
            f"The server gave up the replication of {source} to {each.database}: {self._safe(state.reason)}.",
            hint="The server itself must reach both URLs with these credentials; "
            "--replicator source has the other one do it.",
        )

    def _settle(self, each: _Job, state: JobState) -> None:
        # The server takes it for done although the target was replaced while it worked.
        each.guard.check(each.database)
        history = self._retry(
            f"look at {each.name}",
            lambda _: read_history(self.source, each.name, each.replication_id, state.started),
        )
        each.counts.add(_counts(state.numbers, history))
        self.job.listener(events.BatchLoaded(each.name, each.counts, 0, self.clock() - each.posted))
        self.job.listener(events.LagMeasured(each.name, 0))

    def _remove(self, each: _Job) -> None:
        if self.job.config.keep_job and each.name not in self.active:
            return
        try:
            self.steady.call(f"remove {each.id}", lambda _: self.runner.remove(each.id))
        except EndpointError as error:
            raise EndpointError(
                f"The replication of {each.name} cannot be removed: {error.message}",
                hint=f"The server goes on with it until the document _replicator/{each.id} is removed.",
            ) from error

    def _retry(self, what: str, call: Callable[[int], Any]) -> Any:
        return self.job.retrier.call(what, call)

    def _safe(self, reason: str) -> str:
        """The server's reason without a password, should it quote one."""
        return without_passwords(reason, self.source.endpoint.password, self.target.endpoint.password)


def _counts(numbers: Numbers, history: History) -> Counts:
    """The fate of every revision that this run looked at, and of those that earlier runs had skipped."""
    now = numbers.since(history.before)
    lost = max(now.failures, now.missing - now.written, 0)
    skipped_before = max(0, history.before.failures - history.full.failures)
    return Counts(
        read=now.checked + skipped_before,
        written=now.written,
        unchanged=now.checked - now.written - lost,
        rejected=lost + skipped_before,
    )

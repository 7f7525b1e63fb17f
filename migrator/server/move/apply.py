"""Does what a plan says: documents, then indexes, validation functions, users, and last of all who may come in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Unpack

from migrator.checkpoint.file import COMMAND, Checkpoint, CheckpointFile, open_checkpoint
from migrator.config import JobConfig
from migrator.errors import CheckpointError, Interrupted
from migrator.jobs.open import Around, surroundings
from migrator.jobs.run import job_rejects
from migrator.model import BatchLimits, Counts, events
from migrator.retry.window import watching
from migrator.server.admin import replications
from migrator.server.admin.compact import warm
from migrator.server.admin.connection import both_servers
from migrator.server.admin.secure import USERS
from migrator.server.move.compare import Compared, Comparer, Verified
from migrator.server.move.copy import MADE, SEQUENCE, Copier, Journal, designs_part
from migrator.server.move.options import ApplyOptions
from migrator.server.move.plan import DatabasePlan, ServerPlan
from migrator.server.move.result import Applied, DatabaseReport
from migrator.server.move.survey import refuse_unfit
from migrator.server.move.users import carry_replications, carry_users


def apply_plan(
    plan: ServerPlan,
    options: ApplyOptions | None = None,
    *,
    config: JobConfig | None = None,
    **around: Unpack[Around],
) -> Applied:
    """Do exactly what a plan says.

    Args:
        plan: the plan.
        options: how.
        config: timeouts, tries, batch sizes and files for TLS.
        around: as in `open_job`; the listener is called by several threads, one at a time.

    Raises:
        PlanError: the plan does not fit source or target any more; nothing was written.
        CheckpointError: a checkpoint is in the way.
        LockedError: another run does it.
        EndpointError: a side is out of reach; the checkpoint is saved.
        Interrupted: stopped; the checkpoint is saved.
    """
    options = options or ApplyOptions()
    config = config or JobConfig()
    environ, listener, stopping = surroundings(around)
    listener = events.one_at_a_time(listener)
    # One that fails stops the others, and not whoever called.
    halt = threading.Event()
    more: Around = {"environ": environ, "listener": listener, "stopping": halt}
    urls = options.source or plan.source.url, options.target or plan.target.url
    with watching(stopping.is_set, halt.set), both_servers(*urls, config, **more) as (source, target):
        file = CheckpointFile(options.checkpoint)
        with file.lock():
            job = {"command": "apply", "plan": fingerprint(plan)}
            checkpoint, resumed = open_checkpoint(file, job, resume=options.resume, restart=options.restart)
            checkpoint.details[COMMAND] = shlex.split(options.again)
            earlier = _earlier(file, job)
            if options.resume and earlier is not None and earlier.finished:
                # Killed between its last word and the removal of the checkpoint: there is little left to do.
                checkpoint, resumed = replace(earlier, finished=False), True
            # Whether resumed or not: what an earlier run of this very plan has begun is not a stranger's.
            ours = set(earlier.details.get(MADE, ())) if earlier else set()
            refuse_unfit(plan, source, target, ours)
            if options.restart:
                checkpoint.details[MADE] = dict.fromkeys(ours, "begun")
            meant = {"databases": {d.source: d.target for d in plan.databases}, "again": options.again}
            with contextlib.closing(job_rejects(options.rejects, checkpoint, resumed=resumed, **meant)) as rejects:
                journal = Journal(checkpoint, file, rejects, listener)
                journal.save()
                limits = BatchLimits(config.batch_docs, config.batch_bytes)
                copier = Copier(source, target, journal, limits, listener)
                try:
                    applied = _Move(plan, copier, options, halt, listener).run()
                finally:
                    journal.save()
            if applied.ok and not options.keep_checkpoint:
                file.remove()
            kept = options.rejects is not None and options.rejects.exists()
            return replace(applied, rejects=options.rejects if kept else None)


def fingerprint(plan: ServerPlan) -> str:
    """Tells one plan from another."""
    return hashlib.sha256(json.dumps(plan.to_dict(), sort_keys=True).encode()).hexdigest()[:32]


def _earlier(file: CheckpointFile, job: Mapping[str, object]) -> Checkpoint | None:
    """What an earlier run of the same plan has left; one that is damaged was refused before, or is given up."""
    found: Checkpoint | None = None
    with contextlib.suppress(CheckpointError):
        found = file.load() if file.exists() else None
    return found if found is not None and found.job == job else None


@dataclass
class _Move:
    plan: ServerPlan
    copier: Copier
    options: ApplyOptions
    stopping: threading.Event
    listener: events.Listener

    def __post_init__(self) -> None:
        self.journal = self.copier.journal
        self.caught_up = 0
        self.lock = threading.Lock()

    def run(self) -> Applied:
        started = time.monotonic()
        plan, copier = self.plan, self.copier
        databases = plan.databases
        total = sum(database.documents + database.deleted_documents for database in databases)
        self.listener(
            events.RunStarted(plan.source.url, plan.target.url, tuple(d.source for d in databases), total)
        )
        self._all(self._documents)
        self._all(self._catch_up)
        self._all(lambda database: copier.designs(database, validating=False))
        ready = self._warm()
        self._all(self._catch_up)
        self._all(lambda database: copier.designs(database, validating=True))
        ready = self._warm() or ready
        if plan.users is not None:
            carry_users(copier.source, copier.target, self.journal)
        if plan.replications is not None:
            carry_replications(copier.source, copier.target, self.journal)
        self._all(copier.security)
        verified = self._verified()
        self._all(copier.check)
        self.journal.checkpoint.finished = True
        self.journal.save()
        return self._report(ready, verified, time.monotonic() - started)

    def _documents(self, database: DatabasePlan) -> None:
        state = self.journal.state(database.source)
        total = database.documents + database.deleted_documents
        self.listener(
            events.CollectionStarted(
                database.source, database.target, total, state.position is not None, state.counts.read
            )
        )
        self.copier.documents(database)
        self.listener(events.CollectionFinished(database.source, state.counts))

    def _catch_up(self, database: DatabasePlan) -> None:
        late = self.copier.catch_up(database)
        with self.lock:
            self.caught_up += late

    def _warm(self) -> dict[str, int]:
        if not self.options.warm:
            return {}
        target = self.copier.target
        names = [d.target for d in self.plan.databases if d.views or d.indexes]
        return warm(target, names, stuck_s=self.options.stuck_s)

    def _verified(self) -> Verified | None:
        if self.options.verify == "no":
            return None
        started = time.monotonic()
        comparer = Comparer(self.copier.source, self.copier.target, self.options.verify == "contents")
        found: dict[str, Compared] = {}

        def compare(database: DatabasePlan) -> None:
            found[database.source] = comparer.database(database, self.journal.detail(SEQUENCE, database.source))

        self._all(compare)
        databases = {database.source: found[database.source] for database in self.plan.databases}
        if self.plan.users is not None:
            databases[USERS] = comparer.users()
        if self.plan.replications is not None:
            databases[replications.DATABASE] = comparer.replications()
        contents = self.options.verify == "contents"
        return Verified(databases, contents, time.monotonic() - started)

    def _all(self, step: Callable[[DatabasePlan], None]) -> None:
        """Do a step for each database, several side by side, none waiting for a long one."""
        by_size = deque(sorted(self.plan.databases, key=lambda d: d.documents + d.deleted_documents))
        # The smallest and the largest in turn: small ones are through soon, and the largest does not come last.
        in_turn = [by_size.pop() if number % 2 else by_size.popleft() for number in range(len(by_size))]

        def work(database: DatabasePlan) -> None:
            if self.stopping.is_set():
                raise _stopped()
            try:
                step(database)
            except BaseException:
                # The others end where they are: what failed may not be asked to wait for hours.
                self.stopping.set()
                raise

        with ThreadPoolExecutor(self.options.side_by_side, thread_name_prefix="apply") as pool:
            errors = [done.exception() for done in [pool.submit(work, database) for database in in_turn]]
        failed = [error for error in errors if error is not None]
        # That one was stopped is the consequence of what another one failed at.
        for error in sorted(failed, key=lambda error: isinstance(error, Interrupted)):
            if isinstance(error, Interrupted):
                raise _stopped() from error
            raise error

    def _report(self, ready: Mapping[str, int], verified: Verified | None, seconds: float) -> Applied:
        reports = {}
        for database in self.plan.databases:
            parts = [designs_part(database.source, validating=validating) for validating in (False, True)]
            designs = Counts.sum(self.journal.state(part).counts for part in parts)
            counts = Counts.sum([self.journal.state(database.source).counts, designs])
            reports[database.source] = DatabaseReport(
                database.target,
                counts,
                designs.written + designs.unchanged,
                ready.get(database.target, 0),
                database.security,
            )
        return Applied(
            reports,
            self._counts(USERS, self.plan.users),
            self._counts(replications.DATABASE, self.plan.replications),
            self.caught_up,
            seconds,
            self.options.warm,
            verified,
            tuple(dict.fromkeys((*self.copier.source.client.doubts, *self.copier.target.client.doubts))),
        )

    def _counts(self, part: str, planned: int | None) -> Counts | None:
        return None if planned is None else self.journal.state(part).counts


def _stopped() -> Interrupted:
    return Interrupted("Stopped; what was in flight is settled.", hint="Go on with --resume.")

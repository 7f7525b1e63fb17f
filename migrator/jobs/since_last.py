"""Carries what changed since the last run, between two servers, in rounds that lose and double nothing.

The first round copies all; the source's sequence is noted before it reads. Each later one reads the changes after
the mark of the last. Order of effects: documents are written and confirmed, rejects are on disk, then the position
moves; and the mark moves when the whole round is settled. So a kill anywhere costs a part of a round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Unpack

from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.checkpoint.reject_file import RejectFile
from migrator.checkpoint.target_guard import NOTHING_THERE, TargetGuard, is_same
from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.copies import is_surely_empty
from migrator.couch.settings import start_of
from migrator.errors import TransformError
from migrator.extractors.base import chosen
from migrator.extractors.changes import ChangesExtractor, Since
from migrator.jobs.dispatch import check_modes
from migrator.jobs.marks import DATABASE, KEY, Mark, former, paths_of, read_marks
from migrator.jobs.open import Around, OpenJob, open_job
from migrator.jobs.registry import open_client
from migrator.jobs.run import JobResult, in_order, job_rejects
from migrator.loaders.couchdb import CouchLoader
from migrator.loaders.target import OnConflict
from migrator.model import Document, Extractor, Report, Transformer
from migrator.model.capabilities import effect_of, with_effect
from migrator.model.events import DocumentRejected, Event, LagMeasured, ignore

AGAIN = "Run it again: it then copies everything once more, and what is there stays as it is."


@dataclass
class Sync:
    """A job that keeps a target up to date, with both sides open and its checkpoint held. Made by `open_sync`."""

    job: OpenJob
    extractor: ChangesExtractor
    source: CouchClient
    target: CouchClient
    file: CheckpointFile
    checkpoint: Checkpoint
    rejects: RejectFile
    marks: dict[str, Mark] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    @property
    def copied(self) -> bool:
        """True when all has been copied once, so that only changes are carried now."""
        return all(mark.since is not None for mark in self.marks.values())

    def begin(self, before: Checkpoint | None, *, resumed: bool, retry: bool = True) -> None:
        """Find out where each collection's round begins, and save it before anything is read.

        Args:
            before: the checkpoint of the last round; None where there is none.
            resumed: the round of that checkpoint is not finished, and goes on.
            retry: read first what earlier rounds rejected.
        """
        known = self.marks or read_marks(before)
        self.marks = {}
        for name in self.job.collections:
            source, target = self._info(self.source, name), self._info(self.target, self.job.names[name])
            identity = self._target_identity(name)
            old, now = known.get(name), str(source.get("update_seq", "0"))
            empty = is_surely_empty(self.target, self.job.names[name], target, self.job.retrier)
            same_target = old is not None and (not old.target or is_same(old.target, identity))
            same = (
                old is not None
                and same_target
                and not (empty and source.get("doc_count"))
                and old.source == start_of(source)
                and not _rewound(source, old)
            )
            if old is None or not same:
                # Another database has the name now, on either side: all is to be read.
                ours = same_target or empty or name in self.own
                self.marks[name] = Mark(None, now, start_of(source), identity, ours)
                self.checkpoint.collections[name] = CollectionState()
            elif resumed and name in self.checkpoint.collections:
                self.marks[name] = old
            else:
                state = before.collections.get(name) if before else None
                self.marks[name] = old.following(state.position if state else None, now, retry=retry)
                self.checkpoint.collections[name] = CollectionState()
            self.marks[name].target = identity
        self.checkpoint.finished = False
        # As they are when it is saved.
        self.checkpoint.details[KEY] = self.marks
        self.checkpoint.vouch_for(self.rejects)
        self.file.save(self.checkpoint)

    def round(self) -> Report:
        """Carry everything that there is behind the marks.

        Raises:
            MigratorError: see `Pipeline.run`; the checkpoint is saved.
        """
        job = self.job
        spooled = self.checkpoint.details.setdefault("spooled", {})
        self.extractor.since = {}
        for name, mark in self.marks.items():
            if mark.since is not None:
                self.extractor.since[name] = Since(mark.since, tuple(mark.retried))
                # Changes come in an order of their own, which their positions depend on.
                spooled[name] = False
            loader = job.bare_loader
            if isinstance(loader, CouchLoader) and job.config.on_conflict == "fail":
                loader.policies[name] = OnConflict.OVERWRITE if mark.again else OnConflict.FAIL
        transform = self._guarded(job.transform(self.checkpoint))
        extractor: Extractor = job.extractor
        if not self.copied and self.file.path is not None:
            extractor = in_order(job, self.checkpoint, transform, self.file.path)
        return job.pipeline(
            self.rejects,
            transform,
            extractor=extractor,
            checkpoint=self.checkpoint,
            checkpoint_file=self.file,
            guard=TargetGuard(job.loader, hint=AGAIN, flag=""),
            listener=self._remember,
        ).run(job.collections)

    def next(self) -> None:
        """Begin the next round after the one that has just been settled."""
        before = self.checkpoint
        self.checkpoint = Checkpoint(before.job, seed=before.seed, started_ms=before.started_ms)
        self.begin(before, resumed=False, retry=False)

    def result(self, report: Report) -> JobResult:
        """What a run leaves; the checkpoint stays, for it says where the next one begins."""
        return JobResult.of(report, self.rejects, self.file, self.checkpoint)

    def _remember(self, event: Event) -> None:
        """Remember rejected documents with the position that is saved next."""
        if isinstance(event, DocumentRejected):
            # A document has one id on both sides: then it is known by the id that was rejected.
            kept = self.job.config.deletions != "ignore" or not self.job.config.transform
            self.marks[event.reject.collection].note(event.reject, ids_are_kept=kept)
        self.job.listener(event)

    def _guarded(self, transform: Transformer | None) -> Transformer | None:
        """With deletions carried, ids must stay, and what is filtered out now must go from the target."""
        if transform is None or self.job.config.deletions == "ignore":
            return transform

        def guarded(document: Document) -> Document | None:
            made = transform(document)
            if made is None:
                gone = {"_id": document.get("_id"), "_deleted": True}
                return gone if self.extractor.reading_changes else None
            if made.get("_id") != document.get("_id"):
                raise TransformError(
                    "the transformer changed the _id, so a later deletion could not be carried.",
                    hint="Add --deletions ignore.",
                )
            return made

        return with_effect(guarded, effect_of(transform))

    def _target_identity(self, name: str) -> str:
        """The identity of a target database, which is made where it is missing; "" where it cannot be told."""
        identity = self.job.loader.identity(name)
        if identity == NOTHING_THERE:
            # Only in a round of following: what was taken away is found to be another.
            self.job.loader.prepare(name, None)
            identity = self.job.loader.identity(name)
        return identity or ""

    def _info(self, client: CouchClient, database: str) -> dict[str, object]:
        return self.job.retrier.call(f"look at {database}", lambda _: client.database_info(database) or {})


def since_last_job(config: JobConfig, **around: Unpack[Around]) -> JobResult:
    """Copy all once, and at each later run with the same checkpoint what changed since.

    Raises:
        ConfigError: something does not go together.
        LockedError: another run holds the checkpoint.
        MigratorError: see `Pipeline.run`; the next run goes on.
    """
    with open_sync(config, **around) as sync:
        return sync.result(sync.round())


@contextlib.contextmanager
def open_sync(config: JobConfig, **around: Unpack[Around]) -> Iterator[Sync]:
    """Open both sides and the checkpoint, and begin a round; the arguments are as in `since_last_job`."""
    environ, listener = around.get("environ"), around.get("listener", ignore)
    check_modes(config, environ)
    with contextlib.ExitStack() as stack:
        source, named = open_client(config, "source", environ)
        stack.callback(source.close)
        extractor = ChangesExtractor(
            source,
            named,
            collections=chosen(config),
            carry_deletions=config.deletions != "ignore",
            on_lag=lambda name, changes: listener(LagMeasured(name, changes)),
        )
        target, database = open_client(config, "target", environ)
        stack.callback(target.close)
        # What an unfinished round needs to know is in the checkpoint; a timer always goes on.
        going_on = replace(config, resume=not config.restart)
        job = stack.enter_context(open_job(going_on, source=extractor, **around))
        # A database that is new at the source joins the job.
        job.fingerprint["collections"] = {"chosen": list(config.collection), "map": dict(config.map)}
        job.fingerprint["operation"] = "since last"
        extractor.retrier = job.retrier
        path, rejects_path = paths_of(job, database)
        file = CheckpointFile(path)
        stack.enter_context(file.lock())
        before = former(file, restart=config.restart)
        checkpoint, resumed = job.begin(file, later=(DATABASE,))
        for name in job.collections:
            # So does a missing right to create a database; and what was taken away is found to be another.
            job.first.prepare(name, None)
        rejects = job_rejects(rejects_path, checkpoint, resumed=resumed, values=job.values)
        stack.enter_context(contextlib.closing(rejects))
        sync = Sync(job, extractor, source, target, file, checkpoint, rejects)
        if config.restart:
            # The marks are worth nothing any more, but what was copied by them is still this job's own.
            same = before is not None and all(
                before.job.get(k) == job.fingerprint[k] for k in ("source", "target")
            )
            sync.own = {name for name, mark in read_marks(before).items() if same and mark.again}
            before = None
        sync.begin(before, resumed=resumed)
        yield sync


def _rewound(info: Mapping[str, object], mark: Mark) -> bool:
    """On servers that count changes: fewer than were seen, so it is another database."""
    now, seen = info.get("update_seq"), mark.since or mark.until
    return isinstance(now, int) and seen.isdigit() and now < int(seen)

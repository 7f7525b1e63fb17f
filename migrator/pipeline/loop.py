"""The one loop: extract, transform, load, and only then move the checkpoint. It knows protocols only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias

from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState, RejectSink
from migrator.checkpoint.proofs import with_proofs
from migrator.checkpoint.target_guard import TargetGuard
from migrator.codec import PLAIN, ValueCodec
from migrator.errors import Interrupted, MigratorError, RejectsError, VerificationError
from migrator.model import (
    Batch,
    BatchLimits,
    CollectionReport,
    Counts,
    Extractor,
    Loader,
    Outcome,
    Report,
    Transformer,
    events,
)
from migrator.model.capabilities import recognizer_of, unconfirmed_of
from migrator.naming import counted, was
from migrator.pipeline.accounting import account
from migrator.pipeline.batching import Assembly, Preparing, batches
from migrator.pipeline.wrapper import ExtractorWrapper
from migrator.retry.throttle import Throttle
from migrator.retry.window import Window, until_broken

# So many batches may have ended while an older one is still on its way.
AHEAD = 2
# Saving a checkpoint waits for the disk, which can be the server's too: it may take this share of the time.
SAVING_SHARE = 0.05
# A percentage of a handful says nothing.
MIN_READ_FOR_PERCENT = 100


class _Loaded(NamedTuple):
    outcomes: Sequence[Outcome]
    seconds: float


_Window: TypeAlias = Window[Batch, _Loaded]


@dataclass(frozen=True, slots=True)
class MaxErrors:
    """How many rejected documents a run bears: a number, or a percentage of what was read."""

    count: int | None = None
    percent: float | None = None

    def passed(self, counts: Counts) -> bool:
        """True when there are more than that."""
        if self.count is not None and counts.rejected > self.count:
            return True
        return (
            self.percent is not None
            and counts.read >= MIN_READ_FOR_PERCENT
            and counts.rejected * 100 > self.percent * counts.read
        )

    def error(self, counts: Counts) -> MigratorError | None:
        """What ends a run with these numbers; a failed verification where some were changed on their way."""
        if not self.passed(counts):
            return None
        kind = VerificationError if counts.altered else RejectsError
        return kind(
            f"{counts.rejected:,} of {counted(counts.read, 'document')} {was(counts.rejected)} rejected, "
            "more than allowed.",
            hint="Look at the reject file; fix the cause or raise --max-errors, then go on with --resume.",
        )


@dataclass(kw_only=True)
class Pipeline:
    """Moves collections from an extractor to a loader.

    Batches are loaded several at once but settled in the order of reading, oldest first: so the checkpoint
    never passes a document whose end is not known.

    Args:
        extractor: the source.
        loader: the target.
        rejects: where rejected documents go.
        transform: applied to each document; None for none.
        values: how values that JSON lacks are written.
        prepare: does the transforming elsewhere; None to do it here.
        throttle: batch size and batches in flight.
        checkpoint: where to begin; its counts grow.
        checkpoint_file: where it is kept.
        guard: knows the target that documents are confirmed in; by default one that asks for a restart.
        keep_proofs: note what was proven, for a verification that follows.
        max_errors: when to give up.
        checkpoint_interval_s: the least time between two writes of the checkpoint, longer where one takes long; 0
            to write it after each batch.
        listener: receives every event.
        stopping: set it to stop: what is in flight is settled, the checkpoint saved, Interrupted raised.
        clock: seconds, for tests.
    """

    extractor: Extractor
    loader: Loader
    rejects: RejectSink
    transform: Transformer | None = None
    values: ValueCodec = PLAIN
    prepare: Preparing | None = None
    throttle: Throttle = field(default_factory=lambda: Throttle(BatchLimits(), 4))
    checkpoint: Checkpoint = field(default_factory=lambda: Checkpoint(job={}))
    checkpoint_file: CheckpointFile = field(default_factory=lambda: CheckpointFile(None))
    guard: TargetGuard | None = None
    keep_proofs: bool = False
    max_errors: MaxErrors = MaxErrors()
    checkpoint_interval_s: float = 0.1
    listener: events.Listener = events.ignore
    stopping: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._totals = Counts()
        self._share = ExtractorWrapper(self.extractor).share
        self._guard = self.guard or TargetGuard(self.loader)
        self._names: dict[str, str] = {}
        self._save_next_at = float("-inf")

    def run(self, collections: Sequence[str]) -> Report:
        """Move these collections, in this order.

        Raises:
            Interrupted: it was asked to stop; the checkpoint is saved.
            RejectsError: more documents were rejected than `max_errors` bears; the checkpoint is saved. It is a
                VerificationError where some were changed on their way.
            UnaccountedError: the numbers do not add up.
            TargetReplaced: the target was deleted or replaced meanwhile, with documents that were confirmed.
            MigratorError: what the stages raise; the checkpoint is saved.
        """
        started = self.clock()
        carried = self.checkpoint.totals
        self._names = names = {name: self.loader.target_name(name) for name in collections}
        report = Report({name: CollectionReport(names[name], Counts()) for name in collections}, 0.0, carried)
        totals = {name: self.extractor.count(name) for name in collections}
        self.listener(events.run_started(self.extractor.describe(), self.loader.describe(), totals))
        workers = min(self.throttle.max_in_flight, self.loader.max_in_flight)
        with ThreadPoolExecutor(max(1, workers), thread_name_prefix="loader") as pool:
            for name, count in totals.items():
                self._run_collection(name, names[name], count, report.collections[name].counts, pool)
        for name in collections[:-1]:
            # The last one was looked at just now.
            self._guard.check(name)
        self.checkpoint.finished = True
        self._save("")
        unconfirmed = unconfirmed_of(self.extractor, self.loader)
        report = Report(report.collections, self.clock() - started, carried, unconfirmed)
        self.listener(events.RunFinished(report))
        return report

    def _run_collection(
        self, name: str, database: str, total: int | None, counts: Counts, pool: ThreadPoolExecutor
    ) -> None:
        state = self.checkpoint.collections.setdefault(name, CollectionState())
        self.listener(
            events.CollectionStarted(
                name,
                database,
                total,
                state.begun,
                state.counts.read if state.begun else 0,
                None if state.position is None else self._share(name, state.position),
            )
        )
        if state.finished:
            state.target = self._guard.begin(name, state.target)
            self._finished(name, counts)
            return
        state.identity = self.extractor.identity(name)
        self.loader.prepare(name, state.mark if state.position is not None else None)
        state.target = self._guard.begin(name, state.target if state.begun else None)
        locate = partial(ExtractorWrapper(self.extractor).describe_position, name)
        recognize = recognizer_of(self.loader)
        assembly = Assembly(self.transform, self.loader.screen, self.values, locate, self.prepare, recognize)
        throttle, limits = self.throttle, lambda: BatchLimits(throttle.max_docs, throttle.max_bytes)
        broken: list[Exception] = []
        # Nobody but the reading holds what it reads from: so that is closed with it, in this thread.
        reading = until_broken(
            batches(name, self.extractor.extract(name, after=state.position), assembly, limits), broken
        )
        # Of two documents with one id the later must meet the earlier at the target, not race it.
        window = _Window(
            pool,
            self._load,
            at_once=lambda: min(self.throttle.in_flight, self.loader.max_in_flight),
            ahead=AHEAD,
            clash=lambda batch, other: not batch.ids.isdisjoint(other.ids),
        )
        try:
            for batch in reading:
                while not window.has_room(batch):
                    self._settle(window, state, counts)
                if self.stopping.is_set():
                    break
                window.submit(batch)
                while window.ended:
                    self._settle(window, state, counts)
            while window:
                self._settle(window, state, counts)
        except BaseException:
            self.stopping.set()
            self._save(name, ahead=window.abandon())
            raise
        finally:
            reading.close()
        if broken:
            self._save(name)
            raise broken[0]
        if self.stopping.is_set():
            self._save(name)
            raise Interrupted("Stopped; everything up to here is settled.", hint="Go on with --resume.")
        self.loader.finish(name)
        state.target = self._guard.check(name)
        state.finished = True
        self._save(name)
        self._finished(name, counts)

    def _finished(self, name: str, counts: Counts) -> None:
        self.listener(events.CollectionFinished(name, counts))
        ExtractorWrapper(self.extractor).finish(name)

    def _load(self, batch: Batch) -> _Loaded:
        if not batch.documents:
            return _Loaded((), 0.0)
        started = self.clock()
        outcomes = self._guard.load(self.loader, batch)
        return _Loaded(outcomes, self.clock() - started)

    def _settle(self, window: _Window, state: CollectionState, counts: Counts) -> None:
        batch, loaded = window.oldest()
        settled, rejects = account(batch, loaded.outcomes, self._names[batch.collection])
        if rejects:
            self.rejects.write(rejects)
        counts.add(settled)
        state.counts.add(settled)
        if self.keep_proofs:
            proven = ((outcome.id, outcome.proof) for outcome in loaded.outcomes if outcome.proof)
            state.proofs = with_proofs(state.proofs, proven)
        self._totals.add(settled)
        if batch.end is not None:
            state.position = batch.end
        window.drop()
        for reject in rejects:
            self.listener(events.DocumentRejected(reject))
        sent = len(batch.documents)
        share = self._share(batch.collection, state.position)
        self.listener(events.BatchLoaded(batch.collection, settled, batch.size_bytes, loaded.seconds, sent, share))
        if self.clock() >= self._save_next_at:
            self._save(batch.collection, ahead=bool(window))
        if error := self.max_errors.error(self._totals):
            raise error

    def _save(self, collection: str, *, ahead: bool = False) -> None:
        # Documents first, then their rejects, then the position after them.
        started = self.clock()
        if collection:
            mark = self.loader.flush(collection)
            if ahead and mark is not None:
                # The mark counts documents that are after the position: the last saved pair stays.
                return
            self.checkpoint.collections[collection].mark = mark
        self.checkpoint.vouch_for(self.rejects)
        self.checkpoint_file.save(self.checkpoint)
        ended = self.clock()
        if self.checkpoint_interval_s:
            self._save_next_at = ended + max(self.checkpoint_interval_s, (ended - started) / SAVING_SHARE)
        self.listener(events.CheckpointSaved(collection))

"""Runs a verification: opens both sides, brings each into the order of ids, compares, and keeps its checkpoint."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

from migrator.checkpoint.file import COMMAND, Checkpoint, CheckpointFile, CollectionState, open_checkpoint
from migrator.checkpoint.target_guard import TargetGuard
from migrator.config import JobConfig
from migrator.config.words import words_of
from migrator.errors import CheckpointError, ConfigError, Interrupted
from migrator.files.identity import same_identity
from migrator.files.sorting import ExternalSorter
from migrator.jobs.open import Around, OpenJob, default_paths, open_job
from migrator.jobs.registry import effects
from migrator.jobs.run import transform_pool
from migrator.model import Document, EncodedDocument, Extractor, Fault, Reject, events
from migrator.model.capabilities import effect_of, unconfirmed_of
from migrator.pipeline.batching import Assembly, Preparing
from migrator.pipeline.spooling import tell_sorting
from migrator.verification.compare import Comparison, Step, TargetReader, compare_collection
from migrator.verification.proven import as_proven, says_enough
from migrator.verification.read_target import SORT_MEMORY_BYTES, open_reader
from migrator.verification.result import DifferenceFile, VerifyResult

MIN_SAVE_INTERVAL_S = 0.5
_BY_SETTINGS = frozenset({"document_too_large"})


def verify_job(
    config: JobConfig,
    *,
    differences: str | None = None,
    source: Extractor | None = None,
    run_checkpoint: Checkpoint | None = None,
    own: Container[tuple[str, str]] = (),
    **around: Unpack[Around],
) -> VerifyResult:
    """Compare source and target of a job.

    Args:
        config: the job; its checkpoint is this verification's own (beside that of a run with `verify`).
        differences: a file for all differences, as NDJSON.
        source: an extractor to use in place of `config.source`.
        run_checkpoint: of the run that is verified: ids by uuid7 come from its seed, and it says what it proved.
        own: collection and id of what that run has rejected.
        around: as in `open_job`.

    Raises:
        Interrupted: it was asked to stop.
        MigratorError: a side is out of reach, or the checkpoint cannot be used.
    """
    if run_checkpoint is None and not effects(config).same_each_run:
        words = ["migrator", "run", *words_of(config), "--verify"]
        raise ConfigError(
            "Ids by uuid7 are new in each run, so there is nothing to compare them with.",
            hint=f"Verify at the end of the run itself: {shlex.join(words)}",
        )
    with contextlib.ExitStack() as stack:
        job = stack.enter_context(open_job(config, source=source, writes=False, **around))
        job.fingerprint["operation"] = "verify"
        path = default_paths(job)[0]
        if config.verify and config.checkpoint:
            path = path.with_name(path.name + ".verify")
        file = CheckpointFile(path if job.repeatable or config.checkpoint else None)
        stack.enter_context(file.lock())
        checkpoint, resumed = open_checkpoint(
            file,
            job.fingerprint,
            resume=config.resume,
            restart=config.restart or config.verify,
        )
        checkpoint.details[COMMAND] = words_of(config)
        if run_checkpoint is not None:
            checkpoint.seed, checkpoint.started_ms = run_checkpoint.seed, run_checkpoint.started_ms
        spool = path.with_name(path.name + ".spool")
        # Last, when the sorters of both sides have removed what was theirs.
        stack.callback(_remove_if_empty, spool)
        environ, must_exist = around.get("environ"), run_checkpoint is None
        reader = stack.enter_context(open_reader(job, spool / "target", environ, must_exist=must_exist))
        sink = stack.enter_context(
            contextlib.closing(DifferenceFile(differences, checkpoint.details.get("differences_bytes", 0)))
        )
        ran = run_checkpoint.collections if run_checkpoint else {}
        # To recognize plain documents is most of the work where nothing else is asked.
        prepare = stack.enter_context(transform_pool(job, checkpoint, gains=True))
        result = _Verification(job, reader, checkpoint, file, sink, spool, ran, prepare, own).run(resumed=resumed)
        file.remove()
        return result


def _remove_if_empty(folder: Path) -> None:
    for path in (folder / "target", folder):
        with contextlib.suppress(OSError):
            path.rmdir()


class _OutOfOrder(Exception):
    """The ids of a source do not ascend."""


@dataclass
class _Verification:
    job: OpenJob
    reader: TargetReader
    checkpoint: Checkpoint
    file: CheckpointFile
    sink: DifferenceFile
    spool: Path
    ran: Mapping[str, CollectionState]
    prepare: Preparing | None
    own: Container[tuple[str, str]]

    def run(self, *, resumed: bool) -> VerifyResult:
        started, job = time.monotonic(), self.job
        self.guard = TargetGuard(job.loader, hint="Begin again with --restart.")
        self.result = VerifyResult(
            filtered=self.checkpoint.details.get("filtered", 0),
            unwritable=self.checkpoint.details.get("unwritable", 0),
        )
        self.saved_at = float("-inf")
        self.unwritable: dict[str, int] = {}
        counts = {name: job.extractor.count(name) for name in job.collections}
        job.listener(events.run_started(job.extractor.describe(), job.loader.describe(), counts))
        transform = job.transform(self.checkpoint)
        assembly = Assembly(transform, self._never_held, job.values, prepare=self.prepare, recognizer=job.loader)
        for name, count in counts.items():
            settled = self.checkpoint.details.get("numbers", {}).get(name, {}).get("source", 0)
            job.listener(events.CollectionStarted(name, job.names[name], count, resumed, settled))
            self._collection(name, assembly)
        self.result.unconfirmed = unconfirmed_of(job.extractor, self.reader)
        self.result.seconds = time.monotonic() - started
        return self.result

    def _never_held(self, id: str, top_level: Document, body: bytes) -> Fault | None:
        """A document that the target can never hold is not missing there."""
        fault = self.job.loader.screen(id, top_level, body)
        # A server's limits can have been others when the document was written.
        return None if fault is not None and fault.error in _BY_SETTINGS else fault

    def _collection(self, name: str, assembly: Assembly) -> None:
        state = self.checkpoint.collections.setdefault(name, CollectionState())
        identity = self.job.extractor.identity(name)
        if state.identity and not same_identity(state.identity, identity):
            raise CheckpointError(
                f"The source of {name} has changed since the verification began.",
                hint="Start over with --restart.",
            )
        state.identity = identity
        # What was compared is said of this very target.
        if state.target is not None:
            self.guard.refuse_other(name, state.target)
        state.target = self.job.loader.identity(name)
        numbers = Comparison(**self.checkpoint.details.get("numbers", {}).get(name, {}))
        self.result.comparisons[name] = numbers
        if state.finished:
            return
        if not self._as_proven(name, identity):
            self._by_reading(name, assembly, numbers)
        if state.target is not None:
            self.guard.refuse_other(name, state.target)
        state.finished = True
        self._save(name)

    def _by_reading(self, name: str, assembly: Assembly, numbers: Comparison) -> None:
        """Compare with what the source gives, read once more."""
        state, details = self.checkpoint.collections[name], self.checkpoint.details
        after = state.position if isinstance(state.position, str) else None
        began: dict[str, int] = details.setdefault("began", {})
        surely = self.job.extractor.ordered and effect_of(assembly.transform).keeps_id
        unordered: list[str] = details.setdefault("unordered", [])
        if after is not None and name not in began and not surely:
            # The version before sorted all that were not sure to be in order.
            unordered.append(name)
        began.setdefault(name, self.sink.size)
        self.reported = numbers.source
        if name not in unordered:
            try:
                self._compare(name, self._in_order(name, assembly, after, surely=surely), numbers, after)
            except _OutOfOrder:
                # What was compared so far can lack what comes later: all begins again.
                unordered.append(name)
                self.result.comparisons[name] = numbers = Comparison()
                self.result.forget(name)
                self.sink.rewind(began[name])
                state.position = after = None
        if name in unordered:
            with contextlib.ExitStack() as stack:
                self._compare(name, self._sorted(name, assembly, after, stack), numbers, after)

    def _as_proven(self, name: str, identity: str) -> bool:
        """Compare without reading what the run has proven; False where something else is there than that."""
        ran = self.ran.get(name)
        if ran is None or not says_enough(ran, identity):
            return False
        own = not self.job.extractor.traits.couchdb
        numbers = as_proven(ran, self.reader.stored(name), self.job.stopping, ignore_extra_design=own)
        if numbers is None:
            return False
        self.result.comparisons[name] = numbers
        self.result.filtered += ran.counts.filtered
        self.result.proven += numbers.equal
        self.job.listener(events.DocumentsCompared(name, numbers.equal))
        return True

    def _compare(
        self, name: str, source: Iterator[EncodedDocument], numbers: Comparison, after: str | None
    ) -> None:
        state = self.checkpoint.collections[name]
        own, target = not self.job.extractor.traits.couchdb, self.reader.stored(name, after=after)
        steps = compare_collection(name, source, target, self.reader, numbers, ignore_extra_design=own)
        with contextlib.closing(steps):
            for step in steps:
                self._note(step)
                state.position = step.settled or state.position
                # What is compared once more was reported before.
                share = self.job.extractor.share(name)
                self.job.listener(events.DocumentsCompared(name, max(0, numbers.source - self.reported), share))
                self.reported = max(self.reported, numbers.source)
                if self.job.stopping.is_set():
                    self._save(name)
                    raise Interrupted("Stopped; what was compared is kept.", hint="Go on with --resume.")
                if time.monotonic() - self.saved_at >= MIN_SAVE_INTERVAL_S:
                    self._save(name)

    def _note(self, step: Step) -> None:
        for difference in step.differences:
            self.sink.write(difference)
            self.result.note(difference, self.own)

    def _in_order(
        self, name: str, assembly: Assembly, after: str | None, *, surely: bool
    ) -> Iterator[EncodedDocument]:
        """The source's documents as they would be sent, after an id, as long as their ids ascend.

        Raises:
            _OutOfOrder: they do not, and nobody has said that they do.
        """
        # Reading is cheap beside comparing, and a position is the extractor's own.
        last = ""
        for document in self._assembled(name, assembly):
            id = document.id
            if id < last and not surely:
                raise _OutOfOrder
            last = id
            if after is None or id > after:
                yield document

    def _sorted(
        self, name: str, assembly: Assembly, after: str | None, stack: contextlib.ExitStack
    ) -> Iterator[EncodedDocument]:
        """The same in the order of their ids, sorted on disk."""
        folder = self.spool / f"source-{self.job.collections.index(name)}"
        sorter = stack.enter_context(ExternalSorter(folder, max_memory_bytes=SORT_MEMORY_BYTES))
        for number, document in enumerate(self._assembled(name, assembly)):
            tell_sorting(self.job.listener, self.job.extractor.share, name, number)
            sorter.add(document.id, document.body)
            if self.job.stopping.is_set():
                raise Interrupted("Stopped while the source was sorted.", hint="Go on with --resume.")
        self.job.listener(events.CollectionCounted(name, len(sorter)))
        return (EncodedDocument(id, body) for id, body in sorter.sorted_items(after))

    def _assembled(self, name: str, assembly: Assembly) -> Iterator[EncodedDocument]:
        placed = replace(assembly, locate=partial(self.job.extractor.describe_position, name))
        filtered = unwritable = 0
        for record in placed.prepared(self.job.extractor.extract(name)):
            made = placed.assemble(record)
            if isinstance(made, EncodedDocument):
                yield made
            elif made is None:
                filtered += 1
            else:
                unwritable += 1
                # What is read once more was reported before.
                if unwritable > self.unwritable.get(name, 0):
                    self.unwritable[name] = unwritable
                    stage, _, error = made.error.partition(":")
                    self.job.listener(events.DocumentRejected(Reject(name, made.id, stage, error, made.reason)))
        # Counted once, at the end, as a resumed verification reads from the beginning.
        self.result.filtered += filtered
        self.result.unwritable += unwritable

    def _save(self, name: str) -> None:
        finished = self.checkpoint.collections[name].finished
        self.checkpoint.details.update(
            numbers={key: numbers.as_dict() for key, numbers in self.result.comparisons.items()},
            differences_bytes=self.sink.flush(),
            filtered=self.result.filtered if finished else 0,
            unwritable=self.result.unwritable if finished else 0,
        )
        self.file.save(self.checkpoint)
        self.saved_at = time.monotonic()
        self.job.listener(events.CheckpointSaved(name))

"""Runs a verification: opens both sides, brings each into the order of ids, compares, and keeps its checkpoint."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack

from migrator.checkpoint.file import COMMAND, Checkpoint, CheckpointFile, CollectionState, open_checkpoint
from migrator.checkpoint.target_guard import TargetGuard
from migrator.config import JobConfig
from migrator.config.words import words_of
from migrator.errors import CheckpointError, ConfigError, Interrupted
from migrator.files.identity import same_identity
from migrator.jobs.open import Around, OpenJob, default_paths, open_job
from migrator.jobs.registry import effects, open_extractor
from migrator.jobs.run import transform_pool
from migrator.model import EncodedDocument, Extractor, events
from migrator.model.capabilities import effect_of, unconfirmed_of
from migrator.pipeline.batching import Preparing
from migrator.verification.compare import Comparison, Step, TargetReader, compare_collection
from migrator.verification.proven import as_proven, says_enough
from migrator.verification.read_source import OutOfOrder, SourceReader
from migrator.verification.read_target import open_reader
from migrator.verification.result import DifferenceFile, VerifyResult

MIN_SAVE_INTERVAL_S = 0.5
# One other process, or one range, gains nothing.
MIN_RANGES = 2


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
        # Others can open it again.
        bare = None if source else open_extractor(config, around.get("environ"), around.get("stopping"))
        job = stack.enter_context(open_job(config, source=source or bare, writes=False, **around))
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
        result = _Verification(job, reader, checkpoint, file, sink, spool, ran, prepare, own, bare, environ).run(
            resumed=resumed
        )
        file.remove()
        return result


def _remove_if_empty(folder: Path) -> None:
    for path in (folder / "target", folder):
        with contextlib.suppress(OSError):
            path.rmdir()


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
    bare: Extractor | None
    environ: Mapping[str, str] | None

    def run(self, *, resumed: bool) -> VerifyResult:
        started, job = time.monotonic(), self.job
        self.guard = TargetGuard(job.loader, hint="Begin again with --restart.")
        self.result = VerifyResult(
            filtered=self.checkpoint.details.get("filtered", 0),
            unwritable=self.checkpoint.details.get("unwritable", 0),
        )
        self.saved_at = float("-inf")
        self.unconfirmed: list[str] = []
        counts = {name: job.extractor.count(name) for name in job.collections}
        job.listener(events.run_started(job.extractor.describe(), job.loader.describe(), counts))
        self.source = SourceReader(job, job.transform(self.checkpoint), self.prepare, self.result)
        for name, count in counts.items():
            settled = self.checkpoint.details.get("numbers", {}).get(name, {}).get("source", 0)
            job.listener(events.CollectionStarted(name, job.names[name], count, resumed, settled))
            self._collection(name)
        others = [text for text in self.unconfirmed if text not in self.result.unconfirmed]
        self.result.unconfirmed = (*unconfirmed_of(job.extractor, self.reader), *others)
        self.result.seconds = time.monotonic() - started
        return self.result

    def _collection(self, name: str) -> None:
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
            self._by_reading(name, numbers)
        if state.target is not None:
            self.guard.refuse_other(name, state.target)
        state.finished = True
        self._save(name)

    def _by_reading(self, name: str, numbers: Comparison) -> None:
        """Compare with what the source gives, read once more."""
        state, details = self.checkpoint.collections[name], self.checkpoint.details
        after = state.position if isinstance(state.position, str) else None
        began: dict[str, int] = details.setdefault("began", {})
        surely = self.job.extractor.ordered and effect_of(self.source.transform).keeps_id
        unordered: list[str] = details.setdefault("unordered", [])
        if after is not None and name not in began and not surely:
            # The version before sorted all that were not sure to be in order.
            unordered.append(name)
        began.setdefault(name, self.sink.size)
        self.reported = numbers.source
        if name not in unordered:
            try:
                if not self._by_ranges(name, numbers, after):
                    documents = self.source.in_order(name, after, surely=surely)
                    self._compare(name, self._steps(name, documents, numbers, after), numbers)
            except OutOfOrder:
                # What was compared so far can lack what comes later: all begins again.
                unordered.append(name)
                self.result.comparisons[name] = numbers = Comparison()
                self.result.forget(name)
                self.sink.rewind(began[name])
                state.position = after = None
        if name in unordered:
            with contextlib.ExitStack() as stack:
                folder = self.spool / f"source-{self.job.collections.index(name)}"
                documents = self.source.sorted(name, after, folder, stack)
                self._compare(name, self._steps(name, documents, numbers, after), numbers)

    def _by_ranges(self, name: str, numbers: Comparison, after: str | None) -> bool:
        """Compare in other processes where those are wanted and gain something; False where it is not done."""
        job, kept = self.job, self.checkpoint.details.setdefault("ranges", {})
        transform = effect_of(self.source.transform)
        if job.config.transform_workers < MIN_RANGES or not transform.keeps_id or not self.reader.divides(name):
            return False
        from migrator.verification import ranges as others  # few verifications want other processes

        if after is None:
            found = others.divided(job, self.bare, self.source, name)
            kept[name] = [asdict(each) for each in found]
        # What was compared to its end is not read once more, so nobody else could go on from there.
        ranges = [others.Range(**each) for each in kept.get(name, ())]
        if len(ranges) < MIN_RANGES:
            return False
        by_ranges = others.ByRanges(job, self.source, self.checkpoint, self.environ)

        def steps() -> Generator[Step]:
            with contextlib.closing(by_ranges.steps(name, ranges, numbers, after)) as found:
                for step in found:
                    kept[name] = [asdict(each) for each in ranges]
                    yield step

        self._compare(name, steps(), numbers, by_ranges.share)
        self.result.filtered += sum(each.filtered for each in ranges)
        self.result.unwritable += sum(each.unwritable for each in ranges)
        self.unconfirmed += by_ranges.unconfirmed
        return True

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

    def _steps(
        self, name: str, source: Iterator[EncodedDocument], numbers: Comparison, after: str | None
    ) -> Generator[Step]:
        own, target = not self.job.extractor.traits.couchdb, self.reader.stored(name, after=after)
        return compare_collection(name, source, target, self.reader, numbers, ignore_extra_design=own)

    def _compare(
        self,
        name: str,
        steps: Generator[Step],
        numbers: Comparison,
        share_of: Callable[[str], float | None] | None = None,
    ) -> None:
        state = self.checkpoint.collections[name]
        share_of = share_of or self.job.extractor.share
        with contextlib.closing(steps):
            for step in steps:
                self._note(step)
                state.position = step.settled or state.position
                # What is compared once more was reported before.
                share = share_of(name)
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

"""Coordinates a job in splits: divides it, has an engine move the splits, and sums up what they leave."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from migrator import errors
from migrator.checkpoint.file import Checkpoint, CheckpointFile, CollectionState
from migrator.checkpoint.reject_file import check_rejects_path
from migrator.checkpoint.target_guard import RESTART, TargetGuard
from migrator.config import JobConfig
from migrator.files.failures import writing
from migrator.jobs.distributed.engine import STOP_FILE, DaskEngine, divide, everywhere
from migrator.jobs.distributed.worker import (
    counts_of,
    event_of,
    merge_rejects,
    open_targets,
    other_target,
    split_paths,
)
from migrator.jobs.open import Around, OpenJob, default_paths, open_job
from migrator.jobs.registry import effects, open_extractor
from migrator.jobs.run import JobResult
from migrator.jobs.splits import OF_A_SPLIT, Split, error_of
from migrator.model import CollectionReport, Counts, Report, events
from migrator.model.capabilities import unconfirmed_of
from migrator.retry.window import watching

SPLITS_PER_WORKER = 4


def run_distributed(config: JobConfig, **around: Unpack[Around]) -> JobResult:
    """Move a job's documents by the workers of `config.executor`; the arguments are as in `run_job`.

    Raises:
        ConfigError: the job cannot be done by other processes.
        MigratorError: as `run_job`; what is settled stays so, and --resume goes on.
    """
    _check(config)
    environ = around.get("environ")
    config = everywhere(config, environ)
    source = open_extractor(config, environ)
    with open_job(config, source=source, **around) as job:
        checkpoint_path, rejects_path = default_paths(job)
        job.fingerprint["executor"] = "splits"
        file = CheckpointFile(checkpoint_path)
        with (
            file.lock(),
            DaskEngine(config.executor, lambda messages: _hear(job.listener, messages)) as engine,
        ):
            checkpoint, resumed = job.begin(file)
            targets = open_targets(job, checkpoint)
            folder = file.real.with_name(file.real.name + ".splits")
            if not resumed:
                _begin(folder)
                wanted = config.splits or SPLITS_PER_WORKER * engine.workers()
                checkpoint.details["splits"] = [asdict(s) for s in divide(job, source, wanted)]
                file.save(checkpoint)
            (folder / STOP_FILE).unlink(missing_ok=True)
            check_rejects_path(rejects_path)
            return _Run(job, checkpoint, file, folder, rejects_path, targets).run(engine)


@dataclass
class _Run:
    job: OpenJob
    checkpoint: Checkpoint
    file: CheckpointFile
    folder: Path
    rejects: Path
    targets: TargetGuard

    def __post_init__(self) -> None:
        self.config, self.listener = self.job.config, self.job.listener
        self.splits = [Split(**fields) for fields in self.checkpoint.details["splits"]]
        self.max_errors = self.job.max_errors
        self.done: set[int] = set(self.checkpoint.details.get("done", ()))

    def run(self, engine: DaskEngine) -> JobResult:
        started = time.monotonic()
        before = self._counts()
        carried = Counts.sum(before.values())
        totals = {name: self.job.extractor.count(name) for name in self.job.collections}
        self.listener(events.run_started(self.job.extractor.describe(), self.job.bare_loader.describe(), totals))
        for name, count in totals.items():
            settled = self._total(name, before).read
            self.listener(events.CollectionStarted(name, self.job.names[name], count, bool(carried.read), settled))
        try:
            self._move(engine)
        finally:
            counts = self._counts()
            parts = [split_paths(self.folder, split.number)[1] for split in self.splits]
            rejected = merge_rejects(self.rejects, parts, self.checkpoint, self.listener)
            self._save(counts)
        collections = {
            name: CollectionReport(
                self.job.names[name],
                _difference(self._total(name, counts), self._total(name, before)),
            )
            for name in totals
        }
        for name in totals:
            self.checkpoint.collections[name].target = self.targets.check(name)
        self.checkpoint.finished = True
        self.file.save(self.checkpoint)
        shutil.rmtree(self.folder)
        unconfirmed = unconfirmed_of(self.job.extractor, self.job.loader)
        report = Report(collections, time.monotonic() - started, carried, unconfirmed)
        self.listener(events.RunFinished(report))
        if not self.config.checkpoint and report.ok:
            self.file.remove()
        kept = self.file.path if self.file.exists() else None
        return JobResult(report, self.rejects if rejected else None, kept, self.checkpoint)

    def _move(self, engine: DaskEngine) -> None:
        waiting = [split for split in self.splits if split.number not in self.done]
        failed: errors.MigratorError | None = None
        fields = {**asdict(self.config), **OF_A_SPLIT, "max_errors": str(self.max_errors.count or "")}
        fields |= self.config.shares_of(min(len(waiting), engine.workers()))
        with watching(self.job.stopping.is_set, self._stop):
            for end in engine.move(fields, [asdict(split) for split in waiting], str(self.folder)):
                if end["error"]:
                    # The first one counts; those that stop because of it say only that they were stopped.
                    failed = failed or _error(*end["error"])
                    self._stop()
                    continue
                split = self.splits[end["number"]]
                if failed is None and (failed := other_target(self.targets, self.folder, split)):
                    self._stop()
                self.done.add(split.number)
                counts = self._counts()
                self._save(counts)
                if all(s.number in self.done for s in self.splits if s.collection == split.collection):
                    total = self._total(split.collection, counts)
                    self.listener(events.CollectionFinished(split.collection, total))
                if too_many := self.max_errors.error(self.checkpoint.totals):
                    failed = failed or too_many
                    self._stop()
        if failed is not None:
            raise failed

    def _stop(self) -> None:
        (self.folder / STOP_FILE).touch()

    def _counts(self) -> dict[int, Counts]:
        return {split.number: counts_of(self.folder, split) for split in self.splits}

    def _total(self, collection: str, counts: Mapping[int, Counts]) -> Counts:
        return Counts.sum(counts[split.number] for split in self.splits if split.collection == collection)

    def _save(self, counts: Mapping[int, Counts]) -> None:
        for name in self.job.collections:
            own = [split for split in self.splits if split.collection == name]
            self.checkpoint.collections[name] = CollectionState(
                # Where a split stands is in its own file; this says only that there is something to go on from.
                position="splits" if any(counts[split.number].read for split in own) else None,
                finished=all(split.number in self.done for split in own),
                counts=self._total(name, counts),
                target=self.targets.known.get(name),
            )
        self.checkpoint.details["done"] = sorted(self.done)
        self.file.save(self.checkpoint)


def _check(config: JobConfig) -> None:
    hint = "Leave --executor out: then it is done by this process."
    if config.source.startswith("memory:"):
        raise errors.ConfigError(
            "A memory: source is in this process, and --executor moves a job by others.", hint=hint
        )
    if config.source.lower() == "singer:-":
        raise errors.ConfigError(
            "Standard input is of this process, and --executor moves a job by others.",
            hint="Keep what the tap writes in a file: tap-name > FILE, then --from singer:FILE.",
        )
    if config.dry_run or config.replicate:
        word = "--dry-run" if config.dry_run else "--replicate"
        raise errors.ConfigError(f"{word} does not go with --executor.", hint=hint)
    if config.verify and not effects(config).same_each_run:
        raise errors.ConfigError("Ids by uuid7 are each split's own, so --verify cannot know them.", hint=hint)


def _begin(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    instead = "name a place that all workers share with --checkpoint FILE"
    with writing(folder, what="The splits' folder", instead=instead):
        folder.mkdir()


def _hear(listener: events.Listener, messages: Sequence[Any]) -> None:
    for name, fields in messages:
        listener(event_of(name, fields))


def _error(kind: str, message: str, hint: str) -> errors.MigratorError:
    if kind == "Interrupted":
        return errors.Interrupted("Stopped; everything up to here is settled.", hint="Go on with --resume.")
    if kind == "Unauthorized":
        hint = f"{hint} A worker takes them from its own environment."
    if kind == "TargetReplaced":
        return errors.TargetReplaced(message, hint=hint, flag=RESTART)
    return error_of(kind, message, hint)


def _difference(now: Counts, before: Counts) -> Counts:
    return Counts(**{name: getattr(now, name) - getattr(before, name) for name in Counts.__slots__})

"""Runs a job, or plans it: puts the stages together, and keeps checkpoint and rejects.

This is the library's and the command's common way; it prints nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from os.path import realpath
from pathlib import Path
from typing import Any, Unpack

from migrator.checkpoint.file import Checkpoint, CheckpointFile
from migrator.checkpoint.reject_file import RejectFile
from migrator.checkpoint.target_guard import TargetGuard
from migrator.config import JobConfig
from migrator.config.option import options_of
from migrator.errors import CheckpointError, ConfigError, MigratorError
from migrator.files.identity import same_identity
from migrator.jobs.open import Around, OpenJob, default_paths, open_job
from migrator.model import Batch, Extractor, Loader, Outcome, Report, Transformer
from migrator.model.capabilities import effect_of, unconfirmed_of
from migrator.model.events import FolderChosen
from migrator.pipeline.batching import Assembly, Preparing
from migrator.pipeline.spooling import MIN_DOCUMENTS_TO_SORT, SpoolingExtractor
from migrator.pipeline.wrapper import BisectingLoader, LoaderWrapper, RetryingLoader

# What a plan says only where it is not as usual.
_ALSO = ("newer_field", "prove", "max_errors", "readers", "sort", "q", "n", "partitioned")


@dataclass(frozen=True)
class JobResult:
    """What a run left: its report, the files that are there now (None where there is none), and its last state."""

    report: Report
    rejects: Path | None
    checkpoint: Path | None
    state: Checkpoint

    @classmethod
    def of(cls, report: Report, rejects: RejectFile, file: CheckpointFile, state: Checkpoint) -> JobResult:
        """What a run with these files left."""
        # Rejects of the runs gone on from are in the same file.
        rejected = rejects.count or report.carried.rejected
        return cls(report, rejects.kept if rejected else None, file.path if file.exists() else None, state)


class DryLoader(LoaderWrapper):
    """A loader that writes nothing: it screens as the real one does, and its outcomes are those of `preview`."""

    def prepare(self, collection: str, mark: int | None) -> None:
        """Nothing is made."""

    def identity(self, collection: str) -> str | None:  # noqa: ARG002
        """Nothing is claimed of any target."""
        return None

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:  # noqa: ARG002
        """What would become of the documents."""
        return self.preview(batch)

    def flush(self, collection: str) -> int | None:  # noqa: ARG002
        """Nothing is kept."""
        return None

    def finish(self, collection: str) -> None:
        """Nothing was made."""


def run_job(
    config: JobConfig, *, source: Extractor | None = None, target: Loader | None = None, **around: Unpack[Around]
) -> JobResult:
    """Move a job's documents; the arguments are as in `open_job`.

    Raises:
        MigratorError: see `Pipeline.run`; the checkpoint is saved.
    """
    with open_job(config, source=source, target=target, **around) as job:
        _refuse_to_overwrite_source(job)
        if job.loader.traits.writes_files and not config.dry_run:
            job.listener(FolderChosen(job.bare_loader.describe()))
        checkpoint_path, rejects_path = default_paths(job)
        # Nobody could go on from a position in a pipe: a checkpoint is only kept where it is named.
        kept = not config.dry_run and (job.repeatable or bool(config.checkpoint))
        file = CheckpointFile(checkpoint_path if kept else None)
        with file.lock(), _without_resume(job):
            checkpoint, resumed = job.begin(file)
            _check_identities(job, checkpoint, file)
            transform = job.transform(checkpoint)
            loader = job.loader
            refuse_other_targets(job.first, checkpoint)
            if config.dry_run:
                loader = BisectingLoader(RetryingLoader(DryLoader(job.bare_loader), job.retrier), job.listener)
            elif job.collections and job.loader.traits.couchdb:
                # So does a missing right to create a database.
                done = {name for name, state in checkpoint.collections.items() if state.finished}
                job.first.prepare(next((n for n in job.collections if n not in done), job.collections[0]), None)
            path = None if config.dry_run else rejects_path
            rejects = job_rejects(path, checkpoint, resumed=resumed, values=job.values)
            with (
                contextlib.closing(rejects),
                transform_pool(job, checkpoint, gains=bool(config.transform)) as prepare,
            ):
                if not resumed:
                    file.save(checkpoint)
                beside = checkpoint_path.resolve()
                report = job.pipeline(
                    rejects,
                    transform,
                    extractor=in_order(job, checkpoint, transform, beside, prepare),
                    loader=loader,
                    prepare=prepare,
                    checkpoint=checkpoint,
                    checkpoint_file=file,
                    keep_proofs=config.verify,
                ).run(job.collections)
            if not config.checkpoint and report.ok:
                # The default file is only for going on after an interruption.
                file.remove()
        return JobResult.of(report, rejects, file, checkpoint)


def job_rejects(path: Path | None, checkpoint: Checkpoint, *, resumed: bool, **more: Any) -> RejectFile:
    """The reject file of a job, which goes on where the checkpoint says; `more` are further fields of it."""
    settled = checkpoint.rejects_bytes if resumed else 0
    return RejectFile(path, settled, checkpoint.rejects_digest, checkpoint.run, **more)


@contextlib.contextmanager
def _without_resume(job: OpenJob) -> Iterator[None]:
    """Advise nobody to go on from the middle of a pipe."""
    try:
        yield
    except MigratorError as error:
        if not job.repeatable and "--resume" in (error.hint or error.usual_hint):
            error.hint = "Run the same command again with all of it: what is there already stays as it is."
        raise


@contextlib.contextmanager
def transform_pool(job: OpenJob, checkpoint: Checkpoint, *, gains: bool) -> Iterator[Preparing | None]:
    """What prepares a job's records in other processes; None where none are wanted, or nothing `gains` by them."""
    config = job.config
    if not (config.transform_workers and gains):
        yield None
        return
    from migrator.jobs.transform_pool import TransformPool  # most jobs have none

    pool = TransformPool(
        config.transform_workers,
        config.transform,
        codec=config.codec,
        seed=checkpoint.seed,
        started_ms=checkpoint.started_ms,
        stopping=job.stopping,
    )
    with contextlib.closing(pool):
        yield pool


def _refuse_to_overwrite_source(job: OpenJob) -> None:
    source = Path(job.extractor.describe())
    folder = Path(job.bare_loader.describe())
    if job.loader.traits.couchdb or not source.exists():
        return
    for name in job.names.values():
        if realpath(source) in {realpath(folder), realpath(folder / name)}:
            raise ConfigError(
                f"{folder / name} is the source itself, and would be written over.", hint="Name another folder."
            )


def _check_identities(job: OpenJob, checkpoint: Checkpoint, file: CheckpointFile) -> None:
    for name, state in checkpoint.collections.items():
        if not state.identity or state.finished:
            continue
        if not same_identity(state.identity, job.extractor.identity(name)):
            raise CheckpointError(
                f"The source of {name} has changed since checkpoint {file.path} was written.",
                hint="Start over with --restart: documents that are there already stay as they are.",
            )


def refuse_other_targets(loader: Loader, checkpoint: Checkpoint) -> None:
    """Before anything is made at the target: what the checkpoint says must be about what stands there.

    Raises:
        TargetReplaced: it is about another database or file of that name.
    """
    guard = TargetGuard(loader)
    for name, state in checkpoint.collections.items():
        if state.begun:
            guard.refuse_other(name, state.target, confirmed=state.confirmed)


def in_order(
    job: OpenJob,
    checkpoint: Checkpoint,
    transform: Transformer | None,
    path: Path,
    prepare: Preparing | None = None,
) -> Extractor:
    """The source, with a spool where sorting gains."""
    if job.config.dry_run or not job.loader.traits.prefers_sorted:
        return job.extractor
    # What was decided when the job began holds for its positions, whatever --sort says now.
    decided: dict[str, bool] = checkpoint.details.setdefault("spooled", {})

    def assembly(name: str) -> Assembly:
        where = partial(job.extractor.describe_position, name)
        return Assembly(transform, job.loader.screen, job.values, where, prepare, job.loader)

    def wanted(name: str) -> bool | None:
        if job.config.sort != "auto":
            return job.config.sort == "always"
        ordered = job.extractor.ordered and effect_of(transform).keeps_id
        few = (job.extractor.count(name) or MIN_DOCUMENTS_TO_SORT) < MIN_DOCUMENTS_TO_SORT
        return False if ordered or few else None

    label = json.dumps([job.fingerprint, checkpoint.seed], sort_keys=True)
    folder = path.with_name(path.name + ".spool")
    spool = SpoolingExtractor(
        job.extractor, assembly, folder, label, decided, wanted, stopping=job.stopping, listener=job.listener
    )
    for name in job.collections:
        state = checkpoint.collections.get(name)
        if state is None or state.position is None:
            # What an earlier job left is of no use to one that begins.
            spool.remove(name)
    return spool


def _also(config: JobConfig) -> list[str]:
    """What else a run would be told that is not as usual, as flags."""
    usual, found = JobConfig(), []
    for each in options_of(config):
        if each.name in _ALSO and each.value != getattr(usual, each.name):
            flag = f"--{each.name.replace('_', '-')}"
            is_flag = isinstance(each.value, bool)
            found.append(f"{flag} {each.value}" if not is_flag else flag if each.value else f"--no-{each.name}")
    return found


def make_plan(config: JobConfig, *, source: Extractor | None = None, **around: Unpack[Around]) -> dict[str, Any]:
    """Open source and target, look, and write down what a run would do; the arguments are as in `open_job`.

    Raises:
        MigratorError: what a run would meet at its start.
    """
    also = _also(config)
    with open_job(config, source=source, **around) as job:
        job.transform(Checkpoint(job=job.fingerprint))
        collections = {}
        for name in job.collections:
            found = job.loader.survey(name)
            collections[name] = {
                "target": job.names[name],
                "documents": job.extractor.count(name),
                "exists": None if found is None else found >= 0,
                "documents_there": None if found is None or found < 0 else found,
            }
        checkpoint, rejects = default_paths(job)
        there = CheckpointFile(checkpoint)
        unconfirmed = unconfirmed_of(job.extractor)
        return {
            "source": job.extractor.describe(),
            "target": job.loader.describe(),
            "collections": collections,
            "transform": list(config.transform),
            "codec": config.codec,
            "on_conflict": config.on_conflict,
            "batch_docs": config.batch_docs,
            "batch_bytes": config.batch_bytes,
            "in_flight": config.in_flight,
            "checkpoint": str(checkpoint),
            "checkpoint_exists": there.exists(),
            "rejects": str(rejects),
            **({"also": also} if also else {}),
            **({"unconfirmed": list(unconfirmed)} if unconfirmed else {}),
        }

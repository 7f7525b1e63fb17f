"""Runs a job: opens what its words stand for, puts the stages together, and keeps checkpoint and rejects.

This is the library's and the command's common way; it prints nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrator import naming
from migrator.batching import Assembly
from migrator.bisecting import BisectingLoader
from migrator.checkpoint import Checkpoint, CheckpointFile, open_checkpoint
from migrator.codec import VALUE_CODECS, ValueCodec
from migrator.config import JobConfig, parse_max_errors
from migrator.couch.endpoint import is_server_url
from migrator.errors import CheckpointError, ConfigError
from migrator.events import CollectionFinished, Event, Listener, ignore
from migrator.loaders.dry import DryLoader
from migrator.loaders.rejects import RejectFile
from migrator.model import BatchLimits, Extractor, Loader, Report, Transformer
from migrator.pipeline import MaxErrors, Pipeline
from migrator.registry import open_extractor, open_loader, target_database, target_text
from migrator.retry import Retrier, RetryPolicy
from migrator.retrying import RetryingExtractor, RetryingLoader
from migrator.spooling import MIN_DOCUMENTS_TO_SORT, SpoolingExtractor, is_worth_sorting
from migrator.throttle import Throttle

# Nobody waits long for a first answer: the address may be wrong.
FIRST_CONTACT = RetryPolicy(max_attempts=3, first_wait_s=0.2, max_wait_s=1.0)


# These kinds of transformer leave the id alone, and with it the order.
ORDER_KEEPING = ("rename:", "drop:", "set:", "keep:", "where:")


@dataclass(frozen=True)
class JobResult:
    """What a run left: its report, the files that are there now (None where there is none), and its last state."""

    report: Report
    rejects: Path | None
    checkpoint: Path | None
    state: Checkpoint


@dataclass
class OpenJob:
    """A job with its source and target open.

    Args:
        config: the job.
        extractor: reads the source, tries again.
        loader: writes the target, tries again, divides what is refused.
        bare_loader: the same without the wrappers.
        collections: what is moved, in order.
        names: target name by collection.
        fingerprint: what a checkpoint belongs to.
        retrier: knows of every success and failure.
        throttle: adapts to them.
    """

    config: JobConfig
    extractor: Extractor
    loader: Loader
    bare_loader: Loader
    collections: Sequence[str]
    names: Mapping[str, str]
    fingerprint: dict[str, Any]
    retrier: Retrier
    throttle: Throttle

    @property
    def values(self) -> ValueCodec:
        """How values that JSON lacks are written."""
        return VALUE_CODECS[self.config.codec]

    def transform(self, checkpoint: Checkpoint) -> Transformer | None:
        """The transformers as one; None when there are none. Made-up ids depend on the checkpoint's seed."""
        if not self.config.transform:
            return None
        from migrator import transformers  # noqa: PLC0415 most jobs have none

        seed = bytes.fromhex(checkpoint.seed)
        return transformers.compose(
            [
                transformers.parse(spec, seed=seed, started_ms=checkpoint.started_ms)
                for spec in self.config.transform
            ]
        )


@contextlib.contextmanager
def open_job(
    config: JobConfig,
    *,
    environ: Mapping[str, str] | None = None,
    listener: Listener = ignore,
    stopping: threading.Event | None = None,
    source: Extractor | None = None,
    target: Loader | None = None,
) -> Iterator[OpenJob]:
    """Open source and target and find out what is to be moved; nothing is written.

    Args:
        config: the job.
        environ: the environment; the process's own by default.
        listener: hears of everything.
        stopping: set it to stop.
        source: an extractor to use in place of `config.source`.
        target: a loader to use in place of `config.target`.

    Raises:
        ConfigError: something in the job cannot be.
        EndpointError: the source is out of reach.
    """
    environ = os.environ if environ is None else environ
    if config.codec not in VALUE_CODECS:
        raise ConfigError(f"codec is {config.codec!r}.", hint=f"Known are: {', '.join(VALUE_CODECS)}.")
    throttle = Throttle(BatchLimits(config.batch_docs, config.batch_bytes), config.in_flight, listener)
    policy = RetryPolicy(max_attempts=config.max_attempts, max_outage_s=config.max_outage_s)
    stopping = stopping or threading.Event()
    retrier = Retrier(policy, listener, throttle, stopping)
    with contextlib.ExitStack() as stack:
        bare_extractor = source or open_extractor(config, environ)
        stack.callback(bare_extractor.close)
        first = RetryingExtractor(bare_extractor, Retrier(FIRST_CONTACT, listener, None, stopping))
        collections = _selected(first.collections(), config, bare_extractor)
        names = _names(collections, config, environ) if target is None else {}
        bare_loader = target or open_loader(config, names, environ)
        stack.callback(bare_loader.close)
        names = {name: bare_loader.target_name(name) for name in collections}
        yield OpenJob(
            config=config,
            extractor=RetryingExtractor(bare_extractor, retrier),
            loader=BisectingLoader(RetryingLoader(bare_loader, retrier), listener),
            bare_loader=bare_loader,
            collections=collections,
            names=names,
            fingerprint=_fingerprint(config, bare_extractor, bare_loader, names),
            retrier=retrier,
            throttle=throttle,
        )


def run_job(
    config: JobConfig,
    *,
    environ: Mapping[str, str] | None = None,
    listener: Listener = ignore,
    stopping: threading.Event | None = None,
    source: Extractor | None = None,
    target: Loader | None = None,
) -> JobResult:
    """Move a job's documents; the arguments are as in `open_job`.

    Raises:
        MigratorError: see `Pipeline.run`; the checkpoint is saved.
    """
    stopping = stopping or threading.Event()
    with open_job(
        config, environ=environ, listener=listener, stopping=stopping, source=source, target=target
    ) as job:
        checkpoint_path, rejects_path = default_paths(job)
        file = CheckpointFile(None if config.dry_run else checkpoint_path)
        with file.lock():
            checkpoint, resumed = open_checkpoint(
                file,
                job.fingerprint,
                resume=config.resume,
                restart=config.restart,
                keep_existing=bool(config.checkpoint),
            )
            _check_identities(job, checkpoint, file)
            transform = job.transform(checkpoint)
            first = RetryingLoader(job.bare_loader, Retrier(FIRST_CONTACT, listener, None, stopping))
            loader = job.loader
            if config.dry_run:
                dry = DryLoader(job.bare_loader, getattr(job.bare_loader, "foretell", None))
                loader = BisectingLoader(RetryingLoader(dry, job.retrier), listener)
            elif job.collections and is_server_url(job.bare_loader.describe()):
                # A wrong address or password shows here, before anything else is done.
                name = next((n for n in job.collections if not _finished(checkpoint, n)), job.collections[0])
                first.prepare(name, None)
            rejects = RejectFile(
                None if config.dry_run else rejects_path, checkpoint.rejects_bytes if resumed else None
            )
            with contextlib.closing(rejects):
                if not resumed:
                    file.save(checkpoint)
                extractor, spool_listener = _in_order(job, checkpoint, transform, checkpoint_path, listener)
                report = Pipeline(
                    extractor=extractor,
                    loader=loader,
                    rejects=rejects,
                    transform=transform,
                    values=job.values,
                    throttle=job.throttle,
                    checkpoint=checkpoint,
                    checkpoint_file=file,
                    max_errors=MaxErrors(*parse_max_errors(config.max_errors)),
                    listener=spool_listener,
                    stopping=stopping,
                ).run(job.collections)
            if not config.checkpoint and report.ok:
                # The default file is only for going on after an interruption.
                file.remove()
        # Rejects of the runs gone on from are in the same file.
        rejected = not config.dry_run and rejects_path.exists() and (rejects.count or report.carried.rejected)
        return JobResult(
            report,
            rejects_path if rejected else None,
            file.path if file.exists() else None,
            checkpoint,
        )


def default_paths(job: OpenJob) -> tuple[Path, Path]:
    """Checkpoint and reject file of a job: as named, else files in the current folder named after the job."""
    digest = hashlib.sha256(json.dumps(job.fingerprint, sort_keys=True).encode()).hexdigest()[:8]
    return (
        Path(job.config.checkpoint or f"migrator-{digest}.checkpoint.json"),
        Path(job.config.rejects or f"migrator-{digest}.rejects.ndjson"),
    )


def _in_order(
    job: OpenJob, checkpoint: Checkpoint, transform: Transformer | None, path: Path, listener: Listener
) -> tuple[Extractor, Listener]:
    """The source with a spool where sorting gains, and a listener that removes a spool that is done with."""
    if job.config.sort == "never" or job.config.dry_run or not is_server_url(job.bare_loader.describe()):
        return job.extractor, listener
    # What was decided when the job began holds for its positions.
    decided: dict[str, bool] = checkpoint.details.setdefault("spooled", {})
    locate = getattr(job.extractor, "describe_position", None)

    def assembly(name: str) -> Assembly:
        where = (lambda position: str(locate(name, position))) if locate else (lambda _position: "")
        return Assembly(transform, job.loader.screen, job.values, where)

    def is_spooled(name: str) -> bool:
        if name not in decided:
            decided[name] = job.config.sort == "always" or (
                not (job.extractor.ordered and keeps_order(job.config.transform))
                and (job.extractor.count(name) or MIN_DOCUMENTS_TO_SORT) >= MIN_DOCUMENTS_TO_SORT
                and is_worth_sorting(job.extractor, name, assembly(name))
            )
        return decided[name]

    label = json.dumps([job.fingerprint, checkpoint.seed], sort_keys=True)
    spool = SpoolingExtractor(job.extractor, assembly, path.with_name(path.name + ".spool"), label, is_spooled)

    def listen(event: Event) -> None:
        listener(event)
        if isinstance(event, CollectionFinished) and decided.get(event.collection):
            spool.remove(event.collection)

    return spool, listen


def keeps_order(specs: Sequence[str]) -> bool:
    """True when no transformer can change an id."""
    return all(spec.startswith(ORDER_KEEPING) and "_id" not in spec for spec in specs)


def _selected(found: Sequence[str], config: JobConfig, extractor: Extractor) -> list[str]:
    wanted = config.collection
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise ConfigError(
            f"{extractor.describe()} has no collection {unknown[0]!r}.",
            hint=f"It has: {', '.join(found)}." if found else "It has none.",
        )
    return [name for name in found if not wanted or name in wanted]


def _names(collections: Sequence[str], config: JobConfig, environ: Mapping[str, str]) -> Mapping[str, str]:
    unknown = [name for name in config.map if name not in collections]
    if unknown:
        raise ConfigError(
            f"The map names {unknown[0]!r}, which is not moved.", hint=f"Moved are: {', '.join(collections)}."
        )
    if not is_server_url(target_text(config, environ)):
        return {}
    database = target_database(config, environ)
    if database is None:
        return naming.database_names(collections, overrides=config.map)
    if len(collections) > 1:
        raise ConfigError(
            f"The target names one database, {database}, but there are {len(collections)} collections.",
            hint="Leave the database out of the target's URL, or choose one with --collection NAME.",
        )
    return {name: naming.database_name(database, allow_system=True) for name in collections}


def _fingerprint(
    config: JobConfig, extractor: Extractor, loader: Loader, names: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "source": extractor.describe(),
        "target": loader.describe(),
        "collections": dict(names),
        "transform": list(config.transform),
        "codec": config.codec,
    }


def _check_identities(job: OpenJob, checkpoint: Checkpoint, file: CheckpointFile) -> None:
    for name, state in checkpoint.collections.items():
        if state.identity and not state.finished and state.identity != job.extractor.identity(name):
            raise CheckpointError(
                f"The source of {name} has changed since checkpoint {file.path} was written.",
                hint="Start over with --restart: documents that are there already stay as they are.",
            )


def _finished(checkpoint: Checkpoint, name: str) -> bool:
    state = checkpoint.collections.get(name)
    return state is not None and state.finished

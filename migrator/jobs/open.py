"""Opens what a job's words stand for: source, target, names, and the wrappers around them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import quote

from migrator import naming
from migrator.checkpoint.file import COMMAND, Checkpoint, CheckpointFile, RejectSink, open_checkpoint
from migrator.codec import VALUE_CODECS, ValueCodec
from migrator.config import JobConfig, parse_max_errors
from migrator.config.words import words_of
from migrator.couch.endpoint import is_server_url
from migrator.couch.places import refuse_itself
from migrator.errors import ConfigError
from migrator.jobs.registry import open_extractor, open_loader, target_database, target_text
from migrator.model import BatchLimits, Extractor, Loader, Transformer
from migrator.model.capabilities import Addressed
from migrator.model.events import Listener, ignore
from migrator.pipeline import wrapper
from migrator.pipeline.loop import MaxErrors, Pipeline
from migrator.retry.retrier import FIRST_CONTACT, Retrier, RetryPolicy
from migrator.retry.throttle import Throttle

OTHER_TARGET = "Name another with --to http://HOST:5984/DATABASE or, of several, --map NAME=DATABASE."


class Around(TypedDict, total=False):
    """What a job runs in, as in `open_job`; each may be left out."""

    environ: Mapping[str, str] | None
    listener: Listener
    stopping: threading.Event | None


def surroundings(around: Around) -> tuple[Mapping[str, str] | None, Listener, threading.Event]:
    """What a job runs in, with what is usual where something was left out."""
    return around.get("environ"), around.get("listener", ignore), around.get("stopping") or threading.Event()


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
        first: the target at first contact, when nobody waits long for an answer.
        listener: receives every event.
        stopping: set it to stop.
        repeatable: a later run can go on from where this one was interrupted; not from a pipe or to one.
    """

    config: JobConfig
    extractor: wrapper.ExtractorWrapper
    loader: wrapper.LoaderWrapper
    bare_loader: Loader
    collections: Sequence[str]
    names: Mapping[str, str]
    fingerprint: dict[str, Any]
    retrier: Retrier
    throttle: Throttle
    first: wrapper.RetryingLoader
    listener: Listener = ignore
    stopping: threading.Event = field(default_factory=threading.Event)
    repeatable: bool = True

    @property
    def values(self) -> ValueCodec:
        """How values that JSON lacks are written."""
        return VALUE_CODECS[self.config.codec]

    @property
    def max_errors(self) -> MaxErrors:
        """How many rejected documents the job bears."""
        return MaxErrors(*parse_max_errors(self.config.max_errors))

    def begin(self, file: CheckpointFile, *, later: Sequence[str] = ()) -> tuple[Checkpoint, bool]:
        """The checkpoint to begin with, and whether it was gone on from; as in `open_checkpoint`."""
        config = self.config
        checkpoint, resumed = open_checkpoint(
            file, self.fingerprint, resume=config.resume, restart=config.restart, later=later
        )
        checkpoint.details[COMMAND] = words_of(config)
        return checkpoint, resumed

    def pipeline(self, rejects: RejectSink, transform: Transformer | None, **other: Any) -> Pipeline:
        """The loop over the job's stages; `other` are fields of `Pipeline` that differ from them."""
        own = {
            "extractor": self.extractor,
            "loader": self.loader,
            "values": self.values,
            "throttle": self.throttle,
            "max_errors": self.max_errors,
            "listener": self.listener,
            "stopping": self.stopping,
        }
        return Pipeline(rejects=rejects, transform=transform, **{**own, **other})

    def transform(self, checkpoint: Checkpoint) -> Transformer | None:
        """The transformers as one; None when there are none. Made-up ids depend on the checkpoint's seed."""
        if not self.config.transform:
            return None
        from migrator.transformers import parse_all  # most jobs have none

        seed = bytes.fromhex(checkpoint.seed)
        return parse_all(self.config.transform, seed=seed, started_ms=checkpoint.started_ms)


@contextlib.contextmanager
def open_job(
    config: JobConfig,
    *,
    environ: Mapping[str, str] | None = None,
    listener: Listener = ignore,
    stopping: threading.Event | None = None,
    source: Extractor | None = None,
    target: Loader | None = None,
    writes: bool = True,
) -> Iterator[OpenJob]:
    """Open source and target and find out what is to be moved; nothing is written.

    Args:
        config: the job.
        environ: the environment; the process's own by default.
        listener: receives every event.
        stopping: set it to stop.
        source: an extractor to use in place of `config.source`.
        target: a loader to use in place of `config.target`.
        writes: False for what compares: a database is equal to itself.

    Raises:
        ConfigError: something in the job cannot be.
        EndpointError: the source is out of reach.
    """
    environ = os.environ if environ is None else environ
    if config.codec not in VALUE_CODECS:
        raise ConfigError(f"codec is {config.codec!r}.", hint=f"Known are: {', '.join(VALUE_CODECS)}.")
    limits = config.pace.bounded(BatchLimits(config.batch_docs, config.batch_bytes))
    throttle = Throttle(limits, config.in_flight, listener, seeks=True)
    stopping = stopping or threading.Event()
    retrier = Retrier(RetryPolicy.of(config), listener, throttle, stopping)
    with contextlib.ExitStack() as stack:
        bare_extractor = source or open_extractor(config, environ, stopping)
        stack.callback(bare_extractor.close)
        extractor = wrapper.RetryingExtractor(bare_extractor, retrier)
        once = Retrier(FIRST_CONTACT, listener, None, stopping)
        found = wrapper.RetryingExtractor(bare_extractor, once).collections()
        collections = naming.selected(found, config.collection, bare_extractor.describe(), "collection")
        names = _names(collections, config, environ, extractor) if target is None else {}
        bare_loader = target or open_loader(config, names, environ)
        stack.callback(bare_loader.close)
        names = {name: bare_loader.target_name(name) for name in collections}
        loader = wrapper.RetryingLoader(bare_loader, retrier)
        first = wrapper.RetryingLoader(bare_loader, once)
        if writes and isinstance(bare_extractor, Addressed) and loader.traits.couchdb:
            for name, database in names.items():
                url = f"{bare_loader.describe()}/{quote(database, safe='')}"
                refuse_itself(bare_extractor.address(name), url, instead=OTHER_TARGET)
        if collections and loader.traits.couchdb:
            # A wrong address or password shows here, before anything else is done.
            once.call("reach the target", lambda _: loader.survey(collections[0]))
        yield OpenJob(
            config=config,
            extractor=extractor,
            loader=wrapper.BisectingLoader(loader, listener),
            bare_loader=bare_loader,
            collections=collections,
            names=names,
            fingerprint={
                "source": bare_extractor.describe(),
                "target": bare_loader.describe(),
                "collections": dict(names),
                "transform": list(config.transform),
                "codec": config.codec,
            },
            retrier=retrier,
            throttle=throttle,
            first=first,
            listener=listener,
            stopping=stopping,
            repeatable=extractor.traits.repeatable and loader.traits.repeatable,
        )


def default_paths(job: OpenJob) -> tuple[Path, Path]:
    """Checkpoint and reject file of a job: as named, else files in the current folder named after the job."""
    digest = hashlib.sha256(json.dumps(job.fingerprint, sort_keys=True).encode()).hexdigest()[:8]
    return (
        Path(job.config.checkpoint or f"migrator-{digest}.checkpoint.json"),
        Path(job.config.rejects or f"migrator-{digest}.rejects.ndjson"),
    )


def _names(
    collections: Sequence[str], config: JobConfig, environ: Mapping[str, str], extractor: wrapper.ExtractorWrapper
) -> Mapping[str, str]:
    unknown = [name for name in config.map if name not in collections]
    if unknown:
        raise ConfigError(
            f"The map names {unknown[0]!r}, which is not moved.", hint=f"Moved are: {', '.join(collections)}."
        )
    if not is_server_url(target_text(config, environ)):
        return {}
    database = target_database(config, environ)
    if database is None:
        meant = _meant(collections, extractor, config)
        chosen = [name for name in collections if name not in meant]
        return {**naming.database_names(chosen, overrides=config.map), **meant}
    if len(collections) > 1:
        raise ConfigError(
            f"The target names one database, {database}, but there are {len(collections)} collections.",
            hint="Leave the database out of the target's URL, or choose one with --database NAME.",
        )
    return {name: naming.legal_database(database) for name in collections}


def _meant(collections: Sequence[str], extractor: wrapper.ExtractorWrapper, config: JobConfig) -> dict[str, str]:
    """Where documents belong that were on their way before; two collections may well go to one database."""
    found = {name: extractor.databases.get(name, "") for name in collections if name not in config.map}
    # A file of a folder is not a database: on a server its collection goes by the usual rule.
    meant = {name: database for name, database in found.items() if naming.is_database_name(database)}
    for name, database in meant.items():
        if database in naming.SYSTEM_DATABASES:
            raise ConfigError(
                f"The documents of {naming.shown(name)} belong to the system database {database}.",
                hint=f"Name it: --to http://HOST:5984/{database}, with --collection where there are others.",
            )
    return meant

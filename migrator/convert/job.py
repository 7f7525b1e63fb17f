"""`migrator convert`: opens both ends, carries all leaves from one to the other, and keeps a file of rejects."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from migrator.checkpoint.reject_file import RejectFile
from migrator.convert.copy import Conversion, Converter, convert_file
from migrator.convert.formats.reader import FileReader
from migrator.convert.formats.table import READERS, WRITERS, open_reader
from migrator.convert.options import ConvertJob
from migrator.couch.endpoint import database_url, is_server_url, redact
from migrator.couch.locate import client_of
from migrator.couch.places import checked_place, refuse_itself
from migrator.couch.settings import missing
from migrator.errors import ConfigError, UnaccountedError
from migrator.files.failures import temporary_folder
from migrator.files.identity import file_identity
from migrator.files.streams import copied, is_stream, open_output, stem_of, write_all, writing_to
from migrator.files.urls import DRIVERS
from migrator.model.capabilities import unconfirmed_of
from migrator.model.events import Listener, ignore
from migrator.model.revisions import RevisionReader, RevisionWriter
from migrator.naming import is_pattern, selected
from migrator.retry.retrier import Retrier, RetryPolicy

_BLOCK_BYTES = 1 << 20
# A backup's place is named by one of these, or by others that fsspec knows.
PLACES = tuple(DRIVERS)


def convert_leaves(
    job: ConvertJob,
    *,
    environ: Mapping[str, str] | None = None,
    listener: Listener = ignore,
    stopping: threading.Event | None = None,
) -> tuple[Conversion, Path]:
    """Convert, and say what became of every leaf and where the rejects are.

    Args:
        job: what is converted into what.
        environ: the environment; the process's own by default.
        listener: receives repeated requests.
        stopping: set it to stop.

    Raises:
        ConfigError: something in the job cannot be.
        EndpointError: a side cannot be read or written.
        Interrupted: it was asked to stop; a file that was being written is not there.
    """
    started = time.monotonic()
    environ = os.environ if environ is None else environ
    config = job.config
    checked_place(config.target, "--to")
    into_database = is_server_url(config.target)
    _check(job, into_database=into_database)
    retrier = Retrier(RetryPolicy.of(config), listener, None, stopping or threading.Event())
    result = Conversion(redact(config.source), redact(config.target), "" if into_database else job.format)
    rejects = Path(config.rejects or f"migrator-{_digest(job)}.rejects.ndjson")
    with contextlib.ExitStack() as stack:
        source: RevisionReader = stack.enter_context(open_source(job, retrier, environ))
        databases = {result.source: result.target}
        file = RejectFile(rejects, databases=databases, again=job.again, shared=True)
        stack.enter_context(contextlib.closing(file))
        converter = Converter(result, file.write, stopping=retrier.stopping)
        if into_database:
            writer = stack.enter_context(open_database(job, source, retrier, environ))
            scratch = stack.enter_context(temporary_folder("migrator-"))
            converter.into_database(source, writer, scratch=Path(scratch))
            result.unconfirmed += unconfirmed_of(writer)
        else:
            with _target(config.target, stack) as target:
                convert_file(source, WRITERS[job.format], target, converter, overwrite=job.overwrite)
        file.flush()
        result.unconfirmed += unconfirmed_of(source)
    result.seconds = time.monotonic() - started
    if not result.accounted:
        raise UnaccountedError(f"The numbers do not add up: {result.as_dict()}.")
    return result, file.kept or rejects


@contextlib.contextmanager
def _target(target: str, stack: contextlib.ExitStack) -> Iterator[Path]:
    """The file that is written: of a stream one beside, which the stream is given when it is whole."""
    if not is_stream(target):
        yield Path(target)
        return
    made = stack.enter_context(temporary_folder("migrator-")) / "whole"
    yield made
    with writing_to(target, instead="a file"), open_output(target) as stream, made.open("rb") as whole:
        while block := whole.read(_BLOCK_BYTES):
            write_all(stream, block)


def _check(job: ConvertJob, *, into_database: bool) -> None:
    config = job.config
    if into_database:
        if job.format:
            raise ConfigError("--format is of a file, and --to names a server.", hint="Leave one of them out.")
        return
    if job.format not in WRITERS:
        what = (
            f"--format {job.format} is not one that is written" if job.format else "The target's format is missing"
        )
        raise ConfigError(f"{what}.", hint=f"Add --format with one of: {', '.join(WRITERS)}.")
    target, source = Path(config.target), Path(config.source)
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigError(f"{target} is the source too.", hint="Name another file with --to.")


def _digest(job: ConvertJob) -> str:
    words = "\0".join((redact(job.config.source), redact(job.config.target), job.format))
    return hashlib.sha256(words.encode()).hexdigest()[:8]


@contextlib.contextmanager
def open_source(job: ConvertJob, retrier: Retrier, environ: Mapping[str, str]) -> Iterator[RevisionReader]:
    """The leaves of a job's source.

    Raises:
        ConfigError: there is no such file, database or backup.
        EndpointError: the server is out of reach.
    """
    source = checked_place(job.config.source, "--from", reads=True, known=PLACES)
    path = Path(source)
    opened: contextlib.AbstractContextManager[RevisionReader]
    if is_server_url(source):
        opened = _live(job, retrier, environ)
    elif "://" in source or path.is_dir():
        opened = _backup(job)
    else:
        if is_stream(source):
            path = copied(source, stem_of(source), stopping=retrier.stopping)
        reader = open_reader(path, job.source_format or None, max_document_bytes=job.max_document_bytes)
        opened = contextlib.closing(reader)
    with opened as leaves:
        yield leaves


@contextlib.contextmanager
def open_database(
    job: ConvertJob, source: RevisionReader, retrier: Retrier, environ: Mapping[str, str]
) -> Iterator[RevisionWriter]:
    """A database to write leaves into, made where it is missing; after a kill the same job goes on in it.

    Raises:
        ConfigError: it holds documents of others, or its name cannot be.
        EndpointError: the server is out of reach.
        CheckpointError: it was deleted or replaced meanwhile.
    """
    from migrator.couch.claim import Claim  # not for files
    from migrator.couch.leaf_writer import LeafWriter

    config = job.config
    client, database = client_of(config, config.target, role="target", environ=environ)
    with contextlib.closing(client):
        if database is None:
            raise ConfigError(
                f"{redact(config.target)} names no database.", hint="Write http://host:5984/database after --to."
            )
        written = database_url(client.endpoint, database)
        refuse_itself(source.describe(), written, instead="Name another with --to.")
        claim = Claim(client, database, "convert", source_identity(source), retrier)
        retrier.call(f"look at {database}", claim.look)
        hint = "Write into another one, or add --into-existing: revisions of both are merged then."
        if not job.into_existing:
            claim.refuse_occupied(hint)
        claim.take(lambda: client.create_database(database), hint, shared=job.into_existing)
        yield LeafWriter(client, database, retrier, check=claim.check)
        claim.finish()


def source_identity(source: RevisionReader) -> str:
    """What is converted, the same whenever the same is converted again: a file is told by its content."""
    if not isinstance(source, FileReader):
        return source.describe()
    # What can be read only once is never the same again.
    return file_identity(source.path) if source.path.is_file() else secrets.token_hex(16)


@contextlib.contextmanager
def _live(job: ConvertJob, retrier: Retrier, environ: Mapping[str, str]) -> Iterator[RevisionReader]:
    from migrator.couch.leaves import listed_leaves  # not for files

    config = job.config
    client, named = client_of(config, config.source, role="source", environ=environ)
    with contextlib.closing(client):
        database = named or job.database
        if not named and is_pattern(database):
            known = retrier.call("list databases", lambda _: client.databases())
            found = selected(known, [database], client.url)
            database = found[0] if len(found) == 1 else ""
        if not database:
            raise ConfigError(
                f"{redact(config.source)} names {'more than one' if job.database else 'no'} database.",
                hint="Add --database NAME, or write it after the address.",
            )
        info = retrier.call(f"look at {database}", lambda _: client.database_info(database))
        if info is None:
            raise missing(client.url, database)
        with listed_leaves(client, database, retrier) as reader:
            yield reader


@contextlib.contextmanager
def _backup(job: ConvertJob) -> Iterator[RevisionReader]:
    from migrator.backup.catalog import HINT, open_catalog  # not for files
    from migrator.backup.format.snapshot_reader import SnapshotReader
    from migrator.backup.listing import snapshot_at

    catalog = open_catalog(job.config.source, job.identity)
    place = catalog.place
    if not catalog.databases():
        raise ConfigError(
            f"There are no backups in {place.describe()}.",
            hint=f"SOURCE is a backup, a database's URL, or a file of one of: {', '.join(READERS)}.",
        )
    names = catalog.chosen([job.database] if job.database else [])
    if len(names) > 1:
        raise ConfigError(
            f"{place.describe()} holds more than one database{' of that name' if job.database else ''}.",
            hint=f"Name one with --database: {', '.join(names[:20])}. {HINT}",
        )
    manifest = snapshot_at(catalog, names[0], job.at)
    with SnapshotReader(place, catalog.chain(manifest), catalog.cipher) as reader:
        yield reader

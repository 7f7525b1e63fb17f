"""`migrator convert`: carries all leaves from one end to the other, and keeps a file of rejects."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from migrator.capabilities import unconfirmed_of
from migrator.checkpoint.reject_file import RejectFile
from migrator.convert.copy import Conversion, Converter, convert_file
from migrator.convert.formats.table import WRITERS
from migrator.convert.options import ConvertJob
from migrator.convert.sides import open_database, open_source
from migrator.couch.endpoint import is_server_url, redact
from migrator.couch.places import checked_place
from migrator.errors import ConfigError, StorageError, UnaccountedError
from migrator.events import Listener, ignore
from migrator.files.failures import temporary_folder
from migrator.files.streams import STDOUT, STREAM, is_stream, open_stream, standard_output
from migrator.retry.retrier import Retrier, RetryPolicy
from migrator.revisions import RevisionReader

_BLOCK_BYTES = 1 << 20


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
    try:
        with standard_output() if target == STREAM else os.fdopen(open_stream(Path(target)), "wb") as stream:
            with made.open("rb") as whole:
                shutil.copyfileobj(whole, stream, _BLOCK_BYTES)
            stream.flush()
    except OSError as error:
        why = "its reader has gone" if isinstance(error, BrokenPipeError) else error.strerror
        raise StorageError(
            f"{STDOUT.capitalize() if target == STREAM else target} cannot be written: {why}.",
            hint="Run the command again with a reader that takes all of it, or name a file with --to.",
        ) from error


def _check(job: ConvertJob, *, into_database: bool) -> None:
    config = job.config
    if into_database:
        if job.format:
            raise ConfigError("--format is of a file, and --to names a server.", hint="Leave one of them out.")
        return
    if job.format not in WRITERS:
        what = f"--format {job.format} is none that is written" if job.format else "The target's format is missing"
        raise ConfigError(f"{what}.", hint=f"Add --format with one of: {', '.join(WRITERS)}.")
    target, source = Path(config.target), Path(config.source)
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigError(f"{target} is the source too.", hint="Name another file with --to.")


def _digest(job: ConvertJob) -> str:
    words = "\0".join((redact(job.config.source), redact(job.config.target), job.format))
    return hashlib.sha256(words.encode()).hexdigest()[:8]

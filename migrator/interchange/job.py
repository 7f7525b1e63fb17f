"""`migrator convert`: opens what the words stand for, carries all leaves across, and keeps a file of rejects."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from migrator.couch.endpoint import redact
from migrator.errors import ConfigError, UnaccountedError
from migrator.interchange.converting import Conversion, Converter, LeafSource, convert_file
from migrator.interchange.formats import WRITERS, open_reader
from migrator.interchange.reading import MAX_DOCUMENT_BYTES
from migrator.loaders.rejects import RejectFile


@dataclass(frozen=True, kw_only=True)
class ConvertJob:
    """One conversion.

    Args:
        source: a file.
        target: a file.
        format: of the target.
        source_format: of the source; found out where it is not named.
        rejects: where rows go that were not written; named after the job where it is not named.
        overwrite: replace a target that is there.
        max_document_bytes: the longest document that is held.
    """

    source: str
    target: str
    format: str | None = None
    source_format: str | None = None
    rejects: str | None = None
    overwrite: bool = False
    max_document_bytes: int = MAX_DOCUMENT_BYTES


def convert_leaves(job: ConvertJob, *, stopping: threading.Event | None = None) -> tuple[Conversion, Path]:
    """Convert, and say what became of every leaf and where the rejects are.

    Raises:
        ConfigError: something in the job cannot be.
        EndpointError: a side cannot be read or written.
        Interrupted: it was told to stop; a file that was being written is not there.
    """
    started = time.monotonic()
    result = Conversion(redact(job.source), redact(job.target), job.format or "")
    rejects = Path(job.rejects or f"migrator-{_digest(job)}.rejects.ndjson")
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_opened(job))
        file = stack.enter_context(contextlib.closing(RejectFile(rejects)))
        converter = Converter(result, file.write, stopping=stopping)
        _into_file(job, source, converter)
        file.flush()
    result.seconds = time.monotonic() - started
    if not result.accounted:
        raise UnaccountedError(f"The numbers do not add up: {result.as_dict()}.")
    return result, rejects


def _into_file(job: ConvertJob, source: LeafSource, converter: Converter) -> None:
    if job.format not in WRITERS:
        what = "is no format to write" if job.format else "is missing"
        raise ConfigError(f"--format {job.format or ''} {what}.", hint=f"Known are: {', '.join(WRITERS)}.")
    target = Path(job.target)
    if target.exists() and Path(job.source).exists() and target.samefile(job.source):
        raise ConfigError(f"{target} is the source too.", hint="Name another file with --to.")
    convert_file(source, WRITERS[job.format], target, converter, overwrite=job.overwrite)


@contextlib.contextmanager
def _opened(job: ConvertJob) -> Iterator[LeafSource]:
    reader = open_reader(Path(job.source), job.source_format, max_document_bytes=job.max_document_bytes)
    with contextlib.closing(reader):
        yield reader


def _digest(job: ConvertJob) -> str:
    words = "\0".join((redact(job.source), redact(job.target), job.format or ""))
    return hashlib.sha256(words.encode()).hexdigest()[:8]

"""All formats by name, and the reader of a file by the one it is in."""

from __future__ import annotations

from pathlib import Path

from migrator.convert.formats import lines, lists
from migrator.convert.formats.detect import format_of
from migrator.convert.formats.multipart_reader import MultipartReader
from migrator.convert.formats.multipart_writer import MultipartWriter
from migrator.convert.formats.reader import FileReader
from migrator.convert.formats.writer import FileWriter
from migrator.convert.options import ConvertJob
from migrator.errors import ConfigError

READERS: dict[str, type[FileReader]] = {
    "couchbackup": lines.CouchbackupReader,
    "all-docs": lists.AllDocsReader,
    "changes": lists.ChangesReader,
    "bulk-docs": lists.BulkDocsReader,
    "couchdb-python": MultipartReader,
    "pouchdb": lines.PouchdbReader,
    "couchsnap": lines.CouchsnapReader,
    "ndjson": lines.NdjsonReader,
}
WRITERS: dict[str, type[FileWriter]] = {
    "couchbackup": lines.CouchbackupWriter,
    "couchbackup-shallow": lines.ShallowCouchbackupWriter,
    "all-docs": lists.AllDocsWriter,
    "changes": lists.ChangesWriter,
    "changes-continuous": lists.ContinuousChangesWriter,
    "bulk-docs": lists.BulkDocsWriter,
    "couchdb-python": MultipartWriter,
    "pouchdb": lines.PouchdbWriter,
    "ndjson": lines.NdjsonWriter,
}


def sniff(path: Path) -> str:
    """The name of the format that a file is in.

    Raises:
        ConfigError: it is in none of them, or it is not there.
    """
    name, head = format_of(path)
    if name:
        return name
    begins = head[:40].decode("utf-8", "replace")
    raise ConfigError(
        f"{path} is {f'in no format that is known: it begins with {begins!r}' if head else 'empty'}.",
        hint=f"Name its format with --from-format, one of {', '.join(READERS)}.",
    )


def open_reader(
    path: Path, format: str | None = None, *, max_document_bytes: int = ConvertJob.max_document_bytes
) -> FileReader:
    """A reader of a file, in a format that is named or found out.

    Raises:
        ConfigError: there is no such file or format.
    """
    name = sniff(path) if format is None else format
    if name not in READERS:
        raise ConfigError(f"There is no format {name!r} to read.", hint=f"Known are: {', '.join(READERS)}.")
    return READERS[name](path, max_document_bytes=max_document_bytes)

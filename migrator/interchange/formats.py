"""All formats by name, and which of them a file is in by its first bytes."""

from __future__ import annotations

import re
from pathlib import Path

from migrator.errors import ConfigError
from migrator.extractors.lines import TextFile
from migrator.interchange.couchbackup import CouchbackupReader, CouchbackupWriter, ShallowCouchbackupWriter
from migrator.interchange.lines import CouchsnapReader, NdjsonReader, NdjsonWriter, PouchdbReader, PouchdbWriter
from migrator.interchange.lists import (
    AllDocsReader,
    AllDocsWriter,
    BulkDocsReader,
    BulkDocsWriter,
    ChangesReader,
    ChangesWriter,
    ContinuousChangesWriter,
)
from migrator.interchange.multipart_reading import MultipartReader
from migrator.interchange.multipart_writing import MultipartWriter
from migrator.interchange.reading import MAX_DOCUMENT_BYTES, FileReader
from migrator.interchange.writing import FileWriter

READERS: dict[str, type[FileReader]] = {
    reader.format: reader
    for reader in (
        CouchbackupReader,
        AllDocsReader,
        ChangesReader,
        BulkDocsReader,
        MultipartReader,
        PouchdbReader,
        CouchsnapReader,
        NdjsonReader,
    )
}
WRITERS: dict[str, type[FileWriter]] = {
    writer.format: writer
    for writer in (
        CouchbackupWriter,
        ShallowCouchbackupWriter,
        AllDocsWriter,
        ChangesWriter,
        ContinuousChangesWriter,
        BulkDocsWriter,
        MultipartWriter,
        PouchdbWriter,
        NdjsonWriter,
    )
}

_LOOK_BYTES = 64 << 10
_MEMBER = rb'"[^"]*"\s*:\s*(?:"[^"]*"|[\w.+-]+)\s*,\s*'
# The first that fits counts. Members of these heads stand in no order that all releases keep.
_SIGNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("couchdb-python", re.compile(rb"(?:[\w-]+:[^\n]*\n)*?content-type:\s*multipart/", re.IGNORECASE)),
    ("couchbackup", re.compile(rb'\[|\{\s*"(?:name"\s*:\s*"@cloudant/couchbackup|marker"\s*:)')),
    ("couchbackup", re.compile(rb'\{(?=[^\n]*"name":)(?=[^\n]*"version":)[^\n\[\{]*"mode":"(?:full|shallow)"')),
    ("all-docs", re.compile(rb"\{\s*(?:" + _MEMBER + rb')*"rows"\s*:\s*\[')),
    ("changes", re.compile(rb"\{\s*(?:" + _MEMBER + rb')*"results"\s*:\s*\[')),
    ("changes", re.compile(rb'\{\s*"(?:seq"\s*:[^\n]*"changes"\s*:|last_seq"\s*:)')),
    ("pouchdb", re.compile(rb'\{\s*"version"\s*:[^\n]*"db_type"\s*:')),
    ("bulk-docs", re.compile(rb"\{\s*(?:" + _MEMBER + rb')*"docs"\s*:\s*\[')),
    ("ndjson", re.compile(rb'\{(?=[^\n]*"_id"\s*:)')),
)


def sniff(path: Path) -> str:
    """The name of the format that a file is in.

    Raises:
        ConfigError: it is in none of them, or it is not there.
    """
    with TextFile(path) as file:
        head = file.read(_LOOK_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    for name, sign in _SIGNS:
        if sign.match(head):
            return name
    begins = head[:40].decode("utf-8", "replace")
    raise ConfigError(
        f"{path} is {f'in no format that is known: it begins with {begins!r}' if head else 'empty'}.",
        hint=f"Name its format with --from-format, one of {', '.join(READERS)}.",
    )


def foreign(path: Path) -> str:
    """The format of a file of another tool that no other source of documents can be; "" where it is not sure."""
    if not path.is_file():
        return ""
    with TextFile(path) as file:
        head = file.read(_LOOK_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    name = next((name for name, sign in _SIGNS if sign.match(head)), "")
    if (
        name in {"", "ndjson"}
        or head.startswith(b"[")
        or not (name != "bulk-docs" or b'"new_edits"' in head[:100])
    ):
        return ""
    return name


def open_reader(
    path: Path, format: str | None = None, *, max_document_bytes: int = MAX_DOCUMENT_BYTES
) -> FileReader:
    """A reader of a file, in a format that is named or found out.

    Raises:
        ConfigError: there is no such file or format.
    """
    name = sniff(path) if format is None else format
    if name not in READERS:
        raise ConfigError(f"There is no format {name!r} to read.", hint=f"Known are: {', '.join(READERS)}.")
    return READERS[name](path, max_document_bytes=max_document_bytes)

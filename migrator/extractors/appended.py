"""Rejects after what a folder's files hold already: such a file is written as a whole, and nothing of it goes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from migrator.codec import Unencodable, encode
from migrator.codec.rejected import id_in
from migrator.errors import ConfigError
from migrator.extractors.lines import TextFile, text_lines
from migrator.extractors.rejects import RejectsExtractor
from migrator.files.identity import file_identity
from migrator.model import EncodedDocument, Fault, Position, Record
from migrator.pipeline.wrapper import ExtractorWrapper

_FILE = "file:"


class AppendedRejects(ExtractorWrapper):
    """A reject file whose documents come after the lines of the files that they are missing in.

    A document that is in the file already, with the same content, is passed over; one with another content under
    its id is a fault, as a file has no place for a second one.

    Args:
        rejects: the reject file.
        files: the files that are there, by collection.
    """

    def __init__(self, rejects: RejectsExtractor, files: Mapping[str, Path]) -> None:
        super().__init__(rejects)
        self._files = files

    def count(self, collection: str) -> int | None:
        """Not known of the file."""
        return None if collection in self._files else super().count(collection)

    def identity(self, collection: str) -> str:
        """Of both files."""
        file = self._files.get(collection)
        return super().identity(collection) + (f" {file_identity(file)}" if file else "")

    def describe_position(self, collection: str, position: Position) -> str:
        """File and line."""
        if not str(position).startswith(_FILE):
            return super().describe_position(collection, position)
        return f"{self._files[collection]}:{str(position).rpartition(':')[2]}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield the file's lines as they are, then the rejected documents."""
        file = self._files.get(collection)
        if file is None:
            yield from super().extract(collection, after=after)
            return
        among_lines = after is None or str(after).startswith(_FILE)
        passed = int(str(after).split(":")[1]) if after is not None and among_lines else 0
        wanted = {_id(record) for record in super().extract(collection)}
        there: dict[str, str] = {}
        for end, number, line in _lines(file):
            id = id_in(line)
            if id in wanted:
                there[id] = _digest(line)
            if among_lines and end > passed:
                yield Record(f"{_FILE}{end}:{number}", encoded=EncodedDocument(id, line))
        for record in super().extract(collection, after=None if among_lines else after):
            yield _compared(record, there)


def _lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    with TextFile(file) as stream:
        for end, number, line in text_lines(stream):
            if line is None:
                raise ConfigError(
                    f"{file}:{number}: the line is too long to be kept.", hint="Name another folder."
                )
            yield end, number, line


def _compared(record: Record, there: Mapping[str, str]) -> Record:
    """The record, but for one whose id the file has."""
    if record.document is None or _id(record) not in there:
        return record
    try:
        same = _digest(encode(record.document)) == there[_id(record)]
    except Unencodable:
        return record
    if same:
        return Record(record.position, filtered=1)
    reason = f"the file has another document with the id {_id(record)!r:.100}"
    return Record(record.position, fault=Fault("load:conflict", reason, _id(record), record.document))


def _id(record: Record) -> str:
    id = record.document.get("_id") if record.document is not None else ""
    return id if isinstance(id, str) else ""


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()

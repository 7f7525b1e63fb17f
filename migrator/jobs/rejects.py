"""Reads a reject file as a source, so that its documents go the same way again after a fix.

Where they go to files of a folder, they come after what those hold already: such a file is written as a whole, and
nothing of it goes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from migrator.checkpoint.rejects import MAX_LINE_BYTES, line_to_reject
from migrator.codec import InvalidDocument, Unencodable, decode, encode
from migrator.codec.rejected import id_in, read_loosely, shown_raw
from migrator.config import JobConfig
from migrator.couch.endpoint import is_server_url
from migrator.errors import ConfigError
from migrator.extractors.base import BaseExtractor
from migrator.extractors.lines import TextFile, text_lines
from migrator.files.identity import file_identity
from migrator.files.streams import copied, is_stream
from migrator.jobs.registry import scheme_of, target_text
from migrator.model import EncodedDocument, Extractor, Fault, Position, Record, Reject
from migrator.naming import file_name
from migrator.pipeline.wrapper import ExtractorWrapper

_FILE = "file:"
_UNFIXED = (
    "what its source could not give as a value: change it in `document`, give a transformer that does, "
    "or delete `unfixed` from the line to have it written as it stands"
)


def rejects_source(
    path: Path, config: JobConfig, stages: Collection[str] = (), environ: Mapping[str, str] | None = None
) -> tuple[Extractor, JobConfig]:
    """A reject file as the source of a job, and the job as its target wants it.

    Args:
        path: the file, or a pipe that brings it.
        config: the job, but for its source.
        stages: only what was rejected at these; all where empty.
        environ: the environment; the process's own by default.

    Raises:
        ConfigError: there is no such file, or it would be written over.
    """
    if is_stream(path):
        path = copied(str(path), "rejects.ndjson")
    elif config.rejects and os.path.realpath(config.rejects) == os.path.realpath(path):
        raise ConfigError(f"--rejects names {path} itself.", hint="Name another file for what is rejected again.")
    rejects = RejectsExtractor(path, loose=bool(config.transform), stages=stages)
    target = target_text(config, environ)
    if not is_server_url(target) and not scheme_of(target) and not is_stream(target):
        files = {name: Path(target) / f"{file_name(name)}.ndjson" for name in rejects.collections()}
        files = {name: file for name, file in files.items() if file.exists()}
        if files and config.on_conflict in {"fail", "overwrite"}:
            # A folder's file is replaced as a whole, with what it has and what it lacked.
            return AppendedRejects(rejects, files), replace(config, on_conflict="overwrite")
    return rejects, config


class RejectsExtractor(BaseExtractor):
    """The documents of a reject file by collection, and where a collection went to several databases by database.

    Args:
        path: the file that `--rejects` wrote.
        stages: read only what was rejected at these; all where empty.
        loose: hand on what is almost a document, with NaN, bytes that are not UTF-8 or an `Unfixed` value in it,
            for a transformer to fix; else that is a fault again.
    """

    def __init__(self, path: Path, *, stages: Collection[str] = (), loose: bool = False) -> None:
        self._path = path
        self._stages = frozenset(stages)
        self._loose = loose
        if not path.is_file():
            raise ConfigError(f"There is no reject file {path}.", hint="Name the file that --rejects wrote.")

    def describe(self) -> str:
        """The file, and what of it is read."""
        of = f" {','.join(sorted(self._stages))}" if self._stages else ""
        return f"rejects {self._path}{of}"

    def collections(self) -> Sequence[str]:
        """The collections that have a line, in the order of their first."""
        return list(self._groups)

    @property
    def databases(self) -> dict[str, str]:
        """The database or file that was meant, by collection; those of versions before say none."""
        return {name: database for name, (_, database) in self._groups.items() if database}

    def count(self, collection: str) -> int | None:
        """How many lines are of this collection."""
        return sum(self._group(reject) == self._groups[collection] for _, _, reject in self._lines(0, 0))

    def identity(self, collection: str) -> str:  # noqa: ARG002 one file for all
        """Of the file's content."""
        return file_identity(self._path)

    def describe_position(self, collection: str, position: Position) -> str:  # noqa: ARG002
        """File and line."""
        return f"{self._path}:{str(position).partition(':')[2]}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield one collection's documents; a line whose document is still no document is a Fault."""
        offset, _, line = str(after or "0:0").partition(":")
        group = self._groups[collection]
        for end, number, reject in self._lines(int(offset), int(line)):
            if self._group(reject) == group:
                yield self._record(f"{end}:{number}", f"{self._path}:{number}", reject)

    def _record(self, position: str, place: str, reject: Reject) -> Record:
        document = reject.document
        if isinstance(document, str | bytes):
            # What was not JSON was kept as its text; fixed by hand, it may be now.
            try:
                document = decode(document)
            except InvalidDocument as invalid:
                text = document if isinstance(document, bytes) else document.encode("utf-8", "surrogateescape")
                almost = read_loosely(text) if self._loose else None
                if almost is None:
                    return Record(position, fault=_fault(invalid.error, f"{place}: {invalid.reason}", reject))
                document = almost
        if isinstance(document, dict):
            unfixed = "" if self._loose else next(iter(shown_raw(document)[1]), "")
            if unfixed:
                reason = f"{place}: {unfixed} still holds {_UNFIXED}"
                return Record(position, fault=_fault(reject.error, reason, reject))
            made = self._converted(document, reject.notation, place)
            return Record(position, fault=made) if isinstance(made, Fault) else Record(position, document=made)
        return Record(position, fault=_fault("not_an_object", f"{place}: the document is not an object", reject))

    @staticmethod
    def _converted(document: dict[str, object], notation: str, place: str) -> dict[str, object] | Fault:
        """The document of what is written as another tool writes it, as its own source would give it."""
        if not notation:
            return document
        from migrator.extractors.exports import CONVERTERS, converted  # few need it

        if notation not in CONVERTERS:
            raise ConfigError(
                f"{place}: the notation {notation!r:.40} is not known here.",
                hint="Write the document as plain JSON and delete `notation`, or use the version that wrote it.",
            )
        return converted(document, CONVERTERS[notation], notation, place)

    @staticmethod
    def _group(reject: Reject) -> tuple[str, str]:
        return reject.collection, reject.database

    @cached_property
    def _groups(self) -> dict[str, tuple[str, str]]:
        """Collection and database by the name that stands for both."""
        found = list(dict.fromkeys(self._group(reject) for _, _, reject in self._lines(0, 0)))
        groups: dict[str, tuple[str, str]] = {}
        for collection, database in found:
            several = sum(other == collection for other, _ in found) > 1
            name = f"{collection}:{database}" if several and database else collection
            while name in groups:
                name += "'"
            groups[name] = (collection, database)
        return groups

    def _lines(self, offset: int, line: int) -> Iterator[tuple[int, int, Reject]]:
        with TextFile(self._path, offset=offset) as stream:
            for end, number, text in text_lines(stream, start=(offset, line), max_line_bytes=MAX_LINE_BYTES):
                if text is None:
                    raise ConfigError(f"{self._path}:{number}: the line is too long.", hint="Divide or delete it.")
                reject = line_to_reject(text, f"{self._path}:{number}")
                if not self._stages or reject.stage in self._stages:
                    self._refuse_revisions(reject, number)
                    yield end, number, reject

    def _refuse_revisions(self, reject: Reject, number: int) -> None:
        document = reject.document
        if reject.again or (isinstance(document, dict) and "_rev" in document and "_revisions" in document):
            raise ConfigError(
                f"{self._path}:{number}: {reject.id!r:.100} was rejected by a copy that keeps revisions; "
                "written from here it would get another revision, without its ancestry and attachments.",
                hint="Fix what stood in its way, then do the copy over: "
                + (reject.again or "migrator apply PLAN --restart, or migrator restore as before."),
            )


def _fault(error: str, reason: str, reject: Reject) -> Fault:
    return Fault(error, reason, reject.id, reject.document, reject.notation)


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

"""Reads a reject file as a source, so that its documents go the same way again after a fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from migrator.codec import InvalidDocument, decode
from migrator.errors import ConfigError
from migrator.extractors.lines import TextFile, file_identity, read_lines
from migrator.model import Fault, Position, Record, Reject
from migrator.rejects import MAX_LINE_BYTES, line_to_reject


class RejectsExtractor:
    """The documents of a reject file by collection; each passes through the transformers it had not passed yet.

    Args:
        path: the file that `--rejects` wrote.
    """

    ordered = False

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise ConfigError(f"There is no reject file {path}.", hint="Name the file that --rejects wrote.")

    def describe(self) -> str:
        """The file."""
        return f"rejects {self._path}"

    def collections(self) -> Sequence[str]:
        """The collections that have a line, in the order of their first."""
        return list(dict.fromkeys(reject.collection for _, _, reject in self._lines(0, 0)))

    def count(self, collection: str) -> int | None:
        """How many lines are of this collection."""
        return sum(reject.collection == collection for _, _, reject in self._lines(0, 0))

    def identity(self, collection: str) -> str:  # noqa: ARG002 one file for all
        """Of the file's content."""
        return file_identity(self._path)

    def describe_position(self, collection: str, position: Position) -> str:  # noqa: ARG002
        """File and line."""
        return f"{self._path}:{str(position).partition(':')[2]}"

    def extract(self, collection: str, *, after: Position | None = None) -> Iterator[Record]:
        """Yield one collection's documents; a line whose document is still no document is a Fault."""
        offset, _, line = str(after or "0:0").partition(":")
        for end, number, reject in self._lines(int(offset), int(line)):
            if reject.collection != collection:
                continue
            position = f"{end}:{number}"
            document = reject.document
            if isinstance(document, str):
                # What was no JSON was kept as its text; mended by hand, it may be now.
                try:
                    document = decode(document)
                except InvalidDocument as invalid:
                    fault = Fault(
                        invalid.error,
                        f"{self._path}:{number}: {invalid.reason}",
                        reject.id,
                        reject.document,
                    )
                    yield Record(position, fault=fault)
                    continue
            if isinstance(document, dict):
                yield Record(position, document=document)
            else:
                reason = f"{self._path}:{number}: the document is no object"
                yield Record(position, fault=Fault("not_an_object", reason, reject.id, document))

    def close(self) -> None:
        """Nothing is held open."""

    def _lines(self, offset: int, line: int) -> Iterator[tuple[int, int, Reject]]:
        with TextFile(self._path, offset=offset) as stream:
            for end, number, text in read_lines(stream, start=(offset, line), max_line_bytes=MAX_LINE_BYTES):
                if text is None:
                    raise ConfigError(f"{self._path}:{number}: the line is too long.", hint="Divide or delete it.")
                if text.strip():
                    reject = line_to_reject(text, f"{self._path}:{number}")
                    self._refuse_revisions(reject, number)
                    yield end, number, reject

    def _refuse_revisions(self, reject: Reject, number: int) -> None:
        document = reject.document
        if isinstance(document, dict) and "_rev" in document and "_revisions" in document:
            raise ConfigError(
                f"{self._path}:{number}: {reject.id!r:.100} was rejected by a copy that keeps revisions; "
                "written from here it would get another revision, without its ancestry and attachments.",
                hint="Mend what stood in its way, then do the copy over: migrator apply PLAN --restart, or "
                "migrator restore as before.",
            )

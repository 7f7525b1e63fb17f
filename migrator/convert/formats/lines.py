"""Files with a line a document or a batch: plain documents, couchsnap's, PouchDB's and couchbackup's.

Of couchbackup a header (since 2.10), then a line for each batch, which is a JSON array of documents.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from typing import ClassVar

from migrator.codec import InvalidDocument, decode
from migrator.codec.reading import elements, values
from migrator.convert.formats.json_text import ascii_only
from migrator.convert.formats.reader import Element, FileReader
from migrator.convert.formats.writer import FileWriter, Holds
from migrator.errors import ConfigError
from migrator.extractors.json_text import JsonText
from migrator.extractors.lines import BLOCK_BYTES, TextFile
from migrator.model.revisions import Leaf, LeafFault

MARKER = b'{"marker":"@cloudant/couchbackup:resume"}'
NAME = "@cloudant/couchbackup"
# The release whose files these are; couchrestore looks at nothing but the three fields.
VERSION = "2.11.12"
BATCH_LEAVES = 500
BATCH_BYTES = 4_000_000


class NdjsonReader(FileReader):
    """Reads a document a line, each with its `_rev`."""

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        with TextFile(self.path) as file:
            yield from map(self._leaf, self._lines(file))


class CouchsnapReader(NdjsonReader):
    """Reads a snapshot: documents without `_rev`, of which the last line of an id counts.

    Each gets the revision that CouchDB would give it as a new document; one with attachments has none, as that
    depends on the server, and is a fault.
    """

    newest_last = True
    compute_rev = True


class NdjsonWriter(FileWriter):
    """Writes a leaf a line, with `_rev`, `_revisions`, `_deleted` and attachments: the plainest exact form."""

    def write(self, leaf: Leaf) -> None:
        """One line."""
        self._document(leaf)
        self.output.write(b"\n")


class PouchdbReader(FileReader):
    """Reads what pouchdb-dump-cli writes: a header, then lines of documents, and of sequences between them."""

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        with TextFile(self.path) as file:
            for element in self._lines(file):
                if element.fault:
                    yield element.fault
                    continue
                line = element.members()
                if isinstance(line, LeafFault):
                    yield line
                elif isinstance(line.get("docs"), list):
                    for number, document in enumerate(elements(values(element.text)["docs"])):
                        yield self._leaf(Element(f"{element.place} ({number + 1}. document)", document))
                elif "seq" not in line and "db_type" not in line:
                    why = f"{element.place}: neither documents nor a sequence nor the header."
                    yield LeafFault("", "", "broken_line", why)


class CouchbackupReader(FileReader):
    """Reads full and shallow backups, with or without a header, resumed or not.

    A batch is read document by document, so that its line need not be held. couchbackup marks where a run was
    resumed, and the line that had been torn there it writes again: what stands whole in the torn line is given
    all the same, as it is true. A torn line without that mark is a fault, and so is a line of a file without a
    header that is not JSON: up to 2.9 a resumed run glued its first batch to the torn one.
    """

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        header = False
        with TextFile(self.path) as file:
            lines = _LineByLine(file)
            while lines.next():
                place = f"{self.path}:{lines.number}"
                text = JsonText(lines, place, max_value_bytes=self._max_document_bytes)
                opening = text.peek()
                if opening == "{":
                    fault = self._note_line(lines, text, place, header=header)
                    header = header or (lines.number == 1 and fault is None)
                    if fault:
                        yield fault
                elif opening:
                    yield from self._batch(lines, text, place, header=header)
                lines.drain()

    def _note_line(self, lines: _LineByLine, text: JsonText, place: str, *, header: bool) -> LeafFault | None:
        """A line that is an object: the header, or a mark of resuming."""
        try:
            value = text.value()
            text.end()
            note = decode(value.text) if not value.problem else {}
        except (ConfigError, InvalidDocument):
            note = {}
        if note.get("marker") == "@cloudant/couchbackup:resume":
            self.notes["resumed"] += 1
            return None
        if lines.number == 1 and all(isinstance(note.get(key), str) for key in ("name", "version", "mode")):
            return None
        kind = "neither a batch nor a mark of resuming" if header else "no batch of documents"
        return LeafFault("", "", "broken_line", f"{place}: this line is {kind}.")

    def _batch(
        self, lines: _LineByLine, text: JsonText, place: str, *, header: bool
    ) -> Iterator[Leaf | LeafFault]:
        try:
            text.take("[")
            for number, _ in enumerate(text.entries(keyed=False)):
                yield self._leaf(self._element(text.value(), f"{place} ({number + 1}. document)"))
            text.end()
        except ConfigError as error:
            lines.drain()
            if lines.tail.rstrip().endswith(MARKER) and header:
                self.notes["resumed"] += 1
                self.notes["torn_lines_repeated"] += 1
                return
            why = error.message.removeprefix(f"{place}:1:")
            if not header:
                why += " Releases up to 2.9 leave such a line where a run was resumed, and repeat its batch."
            yield LeafFault("", "", "broken_line", f"{place}: the batch of this line is broken at character {why}")


class _BatchWriter(FileWriter):
    """Writes a batch a line, which ends after so many documents or bytes."""

    batch_leaves: ClassVar[int]
    batch_bytes: ClassVar[float] = math.inf
    opening: ClassVar[bytes]

    def begin(self) -> None:
        """What stands before the first batch."""
        self._leaves = 0
        """Of this batch."""
        self._batch_begin = self.output.written_bytes

    def write(self, leaf: Leaf) -> None:
        """Add one document to the batch."""
        size_bytes = self.output.written_bytes - self._batch_begin
        if self._leaves >= self.batch_leaves or size_bytes >= self.batch_bytes:
            self._end_batch()
        self.output.write(b"," if self._leaves else self.opening)
        self._leaves += 1
        self._document(leaf)

    def finish(self) -> None:
        """End the last batch."""
        self._end_batch()

    def _end_batch(self) -> None:
        if self._leaves:
            self.output.write(self._closing())
            self._leaves, self._batch_begin = 0, self.output.written_bytes

    def _closing(self) -> bytes:
        raise NotImplementedError


class CouchbackupWriter(_BatchWriter):
    """Writes what any `couchrestore` restores: all in ASCII, as 2.11.12 and later corrupt other text."""

    # couchrestore passes on no other spelling.
    type_key = "contentType"
    batch_leaves, batch_bytes, opening = BATCH_LEAVES, BATCH_BYTES, b"["
    _attachments = False

    def begin(self) -> None:
        """The header, which says whether there are attachments: so far there are none."""
        self.output.write_head(self._header())
        super().begin()

    def write(self, leaf: Leaf) -> None:
        """Add one document to the batch."""
        self._attachments = self._attachments or bool(leaf.attachments)
        super().write(leaf)

    def finish(self) -> None:
        """End the last batch, and fix the header where that was needed."""
        super().finish()
        if self._attachments:
            self.output.replace_head(self._header())

    def _body(self, leaf: Leaf) -> bytes:
        return ascii_only(super()._body(leaf))

    def _header(self) -> bytes:
        mode = "full" if self.holds.ancestry else "shallow"
        header = {"name": NAME, "version": VERSION, "mode": mode, "attachments": self._attachments}
        return json.dumps(header, separators=(",", ":")).encode() + b"\n"

    def _closing(self) -> bytes:
        return b"]\n"


class ShallowCouchbackupWriter(CouchbackupWriter):
    """Writes what `couchbackup --mode shallow` writes: winners alone, with no more than their revision."""

    holds = Holds(conflicts=False, tombstones=False, ancestry=False)


class PouchdbWriter(_BatchWriter):
    """Writes what pouchdb-load reads: a sequence follows each batch."""

    batch_leaves, opening = 50, b'{"docs":['
    _sequence = 0

    def begin(self) -> None:
        """The header; the number of documents in it is for progress bars only, and not known yet."""
        info = {"db_name": self.database or "db", "doc_count": 0, "update_seq": 0}
        header = {"version": "1.0.0", "db_type": "http", "start_time": "1970-01-01T00:00:00.000Z", "db_info": info}
        self.output.write(json.dumps(header).encode() + b"\n")
        super().begin()

    def _closing(self) -> bytes:
        self._sequence += self._leaves
        return b']}\n{"seq":%d}\n' % self._sequence


class _LineByLine:
    """Gives one line after the other as if it were a file of its own, and keeps the end of it."""

    def __init__(self, file: TextFile) -> None:
        self.number = 0
        self.tail = b""
        self._lines = io.BufferedReader(file, BLOCK_BYTES)  # type: ignore[type-var] # mypy wants no narrower read()
        self._ended = True

    def next(self) -> bool:
        """Go to the next line; False at the file's end."""
        self._ended = not self._lines.peek()
        self.number += 1
        self.tail = b""
        return not self._ended

    def read(self, size: int, /) -> bytes:
        """Give about `size` bytes of this line."""
        block = b"" if self._ended else self._lines.readline(size)
        self._ended = not block or block.endswith(b"\n")
        block = block.removesuffix(b"\n")
        self.tail = (self.tail + block[-100:])[-100:]
        return block

    def drain(self) -> None:
        """Pass over the rest of this line."""
        while not self._ended:
            self.read(BLOCK_BYTES)

"""couchbackup's files: a header (since 2.10), then a line for each batch, which is a JSON array of documents."""

from __future__ import annotations

import json
from collections.abc import Iterator

from migrator.codec import InvalidDocument, decode
from migrator.convert.formats.json_text import ascii_only
from migrator.convert.formats.reader import FileReader
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


class CouchbackupReader(FileReader):
    """Reads full and shallow backups, with or without a header, resumed or not.

    A batch is read document by document, so that its line need not be held. couchbackup marks where a run was
    resumed, and the line that had been torn there it writes again: what stands whole in the torn line is given
    all the same, as it is true. A torn line without that mark is a fault, and so is a line of a file without a
    header that is no JSON: up to 2.9 a resumed run glued its first batch to the torn one.
    """

    format = "couchbackup"

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


class CouchbackupWriter(FileWriter):
    """Writes what any `couchrestore` restores: all in ASCII, as 2.11.12 and later corrupt other text."""

    format = "couchbackup"
    # couchrestore passes on no other spelling.
    type_key = "contentType"

    def begin(self) -> None:
        """The header, which says whether there are attachments: so far there are none."""
        self._batch_leaves = 0
        self._attachments = False
        self.output.write_head(self._header())
        self._batch_begin = self.output.written_bytes

    def write(self, leaf: Leaf) -> None:
        """Add one document to the batch, which ends at a number of documents or bytes."""
        if self._batch_leaves >= BATCH_LEAVES or self.output.written_bytes - self._batch_begin >= BATCH_BYTES:
            self._end_batch()
        self.output.write(b"," if self._batch_leaves else b"[")
        self._batch_leaves += 1
        self._attachments = self._attachments or bool(leaf.attachments)
        self._document(leaf)

    def finish(self) -> None:
        """End the last batch, and fix the header where that was needed."""
        self._end_batch()
        if self._attachments:
            self.output.replace_head(self._header())

    def _body(self, leaf: Leaf) -> bytes:
        return ascii_only(super()._body(leaf))

    def _header(self) -> bytes:
        mode = "full" if self.holds.ancestry else "shallow"
        header = {"name": NAME, "version": VERSION, "mode": mode, "attachments": self._attachments}
        return json.dumps(header, separators=(",", ":")).encode() + b"\n"

    def _end_batch(self) -> None:
        if self._batch_leaves:
            self.output.write(b"]\n")
            self._batch_leaves, self._batch_begin = 0, self.output.written_bytes


class ShallowCouchbackupWriter(CouchbackupWriter):
    """Writes what `couchbackup --mode shallow` writes: winners alone, with no more than their revision."""

    format = "couchbackup-shallow"
    holds = Holds(conflicts=False, tombstones=False, ancestry=False)


class _LineByLine:
    """Gives one line after the other as if it were a file of its own, and keeps the end of it."""

    def __init__(self, file: TextFile) -> None:
        self.number = 0
        self.tail = b""
        self._file = file
        self._waiting = b""
        self._ended = True

    def next(self) -> bool:
        """Go to the next line; False at the file's end."""
        if not self._waiting:
            self._waiting = self._file.read(BLOCK_BYTES)
        if not self._waiting:
            return False
        self.number += 1
        self.tail = b""
        self._ended = False
        return True

    def read(self, size: int, /) -> bytes:
        """Give about `size` bytes of this line."""
        if self._ended:
            return b""
        if not self._waiting:
            self._waiting = self._file.read(max(size, 1))
        newline = self._waiting.find(b"\n")
        if newline < 0 and self._waiting:
            block, self._waiting = self._waiting, b""
        else:
            block, self._waiting = self._waiting[: max(newline, 0)], self._waiting[newline + 1 :]
            self._ended = True
        self.tail = (self.tail + block[-100:])[-100:]
        return block

    def drain(self) -> None:
        """Pass over the rest of this line."""
        while not self._ended:
            self.read(BLOCK_BYTES)

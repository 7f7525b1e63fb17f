"""Files with one JSON object a line: plain documents, couchsnap's snapshots, and PouchDB's dumps."""

from __future__ import annotations

import json
from collections.abc import Iterator

from migrator.codec.reading import elements, values
from migrator.convert.formats.reader import Element, FileReader
from migrator.convert.formats.writer import FileWriter
from migrator.extractors.lines import TextFile
from migrator.model.revisions import Leaf, LeafFault

POUCHDB_BATCH = 50


class NdjsonReader(FileReader):
    """Reads a document a line, each with its `_rev`."""

    format = "ndjson"

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        with TextFile(self.path) as file:
            yield from map(self._leaf, self._lines(file))


class CouchsnapReader(NdjsonReader):
    """Reads a snapshot: documents without `_rev`, of which the last line of an id counts.

    Each gets the revision that CouchDB would give it as a new document; one with attachments has none, as that
    depends on the server, and is a fault.
    """

    format = "couchsnap"
    newest_last = True

    def _leaf(self, element: Element) -> Leaf | LeafFault:
        self._compute_rev = True
        return super()._leaf(element)


class NdjsonWriter(FileWriter):
    """Writes a leaf a line, with `_rev`, `_revisions`, `_deleted` and attachments: the plainest exact form."""

    format = "ndjson"

    def write(self, leaf: Leaf) -> None:
        """One line."""
        self._document(leaf)
        self.output.write(b"\n")


class PouchdbReader(FileReader):
    """Reads what pouchdb-dump-cli writes: a header, then lines of documents, and of sequences between them."""

    format = "pouchdb"

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


class PouchdbWriter(FileWriter):
    """Writes what pouchdb-load reads."""

    format = "pouchdb"

    def begin(self) -> None:
        """The header; the number of documents in it is for progress bars only, and not known yet."""
        self._leaves = 0
        info = {"db_name": self.database or "db", "doc_count": 0, "update_seq": 0}
        header = {"version": "1.0.0", "db_type": "http", "start_time": "1970-01-01T00:00:00.000Z", "db_info": info}
        self.output.write(json.dumps(header).encode() + b"\n")

    def write(self, leaf: Leaf) -> None:
        """One document; a line ends after so many, and a sequence follows it."""
        self.output.write(b"," if self._leaves % POUCHDB_BATCH else b'{"docs":[')
        self._document(leaf)
        self._leaves += 1
        if self._leaves % POUCHDB_BATCH == 0:
            self._end_line()

    def finish(self) -> None:
        """End the last line."""
        if self._leaves % POUCHDB_BATCH:
            self._end_line()

    def _end_line(self) -> None:
        self.output.write(b']}\n{"seq":%d}\n' % self._leaves)

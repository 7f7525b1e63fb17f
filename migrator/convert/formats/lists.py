"""Dumps of `_all_docs` and `_changes`, and the body of a `_bulk_docs`: one object with one long list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from migrator.codec import InvalidDocument, decode
from migrator.codec.reading import members, values
from migrator.convert.formats.json_text import leaf_of
from migrator.convert.formats.reader import Element, FileReader
from migrator.convert.formats.writer import FileWriter, Holds
from migrator.extractors.lines import TextFile
from migrator.model.revisions import Leaf, LeafFault

_CONTINUOUS = re.compile(rb'\s*\{\s*"(?:seq|last_seq|id|changes)"')
_FEED_END = re.compile(rb'\s*\{\s*"last_seq"')
_WINNERS = Holds(conflicts=False, tombstones=False, ancestry=False)


class BulkDocsReader(FileReader):
    """Reads a `_bulk_docs` body, as couchdb-dump.sh writes it."""

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        yield from map(self._leaf, self._list("docs"))


class _ListWriter(FileWriter):
    """Writes one object with a list: what stands before, between and after its rows, of which each is a line."""

    _before, _first, _between, _row_end, _after = b"", b"", b",\n", b"", b""

    def begin(self) -> None:
        """What stands before the rows."""
        self._rows = 0
        self.output.write(self._before)

    def write(self, leaf: Leaf) -> None:
        """One row."""
        self.output.write(self._between if self._rows else self._first)
        self._rows += 1
        self._row(leaf)
        self.output.write(self._row_end)

    def finish(self) -> None:
        """What stands after the rows, with their number where it has a place, which was not known before."""
        self.output.write(self._after.replace(b"%d", b"%d" % self._rows))

    def _row(self, leaf: Leaf) -> None:
        raise NotImplementedError


class BulkDocsWriter(_ListWriter):
    """Writes a whole `_bulk_docs` body with a line a document.

    couchdb-dump.sh takes out what begins with a design document's id and writes it as new; so there `_rev` comes
    first, and the design documents travel with the others.
    """

    _before, _first, _after = b'{"new_edits":false,"docs":[', b"\n", b"\n]}\n"

    def _row(self, leaf: Leaf) -> None:
        if leaf.id.startswith("_design/"):
            id, rev, *rest = [member.text for member in members(leaf.body)]
            leaf = leaf._replace(body=b"{" + b",".join([rev, id, *rest]) + b"}")
        self._document(leaf)


class AllDocsReader(FileReader):
    """Reads `_all_docs?include_docs=true`, best with `attachments=true`; also what `keys` and `conflicts` add.

    A view's rows too: they have a document as often as it was emitted.
    """

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        for element in self._list("rows"):
            yield element.fault or self._row(element)

    def _row(self, element: Element) -> Leaf | LeafFault:
        row = element.members()
        if isinstance(row, LeafFault):
            return row
        value = row.get("value")
        if not isinstance(value, dict):
            value = {}
        id, rev = _text(row.get("id", row.get("key"))), _text(value.get("rev"))
        if "error" in row:
            why = f"{element.place}: the server wrote an error: {json.dumps(row, ensure_ascii=False)[:200]}"
            return LeafFault(id, rev, _text(row["error"]) or "error", why)
        if isinstance(row.get("doc"), dict):
            return _document_of(element, id, rev)
        if value.get("deleted"):
            return LeafFault(id, rev, "deleted", f"{element.place}: this document was deleted, and is not here.")
        return LeafFault(
            id, rev, "no_document", f"{element.place}: the row has no document; dump with include_docs=true."
        )


class AllDocsWriter(_ListWriter):
    """Writes what `_all_docs?include_docs=true&attachments=true` answers: winners, a line a row."""

    holds = _WINNERS
    _before, _row_end, _after = b'{"offset":0,"rows":[\n', b"}", b'\n],"total_rows":%d}\n'

    def _row(self, leaf: Leaf) -> None:
        id, rev = next(members(leaf.body)).value, json.dumps(leaf.rev).encode()
        self.output.write(b'{"id":%b,"key":%b,"value":{"rev":%b},"doc":' % (id, id, rev))
        self._document(leaf)


class ChangesReader(FileReader):
    """Reads `_changes?include_docs=true`, of the normal feed or of the continuous one with its heartbeats.

    In a feed that was followed a document comes again when it has changed: the last row of it stands for it.
    """

    newest_last = True

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        for element in self._rows():
            if element.fault:
                yield element.fault
            else:
                yield from self._row(element)

    def _rows(self) -> Iterator[Element]:
        with TextFile(self.path) as file:
            first = next(self._lines(file), None)
        if first is None or not _CONTINUOUS.match(first.text):
            yield from self._list("results")
            return
        ended = False
        with TextFile(self.path) as file:
            for element in self._lines(file):
                ended = element.fault is None and _is_feed_end(element.text)
                if not ended:
                    yield element
        if not ended:
            # A feed that is followed ends where somebody stopped it; only a torn row shows that more was coming.
            self.notes["feeds_without_end"] += 1

    def _row(self, element: Element) -> Iterator[Leaf | LeafFault]:
        row = element.members()
        if isinstance(row, LeafFault):
            yield row
            return
        id = _text(row.get("id"))
        revs = [_text(change.get("rev")) for change in row.get("changes") or () if isinstance(change, dict)]
        if "error" in row or not id:
            why = f"{element.place}: no change, but {json.dumps(row, ensure_ascii=False)[:200]}"
            yield LeafFault(id, "", _text(row.get("error")) or "no_change", why)
            return
        leaf: Leaf | LeafFault
        if isinstance(row.get("doc"), dict):
            leaf = _document_of(element, id, "")
        else:
            why = f"{element.place}: the change has no document; dump with include_docs=true."
            leaf = LeafFault(id, revs[0] if revs else "", "no_document", why)
        yield leaf
        for rev in revs:
            if rev != leaf.rev and isinstance(leaf, Leaf):
                why = f"{element.place}: this leaf is named, but the dump has only the winner {leaf.rev}."
                yield LeafFault(id, rev, "not_in_dump", why)


class ChangesWriter(_ListWriter):
    """Writes what `_changes?include_docs=true&attachments=true` answers: winners, and tombstones too."""

    holds = Holds(conflicts=False, ancestry=False)
    _before, _row_end, _after = b'{"results":[\n', b"}", b'\n],\n"last_seq":%d,"pending":0}\n'

    def _row(self, leaf: Leaf) -> None:
        id, rev = next(members(leaf.body)).value, json.dumps(leaf.rev).encode()
        deleted = b',"deleted":true' if leaf.deleted else b""
        self.output.write(b'{"seq":%d,"id":%b,"changes":[{"rev":%b}]%b,"doc":' % (self._rows, id, rev, deleted))
        self._document(leaf)


class ContinuousChangesWriter(ChangesWriter):
    """Writes what `_changes?feed=continuous` answers: a line a row."""

    _before, _between, _row_end, _after = b"", b"", b"}\n", b'{"last_seq":%d,"pending":0}\n'


def _is_feed_end(text: bytes) -> bool:
    try:
        return _FEED_END.match(text) is not None and bool(decode(text))
    except InvalidDocument:
        return False


def _document_of(element: Element, id: str, rev: str) -> Leaf | LeafFault:
    """The leaf of a row's document, which must be of the row's id and revision."""
    leaf = leaf_of(values(element.text)["doc"], element.place)
    if isinstance(leaf, Leaf) and ((id and leaf.id != id) or (rev and leaf.rev != rev)):
        why = f"{element.place}: the row is of {id!r:.80} {rev}, its document of {leaf.id!r:.80} {leaf.rev}."
        return LeafFault(id, rev, "foreign_document", why)
    return leaf


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

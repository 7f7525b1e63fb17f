"""What the readers of all formats share: the file, its lines, and lists whose elements are read one at a time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from migrator.codec import InvalidDocument, decode, top_level
from migrator.convert.formats.json_text import leaf_of
from migrator.convert.options import ConvertJob
from migrator.errors import ConfigError
from migrator.extractors.json_text import JsonText
from migrator.extractors.json_values import Value
from migrator.extractors.lines import BOM, TextFile, read_lines, text_lines
from migrator.model.revisions import DatabaseFacts, Leaf, LeafFault

# A document may hold attachments of up to 1 GiB by CouchDB's own limit, in base64; whoever has such raises it.
# What follows the list is a few numbers.
_MAX_TAIL_BYTES = 64 << 10
# The first line of a list that has a line an element: an object up to the bracket of its only list.
_LINE_HEAD = re.compile(rb'\s*\{(?:"[^"]*"\s*:\s*(?:"[^"]*"|[\w.+-]+)\s*,\s*)*"(\w+)"\s*:\s*\[\s*')


class Element(NamedTuple):
    """One element of a list in a file: its text and its place, or why it cannot be read."""

    place: str
    text: bytes
    fault: LeafFault | None = None

    def members(self) -> dict[str, Any] | LeafFault:
        """Its object, whose numbers may be inexact, or why it is not one."""
        try:
            return top_level(self.text)
        except InvalidDocument as invalid:
            return LeafFault("", "", invalid.error, f"{self.place}: {invalid.reason}.")


class FileReader:
    """A file of leaves that another tool wrote.

    Args:
        path: the file; also packed, `.gz` or `.zst`.
        max_document_bytes: the longest document that is held; a longer one is a fault.
    """

    ordered = False
    """True when the leaves come in ascending order of their ids' UTF-8 bytes."""
    grouped = False
    """True when no leaf comes twice, and the leaves of one document one after the other."""
    newest_last = False
    """True when a later leaf of a document stands for the document in place of the earlier ones."""

    compute_rev = False
    """True to give documents without `_rev` the revision that CouchDB gives them when they are new."""

    def __init__(self, path: Path, *, max_document_bytes: int = ConvertJob.max_document_bytes) -> None:
        self.path = path
        self.notes: Counter[str] = Counter()
        """What was met that is neither leaf nor fault, such as torn lines that a resumed run repeated."""
        self._max_document_bytes = max_document_bytes

    def describe(self) -> str:
        """The file's path."""
        return str(self.path)

    def facts(self) -> DatabaseFacts:
        """Of a database's settings these files know nothing."""
        return DatabaseFacts(self.path.name.partition(".")[0])

    def leaves(self, *, after: str | None = None) -> Iterator[Leaf | LeafFault]:
        """Yield all leaves in the file's order; `after` is for readers in the order of ids."""
        if after is not None:
            raise ValueError("this file is not in the order of ids")
        self.notes.clear()
        return self._leaves()

    def close(self) -> None:
        """Nothing is held open between readings."""

    def _leaves(self) -> Iterator[Leaf | LeafFault]:
        raise NotImplementedError

    def _leaf(self, element: Element) -> Leaf | LeafFault:
        return element.fault or leaf_of(element.text, element.place, compute_rev=self.compute_rev)

    def _lines(self, file: TextFile) -> Iterator[Element]:
        """The lines that are not blank."""
        for _, number, line in text_lines(file, max_line_bytes=self._max_document_bytes):
            place = f"{self.path}:{number}"
            yield self._too_large(place, "the line") if line is None else Element(place, line)

    def _too_large(self, place: str, what: str) -> Element:
        why = f"{place}: {what} is longer than {self._max_document_bytes} bytes; raise --max-document-bytes."
        return Element(place, b"", LeafFault("", "", "document_too_large", why))

    def _element(self, value: Value, place: str) -> Element:
        if value.problem is None or value.text:
            return Element(place, value.text)
        return self._too_large(place, "what begins here")

    # -- lists --------------------------------------------------------------------------------------------------

    def _list(self, key: str) -> Iterator[Element]:
        """The elements of the list under a key of the file's one object, in whatever layout."""
        with TextFile(self.path) as file:
            head = next(read_lines(file, max_line_bytes=self._max_document_bytes), (0, 0, b""))[2] or b""
        match = _LINE_HEAD.fullmatch(head.removeprefix(BOM))
        if match and match[1] == key.encode():
            yield from self._list_by_line(head)
        else:
            yield from self._list_by_value(key)

    def _list_by_line(self, head: bytes) -> Iterator[Element]:
        """A line an element: one that is damaged costs no other."""
        comma: bool | None = None
        tail = b""
        last = Element(str(self.path), b"")
        with TextFile(self.path) as file:
            lines = self._lines(file)
            next(lines)
            for last in lines:
                if tail or (last.fault is None and last.text.lstrip()[:1] == b"]"):
                    tail += last.text
                    if len(tail) > _MAX_TAIL_BYTES:
                        break
                    continue
                if comma is False:
                    yield self._broken(last.place, "a comma is missing before this line, so lines may be lost")
                if last.fault:
                    comma = None
                    yield last
                    continue
                text = last.text.rstrip()
                comma = text.endswith(b",")
                yield Element(last.place, text[:-1] if comma else text)
        if not tail:
            why = "the list has no end, so the file was cut off and documents are missing"
            yield self._broken(last.place, why)
            return
        try:
            decode(head.removeprefix(BOM) + tail)
        except InvalidDocument:
            yield self._broken(last.place, "the list ends before the file does, or what ends it is damaged")
        if comma:
            yield self._broken(last.place, "the last line of the list has a comma after it, so lines may be lost")

    def _list_by_value(self, key: str) -> Iterator[Element]:
        """Any layout: after the first damage nothing can be separated any more."""
        number = 0
        found = False
        with TextFile(self.path) as file:
            json = JsonText(file, str(self.path), max_value_bytes=self._max_document_bytes)
            try:
                json.take("{")
                for name in json.entries(keyed=True):
                    if found or name is None or name.parsed != key or json.peek() != "[":
                        json.value()
                        continue
                    found = True
                    json.take("[")
                    for _ in json.entries(keyed=False):
                        json.peek()
                        number += 1
                        place = f"{self.path} (byte {json.offset}, {key}[{number - 1}])"
                        yield self._element(json.value(), place)
                json.end()
            except ConfigError as error:
                yield Element(str(self.path), b"", LeafFault("", "", "broken_file", error.message))
                return
        if not found:
            yield self._broken(str(self.path), f"there is no list {key!r} in it")

    @staticmethod
    def _broken(place: str, why: str) -> Element:
        return Element(place, b"", LeafFault("", "", "broken_file", f"{place}: {why}."))

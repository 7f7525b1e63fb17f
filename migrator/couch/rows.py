"""Reads the chunks of an answer, and from them rows of `_all_docs`, without holding it or parsing documents.

CouchDB writes one row a line. What has another layout (another server, a row with an error) is read as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

from migrator.codec import InvalidDocument, Unencodable, decode, decode_value, encode
from migrator.errors import TransientError

HEAD = re.compile(rb'\s*\{"total_rows":\d+,"offset":(?:\d+|null),"rows":\[\s*')
_ROW = re.compile(
    rb'\{"id":("[^"\\]*(?:\\.[^"\\]*)*"),"key":"[^"\\]*(?:\\.[^"\\]*)*",'
    rb'"value":\{"rev":"([^"\\]+)"\}(?:,"doc":(\{.*\}))?\},?\s*',
    re.DOTALL,
)


class Row(NamedTuple):
    """One row. `document` is the JSON text of it; None when it was not asked for, or has just been deleted."""

    id: str
    rev: str
    document: bytes | None


def read_rows(pieces: Iterable[bytes], what: str, *, include_docs: bool = False) -> Generator[Row]:
    """Yield the rows of one answer.

    Args:
        pieces: the body.
        what: what is read, for errors.
        include_docs: each row must have its document, or say that there is none.

    Raises:
        TransientError: the answer is not whole, or an error stands in it.
    """
    rest = lines(pieces)
    head = next(rest, b"")
    if not HEAD.fullmatch(head):
        for row in listed(b"\n".join([head, *rest]), what):
            yield _row(row, what, include_docs=include_docs)
        return
    for line in row_texts(rest, what):
        match = _ROW.fullmatch(line)
        if match and (match[3] is not None or not include_docs):
            yield _matched(match)
        else:
            yield _row(parsed(line.rstrip(b","), what), what, include_docs=include_docs)


def row_of(line: bytes, id: str, what: str) -> Row | None:
    """What a row says that was asked for by its id, with its document; None where there is none, or it is deleted.

    Raises:
        TransientError: it does not answer the question.
    """
    match = _ROW.fullmatch(line)
    if match and match[3] is not None:
        row = _matched(match)
        if row.id == id:
            return row
    value = parsed(line.rstrip(b","), what)
    if isinstance(value, dict) and value.get("key", value.get("id")) == id:
        if value.get("error") == "not_found":
            return None
        if isinstance(value.get("value"), dict) and "doc" in value:
            return _row(value, what, include_docs=True) if value["doc"] else None
    raise missing(what, id)


def missing(what: str, id: str) -> TransientError:
    """What to raise where an answer lacks a row."""
    return TransientError(f"{what}: no answer for {id!r:.100}.", signature="missing rows")


def _matched(match: re.Match[bytes]) -> Row:
    raw_id, rev, text = match.groups()
    # An id without a backslash is its own text.
    id = raw_id[1:-1].decode() if b"\\" not in raw_id else str(decode(b'{"i":' + raw_id + b"}")["i"])
    return Row(id, rev.decode(), None if text is None else _without_rev(text, raw_id, rev))


def row_texts(rest: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The lines that hold a row each, up to the one that closes the answer.

    Raises:
        TransientError: the answer is not whole.
    """
    closed = False
    for line in rest:
        text = line.strip()
        if closed and text:
            raise torn(text, what)
        if text == b"]}":
            closed = True
        elif text:
            yield text
    if not closed:
        raise torn(b"", what)


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Divide a stream at its line breaks; the last line, often empty, comes too."""
    rest: list[bytes] = []
    for piece in pieces:
        first, newline, more = piece.partition(b"\n")
        if not newline:
            rest.append(piece)
            continue
        yield b"".join([*rest, first])
        *whole, last = more.split(b"\n")
        yield from whole
        rest = [last]
    yield b"".join(rest)


def _without_rev(text: bytes, raw_id: bytes, rev: bytes) -> bytes:
    # The server puts _id and _rev first.
    prefix = b'{"_id":' + raw_id + b',"_rev":"' + rev + b'"'
    if text.startswith(prefix):
        return b'{"_id":' + raw_id + text[len(prefix) :]
    return text


def parsed(text: bytes, what: str) -> Any:
    """A text of an answer as exact JSON.

    Raises:
        TransientError: it is not whole.
    """
    try:
        return decode_value(text)
    except InvalidDocument:
        raise torn(text, what) from None


def listed(text: bytes, what: str, name: str = "rows") -> list[Any]:
    """The rows of an answer of another layout, which is held in memory.

    Raises:
        TransientError: it is not whole, or has none.
    """
    try:
        value = decode_value(text)
    except InvalidDocument:
        value = None
    rows = value.get(name) if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise torn(text[-500:], what)
    return rows


def _row(value: Any, what: str, *, include_docs: bool) -> Row:
    try:
        # A body that the server could not read leaves a row with an error in place of the document.
        if "error" in value or (include_docs and "doc" not in value):
            raise torn(str(value).encode(errors="replace"), what)
        document = value.get("doc")
        return Row(value["id"], value["value"]["rev"], text_of(document) if document else None)
    except (KeyError, TypeError, AttributeError):
        raise torn(str(value).encode(errors="replace"), what) from None


def text_of(document: dict[str, Any]) -> bytes:
    """A document, or a row, as JSON."""
    try:
        return encode(document)
    except Unencodable:
        # Half a surrogate pair: escaped it can be passed on, to be refused by name.
        return json.dumps(document).encode()


def torn(line: bytes, what: str) -> TransientError:
    """What to raise of an answer that is not whole, with the line that shows it."""
    shown = line[:300].decode("utf-8", "replace").strip()
    return TransientError(
        f"{what}: the answer broke off" + (f": {shown}" if shown else "") + ".", signature="torn answer"
    )

"""Lists what changed in a database by `_changes`, page after page.

The server names each document at its latest change, with all its leaves, in its own order. It may name some
again and may rewind; so a reader must expect a document twice. Only the sequence at the end of
an answer is one to go on from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import database_url
from migrator.couch.rows import lines, listed, parsed, torn
from migrator.errors import Interrupted
from migrator.retry.retrier import Retrier

PAGE_ROWS = 100_000
BEGINNING = "0"


class Change(NamedTuple):
    """A document that changed: its id, all its leaves, and whether the winner among them is a deletion."""

    id: str
    revs: tuple[str, ...]
    deleted: bool


class Tail(NamedTuple):
    """The end of an answer: where to go on, how many changes it held, how many are left (None: not said)."""

    last_seq: str
    rows: int
    pending: int | None


class Page(NamedTuple):
    """Some changes and the sequence after them."""

    changes: list[Change]
    last_seq: str
    pending: int | None


class ChangesFeed:
    """The changes of one database.

    Args:
        client: its server.
        database: its name.
        retrier: tries again; its `stopping` ends any reading with Interrupted.
        page_rows: changes asked for at once. A page is streamed, never held.
    """

    def __init__(
        self, client: CouchClient, database: str, retrier: Retrier, *, page_rows: int = PAGE_ROWS
    ) -> None:
        self._client = client
        self._database = database
        self._retrier = retrier
        self._page_rows = page_rows
        self._what = f"Reading the changes of {database_url(client.endpoint, database)}"

    def list(self, since: str, take: Callable[[Change], None]) -> str:
        """Give every change after `since` to `take`, some perhaps twice; the sequence up to which it was read.

        A database that is written to meanwhile does not keep this from ending: what comes later is left for later.

        Raises:
            EndpointError: there is no such database, or it cannot be read.
        """
        while True:
            tail = self._page(since, take)
            since = tail.last_seq
            if tail.rows < self._page_rows:
                return since

    def page(self, since: str) -> Page:
        """The next changes after `since`, at most `page_rows`, held; empty where nothing has changed yet.

        Raises:
            EndpointError: as for list.
        """
        changes: list[Change] = []
        tail = self._page(since, changes.append, begin=changes.clear)
        return Page(changes, tail.last_seq, tail.pending)

    def _page(self, since: str, take: Callable[[Change], None], begin: Callable[[], None] = lambda: None) -> Tail:
        def attempt(_: int) -> Tail:
            begin()
            return self._read(since, take)

        return self._retrier.call(f"list changes of {self._database}", attempt)

    def _read(self, since: str, take: Callable[[Change], None]) -> Tail:
        limit = str(self._page_rows)
        # One sequence a page: making one for every row costs the server half its time.
        query = {"style": "all_docs", "since": since, "limit": limit, "seq_interval": limit}
        with closing(self._client.stream(self._what, self._database, "_changes", params=query)) as pieces:
            changes = read_changes(until(self._retrier.stopping, pieces), self._what)
            while True:
                try:
                    take(next(changes))
                except StopIteration as end:
                    tail: Tail = end.value
                    return tail


def takes_since(client: CouchClient, database: str, since: str) -> bool:
    """False when the server refuses a sequence, or the database has not come so far: it is another or older.

    Raises:
        EndpointError: the database cannot be read.
    """
    what, params = f"Reading the changes of {database}", {"since": since, "limit": "1"}
    if client.ask(what, "GET", database, "_changes", ok=(200, 400), params=params).status == 400:
        return False
    info = client.database_info(database) or {}
    return _number(since) <= _number(info.get("update_seq", since))


def _number(seq: object) -> int:
    """The count at the beginning of a sequence."""
    digits = str(seq).partition("-")[0]
    return int(digits) if digits.isdigit() else 0


def until(stopping: threading.Event, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a stream, until it is to stop.

    Raises:
        Interrupted: it is to stop.
    """
    for piece in pieces:
        if stopping.is_set():
            raise Interrupted("Stopped while reading changes.", hint="Go on later with the same command.")
        yield piece


def read_changes(pieces: Iterable[bytes], what: str) -> Generator[Change, None, Tail]:
    """Yield the changes of one answer, and return its end.

    Raises:
        TransientError: the answer is not whole, or an error stands in it.
    """
    rest = lines(pieces)
    head = b""
    # A server that works for long may send empty lines first.
    while not head and (line := next(rest, None)) is not None:
        head = line.strip()
    count = 0
    if head != b'{"results":[':
        return (yield from _whole(head, rest, what))
    for line in rest:
        text = line.strip()
        if text.startswith(b"]"):
            tail = text[1:].lstrip(b",") + b"".join(rest)
            return _tail(_object(b"{" + tail, what), count, tail, what)
        if text:
            yield _change(_object(text.removesuffix(b","), what), text, what)
            count += 1
    raise torn(b"", what)


def _whole(head: bytes, rest: Iterable[bytes], what: str) -> Generator[Change, None, Tail]:
    """An answer of another layout, which only servers give that hold it in memory themselves."""
    text = b"\n".join([head, *rest])
    value = _object(text, what)
    rows = listed(text, what, "results")
    for row in rows:
        yield _change(row, text[-500:], what)
    return _tail(value, len(rows), text[-500:], what)


def _object(text: bytes, what: str) -> dict[str, object]:
    value = parsed(text, what)
    if not isinstance(value, dict):
        raise torn(text, what)
    return value


def _change(row: dict[str, object], text: bytes, what: str) -> Change:
    id, changes = row.get("id"), row.get("changes")
    if not isinstance(id, str) or not isinstance(changes, list):
        raise torn(text, what)
    return Change(id, tuple(change["rev"] for change in changes), row.get("deleted") is True)


def _tail(value: dict[str, object], rows: int, text: bytes, what: str) -> Tail:
    last_seq, pending = value.get("last_seq"), value.get("pending")
    if not isinstance(last_seq, str | int) or "error" in value:
        raise torn(text, what)
    return Tail(str(last_seq), rows, pending if isinstance(pending, int) else None)

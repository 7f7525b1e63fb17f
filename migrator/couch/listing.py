"""Lists a database by `_all_docs` in order of ids: page after page, or several ranges at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from migrator.couch.id_ranges import Part, Rank, parallel_rows, parts
from migrator.couch.pacing import Pace
from migrator.couch.responses import Answer
from migrator.couch.rows import Row, read_rows
from migrator.errors import EndpointError, TransientError

# Rows of one range: few enough to wait in memory until it is their turn, enough to be worth a request.
PART_ROWS = 2_000
# With fewer rows after a position there is nothing to gain.
MIN_PARTS = 4
# Fewer revisions say nothing about the next ones.
MIN_SEEN = 100


# The next key in byte order after a given one is the same with a NUL after it.
SUCCESSOR = "\u0000"


class IdRange(NamedTuple):
    """Ids from `first` to `last`, both included; `last` None for no end."""

    first: str
    last: str | None


COUCHDB_RANGES = (IdRange("", None),)
# Without an end PouchDB Server lists no id after U+00FF. Its two kinds of storage order ids by UTF-16 units or by
# bytes, which is the same between the first characters of each of these ranges; the last ones are not characters.
POUCHDB_RANGES = (
    IdRange("", "\ud7ff" * 8),
    IdRange("\ue000", "\uffff" * 8),
    IdRange("\U00010000", "\U0010ffff" * 8),
)


class DocumentsWanted:
    """Says whether to list with documents: as most that were listed lately were not proven by their revision.

    Safe for threads: what two of them note at once may count as one.
    """

    def __init__(self) -> None:
        self._seen = self._unproven = 0
        self._wanted = False

    def note(self, seen: int, unproven: int) -> None:
        """So many revisions were looked at, and so many of them proved nothing."""
        self._seen += seen
        self._unproven += unproven

    def __call__(self) -> bool:
        """True when it is worth it; what was noted since the last time decides, where it is enough."""
        if self._seen >= MIN_SEEN:
            self._wanted = 2 * self._unproven > self._seen
            self._seen = self._unproven = 0
        return self._wanted


@dataclass(frozen=True)
class Listing:
    """The list of one database.

    Args:
        ask: sends a query to `_all_docs` and gives the answer's body.
        id_ranges: how the server must be walked through.
        what: what is read, for errors.
        pace: how fast documents may be read.
    """

    ask: Callable[[Mapping[str, Any]], Generator[bytes]]
    id_ranges: Sequence[IdRange]
    what: str
    pace: Pace = field(default_factory=Pace)

    def rows(
        self,
        *,
        after: str | None = None,
        include_docs: bool | Callable[[], bool] = False,
        page_rows: int = 5_000,
        at_once: int = 1,
    ) -> Iterator[Row]:
        """Yield all rows in order of their ids' bytes, streamed.

        Args:
            after: begin after this id.
            include_docs: with the documents; or what says so of each page.
            page_rows: rows asked for at once.
            at_once: how many ranges are read at once; with one, and where it gains nothing, page comes after page.
        """

        def read_page(params: Mapping[str, Any]) -> Iterator[Row]:
            whole = include_docs() if callable(include_docs) else include_docs
            # What is given up in the middle lets go of its connection at once.
            with closing(self.ask({**params, "include_docs": whole})) as pieces:
                rows = read_rows(pieces, self.what, include_docs=whole)
                yield from self.pace.each(rows) if whole else rows

        # What may be read slowly is read in small pieces, and not before its turn.
        page_rows = self.pace.at_most(page_rows)
        at_once = 1 if self.pace.limited else at_once
        found = self._parts(after) if at_once > 1 and self.id_ranges is COUCHDB_RANGES else None
        if found is None:
            return walk(read_page, self.id_ranges, self.what, after=after, page_rows=page_rows)

        def read(part: Part) -> Generator[Row]:
            yield from self.within(part).rows(include_docs=include_docs, page_rows=page_rows)

        return self._in_order(found, read, after, at_once)

    def within(self, part: Part) -> Listing:
        """The list of a part, on a server whose ids are in the order of their bytes."""
        ask = self.ask
        return replace(
            self,
            ask=lambda params: ask({**params, "inclusive_end": False}),
            id_ranges=(IdRange(part.first, part.end),),
        )

    def boundaries(self, max_rows: int) -> list[str]:
        """Keys between which there are about `max_rows` rows: asked for where ranks are known, else read."""
        if self.id_ranges is COUCHDB_RANGES:
            total = self._look({"limit": 0}).get("total_rows")
            if isinstance(total, int):
                return [part.first for part in parts(self.rank, self.last, "", total, max_rows)][1:]
        return [row.id for number, row in enumerate(self.rows(), 1) if number % max_rows == 0]

    def rank(self, key: str) -> Rank:
        """`offset` of the first row from the key on, which the server knows without reading what is before."""
        answer = self._look({"startkey": key, "limit": 1})
        before, rows = answer.get("offset"), answer.get("rows")
        if not isinstance(before, int) or not isinstance(rows, list):
            raise TransientError("The server does not say any more how many ids come first.", signature="no rank")
        return Rank(before, str(rows[0]["id"]) if rows else None)

    def last(self, key: str | None = None) -> str | None:
        """The first row from the key on, backwards."""
        params: dict[str, Any] = {"descending": True, "limit": 1}
        rows = self._look(params if key is None else {**params, "startkey": key}).get("rows")
        return str(rows[0]["id"]) if rows else None

    def _look(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to a query of few rows, without documents."""
        return dict(Answer(200, {}, b"".join(self.ask(params))).json(self.what))

    def _parts(self, after: str | None) -> Iterator[Part] | None:
        """The parts to read; None where one reading is as good."""
        first = "" if after is None else after + SUCCESSOR
        try:
            answer = self._look({"startkey": first, "limit": 1})
        except TransientError:
            return None
        total, before = answer.get("total_rows"), answer.get("offset")
        if not isinstance(total, int) or not isinstance(before, int) or total - before < MIN_PARTS * PART_ROWS:
            return None
        return parts(self.rank, self.last, first, total, PART_ROWS)

    def _in_order(
        self, found: Iterator[Part], read: Callable[[Part], Generator[Row]], last: str | None, at_once: int
    ) -> Iterator[Row]:
        with closing(parallel_rows(found, read, at_once=at_once)) as rows:
            yield from ascending(rows, self.what, last)


def ascending(rows: Iterable[Row], what: str, last: str | None) -> Iterator[Row]:
    """Yield the rows, as long as each comes after the one before it, in the order of their ids' bytes.

    Raises:
        EndpointError: one does not; rows before it may be missing, so reading must start over.
    """
    for row in rows:
        if last is not None and row.id <= last:
            raise out_of_order(what, row.id, last)
        last = row.id
        yield row


def walk(
    read_page: Callable[[Mapping[str, Any]], Iterator[Row]],
    ranges: Sequence[IdRange],
    what: str,
    *,
    after: str | None,
    page_rows: int,
) -> Generator[Row]:
    """Yield the rows of all pages.

    Args:
        read_page: gives the rows of one query, whose parameters are `limit`, `startkey` and `endkey`.
        ranges: what to walk through, in order.
        what: what is read, for errors.
        after: begin after this id.
        page_rows: rows asked for at once.

    Raises:
        EndpointError: a row came out of order; rows before it may be missing, so reading must start over.
    """
    last = after
    for first, end in ranges:
        if last is not None and end is not None and last[:1] > end[0]:
            continue
        count = page_rows
        while count >= page_rows:
            params: dict[str, Any] = {"limit": page_rows}
            if last is not None and last >= first:
                params["startkey"] = last + SUCCESSOR
            elif first:
                params["startkey"] = first
            if end is not None:
                params["endkey"] = end
            count = 0
            for count, row in enumerate(read_page(params), 1):  # noqa: B007 asked for after the loop
                # Python compares texts by code points, which is the order of their bytes.
                if end is None and last is not None and row.id <= last:
                    raise out_of_order(what, row.id, last)
                last = row.id
                yield row


def out_of_order(what: str, id: str, last: str) -> EndpointError:
    """What is raised when an id comes after one that it should come before."""
    return EndpointError(
        f"{what}: {id!r:.100} came after {last!r:.100}, out of order.",
        hint="Something between here and the server mixes up answers; then start over with --restart.",
    )

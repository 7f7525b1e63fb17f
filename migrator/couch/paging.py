"""Walks `_all_docs` page after page by key, never by `skip`, so that every id is given once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from migrator.couch.rows import Row
from migrator.errors import EndpointError

# The next key in byte order after a given one is the same with a NUL after it.
SUCCESSOR = "\u0000"


class IdRange(NamedTuple):
    """Ids from `first` to `last`, both included; `last` None for no end."""

    first: str
    last: str | None


COUCHDB_RANGES = (IdRange("", None),)
# Without an end PouchDB Server lists no id after U+00FF. Its two kinds of storage order ids by UTF-16 units or by
# bytes, which is the same between the first characters of each of these ranges; their last ones are no characters.
POUCHDB_RANGES = (
    IdRange("", "\ud7ff" * 8),
    IdRange("\ue000", "\uffff" * 8),
    IdRange("\U00010000", "\U0010ffff" * 8),
)


def walk(
    read_page: Callable[[Mapping[str, Any]], Iterator[Row]],
    ranges: Sequence[IdRange],
    what: str,
    *,
    after: str | None,
    page_rows: int,
) -> Iterator[Row]:
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
        hint="Something between here and the server mixes up answers; then start over: --restart.",
    )

"""Pages by key: which are asked for, and that none is believed whose rows are out of order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.couch.listing import COUCHDB_RANGES, POUCHDB_RANGES, walk
from migrator.couch.rows import Row
from migrator.errors import EndpointError


def utf16(text: str) -> bytes:
    """The order of JavaScript's strings."""
    return text.encode("utf-16-be")


class Listing:
    """A database in one order or another, which ends a listing without an end where PouchDB Server does."""

    def __init__(self, ids: set[str], *, order: Any = str.encode, unended: str | None = None) -> None:
        self.order = order
        self.ids = sorted(ids, key=order)
        self.unended = unended
        self.asked: list[Mapping[str, Any]] = []

    def __call__(self, params: Mapping[str, Any]) -> Iterator[Row]:
        """One page."""
        self.asked.append(params)
        begin = bisect_left(self.ids, self.order(params.get("startkey", "")), key=self.order)
        end = params.get("endkey", self.unended)
        found = [id for id in self.ids[begin:] if end is None or self.order(id) <= self.order(end)]
        return iter([Row(id, "1-a", None) for id in found[: params["limit"]]])


# The first and last characters of the ranges, and what lies between.
IDS = st.sets(st.text("az\x00\xffé\ud7fb日\ue000\ufffd\U00010000😀\U0010fffd", min_size=1, max_size=3))


@given(ids=IDS, page_rows=st.integers(1, 5))
def test_couchdb_gives_every_id_once_in_order(ids: set[str], page_rows: int) -> None:
    """Pages of any length."""
    listing = Listing(ids)
    found = [row.id for row in walk(listing, COUCHDB_RANGES, "Reading", after=None, page_rows=page_rows)]
    assert found == sorted(ids, key=str.encode)
    assert len(listing.asked) == len(ids) // page_rows + 1


@pytest.mark.parametrize("order", [str.encode, utf16])
@given(ids=IDS, page_rows=st.integers(1, 5))
def test_pouchdb_gives_every_id_once_in_either_order(order: Any, ids: set[str], page_rows: int) -> None:
    """Whatever its storage's order is, and though a listing without an end stops early."""
    listing = Listing(ids, order=order, unended="\xff")
    found = [row.id for row in walk(listing, POUCHDB_RANGES, "Reading", after=None, page_rows=page_rows)]
    assert sorted(found) == sorted(ids)


@pytest.mark.parametrize(
    ("order", "ranges"), [(str.encode, COUCHDB_RANGES), (str.encode, POUCHDB_RANGES), (utf16, POUCHDB_RANGES)]
)
@given(ids=IDS.filter(bool), page_rows=st.integers(1, 5), data=st.data())
def test_goes_on_behind_any_id(
    order: Any, ranges: Any, ids: set[str], page_rows: int, data: st.DataObject
) -> None:
    """From each position comes what a whole reading gives after it."""
    whole = [row.id for row in walk(Listing(ids, order=order), ranges, "Reading", after=None, page_rows=page_rows)]
    number = data.draw(st.integers(1, len(whole)))
    later = walk(Listing(ids, order=order), ranges, "Reading", after=whole[number - 1], page_rows=page_rows)
    assert [row.id for row in later] == whole[number:]


def test_asks_for_pages_by_key() -> None:
    """Each page begins right after the last row; a full page is followed by another."""
    listing = Listing({"a", "b", "c", "d"})
    list(walk(listing, COUCHDB_RANGES, "Reading", after=None, page_rows=2))
    assert listing.asked == [{"limit": 2}, {"limit": 2, "startkey": "b\x00"}, {"limit": 2, "startkey": "d\x00"}]


@pytest.mark.parametrize("ids", [["a", "c", "b"], ["a", "a"], ["b", "a"]])
def test_a_page_out_of_order_is_an_error(ids: list[str]) -> None:
    """It belongs to another question, or rows are missing before it."""
    with pytest.raises(EndpointError, match=r"Reading db: .* out of order"):
        list(
            walk(
                lambda _: (Row(id, "1-a", None) for id in ids),
                COUCHDB_RANGES,
                "Reading db",
                after=None,
                page_rows=9,
            )
        )


def test_a_page_from_before_is_an_error() -> None:
    """Its first row is not after what was asked for."""
    rows = [Row("a", "1-a", None)]
    with pytest.raises(EndpointError, match="'a' came after 'm'"):
        list(walk(lambda _: iter(rows), COUCHDB_RANGES, "Reading", after="m", page_rows=9))

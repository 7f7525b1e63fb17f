"""Ranges of ids: together they are all ids, none is too long, and few questions find them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.couch.id_ranges import Part, Rank, middle, parts
from migrator.errors import TransientError


class Server:
    """Knows a list of ids and counts what it is asked."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = sorted(ids)
        self.asked = 0

    def rank(self, key: str) -> Rank:
        """As CouchDB does."""
        self.asked += 1
        before = bisect_left(self.ids, key)
        return Rank(before, self.ids[before] if before < len(self.ids) else None)

    def last(self, key: str | None = None) -> str | None:
        """As CouchDB does."""
        self.asked += 1
        count = len(self.ids) if key is None else bisect_right(self.ids, key)
        return self.ids[count - 1] if count else None

    def within(self, part: Part) -> list[str]:
        """The ids of a part."""
        end = len(self.ids) if part.end is None else bisect_left(self.ids, part.end)
        return self.ids[bisect_left(self.ids, part.first) : end]


IDS = {
    "numbers": [f"ticket-{number:06}" for number in range(5_000)],
    "digits": [str(number) for number in range(5_000)],
    "hex": [f"{number * 2654435761 % 2**32:08x}" for number in range(5_000)],
    "two kinds": [f"{kind}:日本é{number}" for kind in ("invoice", "org.couchdb.user") for number in range(2_500)],
    "beyond the plane": [f"{chr(0x10000 + number)}" for number in range(5_000)],
    "around the surrogates": [chr(number) for number in [*range(0xD000, 0xD800), *range(0xE000, 0xE800)]],
}


@pytest.mark.parametrize("kind", IDS)
def test_parts_are_short_and_cheap(kind: str) -> None:
    """No part is longer than it may be, and a part costs a handful of questions."""
    server = Server(IDS[kind])
    found = list(parts(server.rank, server.last, "", len(server.ids), 200))
    assert server.ids == [id for part in found for id in server.within(part)]
    assert max(len(server.within(part)) for part in found) <= 200
    assert len(found) <= 2 * len(server.ids) / 200
    assert server.asked <= 6 * len(found)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(st.sets(texts, max_size=60), texts, st.integers(1, 10))
def test_parts_hold_everything_once(ids: set[str], first: str, max_rows: int) -> None:
    """Part follows part without a gap from the first key to the end, whatever ids there are."""
    server = Server(list(ids))
    found = list(parts(server.rank, server.last, first, len(ids), max_rows))
    assert found[0].first == first
    assert [part.first for part in found[1:]] == [part.end for part in found[:-1]]
    assert found[-1].end is None
    assert [id for id in server.ids if id >= first] == [id for part in found for id in server.within(part)]


def test_ids_that_no_middle_parts_cost_no_endless_questions() -> None:
    """Where each id is the beginning of the next, asking stops, and what is left is one part."""
    server = Server(["x" * length for length in range(1, 3_000)])
    found = list(parts(server.rank, server.last, "", 2_999, 100))
    assert server.ids == [id for part in found for id in server.within(part)]
    assert server.asked <= 200


@pytest.mark.parametrize("fails_at", range(1, 30))
def test_a_server_in_trouble_is_asked_no_more(fails_at: int) -> None:
    """What only makes reading faster is not a reason to fail: what is not divided yet is one part."""

    class Failing(Server):
        def rank(self, key: str) -> Rank:
            if self.asked >= fails_at:
                raise TransientError("busy")
            return super().rank(key)

    server = Failing(IDS["hex"])
    found = list(parts(server.rank, server.last, "", 5_000, 200))
    assert server.ids == [id for part in found for id in server.within(part)]
    assert server.asked <= fails_at + 1


@given(texts, texts)
def test_a_middle_lies_between(a: str, b: str) -> None:
    """Between two texts, or nowhere; and it can be sent."""
    key = middle(a, b)
    if key is not None:
        assert a < key < b
        key.encode()

"""Several ranges at once: in order, in bounded memory, and over when nobody wants more."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from migrator.couch.id_ranges import BUFFER_BYTES, ROW_OVERHEAD_BYTES, Part, parallel_rows
from migrator.couch.rows import Row
from migrator.errors import TransientError

PARTS = [Part(f"{number:03}", f"{number + 1:03}") for number in range(30)]


def rows_of(part: Part, count: int = 10, size: int = 10) -> Generator[Row]:
    """So many rows of a part."""
    yield from (Row(f"{part.first}-{number:05}", "1-a", b"x" * size) for number in range(count))


def readers() -> list[threading.Thread]:
    """Threads that read."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


@pytest.mark.parametrize("at_once", [1, 2, 7, 100])
def test_rows_come_in_order_of_all_parts(at_once: int) -> None:
    """Later parts that are read sooner wait until it is their turn."""

    def read(part: Part) -> Generator[Row]:
        time.sleep(0.003 * (30 - int(part.first)) % 0.01)
        return rows_of(part)

    found = [row.id for row in parallel_rows(iter(PARTS), read, at_once=at_once)]
    assert [f"{part.first}-{number:05}" for part in PARTS for number in range(10)] == found
    assert readers() == []


def test_so_many_are_read_at_once_and_no_more() -> None:
    """The next parts are begun before the first one ends, but not all of them."""
    begun: list[str] = []
    met = threading.Barrier(3)

    def read(part: Part) -> Generator[Row]:
        begun.append(part.first)
        if len(begun) <= 3:
            met.wait(10)
        return rows_of(part)

    rows = parallel_rows(iter(PARTS), read, at_once=3)
    next(rows)
    time.sleep(0.05)
    assert sorted(begun) == ["000", "001", "002"]
    rows.close()


def test_what_waits_is_bounded() -> None:
    """A part that is far ahead is read no further than its share of memory, however long it is."""
    given: dict[str, int] = dict.fromkeys((part.first for part in PARTS), 0)

    def read(part: Part) -> Generator[Row]:
        for row in rows_of(part, 400, 30_000):
            given[part.first] += 1
            yield row

    rows = parallel_rows(iter(PARTS), read, at_once=4)
    next(rows)
    time.sleep(0.3)
    most = BUFFER_BYTES // (30_000 + ROW_OVERHEAD_BYTES) + 2
    assert max(given.values()) <= most < 400
    assert sum(count > 0 for count in given.values()) == 4
    rows.close()
    assert readers() == []


def test_an_error_comes_behind_what_was_read_before_it() -> None:
    """All rows of the parts before, and those of its own part that had come."""

    def read(part: Part) -> Generator[Row]:
        yield from rows_of(part)
        if part.first == "003":
            raise TransientError("broke off")

    found: list[str] = []
    with pytest.raises(TransientError, match="broke off"):
        found.extend(row.id for row in parallel_rows(iter(PARTS), read, at_once=8))
    assert readers() == []


def test_rows_before_an_error_are_given() -> None:
    """What an error ends is taken up after the last row that was given."""

    def read(part: Part) -> Generator[Row]:
        yield from rows_of(part, 400, 2_000)
        if part.first == "001":
            raise TransientError("broke off")

    found: list[str] = []
    with pytest.raises(TransientError):
        found.extend(row.id for row in parallel_rows(iter(PARTS), read, at_once=8))
    assert sorted(set(found)) == found
    assert found[-1].startswith("001-")


def test_an_error_of_the_divider_comes_too() -> None:
    """Where the parts end by an error, the rows do."""

    def torn() -> Iterator[Part]:
        yield from PARTS[:2]
        raise TransientError("no more")

    found: list[str] = []
    with pytest.raises(TransientError, match="no more"):
        found.extend(row.id for row in parallel_rows(torn(), rows_of, at_once=2))
    assert len(found) == 20


def test_nothing_is_nothing() -> None:
    """No parts, no rows; empty parts, no rows."""
    assert list(parallel_rows(iter(()), rows_of, at_once=3)) == []
    assert list(parallel_rows(iter(PARTS), lambda part: rows_of(part, 0), at_once=3)) == []

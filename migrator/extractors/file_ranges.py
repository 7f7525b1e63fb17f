"""Divides a file at its records' ends, so that several processes can read it, each a range of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any

from migrator.errors import CheckpointError
from migrator.model import Position, Record


def parse_position(position: Position) -> tuple[int, int]:
    """Offset and number of a file's position, `<offset after the record>:<lines or records so far>`.

    Raises:
        CheckpointError: it is none of a file's.
    """
    offset, _, number = str(position).partition(":")
    if not (offset.isdecimal() and number.isdecimal()):
        raise CheckpointError(
            f"The checkpoint's position {position!r} is none of a file's.", hint="Start over with --restart."
        )
    return int(offset), int(number)


def dividing_positions(ends: Iterable[tuple[int, int]], size: int, parts: int, min_rows: int) -> list[str]:
    """Positions that divide a file into about so many parts of about one size.

    Args:
        ends: offset and number after each of its records.
        size: its bytes.
        parts: so many at most.
        min_rows: so many records or lines has each at least.
    """
    found: list[str] = []
    last = 0
    for offset, number in ends:
        if offset * parts >= size * (len(found) + 1) and number - last >= min_rows and offset < size:
            found.append(f"{offset}:{number}")
            last = number
    return found


def up_to(records: Iterator[Record], bound: Position, key: Callable[[Position], Any]) -> Iterator[Record]:
    """Yield the records up to and with a bound, by what `key` makes of positions."""
    last = key(bound)
    return takewhile(lambda record: key(record.position) <= last, records)

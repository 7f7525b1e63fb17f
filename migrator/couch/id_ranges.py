"""Divides a database into ranges of ids of about as many rows each, and reads several of them at once.

It asks how many ids come before a key: a key in the middle between two ids costs one request, which the server
answers from the inner nodes of its tree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias, TypeVar

from migrator.couch.rows import Row
from migrator.errors import MigratorError, TransientError
from migrator.retry.window import Window

P = TypeVar("P")
T = TypeVar("T")

# So many characters after a common beginning make the middle of two ids.
_DIGITS = 4
# Code points without the surrogates, which are not characters.
_FIRST_SURROGATE, _SURROGATES = 0xD800, 0x800
_BASE = 0x110000 - _SURROGATES
# With ids that no middle parts (all but a few share a long beginning) the range is left as it is.
MAX_VAIN_PROBES = 40


class Rank(NamedTuple):
    """What the server says of a key: how many ids come before it, and the first one that does not."""

    before: int
    id: str | None


class Part(NamedTuple):
    """Ids from `first` on that are below `end`; None for no end."""

    first: str
    end: str | None


class _Open(NamedTuple):
    """A part that may be divided: its ids are from `lower` to `upper`, both included."""

    part: Part
    lower: str
    upper: str
    before: int
    rows: int
    vain: int = 0


RankOf: TypeAlias = Callable[[str], Rank]
"""Gives the rank of a key."""
LastOf: TypeAlias = Callable[[str | None], str | None]
"""Gives the last id up to a key, or of all."""


def parts(rank: RankOf, last: LastOf, first: str, total: int, max_rows: int) -> Iterator[Part]:
    """Yield parts in order that hold every id from `first` on, those included that appear meanwhile.

    Args:
        rank: asks the server for a rank.
        last: asks it for a last id.
        first: where to begin.
        total: how many ids there are in all.
        max_rows: most rows in a part, where ids can be parted.
    """
    held: Part | None = None
    held_rows = 0
    for part, rows in _divided(rank, last, first, total, max_rows):
        if held is None:
            held, held_rows = part, rows
        elif held_rows + rows <= max_rows:
            held, held_rows = Part(held.first, part.end), held_rows + rows
        else:
            yield held
            held, held_rows = part, rows
    if held is not None:
        yield held


def _divided(rank: RankOf, last_of: LastOf, first: str, total: int, max_rows: int) -> Iterator[tuple[Part, int]]:
    try:
        begin, last = rank(first), last_of(None)
    except TransientError:
        begin, last = Rank(0, None), None
    if begin.id is None or last is None:
        yield Part(first, None), 0
        return
    waiting = [_Open(Part(first, None), begin.id, last, begin.before, total - begin.before)]
    while waiting:
        now = waiting.pop()
        key = middle(now.lower, now.upper) if now.rows > max_rows and now.vain < MAX_VAIN_PROBES else None
        if key is None:
            yield now.part, now.rows
            continue
        try:
            at = rank(key)
            upper = last_of(key) if at.before - now.before >= now.rows else None
        except TransientError:
            # A server in trouble is not asked for what only makes reading faster.
            yield Part(now.part.first, None), total
            return
        left = at.before - now.before
        if 0 < left < now.rows and at.id is not None:
            # Cutting off a few rows at a time is as vain as cutting off none.
            vain = 0 if min(left, now.rows - left) * 50 >= now.rows else now.vain + 1
            waiting.append(_Open(Part(key, now.part.end), at.id, now.upper, at.before, now.rows - left, vain))
            waiting.append(_Open(Part(now.part.first, key), now.lower, key, now.before, left, vain))
            continue
        # Between two ids that there are the middle is a better one than between keys that nothing lies near.
        lower = at.id if left <= 0 and at.id is not None else now.lower
        waiting.append(now._replace(lower=lower, upper=upper or now.upper, vain=now.vain + 1))


def middle(lower: str, upper: str) -> str | None:
    """A text about half way between two, by code points; None where none lies between them.

    >>> middle("ticket-1", "ticket-5")
    'ticket-3'
    """
    same = 0
    for a, b in zip(lower, upper, strict=False):
        if a != b:
            break
        same += 1
    number = (_number(lower[same:]) + _number(upper[same:])) // 2
    characters = []
    for _ in range(_DIGITS):
        number, digit = divmod(number, _BASE)
        characters.append(chr(digit if digit < _FIRST_SURROGATE else digit + _SURROGATES))
    key = (lower[:same] + "".join(reversed(characters))).rstrip("\x00")
    return key if lower < key < upper else None


def _number(text: str) -> int:
    number = 0
    for place in range(_DIGITS):
        point = ord(text[place]) if place < len(text) else 0
        number = number * _BASE + (point if point < _FIRST_SURROGATE else point - _SURROGATES)
    return number


# How much of a range is held that is read before its turn.
BUFFER_BYTES = 2_000_000
# What CPython needs for a row in addition to its document.
ROW_OVERHEAD_BYTES = 200


def row_bytes(row: Row) -> int:
    """What a row needs in memory."""
    return ROW_OVERHEAD_BYTES + len(row.document or b"")


def parallel_rows(
    parts: Iterable[P],
    read: Callable[[P], Generator[T]],
    *,
    at_once: int,
    size_of: Callable[[Any], int] = row_bytes,
) -> Generator[T]:
    """Yield the rows of all parts, in order.

    What may be held of each of the next few parts is read in threads; what is left of a part, when its turn comes.

    Args:
        parts: the parts in order; taken one by one as they are needed.
        read: gives the rows of one part, in order.
        at_once: how many parts are read at once.
        size_of: the bytes that a row needs in memory.

    Raises:
        MigratorError: what a reading raised, after the rows that come before it in order.
    """
    unwanted = threading.Event()
    readings: set[Generator[T]] = set()

    def begin(part: P) -> tuple[list[T], Generator[T], MigratorError | None]:
        rows: list[T] = []
        size_bytes = 0
        reading = read(part)
        readings.add(reading)
        try:
            for row in reading:
                rows.append(row)
                size_bytes += size_of(row)
                if size_bytes >= BUFFER_BYTES or unwanted.is_set():
                    break
        except MigratorError as error:
            return rows, reading, error
        return rows, reading, None

    with ThreadPoolExecutor(at_once + 1, thread_name_prefix="reader") as pool:
        window = Window(pool, begin, at_once=lambda: at_once)
        try:
            for rows, rest, error in window.results(_ahead(pool, iter(parts))):
                yield from rows
                if error is not None:
                    raise error
                yield from rest
                readings.discard(rest)
        finally:
            unwanted.set()
            window.abandon()
            # A reading that is given up lets go of its connection.
            for reading in readings:
                reading.close()


def _ahead(pool: ThreadPoolExecutor, parts: Iterator[P]) -> Iterator[P]:
    """The parts, each found while the ones before it are read."""
    following = pool.submit(next, parts, None)
    while (part := following.result()) is not None:
        following = pool.submit(next, parts, None)
        yield part

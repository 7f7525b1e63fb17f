"""Reads several ranges of ids at once, and gives their rows in order of all ids, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from migrator.couch.id_ranges import Part
from migrator.couch.rows import Row
from migrator.errors import MigratorError
from migrator.retry.window import Window

# How much of a range is held that is read before its turn.
BUFFER_BYTES = 2_000_000
# What CPython needs for a row in addition to its document.
ROW_OVERHEAD_BYTES = 200


def parallel_rows(
    parts: Iterable[Part], read: Callable[[Part], Generator[Row]], *, at_once: int
) -> Generator[Row]:
    """Yield the rows of all parts, in order.

    What may be held of each of the next few parts is read in threads; what is left of a part, when its turn comes.

    Args:
        parts: the parts in order; taken one by one as they are needed.
        read: gives the rows of one part, in order.
        at_once: how many parts are read at once.

    Raises:
        MigratorError: what a reading raised, after the rows that come before it in order.
    """
    unwanted = threading.Event()
    readings: set[Generator[Row]] = set()

    def begin(part: Part) -> tuple[list[Row], Generator[Row], MigratorError | None]:
        rows: list[Row] = []
        size_bytes = 0
        reading = read(part)
        readings.add(reading)
        try:
            for row in reading:
                rows.append(row)
                size_bytes += ROW_OVERHEAD_BYTES + len(row.document or b"")
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


def _ahead(pool: ThreadPoolExecutor, parts: Iterator[Part]) -> Iterator[Part]:
    """The parts, each found while the ones before it are read."""
    following = pool.submit(next, parts, None)
    while (part := following.result()) is not None:
        following = pool.submit(next, parts, None)
        yield part

"""Reads several ranges of ids at once, and gives their rows in order of all ids, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from migrator.couch.id_ranges import Part
from migrator.couch.rows import Row

# How much of a range is held that is read before its turn.
BUFFER_BYTES = 2_000_000
# Rows are handed over so many bytes at a time.
PIECE_BYTES = 128_000
# What CPython needs for a row in addition to its document.
ROW_OVERHEAD_BYTES = 200
# So long are threads waited for that stand in a read when nobody wants it any more.
_LEAVE_S = 1.0


class _Abandoned(Exception):
    """Nobody wants the rows any more."""


class _Buffer:
    """The rows of one part between the thread that reads them and the one that gives them on."""

    def __init__(self, abandoned: threading.Event, max_bytes: int) -> None:
        self._abandoned = abandoned
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._pieces: deque[tuple[list[Row], int]] = deque()
        self._held = 0
        self._ended = False
        self._error: BaseException | None = None

    def put(self, rows: list[Row], size_bytes: int) -> None:
        """Add rows; wait where there are enough already."""
        with self._changed:
            while self._held and self._held + size_bytes > self._max_bytes and not self._abandoned.is_set():
                self._changed.wait()
            if self._abandoned.is_set():
                raise _Abandoned
            self._pieces.append((rows, size_bytes))
            self._held += size_bytes
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes, because of an error or because that was all."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def wake(self) -> None:
        """Let whoever waits look again whether the rows are wanted."""
        with self._changed:
            self._changed.notify_all()

    def pieces(self) -> Iterator[list[Row]]:
        """Take the rows; an error comes after those that were read before it."""
        while True:
            with self._changed:
                while not self._pieces and not self._ended:
                    self._changed.wait()
                if not self._pieces:
                    if self._error is not None:
                        raise self._error
                    return
                rows, size_bytes = self._pieces.popleft()
                self._held -= size_bytes
                self._changed.notify_all()
            yield rows


class ParallelRows:
    """The rows of all parts, in order.

    One thread divides, one reads each of the next few parts; all of them end when the reading is closed.

    Args:
        parts: the parts in order; taken one by one as they are needed.
        read: gives the rows of one part, in order.
        at_once: how many parts are read at once.
        max_bytes: how much of each part is held.
    """

    def __init__(
        self,
        parts: Iterator[Part],
        read: Callable[[Part], Generator[Row]],
        *,
        at_once: int,
        max_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._parts = parts
        self._read = read
        self._at_once = at_once
        self._max_bytes = max_bytes
        self._abandoned = threading.Event()
        self._free = threading.Semaphore(at_once)
        self._changed = threading.Condition()
        self._buffers: deque[_Buffer] = deque()
        self._all: BaseException | bool = False
        self._threads: list[threading.Thread] = []

    def rows(self) -> Generator[Row]:
        """Yield the rows.

        Raises:
            MigratorError: what a reading raised, after the rows that come before it in order.
        """
        self._start(self._divide)
        try:
            while (buffer := self._next()) is not None:
                for piece in buffer.pieces():
                    yield from piece
                with self._changed:
                    self._buffers.popleft()
                self._free.release()
        finally:
            self._abandon()

    def _next(self) -> _Buffer | None:
        with self._changed:
            while not self._buffers and self._all is False:
                self._changed.wait()
            if self._buffers:
                return self._buffers[0]
            if isinstance(self._all, BaseException):
                raise self._all
            return None

    def _divide(self) -> None:
        end: BaseException | bool = True
        try:
            for part in self._parts:
                self._free.acquire()
                if self._abandoned.is_set():
                    return
                buffer = _Buffer(self._abandoned, self._max_bytes)
                with self._changed:
                    self._buffers.append(buffer)
                    self._changed.notify_all()
                self._start(self._fill, part, buffer)
        except BaseException as error:  # noqa: BLE001 raised where the rows are taken
            end = error
        finally:
            with self._changed:
                self._all = end
                self._changed.notify_all()

    def _fill(self, part: Part, buffer: _Buffer) -> None:
        try:
            rows: list[Row] = []
            size_bytes = 0
            # A reading that is given up lets go of its connection.
            with closing(self._read(part)) as found:
                for row in found:
                    rows.append(row)
                    size_bytes += ROW_OVERHEAD_BYTES + len(row.document or b"")
                    if size_bytes >= PIECE_BYTES:
                        buffer.put(rows, size_bytes)
                        rows, size_bytes = [], 0
            if rows:
                buffer.put(rows, size_bytes)
        except _Abandoned:
            return
        except BaseException as error:  # noqa: BLE001 raised where the rows are taken
            buffer.end(error)
        else:
            buffer.end()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        # A daemon, as a read that hangs must not keep the process from ending.
        thread = threading.Thread(target=work, args=arguments, name="reader", daemon=True)
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def _abandon(self) -> None:
        self._abandoned.set()
        self._free.release()
        with self._changed:
            buffers = list(self._buffers)
        for buffer in buffers:
            buffer.wake()
        for thread in list(self._threads):
            thread.join(_LEAVE_S)

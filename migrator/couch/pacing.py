"""When a server may be asked: not while it wants to be left alone, and no faster than it was said."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import TypeVar

from migrator.config.pace import UNLIMITED, PaceLimits
from migrator.couch.connections import BUFFER_BYTES
from migrator.couch.endpoint import Endpoint
from migrator.couch.responses import retry_after_s
from migrator.errors import Interrupted
from migrator.retry.bucket import Bucket
from migrator.retry.waiting import wait

T = TypeVar("T")

# A server says so with these, and with `Retry-After` for how long.
BUSY = frozenset({429, 503})


class Hold:
    """How long a server wants to be left alone, which all that ask it in this process heed together.

    Args:
        clock: seconds, for tests.
        wait: waits; False when it is to end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wait: Callable[[float], bool] = wait) -> None:
        self._clock = clock
        self._wait = wait
        self._until = float("-inf")

    def answered(self, status: int, headers: Mapping[str, str], max_hold_s: float) -> None:
        """Look at an answer. Whoever got one that asks for a longer wait gives up, so nobody waits for that."""
        if status in BUSY and (asked_s := retry_after_s(headers)) and asked_s <= max_hold_s:
            self._until = max(self._until, self._clock() + asked_s)

    def heed(self) -> None:
        """Wait until the server may be asked, or the run is to stop."""
        while (left_s := self._until - self._clock()) > 0:
            if not self._wait(left_s):
                return


_holds: dict[str, Hold] = {}


def hold_of(endpoint: Endpoint) -> Hold:
    """The one of this server."""
    return _holds.setdefault(endpoint.url, Hold())


# Rows are counted in groups of what goes in so long.
GROUP_S = 0.1
# Pieces of a body are sent and received as they go in so long, but none smaller than so many bytes.
PIECE_S = 0.1
MIN_PIECE_BYTES = 4_096


class Pace:
    """How fast one client uses its server: documents and bytes of all its threads are counted together.

    A document that is read and one that is written count apart, so that a copy within a server goes as fast as one
    between two. Bytes are those of bodies, as they are sent.

    Args:
        limits: how fast.
    """

    def __init__(self, limits: PaceLimits = UNLIMITED) -> None:
        self._per_s, size = limits.docs_per_s, limits.bytes_per_s
        self._reads, self._writes = (Bucket(self._per_s) if self._per_s else None for _ in range(2))
        self._bytes = Bucket(size) if size else None
        self.piece_bytes = min(BUFFER_BYTES, max(MIN_PIECE_BYTES, int(size * PIECE_S))) if size else BUFFER_BYTES

    @property
    def counts_bytes(self) -> bool:
        """True where it matters how many bytes go."""
        return self._bytes is not None

    @property
    def limited(self) -> bool:
        """True where it matters how fast."""
        return self._reads is not None or self._bytes is not None

    def at_most(self, count: int) -> int:
        """So many, but no more documents than go in a second."""
        return min(count, max(1, int(self._per_s))) if self._per_s else count

    def read(self, documents: int) -> None:
        """Wait until so many documents may be read."""
        if self._reads:
            self._reads.take(documents)

    def write(self, documents: int) -> None:
        """Wait until so many documents may be written.

        Raises:
            Interrupted: the run was asked to stop meanwhile; they are not to be written.
        """
        if self._writes and not self._writes.take(documents):
            raise Interrupted("Stopped while waiting to write.", hint="Go on later with --resume.")

    def each(self, rows: Generator[T]) -> Generator[T]:
        """The same rows, each a document, no faster than they may be read."""
        return self._each(rows) if self._reads else rows

    def _each(self, rows: Generator[T]) -> Generator[T]:
        group = max(1, int(self._per_s * GROUP_S))
        count = 0
        with closing(rows):
            for row in rows:
                count += 1
                if count == group:
                    self.read(count)
                    count = 0
                yield row
        self.read(count)

    def sent(self, body: bytes | Iterable[bytes]) -> Iterator[bytes]:
        """What is sent, piece by piece, no faster than it may be."""
        whole = (body,) if isinstance(body, bytes) else body
        for piece in whole:
            for begin in range(0, len(piece), self.piece_bytes):
                part = piece[begin : begin + self.piece_bytes]
                self.transfer(len(part))
                yield part

    def received(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces, no faster than they may come."""
        return map(self._after, pieces) if self._bytes else pieces

    def _after(self, piece: bytes) -> bytes:
        self.transfer(len(piece))
        return piece

    def transfer(self, size_bytes: int) -> None:
        """Wait until so many bytes may be sent, or more than were received."""
        if self._bytes:
            self._bytes.take(size_bytes)

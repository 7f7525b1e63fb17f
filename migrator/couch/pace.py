"""Connections that give up when the other side goes on, but so slowly that it comes to nothing.

A socket's timeout begins again with each byte, so a server that drips one byte a second is waited for without end.
What counts here is the time spent waiting and what came of it, never how long a transfer takes altogether:
a large one in good health may last for hours, and a pause of our own between two readings costs nothing.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

# Below this a transfer is given up. A modem of the last century gave more.
MIN_BYTES_PER_S = 256
# A body is sent in pieces of this size, each within the timeout, however many there are.
PIECE_BYTES = 65_536


class TooSlow(TimeoutError):
    """The other side sends too little."""


class Pace:
    """Watches what comes of waiting.

    Args:
        window_s: after so many seconds spent waiting, the least rate must have been kept.
        clock: seconds, for tests.
    """

    def __init__(self, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._clock = clock
        self._begun = False
        self._waited_s = 0.0
        self._bytes = 0

    def wait(self, read: Callable[[], int | None]) -> int | None:
        """Call what waits for bytes, and give how many came.

        Raises:
            TooSlow: far too few have come for the time spent waiting.
        """
        started = self._clock()
        count = read()
        if not self._begun:
            # How long a server thinks before it answers is a matter of the socket's timeout alone.
            self._begun = True
            return count
        # So is a pause: it counts as half a window at most, since much may come after it.
        self._waited_s += min(self._clock() - started, self._window_s / 2)
        self._bytes += count or 0
        if self._waited_s > self._window_s:
            if self._bytes < MIN_BYTES_PER_S * self._waited_s:
                raise TooSlow(f"{self._bytes} bytes in {self._waited_s:.1f} s")
            self._waited_s, self._bytes = 0.0, 0
        return count


class _PacedFile(io.RawIOBase):
    """The raw reading end of a socket."""

    def __init__(self, raw: Any, pace: Pace) -> None:
        self._raw = raw
        self._pace = pace

    def readinto(self, buffer: Any) -> int | None:
        return self._pace.wait(lambda: self._raw.readinto(buffer))

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _PacedSocket:
    """What an answer asks of a socket: to be read like a file."""

    def __init__(self, sock: socket.socket, window_s: float) -> None:
        self._sock = sock
        self._window_s = window_s

    def makefile(self, mode: str) -> io.BufferedReader:
        """The reading end; one for each answer."""
        raw: Any = self._sock.makefile(mode, buffering=0)  # type: ignore[call-overload]
        return io.BufferedReader(_PacedFile(raw, Pace(self._window_s)))


class _PacedAnswer(http.client.HTTPResponse):
    """An answer that is read at a pace."""

    def __init__(self, sock: socket.socket, *args: Any, window_s: float, **kwargs: Any) -> None:
        super().__init__(_PacedSocket(sock, window_s), *args, **kwargs)  # type: ignore[arg-type]


class _Paced:
    """Mixed into a connection."""

    timeout_s: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.response_class = partial(_PacedAnswer, window_s=self.timeout_s / 2)

    def send(self, data: Any) -> None:
        """Send in pieces: a timeout is for one of them, however many there are."""
        connection: Any = self
        if connection.sock is None and connection.auto_open:
            connection.connect()
        connection.sock.settimeout(self.timeout_s)
        if not isinstance(data, bytes | bytearray | memoryview):
            super().send(data)  # type: ignore[misc]
            return
        view = memoryview(data)
        for begin in range(0, len(view), PIECE_BYTES):
            super().send(view[begin : begin + PIECE_BYTES])  # type: ignore[misc]


def pool_classes(timeout_s: float) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Pools of connections by scheme, of which each keeps a pace.

    Args:
        timeout_s: the longest silence. Half of it, spent waiting, must have brought something.
    """
    found: dict[str, type[urllib3.HTTPConnectionPool]] = {}
    bases: list[tuple[str, type, type[urllib3.HTTPConnectionPool]]] = [
        ("http", HTTPConnection, urllib3.HTTPConnectionPool),
        ("https", HTTPSConnection, urllib3.HTTPSConnectionPool),
    ]
    for scheme, connection, pool in bases:
        paced = type(f"Paced{connection.__name__}", (_Paced, connection), {"timeout_s": timeout_s})
        found[scheme] = type(f"Paced{pool.__name__}", (pool,), {"ConnectionCls": paced})
    return found

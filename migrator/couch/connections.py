"""Connections that give up where the other side is too slow: by proxy and TLS as an endpoint says.

A socket's own timeout begins again with each byte, so that one byte a second is waited for without end.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Timeout

from migrator.couch.endpoint import Endpoint
from migrator.couch.places import divide_credentials
from migrator.couch.responses import TooSlow
from migrator.errors import ConfigError


def basic(user: str, password: str) -> str:
    """The header of a name and a password."""
    # What the environment holds need not be UTF-8.
    return f"Basic {b64encode(f'{user}:{password}'.encode(errors='surrogateescape')).decode()}"


def timeout_of(endpoint: Endpoint) -> Timeout:
    """How long one request waits."""
    return Timeout(connect=endpoint.connect_timeout_s, read=endpoint.read_timeout_s)


def open_pool(endpoint: Endpoint, *, maxsize: int) -> urllib3.HTTPConnectionPool | urllib3.PoolManager:
    """The connections to a server, reused by all that ask it.

    Args:
        endpoint: the server.
        maxsize: how many are kept open.
    """
    options: dict[str, Any] = {"maxsize": maxsize}
    if endpoint.url.startswith("https:"):
        options["ssl_context"] = _tls_context(endpoint)
    options["timeout"] = timeout_of(endpoint)
    options["retries"] = False
    classes = pool_classes(endpoint.read_timeout_s)
    if endpoint.proxy is None:
        parts = urlsplit(endpoint.url)
        return classes[parts.scheme](parts.hostname or "", parts.port, **options)
    userinfo, proxy = divide_credentials(endpoint.proxy)
    if userinfo:
        user, _, password = userinfo.partition(":")
        options["proxy_headers"] = {"Proxy-Authorization": basic(unquote(user), unquote(password))}
    manager = urllib3.ProxyManager(proxy, **options)
    manager.pool_classes_by_scheme = classes
    return manager


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
        if not endpoint.couchdb:
            context.load_default_certs()
        if endpoint.client_cert:
            context.load_cert_chain(endpoint.client_cert, endpoint.client_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The certificate files for {endpoint.url} cannot be used: {error.strerror or error}.",
            hint="Both must be PEM; --client-key belongs to --client-cert.",
        ) from None
    return context


# Below this a transfer is given up. A modem of the last century gave more.
MIN_BYTES_PER_S = 256
# A body is sent in pieces of this size, each within the timeout, however many there are.
PIECE_BYTES = 65_536
# Answers are read in pieces of up to this size.
BUFFER_BYTES = 1 << 18


class Pace:
    """Gives up where the other side goes on, but so slowly that it comes to nothing.

    A socket's timeout begins again with each byte, so a server that drips one byte a second is waited for without
    end. What counts is the time spent waiting and what came of it, never how long a transfer takes: a large one in
    good health may last for hours, and a pause of our own between two readings costs nothing.

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


class _PacedAnswer(http.client.HTTPResponse):
    """An answer that is read at a pace."""

    def __init__(self, sock: socket.socket, *args: Any, window_s: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        # Nothing was read yet, so the buffer that is given up is empty.
        self.fp = io.BufferedReader(_PacedFile(self.fp.detach(), Pace(window_s)), BUFFER_BYTES)


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

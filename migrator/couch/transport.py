"""The `couchdb` package's session on urllib3: timeouts, reused connections, verified TLS, and no blind re-send.

The package's own session waits for ever, posts a body a second time after a reset, and knows no custom CA.
This one sends a request once, follows no redirect (so that credentials go to no other host), and turns
every failure of the network into one of two errors.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Generator, Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from migrator.couch.endpoint import Endpoint
from migrator.couch.places import divide_credentials
from migrator.couch.responses import TooSlow, network_error, refuse_proxy
from migrator.errors import ConfigError
from migrator.version import __version__


class Transport:
    """One server's connections, shared by threads. Give it to `couchdb.Server(url, session=…)`.

    Args:
        endpoint: the server and its credentials.
        max_connections: how many connections are kept open; more are made when needed and closed after use.
    """

    def __init__(self, endpoint: Endpoint, *, max_connections: int = 8) -> None:
        self._endpoint = endpoint
        self._headers = {"User-Agent": f"migrator/{__version__}", "Accept": "application/json"}
        if endpoint.user is not None:
            self._headers["Authorization"] = _basic(endpoint.user, endpoint.password or "")
        options: dict[str, Any] = {}
        if endpoint.url.startswith("https:"):
            options["ssl_context"] = _tls_context(endpoint)
        self._pool: Any = _pool(endpoint, maxsize=max_connections, **options)

    def within(self, read_timeout_s: float | None) -> Transport:
        """The same connections for a question that waits no longer than this for its answer; None: as usual."""
        if read_timeout_s is None:
            return self
        brief = copy(self)
        shorter_s = min(read_timeout_s, self._endpoint.read_timeout_s)
        brief._endpoint = replace(self._endpoint, read_timeout_s=shorter_s)  # noqa: SLF001 its own
        return brief

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        credentials: Any = None,  # noqa: ARG002 the endpoint's own are used
        num_redirects: int = 0,  # noqa: ARG002 none is followed
    ) -> tuple[int, Mapping[str, str], io.BytesIO]:
        """Send one request once and read the whole answer, whatever its status.

        Raises:
            TransientError: no whole answer came; `outcome_unknown` says whether it may have been carried out.
            EndpointError: the server's certificate is not trusted.
        """
        timeout = _timeout(self._endpoint)
        response = self._urlopen(method, url, body, headers, of=method, timeout=timeout)
        return response.status, response.headers, io.BytesIO(response.data)

    def stream(
        self,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], Generator[bytes]]:
        """Read with the answer's body given piece by piece, so that its length needs no memory.

        Args:
            url: what is read.
            body: asks by POST with this body; without one the question is a GET.
            headers: more headers.

        Raises:
            TransientError: also from the iterator, when the body breaks off.
        """
        method = "GET" if body is None else "POST"
        # It asks and changes nothing, whatever it is sent by.
        response = self._urlopen(method, url, body, headers, of="GET", preload_content=False)
        return response.status, response.headers, self._pieces(response)

    def _urlopen(
        self, method: str, url: str, body: Any, headers: Mapping[str, str] | None, *, of: str, **options: Any
    ) -> Any:
        """Send once; an error is told as one of a request by the method `of`."""
        all_headers = {**self._headers, **(headers or {})}
        options |= {"body": body, "headers": all_headers, "redirect": False, "retries": False}
        try:
            response = self._pool.urlopen(method, self._address(url), **options)
        except (HTTPError, OSError) as error:
            raise network_error(self._endpoint, of, error) from error
        refuse_proxy(self._endpoint, response.status)
        return response

    def _pieces(self, response: urllib3.HTTPResponse) -> Generator[bytes]:
        try:
            if response.chunked:
                # CouchDB sends a row or two as one chunk: so each costs half of what it costs by `read1`.
                yield from response.stream(BUFFER_BYTES)
            else:
                while piece := response.read1(BUFFER_BYTES):
                    yield piece
            response.release_conn()
        except (HTTPError, OSError) as error:
            raise network_error(self._endpoint, "GET", error) from error
        finally:
            # Where half an answer is still on its way, this connection serves nobody any more.
            response.close()

    def close(self) -> None:
        """Close the idle connections."""
        (self._pool.clear if self._endpoint.proxy else self._pool.close)()

    def _address(self, url: str) -> str:
        """What the pool is asked for: the path alone, as it knows the host; a proxy must be told the host too."""
        url = url if len(url) > len(self._endpoint.url) else f"{self._endpoint.url}/"
        return url if self._endpoint.proxy else "/" + url.split("/", 3)[3]


def _basic(user: str, password: str) -> str:
    # What the environment holds need not be UTF-8.
    return f"Basic {b64encode(f'{user}:{password}'.encode(errors='surrogateescape')).decode()}"


def _timeout(endpoint: Endpoint) -> Timeout:
    return Timeout(connect=endpoint.connect_timeout_s, read=endpoint.read_timeout_s)


def _pool(endpoint: Endpoint, **options: Any) -> urllib3.HTTPConnectionPool | urllib3.PoolManager:
    options["timeout"] = _timeout(endpoint)
    options["retries"] = False
    classes = pool_classes(endpoint.read_timeout_s)
    if endpoint.proxy is None:
        parts = urlsplit(endpoint.url)
        return classes[parts.scheme](parts.hostname or "", parts.port, **options)
    userinfo, proxy = divide_credentials(endpoint.proxy)
    if userinfo:
        user, _, password = userinfo.partition(":")
        options["proxy_headers"] = {"Proxy-Authorization": _basic(unquote(user), unquote(password))}
    manager = urllib3.ProxyManager(proxy, **options)
    manager.pool_classes_by_scheme = classes
    return manager


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
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

"""The `couchdb` package's session on urllib3: timeouts, reused connections, verified TLS, and no blind re-send.

The package's own session waits for ever, posts a body a second time after a reset, and knows no custom CA.
This one sends a request once, follows no redirect (so that credentials go to no other host), and turns
every failure of the network into one of two errors.
"""

from __future__ import annotations

import io
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from migrator.couch.connections import BUFFER_BYTES, open_pool, timeout_of
from migrator.couch.endpoint import Endpoint
from migrator.couch.head_room import room_of
from migrator.couch.login import basic_headers, login_of
from migrator.couch.pacing import Pace, hold_of
from migrator.couch.responses import network_error, refuse_proxy
from migrator.errors import TransientError
from migrator.version import __version__

# So often one request may meet a login that has run out: others may use up a new one before it.
MAX_LOGINS = 8


class Transport:
    """One server's connections, shared by threads. Give it to `couchdb.Server(url, session=…)`.

    Args:
        endpoint: the server and its credentials.
        max_connections: how many connections are kept open; more are made when needed and closed after use.
    """

    def __init__(self, endpoint: Endpoint, *, max_connections: int = 8) -> None:
        self._endpoint = endpoint
        self._headers = {"User-Agent": f"migrator/{__version__}", "Accept": "application/json"}
        self._headers |= basic_headers(endpoint)
        self._login = login_of(endpoint)
        self._hold = hold_of(endpoint)
        self.pace = Pace(endpoint.pace)
        self._room = room_of(endpoint)
        self._pool: Any = open_pool(endpoint, maxsize=max_connections)

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
        timeout = timeout_of(self._endpoint)
        response = self._urlopen(method, url, body, headers, of=method, timeout=timeout)
        self.pace.transfer(len(response.data))
        return response.status, response.headers, io.BytesIO(response.data)

    def stream(
        self,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        decode: bool = True,
    ) -> tuple[int, Mapping[str, str], Generator[bytes]]:
        """Read with the answer's body given piece by piece, so that its length needs no memory.

        Args:
            url: what is read.
            body: asks by POST with this body; without one the question is a GET.
            headers: more headers.
            decode: give the content, where it was packed on the way, and not the bytes that are sent.

        Raises:
            TransientError: also from the iterator, when the body breaks off.
        """
        method = "GET" if body is None else "POST"
        # It asks and changes nothing, whatever it is sent by.
        options = {"preload_content": False, "decode_content": decode}
        response = self._urlopen(method, url, body, headers, of="GET", **options)
        return response.status, response.headers, self._pieces(response)

    def _urlopen(
        self, method: str, url: str, body: Any, headers: Mapping[str, str] | None, *, of: str, **options: Any
    ) -> Any:
        """Send once, and again where the login has run out; an error is told as one of a request by `of`."""
        options |= {"redirect": False, "retries": False}
        all_headers = {**self._headers, **(headers or {})}
        if self._login is None:
            return self._send(method, url, body, all_headers, of=of, **options)
        ticket = self._login.ticket()
        for others in range(MAX_LOGINS + 1):
            asked_at = time.monotonic()
            ticket.uses += 1
            response = self._send(method, url, body, {**all_headers, **ticket.headers}, of=of, **options)
            if response.status != 401:
                self._login.taken(ticket, response.headers.getlist("Set-Cookie"), asked_at)
                break
            # A new one that nobody else could use up is refused for another reason than its age.
            if others == MAX_LOGINS or (others and ticket.uses == 1):
                break
            ticket = self._login.instead_of(ticket)
            response.drain_conn()
            if not (body is None or isinstance(body, bytes)):
                raise TransientError(
                    f"{self._endpoint.url}: the login had run out.", status=401, signature="login ran out"
                )
        return response

    def _send(
        self, method: str, url: str, body: Any, headers: Mapping[str, str], *, of: str, **options: Any
    ) -> Any:
        self._hold.heed()
        if self.pace.counts_bytes and body is not None:
            if isinstance(body, bytes):
                headers = {**headers, "Content-Length": str(len(body))}
            body = self.pace.sent(body)
        under_way = self._room.request(self._pool) if self._room else nullcontext()
        try:
            with under_way:
                response = self._pool.urlopen(method, self._address(url), body=body, headers=headers, **options)
        except (HTTPError, OSError) as error:
            raise network_error(self._endpoint, of, error) from error
        self._hold.answered(response.status, response.headers, self._endpoint.max_hold_s)
        refuse_proxy(self._endpoint, response.status)
        return response

    def _pieces(self, response: urllib3.HTTPResponse) -> Generator[bytes]:
        try:
            if response.chunked:
                # CouchDB sends a row or two as one chunk: so each costs half of what it costs by `read1`.
                pieces: Iterator[bytes] = response.stream(BUFFER_BYTES)
            else:
                pieces = iter(partial(response.read1, self.pace.piece_bytes), b"")
            yield from self.pace.received(self._room.each(pieces) if self._room else pieces)
            response.release_conn()
        except (HTTPError, OSError) as error:
            raise network_error(self._endpoint, "GET", error) from error
        finally:
            # Where half an answer is still on its way, this connection serves nobody any more.
            response.close()

    def close(self) -> None:
        """Close the idle connections."""
        if self._room:
            self._room.leave(self._pool)
        (self._pool.clear if self._endpoint.proxy else self._pool.close)()

    def _address(self, url: str) -> str:
        """What the pool is asked for: the path alone, as it knows the host; a proxy must be told the host too."""
        url = url if len(url) > len(self._endpoint.url) else f"{self._endpoint.url}/"
        return url if self._endpoint.proxy else "/" + url.split("/", 3)[3]

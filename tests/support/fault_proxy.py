"""A proxy that sits before a real server and spoils traffic: by a script, request after request, or at random.

It speaks just enough HTTP/1.1: one request at a time on a connection, bodies with Content-Length, answers with
Content-Length or chunks. A connection is closed after every fault.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import struct
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from zlib import crc32

import urllib3

from tests import support
from tests.support.processes import SOON_S

# What a fault does, by name.
FAULTS = (
    "reset_before",  # the connection breaks before the request is read
    "reset_during",  # ... when half of the request's body has been passed on
    "lost_reply",  # the server does the work, and its answer is thrown away
    "torn_reply",  # half of the answer arrives
    "torn_json",  # the answer's JSON ends in the middle, with a fitting Content-Length
    "slow_reply",  # the answer arrives a byte at a time at its beginning
    "latency",  # the answer arrives late
    "busy_429",  # 429 with Retry-After: 0
    "error_500",  # 500 timeout
    "odd_500",  # 500 that looks like a document's fault, once
    "down_503",  # 503 with a page of HTML
    "half_open",  # no answer at all
    "swapped_rows",  # rows of a bulk answer in another order
    "dropped_row",  # a row of a bulk answer is missing
    "foreign_rows",  # the rows are those of another bulk request
    "page_413",  # 413 with a proxy's page of HTML
)


# By name only, for a test that can bear them: "drip" gives an answer a byte at a time, this long for each, and
# "drip_body" does so after its head; "full_disk" stores nothing that is written, and "full_shard" nothing that
# belongs to the first of two shards.
DRIP_S = 1.0


@dataclass
class Request:
    """What the proxy read from a client."""

    method: str
    path: str
    head: bytes
    body: bytes


@dataclass
class FaultProxy:
    """The proxy. `plan` names the fault for each request (None for none); it is called in the order of arrival.

    Args:
        server_url: where requests go.
        plan: gives a fault's name or None.
        half_open_s: how long a connection without an answer is held.
        own_credentials: let any client in: the server's credentials take the place of the client's.
    """

    server_url: str
    plan: Callable[[Request], str | None] = field(default=lambda _request: None)
    half_open_s: float = 5.0
    own_credentials: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.server_url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5984)
        self._userinfo = f"{parts.username}:{parts.password}@" if parts.username else ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._closing = False
        self.injected: Counter[str] = Counter()
        self.requests: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The proxy's address, with the credentials of the server's URL."""
        return f"http://{self._userinfo}127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Accept no more connections."""
        self._closing = True
        with contextlib.suppress(OSError):
            # Closing it alone does not wake who waits for a connection.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                while (request := _read_request(client)) is not None:
                    if self.own_credentials:
                        request.head = self._let_in(request.head)
                    with self._lock:
                        fault = self.plan(request)
                        self.requests.append(f"{request.method} {request.path}")
                        if fault:
                            self.injected[fault] += 1
                    if not self._answer(client, request, fault):
                        _reset(client)
                        return
            except (OSError, urllib3.exceptions.HTTPError):
                # The server has gone, and so does its client's connection.
                return

    def _let_in(self, head: bytes) -> bytes:
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"authorization:")]
        if self._userinfo:
            lines.insert(1, b"Authorization: Basic " + b64encode(self._userinfo[:-1].encode()))
        return b"\r\n".join(lines)

    def _answer(self, client: socket.socket, request: Request, fault: str | None) -> bool:
        """Answer one request; False when the connection is to break."""
        if fault == "reset_before":
            return False
        if fault in {"full_disk", "full_shard"}:
            return self._store_in_part(client, request, fault)
        if fault == "half_open":
            time.sleep(self.half_open_s)
            return False
        canned = {
            "busy_429": (429, b'{"error":"too_many_requests","reason":"slow down"}', b"Retry-After: 0\r\n"),
            "error_500": (500, b'{"error":"timeout","reason":"The request could not be processed."}', b""),
            "odd_500": (500, b'{"error":"unknown_error","reason":"badmatch"}', b""),
            "page_413": (413, b"<html>413 Request Entity Too Large</html>", b""),
            "down_503": (503, b"<html>Service Unavailable</html>", b"Retry-After: 0\r\n"),
        }
        if fault in canned:
            status, body, extra = canned[fault]
            head = f"HTTP/1.1 {status} Fault\r\nContent-Length: {len(body)}\r\n".encode()
            client.sendall(head + extra + b"Content-Type: application/json\r\n\r\n" + body)
            return True
        with socket.create_connection(self._target, timeout=SOON_S) as upstream:
            if fault == "reset_during":
                upstream.sendall(request.head + request.body[: len(request.body) // 2])
                return False
            upstream.sendall(request.head + request.body)
            status_line, headers, body = _read_answer(upstream, request.method)
        if fault == "lost_reply":
            return False
        if fault == "latency":
            time.sleep(0.2)
        if fault in {"swapped_rows", "dropped_row", "foreign_rows", "torn_json"}:
            body = _spoil(body, fault)
        head = status_line + b"\r\n" + headers + f"Content-Length: {len(body)}\r\n\r\n".encode()
        if fault == "torn_reply":
            client.sendall((head + body)[: len(head) + len(body) // 2])
            return False
        if fault in {"drip", "drip_body"}:
            at_once = head if fault == "drip_body" else b""
            client.sendall(at_once)
            for byte in (head + body)[len(at_once) :]:
                client.sendall(bytes([byte]))
                time.sleep(DRIP_S)
                if self._closing:
                    return False
            return True
        if fault == "slow_reply":
            for byte in (head + body)[:200]:
                client.sendall(bytes([byte]))
            client.sendall((head + body)[200:])
            return True
        client.sendall(head + (b"" if request.method == "HEAD" else body))
        return True

    def _store_in_part(self, client: socket.socket, request: Request, fault: str) -> bool:
        """Answer a write as CouchDB does when the disk of all its shards, or of one of two, is full."""
        error = {"error": "error", "reason": "internal_server_error"}
        url = f"{self.server_url.rstrip('/')}{request.path}"
        body = gzip.decompress(request.body) if request.body[:2] == b"\x1f\x8b" else request.body
        path = urlsplit(request.path).path
        status = 500
        answer: Any = error
        if path.endswith("/_bulk_docs"):
            content = json.loads(body)
            ids = [doc["_id"] for doc in content["docs"]]
            stored = [doc for doc in content["docs"] if not _is_full(fault, doc["_id"])]
            status, answer = support.request("POST", url, {**content, "docs": stored}) if stored else (201, [])
            if status in {201, 202}:
                # Without new revisions only what failed has a row.
                rows = {row["id"]: row for row in answer}
                rows |= {id: {"id": id, **error} for id in ids if _is_full(fault, id)}
                answer = [rows[id] for id in ids if id in rows]
                status = status if stored else 500
        elif not _is_full(fault, unquote(path.strip("/").partition("/")[2])):
            status, answer = support.request(request.method, url, json.loads(body or b"null"))
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} Fault\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
        client.sendall(head.encode() + body)
        return True


def _is_full(fault: str, id: str) -> bool:
    # As CouchDB divides a database in two.
    return fault == "full_disk" or crc32(id.encode("utf-8", "surrogatepass")) >> 31 == 0


def at_random(
    seed: int, probability: float, *, faults: tuple[str, ...] = FAULTS
) -> Callable[[Request], str | None]:
    """A plan that spoils each request with a probability, the same for the same seed and order."""
    rng = random.Random(seed)

    def plan(_request: Request) -> str | None:
        return rng.choice(faults) if rng.random() < probability else None

    return plan


def on_writes(*faults: str | None) -> Callable[[Request], str | None]:
    """A plan that spoils the first bulk writes of documents, one fault each, and nothing else."""
    left = list(faults)

    def plan(request: Request) -> str | None:
        if request.path.endswith("/_bulk_docs") and len(request.body) > len(b'{"docs":[]}') and left:
            return left.pop(0)
        return None

    return plan


def changing_a_byte(old: bytes, new: bytes, *, of: str = "/_bulk_docs") -> Callable[[Request], str | None]:
    """A plan that lets everything pass, and changes what is posted: these bytes into others, as many."""
    assert len(old) == len(new)

    def plan(request: Request) -> str | None:
        if request.method == "POST" and request.path.endswith(of):
            request.body = request.body.replace(old, new)
        return None

    return plan


def _spoil(body: bytes, fault: str) -> bytes:
    if fault == "torn_json":
        return body[: len(body) // 2]
    try:
        rows = json.loads(body)
    except ValueError:
        return body
    # A list of names is not one of rows.
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        return body
    if fault == "swapped_rows":
        rows = rows[::-1]
    elif fault == "foreign_rows":
        rows = [{**row, "id": f"other-{row.get('id')}"} for row in rows]
    else:
        rows = rows[:-1]
    return json.dumps(rows).encode()


def _reset(connection: socket.socket) -> None:
    # A zero linger time makes the close a reset.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read_head(connection: socket.socket) -> tuple[bytes, bytes] | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _read_exactly(connection: socket.socket, have: bytes, length: int) -> bytes:
    parts, size = [have], len(have)
    while size < length:
        piece = connection.recv(min(1 << 20, length - size))
        if not piece:
            raise OSError("the peer has gone")
        parts.append(piece)
        size += len(piece)
    return b"".join(parts)


def _read_request(connection: socket.socket) -> Request | None:
    read = _read_head(connection)
    if read is None:
        return None
    head, rest = read
    method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
    body = _read_exactly(connection, rest, int(_header(head, b"content-length") or 0))
    return Request(method, path, head, body)


def _read_answer(connection: socket.socket, method: str) -> tuple[bytes, bytes, bytes]:
    read = _read_head(connection)
    if read is None:
        raise OSError("the server has gone")
    head, rest = read
    status_line, _, lines = head.partition(b"\r\n")
    kept = [
        line
        for line in lines.split(b"\r\n")
        if line
        and line.partition(b":")[0].strip().lower() not in {b"content-length", b"transfer-encoding", b"connection"}
    ]
    headers = b"".join(line + b"\r\n" for line in kept)
    if method == "HEAD":
        return status_line, headers, b""
    if _header(head, b"transfer-encoding").lower() == b"chunked":
        return status_line, headers, _read_chunks(connection, rest)
    return status_line, headers, _read_exactly(connection, rest, int(_header(head, b"content-length") or 0))


def _read_chunks(connection: socket.socket, data: bytes) -> bytes:
    body = b""
    while True:
        while b"\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                raise OSError("the server has gone")
            data += piece
        size_text, _, data = data.partition(b"\r\n")
        size = int(size_text.partition(b";")[0], 16)
        data = _read_exactly(connection, data, size + 2) if len(data) < size + 2 else data
        body += data[:size]
        data = data[size + 2 :]
        if size == 0:
            return body

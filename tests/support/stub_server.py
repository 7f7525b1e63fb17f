"""A server that answers as a test says, over plain HTTP or TLS, and remembers what it was asked."""

from __future__ import annotations

import functools
import gzip
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.processes import joined, started

ANSWERS = Path(__file__).parents[1] / "data" / "couchdb-3.5.0-answers.ndjson"


@dataclass(frozen=True)
class Asked:
    """One request as it came; the body is unpacked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    port: int = 0
    """The client's, which tells connections apart."""

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer.

    Args:
        status: the HTTP status.
        body: bytes, or a value for JSON.
        headers: more headers.
        cut: break the connection after so many bytes of the body.
        chunks: send these in place of the body, chunked.
        end: send the last, empty chunk.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    chunks: tuple[bytes, ...] | None = None
    end: bool = True

    @property
    def data(self) -> bytes:
        """The body's bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class StubServer:
    """Answers each request by a function; None breaks the connection without an answer."""

    def __init__(self, answer: Callable[[Asked], Reply | None], tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body go out apart, and the second must not wait for the first one's receipt.
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                asked = Asked(self.command, self.path, dict(self.headers), body, self.client_address[1])
                stub.asked.append(asked)
                reply = stub.answer(asked)
                if reply is None:
                    self.close_connection = True
                    return
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.chunks is None:
                    self.send_header("Content-Length", str(len(reply.data)))
                    self.end_headers()
                    self.wfile.write(reply.data[: reply.cut])
                    self.close_connection |= reply.cut is not None
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for chunk in reply.chunks:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    self.wfile.flush()
                if reply.end:
                    self.wfile.write(b"0\r\n\r\n")
                self.close_connection |= not reply.end

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is logged."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away, or trusts us not, is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if tls is not None:
            scheme = "https"
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = started(lambda: self._server.serve_forever(0.01))

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        joined(self._thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@functools.cache
def recorded() -> dict[str, dict[str, Any]]:
    """What Apache CouchDB 3.5.0 answered to each of many requests, by the recording's name."""
    lines = ANSWERS.read_text(encoding="utf-8").splitlines()
    return {record["name"]: record for record in map(json.loads, lines)}


def recorded_reply(name: str) -> Reply:
    """A recorded answer, to be given again: chunked where the server sent it so."""
    record = recorded()[name]
    body = record["response"].encode()
    headers = {
        key: value for key, value in record["headers"].items() if key in {"content-type", "etag", "location"}
    }
    if "transfer-encoding" in record["headers"]:
        return Reply(record["status"], headers=headers, chunks=tuple(_halves(body)))
    return Reply(record["status"], body, headers)


def _halves(body: bytes) -> Iterator[bytes]:
    middle = len(body) // 2
    yield from (part for part in (body[:middle], body[middle:]) if part)

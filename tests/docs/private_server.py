"""A view of a server for one page: it sees the databases of its own prefix only, under the names that it knows.

So examples can use names such as `orders` and commands for a whole server, on a server that others use meanwhile.
"""

from __future__ import annotations

import json
import threading
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import urllib3

# What goes along from one side to the other.
_HEADERS = {"authorization", "content-type", "accept", "cookie", "if-match", "content-encoding"}
_ANSWERS = {"content-type", "etag", "location", "set-cookie", "server", "content-encoding"}


class PrivateServer:
    """The view, while it is open.

    Args:
        server_url: the server, with credentials where it wants some; who sends none through the view has these.
        prefix: what the server's names of this view's databases begin with.
    """

    def __init__(self, server_url: str, prefix: str) -> None:
        parts = urlsplit(server_url)
        self.origin = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        userinfo = unquote(parts.netloc.rpartition("@")[0])
        self.credentials = urllib3.make_headers(basic_auth=userinfo) if userinfo else {}
        self.prefix = prefix
        self.pool = urllib3.PoolManager(retries=False, timeout=60.0, maxsize=10)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def host(self) -> str:
        """Host and port of the view."""
        return f"127.0.0.1:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        """Address of the view."""
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def path_at_server(self, path: str) -> str:
        """The path of a request with the server's name of its database."""
        first = path.lstrip("/")
        return path if not first or first.startswith(("_", "?")) else f"/{self.prefix}{first}"

    def answer(self, path: str, body: bytes) -> bytes:
        """What the server said, with the names that the view has."""
        plain = path.partition("?")[0].strip("/")
        if not plain:
            # Each view is a server of its own.
            return json.dumps({**json.loads(body), "uuid": md5(self.prefix.encode()).hexdigest()}).encode()
        if plain == "_all_dbs":
            names = json.loads(body)
            own = [name.removeprefix(self.prefix) for name in names if name.startswith(self.prefix)]
            return json.dumps(own).encode()
        if plain == "_active_tasks":
            tasks = [task for task in json.loads(body) if self.prefix in str(task.get("database", ""))]
            return json.dumps(tasks).encode().replace(self.prefix.encode(), b"")
        if plain and "/" not in plain and not plain.startswith("_"):
            return body.replace(f'"db_name":"{self.prefix}'.encode(), b'"db_name":"')
        return body

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        view = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
                body = b"".join(self._chunks()) if chunked else self.rfile.read(length)
                headers = {name: value for name, value in self.headers.items() if name.lower() in _HEADERS}
                if not {"authorization", "cookie"} & {name.lower() for name in headers}:
                    headers |= view.credentials
                url = view.origin + view.path_at_server(self.path)
                answer = view.pool.request(
                    self.command, url, body=body, headers=headers, preload_content=False, decode_content=False
                )
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() in _ANSWERS:
                        self.send_header(name, value)
                if "feed=" in self.path:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for piece in answer.stream(65536):
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    content = view.answer(self.path, answer.read()) if self.command == "GET" else answer.read()
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                answer.release_conn()

            def _chunks(self) -> Any:
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_COPY = handle_any  # noqa: N815 names of http.server

        return Handler

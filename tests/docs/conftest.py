"""A page's player, with a server and a prefix of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.docs.running import play
from tests.docs.scenes import scene_of
from tests.support.processes import joined, started

Player = Callable[[Path], int]


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a web server that gives the files of the page's folder."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))) as server:
        thread = started(lambda: server.serve_forever(0.01))
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        joined(thread)


@pytest.fixture
def player(
    tmp_path: Path, server_url: str, database_prefix: str, is_couchdb: bool, request: pytest.FixtureRequest
) -> Player:
    """Goes through a page in an empty folder; gives how many commands it typed."""

    def played(page: Path) -> int:
        scene = scene_of(page)
        swap = {scene.bucket: request.getfixturevalue("bucket")} if scene.bucket else {}
        if scene.web:
            swap[scene.web] = request.getfixturevalue("web_server")
        return play(page, tmp_path, server_url, database_prefix, is_couchdb=is_couchdb, swap=swap)

    return played

"""Which server tests get: the named one, a container, or the sandbox."""

from __future__ import annotations

import importlib.util
import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from migrator.couch.client import CouchClient
from migrator.errors import MigratorError
from migrator.fixtures import servers
from migrator.fixtures.servers import docker_answers, server_for_tests


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """The address of a socket at which somebody listens."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield f"unix://{path}"


class Container:
    """Stands in for one of testcontainers: it notes what is asked, and starts nothing."""

    made: list[Container] = []  # noqa: RUF012

    def __init__(self, image: str) -> None:
        self.image = image
        self.env: dict[str, str] = {}
        self.running = False
        Container.made.append(self)

    def with_exposed_ports(self, port: int) -> Self:
        """Note the port."""
        assert port == 5984
        return self

    def with_env(self, name: str, value: str) -> Self:
        """Note a variable."""
        self.env[name] = value
        return self

    def __enter__(self) -> Self:
        self.running = True
        return self

    def __exit__(self, *error: object) -> None:
        self.running = False

    def get_container_host_ip(self) -> str:
        """Where it is."""
        return "127.0.0.1"

    def get_exposed_port(self, port: int) -> int:
        """At which port."""
        return 32000


def test_docker_answers_where_a_daemon_listens(daemon: str, tmp_path: Path) -> None:
    """A socket that nobody listens at is no daemon, by a path or by an address."""
    assert docker_answers({"DOCKER_HOST": daemon})
    assert not docker_answers({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        assert not docker_answers({"DOCKER_HOST": host})
        listener.listen()
        assert docker_answers({"DOCKER_HOST": host})


def test_a_container_is_used_where_docker_is(daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the documented image, with credentials that are in the URL, and it ends with the tests."""
    module: Any = types.ModuleType("testcontainers.core.container")
    module.DockerContainer = Container
    for name in ("testcontainers", "testcontainers.core"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "testcontainers.core.container", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "testcontainers" or None)
    waited: list[str] = []
    created: list[str] = []
    monkeypatch.setattr(servers, "wait_for_server", lambda url, timeout_s: waited.append(url))
    monkeypatch.setattr(CouchClient, "create_database", lambda self, name: created.append(name))
    with server_for_tests({"DOCKER_HOST": daemon}) as url:
        assert Container.made[-1].running
    container = Container.made[-1]
    assert not container.running
    assert container.image == "couchdb:3.5"
    assert url == f"http://{container.env['COUCHDB_USER']}:{container.env['COUCHDB_PASSWORD']}@127.0.0.1:32000"
    assert waited == ["http://127.0.0.1:32000"]
    assert created == ["_users", "_replicator"]


def test_the_sandbox_is_used_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a daemon, or without the library for it."""

    class Sandbox:
        def __init__(self, *, in_memory: bool) -> None:
            self.url = f"sandbox in memory: {in_memory}"

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr("migrator.sandbox.Sandbox", Sandbox)
    with server_for_tests({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}) as url:
        assert url == "sandbox in memory: True"


def test_the_named_server_must_answer() -> None:
    """A wrong COUCHDB_TEST_URL is told, and nothing else is used in its place."""
    with (
        pytest.raises(MigratorError, match=r"The server of COUCHDB_TEST_URL: http://127\.0\.0\.1:1"),
        server_for_tests({"COUCHDB_TEST_URL": "http://a:secret@127.0.0.1:1"}),
    ):
        pytest.fail("there is none")

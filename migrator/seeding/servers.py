"""A server for tests: the one that is named, else a container where Docker is there, else the sandbox."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from migrator.couch.client import CouchClient
from migrator.couch.endpoint import parse_endpoint
from migrator.couch.ready import wait_for_server
from migrator.errors import MigratorError

VARIABLE = "COUCHDB_TEST_URL"
IMAGE = "couchdb:3.5"
START_TIMEOUT_S = 120.0
_SOCKET = "/var/run/docker.sock"
# Nobody else reaches the container's port, which is published at random on this machine.
_USER = _PASSWORD = "migrator"  # noqa: S105


@contextlib.contextmanager
def server_for_tests(environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """Give the URL of a server, with credentials where it wants some; what was started ends with the context.

    Raises:
        MigratorError: the server that is named does not answer or refuses, or none can be started.
    """
    environ = os.environ if environ is None else environ
    if url := environ.get(VARIABLE):
        # Asked once: wrong credentials tried by every test would lock the account.
        _greet(url)
        yield url.rstrip("/")
    elif docker_answers(environ) and importlib.util.find_spec("testcontainers"):
        with _container() as url:
            yield url
    else:
        from migrator.sandbox import Sandbox  # noqa: PLC0415 only here

        with Sandbox(in_memory=True) as sandbox:
            yield sandbox.url


def docker_answers(environ: Mapping[str, str]) -> bool:
    """True when a Docker daemon takes connections; that its client is installed says nothing."""
    host = environ.get("DOCKER_HOST", "")
    address: Any
    if host and not host.startswith("unix://"):
        parts = urlsplit(host)
        family, address = socket.AF_INET, (parts.hostname or "", parts.port or 2375)
    else:
        family, address = socket.AF_UNIX, host.removeprefix("unix://") or _SOCKET
    with socket.socket(family) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 an extra, and slow to import

    container = DockerContainer(IMAGE).with_exposed_ports(5984)
    container = container.with_env("COUCHDB_USER", _USER).with_env("COUCHDB_PASSWORD", _PASSWORD)
    with container:
        place = f"{container.get_container_host_ip()}:{container.get_exposed_port(5984)}"
        wait_for_server(f"http://{place}", START_TIMEOUT_S)
        url = f"http://{_USER}:{_PASSWORD}@{place}"
        client = CouchClient(parse_endpoint(url)[0])
        # A server of one node makes its system databases when it is told to.
        for name in ("_users", "_replicator"):
            client.create_database(name)
        client.close()
        yield url


def _greet(url: str) -> None:
    client = CouchClient(parse_endpoint(url)[0])
    try:
        client.welcome()
        client.databases()
    except MigratorError as error:
        raise MigratorError(f"The server of {VARIABLE}: {error.message}", hint=error.hint) from error
    finally:
        client.close()

"""The server that is measured against: COUCHDB_TEST_URL, or the sandbox, which does not measure CouchDB."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests import support

SANDBOX_WARNING = (
    "WARNING: COUCHDB_TEST_URL is not set, so this runs against the sandbox. "
    "The sandbox is not CouchDB: its numbers say nothing about CouchDB."
)


@dataclass
class Server:
    """A server, and the databases that were made on it.

    Args:
        address: its URL with credentials where it wants some.
        is_sandbox: it is not a CouchDB.
    """

    address: str
    is_sandbox: bool = False
    _made: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The URL without credentials."""
        parts = urlsplit(self.address)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")

    @property
    def environ(self) -> dict[str, str]:
        """Credentials and address for the programs that take them from the environment."""
        parts = urlsplit(self.address)
        environ = {"COUCH_URL": self.address}
        if parts.username:
            environ["COUCHDB_USER"] = unquote(parts.username)
            environ["COUCHDB_PASSWORD"] = unquote(parts.password or "")
        return environ

    @property
    def version(self) -> str:
        """What it says it is."""
        welcome = support.get(f"{self.address}/")
        return f"{welcome.get('vendor', {}).get('name', 'CouchDB')} {welcome['version']}"

    def create(self) -> str:
        """An empty database under a new name, with the server's own defaults."""
        name = self.new_name()
        status, answer = support.request("PUT", self._url_of(name))
        if status not in {201, 202}:
            raise RuntimeError(f"{self.url}/{name}: {status} {answer}")
        return name

    def new_name(self) -> str:
        """A name for a database that is to be made by somebody else; `drop_all` knows it."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        self._made.append(name)
        return name

    def count(self, name: str) -> int:
        """How many documents there are."""
        return int(self._info(name)["doc_count"])

    def file_bytes(self, name: str) -> int | None:
        """The size of the database's files; None where it is not told."""
        size = self._info(name).get("sizes", {}).get("file")
        return int(size) if size else None

    def drop(self, name: str) -> None:
        """Delete a database, if it is there."""
        support.request("DELETE", self._url_of(name))
        self._made.remove(name)

    def drop_all(self) -> None:
        """Delete all that were made."""
        for name in list(self._made):
            self.drop(name)

    def _info(self, name: str) -> dict[str, Any]:
        info: dict[str, Any] = support.get(self._url_of(name))
        return info

    def _url_of(self, name: str) -> str:
        return f"{self.address.rstrip('/')}/{quote(name, safe='')}"


@contextlib.contextmanager
def opened_server(folder: Path) -> Iterator[Server]:
    """The server to measure against; in the end its databases are as they were."""
    with contextlib.ExitStack() as stack:
        address = os.environ.get("COUCHDB_TEST_URL")
        if address:
            server = Server(address)
        else:
            from migrator.sandbox import Sandbox  # most runs need none

            print(SANDBOX_WARNING, file=sys.stderr)
            server = Server(stack.enter_context(Sandbox(folder=folder)).url, is_sandbox=True)
        stack.callback(server.drop_all)
        yield server

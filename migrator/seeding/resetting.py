"""Brings seeded databases back to their fixtures between tests: only what changed is looked at and written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from migrator.couch.answers import refuse
from migrator.couch.client import CouchClient
from migrator.couch.copies import settled_info
from migrator.couch.documents import with_revision
from migrator.couch.endpoint import Endpoint
from migrator.seeding import users
from migrator.seeding.differences import read_security
from migrator.seeding.model import Fixture, Fixtures
from migrator.seeding.seeder import Seeder, SeedOptions
from migrator.seeding.writing import tombstone, write_all


class SeededDatabases:
    """Databases of one server that hold what fixtures say.

    Args:
        endpoint: the server.
        fixtures: what the databases hold; their prefix makes them this object's own.
        url: the server's URL for applications, with credentials where it wants some.
    """

    def __init__(self, endpoint: Endpoint, fixtures: Fixtures, url: str) -> None:
        self.url = url
        self.fixtures = fixtures
        self._endpoint = endpoint
        self._client = CouchClient(endpoint)
        self._bodies: dict[str, Mapping[str, bytes]] = {}
        self._marks: dict[str, dict[str, Any]] = {}
        self._securities: dict[str, Any] = {}
        self._revisions: dict[str, str] = {}

    @property
    def names(self) -> Mapping[str, str]:
        """The server's name of each database of the fixtures."""
        return self.fixtures.names

    def name(self, database: str) -> str:
        """The server's name of a database of the fixtures."""
        return self.fixtures.names[database]

    def url_of(self, database: str) -> str:
        """The URL of a database of the fixtures, with credentials where the server wants some."""
        return f"{self.url}/{quote(self.name(database), safe='')}"

    def seed(self) -> None:
        """Make the databases, from nothing."""
        self._seed(list(self.names), SeedOptions(recreate=True, keep_users=True, wait_s=60.0))
        for name, database in self.fixtures.databases.items():
            fixtures: list[Fixture] = [*database.designs, *database.documents]
            self._bodies[name] = {fixture.id: fixture.body for fixture in fixtures}
            self._remember(name)

    def reset(self) -> list[str]:
        """Bring the databases back; the names of those that had changed."""
        return [name for name in self.names if self._reset(name)]

    def differences(self) -> list[dict[str, Any]]:
        """What of the databases is not as the fixtures say, as `migrator seed --diff` tells it."""
        with contextlib.closing(Seeder(self._endpoint, self.fixtures, SeedOptions(keep_users=True))) as seeder:
            return seeder.differences()

    def remove(self) -> None:
        """Delete the databases, and the users of the fixtures."""
        for name, database in self.names.items():
            if name != users.USERS:
                self._client.delete_database(database)
            elif self._client.database_info(database) is not None:
                there = self._client.lookup(database, list(self._bodies.get(name, ())))
                write_all(self._client, database, list(_tombstones(there, set(there))))
        self._client.close()

    def _seed(self, names: list[str], options: SeedOptions) -> None:
        with contextlib.closing(Seeder(self._endpoint, self.fixtures.only(names), options)) as seeder:
            seeder.seed()

    def _reset(self, name: str) -> bool:
        if name == users.USERS:
            return self._reset_users()
        database = self.names[name]
        info = settled_info(self._client, database)
        mark = self._marks[name]
        moved = info is None or _sequence(info) != _sequence(mark)
        secured = info is not None and read_security(self._client, database) == self._securities[name]
        if not moved and secured:
            return False
        another = info is None or info.get("instance_start_time") != mark.get("instance_start_time")
        if info is None or another or not secured or _number(info) < _number(mark):
            self._again(name)
            return True
        changed = self._changed_since(database, mark["update_seq"])
        if any(id.startswith("_design/") for id in changed):
            self._again(name)
        elif changed:
            self._restore(name, changed)
        self._remember(name)
        return bool(changed)

    def _again(self, name: str) -> None:
        """Compare the whole database and make it what the fixtures say, anew where that cannot be."""
        info = self._client.database_info(self.names[name])
        secured = info is not None and (
            self.fixtures.databases[name].security is not None
            or read_security(self._client, self.names[name]) == self._securities[name]
        )
        self._seed([name], SeedOptions(exact=True, recreate=not secured, keep_users=True, wait_s=60.0))
        self._remember(name)

    def _restore(self, name: str, changed: list[str]) -> None:
        database = self.names[name]
        bodies = self._bodies[name]
        there = self._client.lookup(database, changed)
        writes = list(_tombstones(there, there.keys() - bodies.keys()))
        for id in changed:
            if id in bodies:
                row = there[id]
                gone = row is None or row.get("deleted")
                writes.append(bodies[id] if gone or row is None else with_revision(bodies[id], row["rev"]))
        write_all(self._client, database, writes)

    def _reset_users(self) -> bool:
        # The database is shared with whoever uses the server, so only the fixtures' own users are looked at.
        if self._user_revisions() == self._revisions:
            return False
        self._seed([users.USERS], SeedOptions(keep_users=True))
        self._revisions = self._user_revisions()
        return True

    def _user_revisions(self) -> dict[str, str]:
        name = users.USERS
        if self._client.database_info(name) is None:
            return {}
        there = self._client.lookup(name, list(self._bodies[name]))
        return {id: row["rev"] for id, row in there.items() if row is not None and not row.get("deleted")}

    def _remember(self, name: str) -> None:
        database = self.names[name]
        if name == users.USERS:
            self._revisions = self._user_revisions()
            return
        self._marks[name] = settled_info(self._client, database) or {}
        self._securities[name] = read_security(self._client, database)

    def _changed_since(self, database: str, since: object) -> list[str]:
        what = f"Reading the changes of {database}"
        answer = self._client.call("GET", database, "_changes", params={"since": str(since)})
        if answer.status != 200:
            refuse(answer, what, self._client.url)
        return [row["id"] for row in answer.json(what)["results"]]


def fresh(fixtures: Fixtures, prefix: str) -> Fixtures:
    """The same fixtures for databases of another prefix."""
    names = {name: name if name == users.USERS else prefix + name for name in fixtures.names}
    return replace(fixtures, names=names)


def _tombstones(there: Mapping[str, Mapping[str, Any] | None], ids: set[str]) -> Iterator[bytes]:
    for id in sorted(ids):
        row = there[id]
        if row is not None and not row.get("deleted"):
            yield tombstone(id, row)


def _sequence(info: Mapping[str, Any]) -> tuple[Any, ...]:
    return info.get("update_seq"), info.get("doc_count"), info.get("doc_del_count")


def _number(info: Mapping[str, Any]) -> int:
    """How many changes there were; CouchDB puts something of its own behind it."""
    return int(str(info.get("update_seq", 0)).partition("-")[0])

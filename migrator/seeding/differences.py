"""What of a server differs from fixtures, found by reading only: documents, security and indexes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from migrator.codec import decode
from migrator.couch.answers import refuse
from migrator.couch.attachments import with_plain_attachments
from migrator.couch.client import CouchClient
from migrator.couch.reader import CouchReader
from migrator.model import Document, EncodedDocument
from migrator.retry import Retrier, is_transient
from migrator.seeding import users
from migrator.seeding.indexes import IndexKey, equal, listed
from migrator.seeding.model import Fixture, FixtureDatabase, Fixtures
from migrator.verification import DIFFERENT, EXTRA, MISSING, Comparison, Difference, Stored, compare_collection

SECURITY = "_security"
INDEX = "_index"
# The server's own design document of `_users`.
AUTH_DESIGN = "_design/_auth"
MAX_CHANGES = 20
_ABSENT: Any = object()


class Change(NamedTuple):
    """One value that is not what the fixture says, both sides as JSON text; "" where there is none."""

    path: str
    fixture: str
    there: str


@dataclass
class DatabaseState:
    """How one database is, against its fixtures. `exists` is False where there is no database yet."""

    fixtures: FixtureDatabase
    exists: bool = False
    documents: list[Difference] = field(default_factory=list)
    security: bool = False
    partitioning: bool = False
    indexes: list[tuple[str, IndexKey]] = field(default_factory=list)
    numbers: Comparison = field(default_factory=Comparison)

    def of_kind(self, *kinds: str) -> set[str]:
        """The ids of documents that differ so."""
        return {difference.id for difference in self.documents if difference.kind in kinds}

    @property
    def equal(self) -> bool:
        """True when the database is what the fixtures say, and holds nothing else."""
        return self.exists and not (self.documents or self.security or self.indexes or self.partitioning)


class FixtureReader(CouchReader):
    """Reads databases for comparison with fixtures: users by their passwords, indexes apart."""

    def __init__(self, client: CouchClient, names: Mapping[str, str], retrier: Retrier) -> None:
        super().__init__(client, names, retrier)
        self.hidden: dict[str, set[str]] = {}

    def stored(self, collection: str, *, after: str | None = None) -> Iterator[Stored]:
        """All rows but those of the server's own design documents."""
        hidden = self.hidden.get(collection, set())
        return (row for row in super().stored(collection, after=after) if row.id not in hidden)

    def differing(self, collection: str, body: bytes, there: Document) -> str | None:
        """Users by what the server makes of a password, others by content."""
        if collection == users.USERS and not str(there.get("_id", "")).startswith("_design/"):
            return users.differing(decode(body), there)
        return super().differing(collection, body, there)


def compare(client: CouchClient, fixtures: Fixtures, retrier: Retrier) -> dict[str, DatabaseState]:
    """Compare every database of the fixtures with the server's.

    Raises:
        EndpointError: the server is out of reach or refuses.
    """
    reader = FixtureReader(client, fixtures.names, retrier)
    return {name: _compare_one(client, reader, fixtures, name, retrier) for name in fixtures.databases}


def _compare_one(
    client: CouchClient, reader: FixtureReader, fixtures: Fixtures, name: str, retrier: Retrier
) -> DatabaseState:
    wanted = fixtures.databases[name]
    database = fixtures.names[name]
    state = DatabaseState(wanted)

    def look(_: int) -> None:
        info = client.database_info(database)
        state.exists = info is not None
        partitioned = bool(info and info.get("props", {}).get("partitioned"))
        # The sandbox knows no partitions, and makes every database an ordinary one.
        able = "express-pouchdb" not in client.welcome()
        state.partitioning = (
            state.exists and able and wanted.options.get("partitioned", partitioned) != partitioned
        )
        state.security = wanted.security is not None and (
            not state.exists or read_security(client, database) != wanted.security
        )
        designs = {fixture.id for fixture in wanted.designs}
        there = {}
        if state.exists:
            there = {key: index for key, index in listed(client, database).items() if key.design not in designs}
        state.indexes = _index_differences(wanted, there, partitioned=partitioned)
        reader.hidden[name] = {key.design for key in there}
        if name == users.USERS and AUTH_DESIGN not in designs:
            reader.hidden[name].add(AUTH_DESIGN)

    retrier.call(f"look at {database}", look, retry_on=is_transient)
    source = (EncodedDocument(id, body) for id, body, _ in _merged(wanted.designs, wanted.documents))
    stored = reader.stored(name) if state.exists else iter(())
    steps = compare_collection(name, source, stored, reader, state.numbers, ignore_extra_design=False)
    state.documents = list(chain.from_iterable(step.differences for step in steps))
    return state


def _merged(designs: Sequence[Fixture], documents: Sequence[Fixture]) -> list[Fixture]:
    return sorted((*designs, *documents), key=lambda fixture: fixture.id.encode())


def _index_differences(
    wanted: FixtureDatabase, there: Mapping[IndexKey, Mapping[str, Any]], *, partitioned: bool
) -> list[tuple[str, IndexKey]]:
    found: list[tuple[str, IndexKey]] = []
    for key, definition in wanted.indexes.items():
        if key not in there:
            found.append((MISSING, key))
        elif not equal(definition, there[key], partitioned=partitioned):
            found.append((DIFFERENT, key))
    return found + [(EXTRA, key) for key in there if key not in wanted.indexes]


def read_security(client: CouchClient, database: str) -> Any:
    """The security object of a database."""
    what = f"Reading the security of {database}"
    answer = client.call("GET", database, "_security")
    if answer.status != 200:
        refuse(answer, what, client.url)
    return answer.json(what)


# -- for people -----------------------------------------------------------------------------------------------


def describe(client: CouchClient, fixtures: Fixtures, states: Mapping[str, DatabaseState]) -> list[dict[str, Any]]:
    """Every difference as an object: `database`, `kind`, `what`, and for documents that differ their `changes`."""
    described: list[dict[str, Any]] = []
    for name, state in states.items():
        database = fixtures.names[name]
        if not state.exists:
            described.append({"database": database, "kind": MISSING, "what": "the database itself"})
            continue
        if state.partitioning:
            described.append(_described(database, DIFFERENT, "_database (partitioned or not)"))
        if state.security:
            changes = changes_between(state.fixtures.security, read_security(client, database))
            described.append(_described(database, DIFFERENT, SECURITY, changes))
        described += [_described(database, kind, f"{INDEX} {key}") for kind, key in state.indexes]
        bodies = {fixture.id: fixture.body for fixture in (*state.fixtures.designs, *state.fixtures.documents)}
        for difference in state.documents:
            changes = []
            if difference.kind == DIFFERENT:
                there = dict(client.documents(database, [difference.id]))[difference.id]
                changes = _document_changes(name, decode(bodies[difference.id]), there or {}, difference.path)
            described.append(_described(database, difference.kind, difference.id, changes))
    return described


def _described(database: str, kind: str, what: str, changes: Sequence[Change] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {"database": database, "kind": kind, "what": what}
    if changes:
        found["changes"] = [change._asdict() for change in changes]
    return found


def _document_changes(name: str, ours: dict[str, Any], there: Document, path: str) -> list[Change]:
    if path == "password":
        # Neither side is shown: one is a secret, the other its hash.
        return [Change("password", "", "")]
    ours, theirs = with_plain_attachments(ours), {key: value for key, value in there.items() if key != "_rev"}
    if name == users.USERS:
        ours.pop("password", None)
        theirs = {key: value for key, value in theirs.items() if key in ours or key not in users.HASH_FIELDS}
    return changes_between(ours, theirs)


def changes_between(fixture: Any, there: Any) -> list[Change]:
    """The values at which two JSON values differ, at most so many as people read."""
    found: list[Change] = []
    pending: list[tuple[str, Any, Any]] = [("", fixture, there)]
    while pending and len(found) < MAX_CHANGES:
        path, ours, theirs = pending.pop()
        if type(ours) is type(theirs) and ours == theirs and _text(ours) == _text(theirs):
            continue
        if isinstance(ours, dict) and isinstance(theirs, dict):
            keys = sorted({*ours, *theirs}, reverse=True)
            pending += [
                (f"{path}.{key}" if path else key, ours.get(key, _ABSENT), theirs.get(key, _ABSENT))
                for key in keys
            ]
        elif isinstance(ours, list) and isinstance(theirs, list):
            for index in reversed(range(max(len(ours), len(theirs)))):
                one = ours[index] if index < len(ours) else _ABSENT
                other = theirs[index] if index < len(theirs) else _ABSENT
                pending.append((f"{path}[{index}]", one, other))
        else:
            found.append(Change(path, _text(ours), _text(theirs)))
    return found


def _text(value: Any) -> str:
    return "" if value is _ABSENT else json.dumps(value, ensure_ascii=False, sort_keys=True)

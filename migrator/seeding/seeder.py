"""Makes databases what fixtures say: reads what is there, and writes only what differs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import Endpoint
from migrator.couch.identity import guard_database
from migrator.couch.refused import lacking_service
from migrator.couch.settings import write_security
from migrator.errors import ConfigError, RejectsError
from migrator.events import Listener, ignore
from migrator.files.failures import temporary_folder
from migrator.jobs import run_job
from migrator.loaders.conflicts import OnConflict
from migrator.loaders.couchdb import CouchLoader
from migrator.retry import Retrier, RetryPolicy, is_transient
from migrator.seeding import indexes, users
from migrator.seeding.differences import DatabaseState, compare, describe
from migrator.seeding.extractor import FixtureExtractor
from migrator.seeding.model import Fixture, Fixtures
from migrator.seeding.problems import FixtureError, Place, Problem
from migrator.seeding.readiness import wait_for_indexes
from migrator.seeding.writing import remove_all
from migrator.target_guard import TargetGuard, advising
from migrator.verification import DIFFERENT, EXTRA, MISSING

# Each user costs the server a tenth of a second of hashing within the request.
USERS_PER_BATCH = 20
AGAIN = "Seed again: what is there already stays as it is."
T = TypeVar("T")


@dataclass
class Seeded:
    """What seeding did to one database."""

    database: str
    written: int = 0
    unchanged: int = 0
    removed: int = 0
    created: bool = False
    others: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For the report; `others` names what was written besides documents."""
        return dict(vars(self))


@dataclass(frozen=True)
class SeedOptions:
    """How to seed.

    Args:
        exact: remove what the fixtures do not hold.
        recreate: delete the databases first; `_users` is the whole server's and stays.
        wait_s: wait so long for the indexes; not at all where None.
        keep_users: users that are no fixtures stay, as they are those of others on the same server.
        max_attempts: tries of one request.
        max_outage_s: give up when nothing has succeeded for so long.
    """

    exact: bool = False
    recreate: bool = False
    wait_s: float | None = None
    keep_users: bool = False
    max_attempts: int = 10
    max_outage_s: float = 300.0


@dataclass
class Seeder:
    """Seeds one server.

    Args:
        endpoint: the server.
        fixtures: what it is to hold.
        options: how.
        listener: hears of the documents that are written.
        stopping: set it to stop.
    """

    endpoint: Endpoint
    fixtures: Fixtures
    options: SeedOptions = SeedOptions()
    listener: Listener = ignore
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        policy = RetryPolicy(max_attempts=self.options.max_attempts, max_outage_s=self.options.max_outage_s)
        self._retrier = Retrier(policy, self.listener, None, self.stopping)
        self._client = CouchClient(self.endpoint)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def unconfirmed(self) -> list[str]:
        """What of the databases' lists could not be made sure of, as sentences."""
        return self._client.doubts

    def compare(self) -> dict[str, DatabaseState]:
        """What differs, found by reading only."""
        self._greet()
        states = compare(self._client, self.fixtures, self._retrier)
        if self.options.keep_users and users.USERS in states:
            # Other jobs' users are none of this one's business.
            state = states[users.USERS]
            state.documents = [found for found in state.documents if found.kind != EXTRA]
        return states

    def differences(self) -> list[dict[str, Any]]:
        """What differs, with the values on both sides, as `migrator.seeding.differences.describe` gives it."""
        return describe(self._client, self.fixtures, self.compare())

    def seed(self) -> dict[str, Seeded]:
        """Write what differs.

        Raises:
            ConfigError: a database is there that is partitioned where the fixtures' is not, or the other way.
            EndpointError: the server is out of reach or refuses.
            RejectsError: the server refused some documents; the others are written.
            TargetReplaced: a database was deleted or replaced meanwhile.
        """
        self._greet()
        names = self.fixtures.names
        if self.options.recreate:
            for name, database in names.items():
                if name != users.USERS:
                    self._call(f"delete {database}", partial(self._client.delete_database, database))
        # Before it is compared: what is found equal is said of this very database.
        guards = {name: self._guard(database) for name, database in names.items() if self._exists(database)}
        states = compare(self._client, self.fixtures, self._retrier)
        if fixed := [names[name] for name, state in states.items() if state.partitioning]:
            raise ConfigError(
                f"Database {fixed[0]} is there already, and a database cannot become partitioned or cease to be.",
                hint="Start from nothing with --recreate.",
            )
        results = {name: self._prepare(name, state) for name, state in states.items()}
        guards |= {name: self._guard(names[name]) for name in states if name not in guards}
        self._write(states, results)
        for name, state in states.items():
            if self._removes_extras(name):
                self._remove(name, state, results[name])
            self._declare(name, state, results[name])
        if self.options.wait_s is not None:
            wait_for_indexes(self._client, self.fixtures, self.options.wait_s)
        for name, guard in guards.items():
            guard.check(names[name])
        return results

    def _exists(self, database: str) -> bool:
        look = partial(self._client.database_info, database)
        return self._call(f"look at {database}", look) is not None

    def _guard(self, database: str) -> TargetGuard:
        return guard_database(self._client, self._retrier, database, hint=AGAIN)

    def _greet(self) -> None:
        # A wrong address shows soon: nobody waits long for a first answer.
        first = Retrier(RetryPolicy(max_attempts=3, first_wait_s=0.2, max_wait_s=1.0), self.listener)
        welcome = first.call("greet the server", lambda _: self._client.welcome(), retry_on=is_transient)
        if lacking := [
            Problem(Place(database.index_files[key]), f"{self._client.url} has no {definition['type']} indexes.")
            for database in self.fixtures.databases.values()
            for key, definition in database.indexes.items()
            if lacking_service(definition["type"], welcome)
        ]:
            raise FixtureError(lacking)

    def _removes_extras(self, name: str) -> bool:
        return self.options.exact and not (name == users.USERS and self.options.keep_users)

    def _prepare(self, name: str, state: DatabaseState) -> Seeded:
        database = self.fixtures.names[name]
        result = Seeded(database, unchanged=state.numbers.equal, created=not state.exists)
        if not state.exists:
            options = {key: str(value).lower() for key, value in state.fixtures.options.items()}
            self._call(f"create {database}", partial(self._client.create_database, database, **options))
        return result

    def _write(self, states: Mapping[str, DatabaseState], results: Mapping[str, Seeded]) -> None:
        """Documents, then design documents: a validation function is slow, and may refuse."""
        documents: dict[str, Sequence[Fixture]] = {}
        designs: dict[str, Sequence[Fixture]] = {}
        for name, state in states.items():
            wanted = state.of_kind(MISSING, DIFFERENT)
            if found := [fixture for fixture in state.fixtures.documents if fixture.id in wanted]:
                documents[name] = found
            if found := [fixture for fixture in state.fixtures.designs if fixture.id in wanted]:
                designs[name] = found
        system = {name: documents.pop(name) for name in (users.USERS,) if name in documents}
        rejected: list[dict[str, Any]] = []
        for group, batch_docs in ((system, USERS_PER_BATCH), (documents, 500), (designs, 500)):
            if group:
                rejected += self._run(group, batch_docs, results)
        if rejected:
            places = {
                (name, fixture.id): fixture.text
                for name, state in states.items()
                for fixture in (*state.fixtures.documents, *state.fixtures.designs)
            }
            listed = "".join(
                f"\n  {places[row['collection'], row['id']].place()}: {row['id']!r:.100}: {row['error']} "
                f"({row['reason']})"
                for row in rejected
            )
            raise RejectsError(
                f"The server refused {len(rejected)} fixtures; the others are written:{listed}",
                hint="\nMend them and seed again: what is there already stays as it is.",
            )

    def _run(
        self, group: Mapping[str, Sequence[Fixture]], batch_docs: int, results: Mapping[str, Seeded]
    ) -> list[dict[str, Any]]:
        # A run's own files are of no use here: seeding again does what is left.
        with temporary_folder("migrator-seed-") as work, advising(AGAIN):
            job = run_job(
                JobConfig(
                    target=self.endpoint.url,
                    on_conflict="overwrite",
                    checkpoint=f"{work}/checkpoint.json",
                    rejects=f"{work}/rejects.ndjson",
                    sort="never",
                    batch_docs=batch_docs,
                    max_attempts=self.options.max_attempts,
                    max_outage_s=self.options.max_outage_s,
                ),
                listener=self.listener,
                stopping=self.stopping,
                source=FixtureExtractor(self.fixtures.folder, group),
                target=CouchLoader(
                    CouchClient(self.endpoint), names=self.fixtures.names, on_conflict=OnConflict.OVERWRITE
                ),
            )
            for name, report in job.report.collections.items():
                results[name].written += report.counts.written
                results[name].unchanged += report.counts.unchanged
            if job.rejects is None:
                return []
            return [json.loads(line) for line in Path(job.rejects).read_text(encoding="utf-8").splitlines()]

    def _remove(self, name: str, state: DatabaseState, result: Seeded) -> None:
        database = self.fixtures.names[name]
        extra = sorted(state.of_kind(EXTRA))
        if extra:
            result.removed += self._call(
                f"remove documents of {database}", partial(remove_all, self._client, database, extra)
            )
        for kind, key in state.indexes:
            if kind == EXTRA:
                self._call(f"remove an index of {database}", partial(indexes.remove, self._client, database, key))
                result.others.append(f"index {key} removed")

    def _declare(self, name: str, state: DatabaseState, result: Seeded) -> None:
        """Indexes and security, when the documents are in."""
        database = self.fixtures.names[name]
        for kind, key in state.indexes:
            if kind == EXTRA:
                continue
            definition = state.fixtures.indexes[key]
            if kind == DIFFERENT:
                self._call(f"remove an index of {database}", partial(indexes.remove, self._client, database, key))
            file = state.fixtures.index_files.get(key, "")
            self._call(
                f"create an index of {database}",
                partial(indexes.create, self._client, database, definition, file),
            )
            result.others.append(f"index {key}")
        security = state.fixtures.security
        if state.security and security is not None:
            self._call(f"secure {database}", partial(write_security, self._client, database, security))
            result.others.append("security")

    def _call(self, operation: str, call: Callable[[], T]) -> T:
        return self._retrier.call(operation, lambda _: call(), retry_on=is_transient)

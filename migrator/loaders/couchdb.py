"""Writes documents to CouchDB: a database per collection, one `_bulk_docs` a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from migrator import naming
from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.couch.copies import copies_of, is_empty, is_surely_empty, settled_info
from migrator.couch.documents import fidelity_of, proving
from migrator.couch.locate import client_of
from migrator.couch.revision import recognized
from migrator.couch.settings import mark_database, read_identity
from migrator.couch.trouble import CONFLICT, Suspects
from migrator.couch.validate import DEFAULT_MAX_DOCUMENT_BYTES, screen
from migrator.errors import TransientError
from migrator.loaders.batch_write import BatchWrite
from migrator.loaders.proof import Proof
from migrator.loaders.target import Look, OnConflict, Target, parse_policy
from migrator.model import Batch, Document, EncodedDocument, Fault, Loader, Outcome, Status
from migrator.model.capabilities import Traits
from migrator.retry.retrier import MAX_ATTEMPTS_AT_ONE_DOCUMENT


@dataclass(eq=False)
class CouchLoader(Loader):
    """A loader for one server.

    Args:
        client: the server.
        names: database by collection, where the rule of `naming` is not wanted.
        on_conflict: who wins over other content.
        newer_field: dotted path of the field that OnConflict.NEWER compares.
        max_in_flight: how many batches at once.
        create_options: `q`, `n`, `partitioned` for databases that are created.
        mirror: deletions are carried too; `policies` can then name another policy for a collection.
        prove: compute the revision of each document that is written, and compare it with the server's; None where
            that is quick.
        attempts: so often a document may fail that is not stored while others are.
        sleep: waits between the rounds of a conflict's race.
    """

    traits = Traits(couchdb=True, prefers_sorted=True)

    client: CouchClient
    names: Mapping[str, str] = field(default_factory=dict)
    on_conflict: OnConflict = OnConflict.FAIL
    newer_field: str = ""
    max_in_flight: int = 4
    create_options: Mapping[str, Any] = field(default_factory=dict)
    mirror: bool = False
    prove: bool | None = False
    attempts: int = MAX_ATTEMPTS_AT_ONE_DOCUMENT
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self.policies: dict[str, OnConflict] = {}
        self._write = MirrorWrite if self.mirror else BatchWrite
        self._prove = proving(self.prove)
        self._attempts = min(self.attempts, MAX_ATTEMPTS_AT_ONE_DOCUMENT)
        self._max_document_bytes: int | None = None
        self._welcome: Mapping[str, Any] = {}
        self._partitioned = False
        self._targets: dict[str, Target] = {}
        # Databases that this run made: a job prepares its first one twice, and a lost answer does so again.
        self._created: set[str] = set()

    def describe(self) -> str:
        """The server's URL."""
        return self.client.url

    def target_name(self, collection: str) -> str:
        """The database's name."""
        return self.names.get(collection) or naming.database_name(collection)

    def screen(self, id: str, top_level: Document, body: bytes) -> Fault | None:
        """What CouchDB is sure to refuse."""
        if self._write is MirrorWrite and body.endswith(DELETED):
            return None
        limit = self._max_document_bytes or DEFAULT_MAX_DOCUMENT_BYTES
        return screen(id, top_level, body, max_document_bytes=limit, partitioned=self._partitioned)

    def recognize(self, text: bytes) -> EncodedDocument | None:
        """A document that the server takes as it is, where that can be told at a glance."""
        found = recognized(text)
        return found if found and self.takes(found) else None

    def takes(self, document: EncodedDocument) -> bool:
        """True where its size and its id are in order, of a document that was recognized."""
        most = self._max_document_bytes or DEFAULT_MAX_DOCUMENT_BYTES
        return len(document.body) <= most and not self._partitioned

    def prepare(self, collection: str, mark: int | None) -> None:  # noqa: ARG002 a database knows what it holds
        """Create the database when it is missing, and give it its mark.

        Raises:
            ConfigError: the name is not legal.
            EndpointError: the server is out of reach or refuses.
        """
        database = self.target_name(collection)
        info = self._look(database)
        if info is None:
            if self.client.create_database(database, **self.create_options):
                self._created.add(database)
            info = self.client.database_info(database)
            if info is None:
                raise TransientError(
                    f"Database {database} was created but is not there yet.", signature="database not there"
                )
        # Before anything is written, so that all that is confirmed is known to be in this very database.
        mark_database(self.client, database)
        policy = self.policies.get(collection, self.on_conflict)
        self._targets[collection] = replace(self._target(database, info), on_conflict=policy)

    def load(self, batch: Batch, *, resend: bool = False) -> Sequence[Outcome]:
        """Write the documents; see `Loader.load`."""
        return self._write(self._targets[batch.collection], batch.documents, resend=resend).run()

    def identity(self, collection: str) -> str | None:
        """Tells the database from a later one of the same name; "" where there is none."""
        return read_identity(self.client, self.target_name(collection))

    @property
    def unconfirmed(self) -> Sequence[str]:
        """What of the writes could not be made sure of, as sentences."""
        return list(self.client.unconfirmed_writes.values())

    def is_empty(self, collection: str) -> bool:
        """True when the database surely holds no document."""
        database = self.target_name(collection)
        info = self._look(database)
        return info is not None and is_surely_empty(self.client, database, info, deletions=False)

    def survey(self, collection: str) -> int:
        """How many documents are at the target; -1 where there is no database yet."""
        info = self._look(self.target_name(collection))
        if copies_of(info) > 1:
            info = settled_info(self.client, self.target_name(collection))
        return -1 if info is None else int(info.get("doc_count", 0))

    def preview(self, batch: Batch) -> Sequence[Outcome]:
        """What `load` would do, found out by reading only."""
        database = self.target_name(batch.collection)
        if batch.collection not in self._targets:
            info = self._look(database)
            if info is None:
                return [Outcome(document.id, Status.WRITTEN) for document in batch.documents]
            self._targets[batch.collection] = replace(self._target(database, info), dry_run=True)
        return BatchWrite(self._targets[batch.collection], batch.documents, resend=False).run()

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _look(self, database: str) -> dict[str, Any] | None:
        if self._max_document_bytes is None:
            self._welcome = self.client.welcome()
            self._max_document_bytes = self.client.max_document_size() or DEFAULT_MAX_DOCUMENT_BYTES
        return self.client.database_info(database)

    def _target(self, database: str, info: Mapping[str, Any]) -> Target:
        self._partitioned = bool(info.get("props", {}).get("partitioned"))
        fidelity = fidelity_of(self._welcome, database)
        holds_some = not is_empty(info, deletions=False)
        return Target(
            client=self.client,
            database=database,
            on_conflict=self.on_conflict,
            newer_field=self.newer_field,
            fidelity=fidelity,
            proof=Proof(fidelity, self._prove),
            look=Look(self.client, database, wanted=holds_some, by_ranges=fidelity.keeps_numbers),
            # Of a cluster's database that was there before, one copy can seem empty.
            was_empty=is_empty(info) and (database in self._created or copies_of(info) < 2),
            suspects=Suspects(self.client, database, self._attempts),
            sleep=self.sleep,
        )


def open_target(
    target: str, config: JobConfig, names: Mapping[str, str], environ: Mapping[str, str] | None
) -> Loader:
    """The target that a TARGET names."""
    most = config.in_flight + 2
    client, _ = client_of(config, target, role="target", environ=environ, max_connections=most)
    return CouchLoader(
        client,
        names=names,
        on_conflict=parse_policy(config.on_conflict, config.newer_field),
        newer_field=config.newer_field or "",
        max_in_flight=config.in_flight,
        create_options={"q": config.q, "n": config.n, "partitioned": config.partitioned},
        mirror=config.since_last or config.follow,
        prove=config.prove,
        attempts=config.max_attempts,
    )


# How the text of a deletion ends; no other document may have such a field.
DELETED = b',"_deleted":true}'


class MirrorWrite(BatchWrite):
    """As BatchWrite, with deletions.

    A deletion needs the revision that it deletes, and without one it would make a tombstone of nothing:
    so what stands at the target is read first. It goes by the policy as other content does; `newer` deletes, for a
    deletion has no field to compare.
    """

    def _write(self, indexes: list[int]) -> None:
        tombstones = self._tombstones(indexes)
        if len(tombstones) < len(indexes):
            deleted = set(tombstones)
            super()._write([index for index in indexes if index not in deleted])
        if tombstones and (conflicts := self._send(self._examine(tombstones))):
            self._settle(conflicts)

    def _examine(self, indexes: Sequence[int]) -> dict[int, str | None]:
        tombstones = self._tombstones(indexes)
        if not tombstones:
            return super()._examine(indexes)
        sending: dict[int, str | None] = {}
        there = self._present(tombstones)
        for index in tombstones:
            id = self._documents[index].id
            policy = self._target.on_conflict
            if id not in there:
                ours = id in self._target.overwriting or id in self._target.confirmed
                self._end(index, Status.WRITTEN if ours else Status.UNCHANGED)
            elif policy is OnConflict.SKIP:
                self._end(index, Status.SKIPPED, reason="deleted at the source, kept at the target", conflict=True)
            elif policy is OnConflict.FAIL:
                reason = f"deleted at the source, and at the target as {there[id]}"
                self._end(index, Status.REJECTED, error=CONFLICT, reason=reason, conflict=True, status=409)
            else:
                self._target.overwriting.add(id)
                sending[index] = there[id]
        return sending

    def _tombstones(self, indexes: Sequence[int]) -> list[int]:
        return [index for index in indexes if self._documents[index].body.endswith(DELETED)]

"""The database that a restore writes to: whether it may, how it is made, and what it is given at the end."""

from __future__ import annotations

import json
from typing import Any

from migrator.backup.manifest import Manifest, now
from migrator.backup.options import RestoreOptions
from migrator.couch.answers import refuse
from migrator.couch.client import CouchClient
from migrator.couch.endpoint import database_url
from migrator.couch.settings import apply_revs_limit, apply_security, check_security, create_like, read_facts
from migrator.errors import ConfigError
from migrator.retry import Retrier, is_transient
from migrator.revisions import DatabaseFacts

MARK = "migrator-restore"
"""A `_local` document, which is no part of the database's content: from which snapshot it is being restored."""

USERS = "_users"
USERS_OWN = "_design/_auth"
SYSTEM = "_"


class Target:
    """One target database.

    Args:
        client: its server.
        database: its name.
        manifest: what is restored.
        retrier: tries again.
        options: what was asked.
    """

    def __init__(
        self, client: CouchClient, database: str, manifest: Manifest, retrier: Retrier, options: RestoreOptions
    ) -> None:
        self.database = database
        self.resumed = False
        self._client = client
        self.manifest = manifest
        self._retrier = retrier
        self._options = options
        self._facts: DatabaseFacts | None = None
        self._own_design = False

    def check(self, _attempt: int = 1) -> None:
        """Refuse a database that must not be written to.

        Raises:
            ConfigError: it holds documents.
        """
        if self._client.database_info(self.database) is None:
            return
        self._facts = read_facts(self._client, self.database)
        self._own_design = self.database == USERS and self._has(USERS_OWN)
        self.resumed = self._mark().get("snapshot") == self._snapshot
        documents = (self._facts.documents or 0) - self._own_design
        deleted = self._facts.deleted_documents or 0
        if (documents or deleted) and not self.resumed and not self._options.into_existing:
            raise ConfigError(
                f"{database_url(self._client.endpoint, self.database)} holds {documents:,} documents"
                + (f" and {deleted:,} deleted ones." if deleted else "."),
                hint="Restore to another name with --map OLD=NEW, or into this one with --into-existing.",
            )

    def prepare(self, notes: list[str]) -> bool:
        """Make the database, or what is left of making it; True when nothing of the backup can be in it."""
        wanted = self.manifest.facts
        is_new = self._facts is None
        if self._options.security or (self._options.security is None and is_new):
            check_security(wanted.security, self._snapshot)
        if is_new:
            self._call("create", lambda _: create_like(self._client, self.database, wanted))
        found = self._call("look at", lambda _: read_facts(self._client, self.database))
        if is_new:
            self._facts = found
            if wanted.partitioned and not found.partitioned:
                notes.append("the server knows no partitioned databases")
        if is_new or self.resumed:
            self._call("mark", lambda _: self._write_mark(finished=False))
        elif self._options.ids:
            return False
        # A shorter limit would cut ancestry; a longer one than it has stays.
        if wanted.revs_limit and (is_new or (found.revs_limit or 0) < wanted.revs_limit):
            known = self._call("limit", lambda _: apply_revs_limit(self._client, self.database, wanted))
            if not known:
                notes.append("the server knows no limit of revisions")
        return is_new

    def keeps(self, id: str) -> bool:
        """True for a design document of the server's own, which the backup's would be in conflict with."""
        return id == USERS_OWN and self._own_design

    def finish(self, notes: list[str]) -> None:
        """Let in whom the old database let in, now that everything is there."""
        wanted = self._options.security
        own = self._mark_is_ours()
        if wanted is True or (wanted is None and own and not self.database.startswith(SYSTEM)):
            facts = self.manifest.facts
            if not self._call("secure", lambda _: apply_security(self._client, self.database, facts)):
                notes.append("the server knows no security objects")
        elif self.manifest.facts.security and wanted is None:
            notes.append("the security object was left as it is; --restore-security gives the backup's")
        if own:
            self._call("mark", lambda _: self._write_mark(finished=True))

    @property
    def _snapshot(self) -> str:
        return f"{self.manifest.database} {self.manifest.snapshot}"

    def _mark_is_ours(self) -> bool:
        return bool(self._call("look at", lambda _: self._mark()).get("snapshot") == self._snapshot)

    def _call(self, what: str, attempt: Any) -> Any:
        return self._retrier.call(f"{what} {self.database}", attempt, retry_on=is_transient)

    def _has(self, id: str) -> bool:
        return self._client.get_document(self.database, id) is not None

    def _mark(self) -> dict[str, Any]:
        return self._client.get_document(self.database, f"_local/{MARK}") or {}

    def _write_mark(self, *, finished: bool) -> None:
        mark: dict[str, Any] = {"snapshot": self._snapshot, "finished": now() if finished else None}
        if rev := self._mark().get("_rev"):
            mark["_rev"] = rev
        answer = self._client.call("PUT", self.database, "_local", MARK, body=json.dumps(mark).encode())
        if answer.status not in {200, 201, 202}:
            refuse(answer, f"Marking {self.database}", self._client.url)

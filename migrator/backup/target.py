"""The database that a restore writes to: how it is made and filled, and what it is given at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from migrator.backup.format.manifest import Manifest
from migrator.backup.options import RestoreOptions
from migrator.couch.claim import Claim
from migrator.couch.client import CouchClient
from migrator.couch.settings import apply_revs_limit, apply_security, check_security, read_facts
from migrator.errors import Forbidden, Unauthorized
from migrator.retry.retrier import Retrier

# Design documents that the server makes in its own databases, which the backup's would be in conflict with.
SERVERS_OWN = {"_users": "_design/_auth", "_replicator": "_design/_replicator"}
SYSTEM = "_"
ELSEWHERE = "Restore to another name with --map OLD=NEW, or into this one with --into-existing."


class Target(Claim):
    """One target database, claimed for a restore.

    Args:
        client: its server.
        database: its name.
        chain: the snapshots that are restored, the full one first.
        retrier: tries again.
        options: what was asked.

    `kept` are design documents of the server's own, which the backup's would be in conflict with.
    """

    def __init__(
        self,
        client: CouchClient,
        database: str,
        chain: Sequence[Manifest],
        retrier: Retrier,
        options: RestoreOptions,
    ) -> None:
        self.manifest = chain[-1]
        self._options = options
        own = SERVERS_OWN.get(database)
        # What an older snapshot of the chain left is part of what this one comes to.
        older = {_job(each) for each in chain[:-1]}
        super().__init__(
            client, database, "restore", _job(self.manifest), retrier, own=(own,) if own else (), takes_over=older
        )
        self.kept: set[str] = set()

    def refuse(self, _attempt: int = 1) -> None:
        """Refuse a database that must not be written to.

        Raises:
            ConfigError: it holds documents.
        """
        self.look()
        if not self._options.into_existing:
            self.refuse_occupied(ELSEWHERE)
        self.kept = {id for id in self.own if self.client.get_document(self.database, id) is not None}

    def prepare(self, notes: list[str]) -> bool:
        """Make the database, or what is left of making it; True when nothing of the backup can be in it."""
        wanted = self.manifest.facts
        mine = self.found.empty or self.resumed
        if self._options.security or (self._options.security is None and mine):
            check_security(wanted.security, _job(self.manifest))
        made = not self.found.exists
        fresh = self.take(
            lambda: self.client.create_database(self.database, **wanted.creation),
            ELSEWHERE,
            shared=self._options.into_existing,
        )
        found = self._call("look at", lambda _: read_facts(self.client, self.database))
        if made and wanted.partitioned and not found.partitioned:
            notes.append("the server knows no partitioned databases")
        shorter = (found.revs_limit or 0) < (wanted.revs_limit or 0)
        # A shorter limit would cut ancestry; what somebody else's database has beyond that stays.
        if wanted.revs_limit not in {None, found.revs_limit} and (self.ours or shorter):
            self._give(
                notes,
                "limit",
                lambda _: apply_revs_limit(self.client, self.database, wanted),
                "the server knows no limit of revisions",
                must=shorter or made,
            )
        return fresh

    def complete(self, notes: list[str]) -> None:
        """Let in whom the old database let in, now that everything is there.

        Raises:
            CheckpointError: the database was deleted or replaced meanwhile.
        """
        self.confirm()
        wanted = self._options.security
        facts = self.manifest.facts
        if wanted is True or (wanted is None and self.secures and not self.database.startswith(SYSTEM)):
            self._give(
                notes,
                "secure",
                lambda _: apply_security(self.client, self.database, facts),
                "the server knows no security objects",
                must=wanted is True or self.made,
            )
        elif facts.security and wanted is None:
            notes.append("the security object was left as it is; --restore-security gives the backup's")
        self.finish()

    def _give(self, notes: list[str], what: str, step: Callable[[int], bool], unknown: str, *, must: bool) -> None:
        """Give the database a setting; one that was there is restored by whoever may only write documents, too."""
        try:
            if not self._call(what, step):
                notes.append(unknown)
        except (Forbidden, Unauthorized) as error:
            if must:
                raise
            notes.append(f"not set, as this user is no admin of the database: {error.message}")


def _job(manifest: Manifest) -> str:
    return f"{manifest.database} {manifest.snapshot}"

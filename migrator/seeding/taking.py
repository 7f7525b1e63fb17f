"""Takes a snapshot of a server, masked where that is asked for; what a mask missed is never put in place."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrator.codec import decode
from migrator.config import JobConfig
from migrator.couch.client import CouchClient
from migrator.errors import ConfigError, VerificationError
from migrator.events import Listener, ignore
from migrator.extractors.couchdb import CouchExtractor
from migrator.retry import Retrier, RetryPolicy
from migrator.retrying import RetryingExtractor
from migrator.seeding.audit import MaskAudit
from migrator.seeding.fixtures import read_fixtures
from migrator.seeding.snapshot import Snapshot, snapshot
from migrator.seeding.staging import Masking, StagingExtractor
from migrator.seeding.values import parse_now
from migrator.sources import server_of


@dataclass(frozen=True)
class Taken:
    """What was written, and the audit's report where there were masks."""

    databases: dict[str, Snapshot]
    audit: dict[str, Any] | None
    text: str
    folder: Path
    unconfirmed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        value: dict[str, Any] = {
            "schema": 1,
            "ok": True,
            "databases": {name: dict(vars(taken)) for name, taken in self.databases.items()},
        }
        return {**value, "masking": self.audit} if self.audit else value

    def as_text(self) -> str:
        """For people."""
        lines = [
            f"{name}: {taken.documents:,} documents, {taken.designs:,} design documents, {taken.indexes:,} indexes"
            + (f" ({taken.filtered:,} left out)" if taken.filtered else "")
            for name, taken in self.databases.items()
        ]
        return "\n".join([*lines, f"written to {self.folder}", ""]) + self.text


def take(
    config: JobConfig,
    folder: Path,
    *,
    format: str = "json",
    masking: Masking | None = None,
    environ: Mapping[str, str],
    listener: Listener = ignore,
) -> Taken:
    """Write a server's databases into a folder as fixtures.

    Args:
        config: the source and its connection; `collection` chooses databases.
        folder: where to.
        format: json or ndjson.
        masking: what is taken of the documents, and what is made of them.
        environ: the environment.
        listener: hears of trouble.

    Raises:
        VerificationError: an original value survived its mask; the folder is as it was.
        MigratorError: the server is out of reach, or the folder cannot be written.
    """
    masking = masking or Masking()
    endpoint, database = server_of(config, config.source, role="source", environ=environ)
    policy = RetryPolicy(max_attempts=config.max_attempts, max_outage_s=config.max_outage_s)
    retrier = Retrier(policy, listener, None, threading.Event())
    with contextlib.ExitStack() as stack:
        made = masking.masks(environ)
        audit = stack.enter_context(contextlib.closing(MaskAudit(made)))
        client = CouchClient(endpoint)
        stack.callback(client.close)
        reader = RetryingExtractor(CouchExtractor(client, database), retrier)
        found = list(reader.collections())
        names = [name for name in config.collection or found if name in {*found, "_users"}]
        if missing := [name for name in config.collection if name not in names]:
            raise ConfigError(
                f"{endpoint.url} has no database {missing[0]!r}.", hint=f"It has: {', '.join(found) or 'none'}."
            )

        def proof(work: Path) -> None:
            fixtures = read_fixtures(work, environ={}, now=parse_now("2000-01-01"))
            for written in fixtures.databases.values():
                for fixture in written.documents:
                    audit.check(decode(fixture.body))
            if not audit.ok:
                raise VerificationError(f"Nothing was written: {audit.as_text()}", hint="Mend the masks.")

        source = StagingExtractor(reader, masking.filters(), made, audit)
        taken = snapshot(client, source, names, folder, format=format, proof=proof if made else None)
        if not made:
            return Taken(taken, None, "", folder, tuple(client.doubts))
        return Taken(taken, audit.as_dict(), audit.as_text(), folder, tuple(client.doubts))

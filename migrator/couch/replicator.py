"""CouchDB's own replicator, asked through `_replicator` documents and the scheduler's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from migrator.couch.client import CouchClient
from migrator.couch.copies import bring_together
from migrator.couch.credentials import IAM
from migrator.couch.endpoint import Endpoint, database_url
from migrator.couch.responses import http_date
from migrator.errors import ConfigError, TransientError

REPLICATOR = "_replicator"
# The scheduler's final words for a job; others say that it goes on, or will.
COMPLETED, FAILED = "completed", "failed"
LONG_AGO = datetime.min.replace(tzinfo=UTC)
# A job that stumbles over one of these does so again and again.
HOPELESS = ("unauthorized", "forbidden", "db_not_found", "replication_auth_error")


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the server counts of a replication. It goes on counting from run to run of one replication."""

    checked: int = 0
    missing: int = 0
    written: int = 0
    failures: int = 0
    pending: int | None = None

    def since(self, before: Numbers) -> Numbers:
        """What was added to earlier numbers."""
        names = ("checked", "missing", "written", "failures")
        return replace(self, **{name: max(0, getattr(self, name) - getattr(before, name)) for name in names})


@dataclass(frozen=True, slots=True)
class JobState:
    """What the scheduler says of one job.

    `state` is its own word. `reason` says why a job fails or crashes. `replication_id` names the checkpoints
    that both databases keep; "" where the scheduler does not say.
    """

    state: str
    numbers: Numbers
    reason: str = ""
    error_count: int = 0
    replication_id: str = ""
    started: datetime | None = None

    @property
    def hopeless(self) -> bool:
        """True when trying again changes nothing."""
        return self.state == FAILED or (
            self.error_count > 0 and any(word in self.reason.lower() for word in HOPELESS)
        )


class Replicator:
    """The replicator of one server.

    Args:
        client: the server that runs the jobs.
    """

    def __init__(self, client: CouchClient) -> None:
        self._client = client

    def check(self) -> None:
        """Look whether there is one.

        Raises:
            ConfigError: the server has no replicator that can be followed.
        """
        if "scheduler" not in self._client.welcome().get("features", ()):
            raise ConfigError(
                f"{self._client.url} has no replication scheduler (CouchDB has one since 2.1).",
                hint="Leave out --replicate: then documents are carried as an application sees them.",
            )

    def start(self, id: str, document: Mapping[str, Any]) -> None:
        """Post a job, in place of one of the same name that was left behind."""
        self.remove(id)
        self._client.create_database(REPLICATOR)
        # The body holds both sides' credentials, and goes nowhere but to this server.
        body = json.dumps({"_id": id, **document}, ensure_ascii=False).encode()
        self._client.ask("Starting the replication", "POST", REPLICATOR, ok=(201, 202), body=body)

    def state(self, id: str) -> JobState | None:
        """What became of a job so far; None where the scheduler does not know it."""
        value = self._client.found("Asking for the replication", "_scheduler", "docs", REPLICATOR, id)
        if value is None:
            return None
        info = value.get("info") or {}
        return JobState(
            str(value.get("state", "")),
            _numbers(info),
            " ".join(str(info.get("error", "")).split()),
            int(value.get("error_count") or 0),
            str(value.get("id") or ""),
            _time(value.get("start_time")),
        )

    def remove(self, id: str) -> None:
        """Remove a job's document, which stops the job; nothing where there is none."""
        for _ in range(10):
            found = self._client.found("Looking for an earlier replication", REPLICATOR, id)
            if found is None:
                return
            rev = str(found["_rev"])
            what = "Removing the replication's document"
            # The replicator writes into the document too.
            ok = (200, 202, 404, 409)
            if self._client.ask(what, "DELETE", REPLICATOR, id, ok=ok, params={"rev": rev}).status != 409:
                # A cluster's copy may have had what the replicator wrote beside it, which then wins: look again.
                bring_together(self._client, REPLICATOR)
        raise TransientError(
            f"{self._client.url}: the document {REPLICATOR}/{id} changes faster than it can be removed.",
            hint=f"Remove it by hand: {database_url(self._client.endpoint, REPLICATOR)}/{id}",
        )


@dataclass(frozen=True, slots=True)
class History:
    """What earlier runs of a replication had done.

    `before` are the numbers when this run began, `full` those when all was last looked at from the beginning.
    """

    before: Numbers = Numbers()
    full: Numbers = Numbers()


def read_history(client: CouchClient, database: str, replication_id: str, started: datetime | None) -> History:
    """Read what the replication's checkpoint says of earlier runs.

    Args:
        client: the server of the database.
        database: source or target, which both keep it.
        replication_id: names the checkpoint.
        started: when this run began.
    """
    if not replication_id or started is None:
        return History()
    what = f"Reading the replication's checkpoint of {database}"
    checkpoint = client.found(what, database, "_local", replication_id)
    if checkpoint is None:
        return History()
    sessions = checkpoint.get("history", ())
    before = [session for session in sessions if (http_date(str(session.get("start_time"))) or LONG_AGO) < started]
    # Newest first; numbers go on from session to session, so those of the next older one are where one began.
    whole = next((n for n, session in enumerate(sessions) if session.get("start_last_seq") in {0, "0"}), None)
    older = sessions[whole + 1] if whole is not None and whole + 1 < len(sessions) else None
    return History(_session_numbers(before[0] if before else None), _session_numbers(older))


def side(endpoint: Endpoint, database: str) -> dict[str, Any]:
    """One side of a replication as its document names it; credentials stand apart from the URL."""
    value: dict[str, Any] = {"url": database_url(endpoint, database)}
    if endpoint.auth == IAM:
        # Of Cloudant's own replicator; Apache CouchDB's knows no such keys.
        value["auth"] = {"iam": {"api_key": endpoint.password}}
    elif endpoint.user is not None:
        value["auth"] = {"basic": {"username": endpoint.user, "password": endpoint.password or ""}}
    return value


def _numbers(info: Mapping[str, Any]) -> Numbers:
    pending = info.get("changes_pending")
    names = ("revisions_checked", "missing_revisions_found", "docs_written", "doc_write_failures")
    return replace(Numbers(*_counts(info, names)), pending=pending if isinstance(pending, int) else None)


def _session_numbers(session: Mapping[str, Any] | None) -> Numbers:
    names = ("missing_checked", "missing_found", "docs_written", "doc_write_failures")
    return Numbers(*_counts(session or {}, names))


def _counts(info: Mapping[str, Any], names: Sequence[str]) -> list[int]:
    return [int(info.get(name) or 0) for name in names]


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None

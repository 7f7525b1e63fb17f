"""Which job a database is being filled by: a note in the database itself, made before anything else is written.

A job that writes into a database of its own (a restore, a conversion) first claims it: one that is missing is
made, and a `_local` document, which is not content, says whose it is. So after a kill at any moment the
same command knows the database as its own: it is missing, it is empty, or it is marked. One that was deleted or
replaced meanwhile is recognized by its identity, after each outage and before the job calls itself complete.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from migrator.checkpoint.target_guard import TargetGuard
from migrator.couch.client import CouchClient
from migrator.couch.copies import settled_info
from migrator.couch.endpoint import database_url
from migrator.couch.settings import TOKEN, DatabaseTarget, is_default_security, read_security
from migrator.errors import CheckpointError, ConfigError
from migrator.naming import counted, shown
from migrator.retry.retrier import Retrier

AGAIN = "Run the same command again; what it says is in its way is to be deleted, or kept with --into-existing."


@dataclass(frozen=True)
class Found:
    """A database as it stands before a job.

    Args:
        exists: there is one.
        documents: living ones, without those that the server makes itself.
        deleted: deleted ones.
        mark: whose it is; empty where nobody has claimed it.
    """

    exists: bool = False
    documents: int = 0
    deleted: int = 0
    mark: Mapping[str, Any] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """True when it holds nothing, or is missing."""
        return not self.documents and not self.deleted


@dataclass(eq=False)
class Claim:
    """One job's claim on one database.

    Args:
        client: the server.
        database: its name.
        command: the job's command; the mark is `_local/migrator-COMMAND`.
        job: what fills it, the same when the same command is run again.
        retrier: tries again.
        own: ids of documents that the server makes itself, which do not count.
        takes_over: other jobs whose unfinished work this one may complete.
    """

    client: CouchClient
    database: str
    command: str
    job: str
    retrier: Retrier
    own: tuple[str, ...] = ()
    takes_over: Container[str] = ()

    def __post_init__(self) -> None:
        self.found = Found()
        self._name = f"migrator-{self.command}"
        self._mark: dict[str, Any] = {}
        self._guard: TargetGuard | None = None

    @property
    def url(self) -> str:
        """The database, for people."""
        return database_url(self.client.endpoint, self.database)

    @property
    def resumed(self) -> bool:
        """True when an earlier run of this job has filled the database, wholly or in part."""
        mark = self.found.mark
        if not mark or mark.get("shared"):
            return False
        return _job_of(mark) == self.job or (not mark.get("finished") and _job_of(mark) in self.takes_over)

    @property
    def ours(self) -> bool:
        """True when the database's settings are this job's to give: it was missing or empty, and nobody's."""
        return not self._mark.get("shared")

    @property
    def secures(self) -> bool:
        """True when nobody else had said who is let in."""
        return self.ours and self._mark.get("secure", True) is True

    @property
    def made(self) -> bool:
        """True when this job, in this run or an earlier one, has made the database."""
        return self.ours and self._mark.get("made", True) is True

    def look(self, _attempt: int = 1) -> Found:
        """See what stands there; one attempt.

        Raises:
            EndpointError: the server cannot be asked.
        """
        info = settled_info(self.client, self.database)
        if info is None:
            self.found = Found()
        else:
            own = sum(self.client.get_document(self.database, id) is not None for id in self.own)
            self.found = Found(
                True,
                max(0, (info.get("doc_count") or 0) - own),
                info.get("doc_del_count") or 0,
                self._read(),
            )
        return self.found

    def refuse_occupied(self, hint: str) -> None:
        """Refuse a database that holds another one's documents.

        Args:
            hint: what to do.

        Raises:
            ConfigError: it does.
        """
        found = self.found
        if found.empty or self.resumed:
            return
        held = counted(found.documents, "document") + (
            f" and {found.deleted:,} deleted ones" if found.deleted else ""
        )
        mark = found.mark
        begun = bool(mark) and not mark.get("finished") and not mark.get("shared")
        what = f", which are part of {shown(_job_of(mark))}, begun and not completed" if begun else ""
        raise ConfigError(f"{self.url} holds {held}{what}.", hint=hint)

    def take(self, create: Callable[[], object], hint: str = "", *, shared: bool = False) -> bool:
        """Make the database where it is missing, and mark it.

        Args:
            create: makes it.
            hint: what to do where somebody else has filled it meanwhile.
            shared: it may hold others' documents, and its settings are theirs.

        Returns:
            True when nothing of this job can be in it.

        Raises:
            ConfigError: somebody else has filled it meanwhile.
        """
        made = not self.found.exists
        if made:
            self._call("create", lambda _: create())
            self._call("look at", self.look)
            if not shared:
                self.refuse_occupied(hint)
        known = self.found.mark
        fresh = self.found.empty and not known
        # The token tells this database from a later one of its name; whoever claims it after us leaves it.
        mark: dict[str, Any] = {
            "job": self.job,
            "finished": None,
            TOKEN: known.get(TOKEN) or secrets.token_hex(16),
        }
        if shared and not (self.found.empty or self.resumed):
            mark["shared"] = True
        elif self.resumed:
            mark |= {name: known.get(name, True) for name in ("secure", "made")}
        else:
            mark["made"] = made
            mark["secure"] = made or is_default_security(
                self._call("look at", lambda _: read_security(self.client, self.database))
            )
        self._mark = mark
        self._call("mark", lambda _: self._write(mark))
        self._guard = TargetGuard(DatabaseTarget(self.client, self.retrier, self._name), hint=AGAIN, flag="")
        self._guard.begin(self.database, None)
        return fresh

    def confirm(self) -> None:
        """Make sure that the database is still the one that was claimed, and claimed by this job.

        Raises:
            CheckpointError: it was deleted or replaced meanwhile, or claimed by another job.
        """
        self.check()
        if _job_of(self._call("look at", lambda _: self._read())) != self.job:
            raise CheckpointError(f"{self.url} was claimed by another job while it was being filled.", hint=AGAIN)

    def check(self) -> None:
        """Make sure that the database is still the one that was claimed, whoever claims it by now.

        Raises:
            TargetReplaced: it was deleted or replaced meanwhile.
        """
        assert self._guard is not None
        self._guard.check(self.database)

    def finish(self) -> None:
        """Say in the mark that the database is complete.

        Raises:
            CheckpointError: it was deleted or replaced meanwhile.
        """
        self.confirm()
        finished = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._call("mark", lambda _: self._write({**self._mark, "finished": finished}))
        # Last of all, for the database can have been replaced before any of the requests above.
        self.check()

    def _call(self, what: str, attempt: Callable[[int], Any]) -> Any:
        return self.retrier.call(f"{what} {self.database}", attempt)

    def _read(self) -> dict[str, Any]:
        return self.client.get_document(self.database, f"_local/{self._name}") or {}

    def _write(self, mark: Mapping[str, Any]) -> None:
        stored = dict(mark)
        if rev := self._read().get("_rev"):
            stored["_rev"] = rev
        path, body = (self.database, "_local", self._name), json.dumps(stored).encode()
        self.client.ask(f"Marking {self.database}", "PUT", *path, ok=(200, 201, 202), body=body)


def _job_of(mark: Mapping[str, Any]) -> str:
    # Restores of the first versions called it by what they restored.
    return str(mark.get("job") or mark.get("snapshot") or "")

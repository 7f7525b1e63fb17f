"""Which databases a backup or a restore means, what they tell as they go on, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from migrator.backup.format.manifest import Manifest
from migrator.checkpoint.reject_file import RejectFile
from migrator.errors import EXIT_OK, EXIT_REJECTS, Interrupted, MigratorError
from migrator.model import CollectionReport, Counts, Report, events
from migrator.model.revisions import Leaf, LeafFault, leaf_bytes
from migrator.naming import counted, printable
from migrator.pipeline.accounting import Tally, account_leaves
from migrator.report.result import Result
from migrator.report.summary import table

# The server's own. Whoever wants one names it.
SYSTEM = "_"
TELL_EVERY = 1_000
TELL_EVERY_S = 1.0


@dataclass(slots=True)
class DatabaseResult:
    """What became of one database.

    `error` is what ended it; then there is no backup or no whole restore of it. `unconfirmed` says what could not
    be made sure of.
    """

    database: str
    seconds: float = 0.0
    snapshot: Manifest | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    rejected: int = 0
    error: MigratorError | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the line of JSON."""
        value: dict[str, Any] = {"ok": self.error is None and not self.rejected}
        if self.snapshot is not None:
            value |= {"snapshot": self.snapshot.snapshot, "kind": self.snapshot.kind}
        value |= {**self.numbers, "seconds": round(self.seconds, 3)}
        if self.notes:
            value["notes"] = self.notes
        if self.unconfirmed:
            value["unconfirmed"] = self.unconfirmed
        if self.error is not None:
            value["error"] = self.error.text
        return value


def attempted(result: DatabaseResult, step: Callable[[], None]) -> DatabaseResult:
    """Do one database's step, whatever comes of it.

    Raises:
        Interrupted: asked to stop.
    """
    started = time.monotonic()
    try:
        step()
    except Interrupted:
        raise
    except MigratorError as error:
        result.error = error
    result.seconds = time.monotonic() - started
    return result


@dataclass(frozen=True, repr=False)
class RevisionsResult(Result):
    """What became of all databases.

    Args:
        command: `backup` or `restore`.
        source: where from.
        target: where to.
        databases: one after the other.
        seconds: how long it took.
        rejects: the file that names what could not be read or was refused; None where there is nothing.
    """

    command: str
    source: str
    target: str
    databases: Sequence[DatabaseResult]
    seconds: float
    rejects: Path | None = None

    @property
    def exit_code(self) -> int:
        """Of the first failure, else 3 where something was rejected."""
        for result in self.databases:
            if result.error is not None:
                return result.error.exit_code
        return EXIT_REJECTS if any(result.rejected for result in self.databases) else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """The line of JSON that the command prints.

        Returns:
            By database what became of it, with the snapshot or the numbers, or its error.
        """
        value = {
            "schema": 1,
            "command": self.command,
            "ok": self.ok,
            "from": self.source,
            "to": self.target,
            "databases": {result.database: result.as_dict() for result in self.databases},
            "seconds": round(self.seconds, 3),
        }
        return value | ({"rejects": str(self.rejects)} if self.rejects else {})

    def as_text(self) -> str:
        """The result for people.

        Returns:
            A row for each database, what is to be said of it, and a last line.
        """
        found = {result.database: result.as_dict() for result in self.databases}
        columns = list(
            dict.fromkeys(
                name
                for value in found.values()
                for name, each in value.items()
                if name in {"database", "kind"} or (type(each) is int)
            )
        )
        heads = ["goes to" if name == "database" else name.replace("_", " ") for name in columns]
        rows = [["database", *heads]]
        for database, value in found.items():
            cells = (value.get(name, "-") for name in columns)
            rows.append([printable(database), *(f"{c:,}" if type(c) is int else printable(str(c)) for c in cells)])
        texts = sum(name in {"database", "kind"} for name in columns)
        notes = [f"{printable(each.database)}: {note}" for each in self.databases for note in each.notes]
        end = f"{counted(len(found), 'database')} in {self.seconds:.1f} s, from {self.source} to {self.target}"
        return "".join(f"{line}\n" for line in (table(rows, left=1 + texts), *notes, end))


@dataclass(eq=False)
class Progress:
    """Counts leaves.

    Args:
        command: whose it is.
        listener: receives every event.
        source: where from.
        target: where to.
        names: the databases, with their names at the target.
        rejects: the file for what is rejected; one of the command's name where it is "".
        again: the command that repeats it, for who reads the rejects.
    """

    command: str
    listener: events.Listener
    source: str
    target: str
    names: Mapping[str, str]
    rejects: str
    again: str

    def __post_init__(self) -> None:
        path = Path(self.rejects or f"migrator-{self.command}.rejects.ndjson")
        self._rejects = RejectFile(path, databases=self.names, again=self.again, shared=True)
        self.report = Report({name: CollectionReport(to, Counts()) for name, to in self.names.items()}, 0.0)
        self._tally = Tally()
        self._told = time.monotonic()
        self.listener(events.RunStarted(self.source, self.target, tuple(self.names), None))

    def close(self) -> None:
        """Let go of the reject file."""
        self._rejects.close()

    def started(self, name: str, total: int | None, *, resumed: bool = False, settled: int = 0) -> None:
        """A database begins."""
        self._told = time.monotonic()
        database = self.report.collections[name].database
        self.listener(events.CollectionStarted(name, database, total, resumed, settled))

    def copied(self, name: str, leaf: Leaf, *, proven: bool) -> None:
        """A leaf was read and put away; `proven` by its revision."""
        counts = self._tally.counts
        counts.read += 1
        counts.written += 1
        counts.proven += proven
        self._tally.size_bytes += leaf_bytes(leaf)
        if counts.read >= TELL_EVERY or time.monotonic() - self._told > TELL_EVERY_S:
            self.flush(name)

    def settled(self, name: str, tally: Tally) -> None:
        """Leaves have come to their end at a server."""
        self._account(tally)
        self.flush(name)

    def fault(self, name: str, fault: LeafFault) -> None:
        """A leaf could not be read."""
        tally = account_leaves(name, [fault], [])
        document = {"_id": fault.id, "_rev": fault.rev} if fault.rev else {"_id": fault.id}
        self._account(replace(tally, rejects=[each._replace(document=document) for each in tally.rejects]))

    def flush(self, name: str) -> None:
        """Say how far it is."""
        counts = self._tally.counts
        if not counts.read:
            return
        now = time.monotonic()
        self.report.collections[name].counts.add(counts)
        self._rejects.flush()
        self.listener(events.BatchLoaded(name, counts, self._tally.size_bytes, now - self._told))
        self._tally, self._told = Tally(), now

    def done(self, name: str) -> None:
        """A database is done."""
        self.flush(name)
        self.listener(events.CollectionFinished(name, self.report.collections[name].counts))

    def finished(self, results: Sequence[DatabaseResult], seconds: float) -> RevisionsResult:
        """All are; what became of them."""
        self.listener(events.RunFinished(replace(self.report, seconds=seconds)))
        rejects = self._rejects.kept if self._rejects.count else None
        return RevisionsResult(self.command, self.source, self.target, results, seconds, rejects)

    def _account(self, tally: Tally) -> None:
        if tally.rejects:
            self._rejects.write(tally.rejects)
        for reject in tally.rejects:
            self.listener(events.DocumentRejected(reject))
        self._tally.add(replace(tally, rejects=[]))

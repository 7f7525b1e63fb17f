"""Which databases a backup or a restore means, and what became of each."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from migrator.backup.format.manifest import Manifest
from migrator.errors import EXIT_OK, EXIT_REJECTS, ConfigError, Interrupted, MigratorError
from migrator.naming import shown

# The server's own. Whoever wants one names it.
SYSTEM = "_"


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
            value["error"] = str(self.error)
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


@dataclass(frozen=True, slots=True)
class RevisionsResult:
    """What became of all databases. `rejects` is the reject file, "" where nothing was rejected."""

    command: str
    source: str
    target: str
    databases: Sequence[DatabaseResult]
    seconds: float
    rejects: str = ""

    @property
    def exit_code(self) -> int:
        """Of the command: the first failure's, else 3 where something was rejected."""
        for result in self.databases:
            if result.error is not None:
                return result.error.exit_code
        return EXIT_REJECTS if any(result.rejected for result in self.databases) else EXIT_OK

    def as_dict(self) -> dict[str, Any]:
        """For the line of JSON."""
        value = {
            "schema": 1,
            "command": self.command,
            "ok": self.exit_code == EXIT_OK,
            "from": self.source,
            "to": self.target,
            "databases": {result.database: result.as_dict() for result in self.databases},
            "seconds": round(self.seconds, 3),
        }
        return value | ({"rejects": self.rejects} if self.rejects else {})


def selected(names: Iterable[str], patterns: Sequence[str], where: str) -> list[str]:
    """The names that patterns mean, sorted; without any, all that are not the server's own.

    Raises:
        ConfigError: a pattern means none.
    """
    known = sorted(names)
    if not patterns:
        return [name for name in known if not name.startswith(SYSTEM)]
    chosen: set[str] = set()
    for pattern in patterns:
        # A star means no system database: their restoring has consequences.
        found = [
            name
            for name in known
            if fnmatch.fnmatchcase(name, pattern) and (pattern[:1] == SYSTEM or not name.startswith(SYSTEM))
        ]
        if not found:
            raise ConfigError(
                f"{where} has no database {shown(pattern)}.",
                hint=f"It has: {', '.join(known[:20])}." if known else "It has none.",
            )
        chosen.update(found)
    return sorted(chosen)

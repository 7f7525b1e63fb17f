"""What is asked of a backup and of a restore, which databases that means, and what became of each."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from migrator.backup.format.cipher import Cipher, open_cipher
from migrator.backup.format.manifest import Manifest
from migrator.backup.format.snapshot_writer import MAX_SEGMENT_BYTES
from migrator.config import texts
from migrator.errors import EXIT_OK, EXIT_REJECTS, ConfigError, MigratorError
from migrator.naming import shown

DEFAULT_FULL_EVERY = 30
# The server's own. Whoever wants one names it.
SYSTEM = "_"


@dataclass(frozen=True, kw_only=True)
class BackupOptions:
    """What `migrator backup` is asked beside the server.

    Args:
        place: where backups are kept.
        databases: patterns of names; all but the server's own when empty.
        full: begin new chains.
        full_every: begin a new chain when one has so many snapshots.
        recipients: public keys to encrypt to.
        identity: a file with the secret key, for reading what is there already.
        segment_bytes: the usual size of a file; with each that is full there is something to go on from.
        again: the command that does it over, for who reads the rejects.
    """

    place: str
    databases: tuple[str, ...] = ()
    full: bool = False
    full_every: int = DEFAULT_FULL_EVERY
    recipients: tuple[str, ...] = ()
    identity: str = ""
    segment_bytes: int = MAX_SEGMENT_BYTES
    again: str = ""

    def __post_init__(self) -> None:
        for name in ("databases", "recipients"):
            object.__setattr__(self, name, texts(name, getattr(self, name)))
        if self.full_every < 1:
            raise ConfigError(f"--full-every is {self.full_every}.", hint="It must be at least 1.")

    def cipher(self) -> Cipher:
        """What encrypts and decrypts."""
        return open_cipher(self.recipients, self.identity or None)


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """What `migrator restore` is asked beside the server.

    Args:
        place: where backups are kept.
        databases: patterns of names; all but the server's own when empty.
        at: the time or the snapshot; "" for the newest.
        ids: only these documents; all when empty.
        map: target names by name.
        into_existing: into databases that hold documents too.
        security: give targets the security object: True also those that were there, False none, None new ones.
        start_replications: restore `_replicator`, whose documents the server acts on at once.
        identity: a file with the secret key.
        again: the command that does it over, for who reads the rejects.
    """

    place: str
    databases: tuple[str, ...] = ()
    at: str = ""
    ids: tuple[str, ...] = ()
    map: Mapping[str, str] = field(default_factory=dict)
    into_existing: bool = False
    security: bool | None = None
    start_replications: bool = False
    identity: str = ""
    again: str = ""

    def __post_init__(self) -> None:
        for name in ("databases", "ids"):
            object.__setattr__(self, name, texts(name, getattr(self, name)))

    def cipher(self) -> Cipher:
        """What decrypts."""
        return open_cipher((), self.identity or None)


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


@dataclass(frozen=True, slots=True)
class ChapterResult:
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

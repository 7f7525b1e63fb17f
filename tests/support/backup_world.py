"""A server, a place, and backups and restores between them, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrator.backup.catalog import Catalog
from migrator.backup.create import run_backup
from migrator.backup.format.manifest import Manifest
from migrator.backup.options import BackupOptions, RestoreOptions
from migrator.backup.restore import run_restore
from migrator.backup.result import DatabaseResult, RevisionsResult
from migrator.backup.storage.base import open_place
from migrator.config import JobConfig
from migrator.model.events import Event
from tests import support
from tests.support.leaf_states import make, state, write


@dataclass
class World:
    """One server's databases with a prefix, and a folder.

    Args:
        server: its URL.
        prefix: of the databases.
        folder: for the place and the reject files.
        at: another place than the folder.
    """

    server: str
    prefix: str
    folder: Path
    events: list[Event] = field(default_factory=list)
    at: str = ""
    renewed: dict[str, int] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where backups are kept."""
        return self.at or str(self.folder / "place")

    @property
    def rejects(self) -> Path:
        """The reject file."""
        return self.folder / "rejects.ndjson"

    def name(self, short: str) -> str:
        """A database's name."""
        return f"{self.prefix}{short}{self.renewed.get(short, '')}"

    def url(self, short: str) -> str:
        """A database's URL, with credentials."""
        return f"{self.server}/{self.name(short)}"

    def renew(self, short: str) -> None:
        """Delete a database, and give the next one another name.

        On a cluster one that is made again under the same name can be missing on a node for a moment, and have the
        validation functions of the one before it.
        """
        support.request("DELETE", self.url(short))
        self.renewed[short] = self.renewed.get(short, 0) + 1

    def make(self, short: str, *leaves: Any) -> str:
        """Make a database with leaves."""
        make(self.server, self.name(short))
        self.write(short, *leaves)
        return self.name(short)

    def write(self, short: str, *leaves: Any) -> None:
        """Write leaves to it."""
        write(self.server, self.name(short), *leaves)

    def state(self, short: str) -> dict[tuple[str, str], Any]:
        """All its leaves."""
        return state(self.server, self.name(short))

    def backup(
        self, *shorts: str, url: str = "", stopping: Any = None, job: Any = None, **options: Any
    ) -> RevisionsResult:
        """Back up databases, those of the prefix when none is named."""
        databases = tuple(map(self.name, shorts)) or (f"{self.prefix}*",)
        config = JobConfig(source=url or self.server, rejects=str(self.rejects), **(job or {}))
        wanted = BackupOptions(place=self.place, databases=databases, **options)
        return run_backup(config, wanted, listener=self.events.append, stopping=stopping)

    def backed_up(self, short: str, **options: Any) -> DatabaseResult:
        """Back up one database; it went well."""
        (result,) = self.backup(short, **options).databases
        assert result.error is None
        assert result.rejected == 0
        return result

    def restore(self, short: str, to: str, *, url: str = "", job: Any = None, **options: Any) -> RevisionsResult:
        """Restore a database to another name."""
        config = JobConfig(target=url or self.server, rejects=str(self.rejects), **(job or {}))
        names = {self.name(short): self.name(to)}
        wanted = RestoreOptions(place=self.place, databases=(self.name(short),), map=names, **options)
        return run_restore(config, wanted, listener=self.events.append)

    def restored(self, short: str, to: str, **options: Any) -> dict[tuple[str, str], Any]:
        """Restore a database to another name; it went well, and what is there then."""
        result = self.restore(short, to, **options)
        assert (result.exit_code, [each.error for each in result.databases]) == (0, [None])
        return self.state(to)

    def snapshots(self, short: str) -> list[Manifest]:
        """All finished snapshots of a database."""
        return Catalog(open_place(self.place)).snapshots(self.name(short))

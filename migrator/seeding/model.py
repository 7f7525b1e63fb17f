"""The nouns of seeding: a document of a folder of fixtures, a database, and the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from migrator.errors import ConfigError
from migrator.seeding.indexes import IndexKey
from migrator.seeding.problems import Place
from migrator.seeding.texts import Text


class Fixture(NamedTuple):
    """One document: its id, its JSON text, and where it stands."""

    id: str
    body: bytes
    text: Text


@dataclass
class FixtureDatabase:
    """What one database is to hold. Documents and design documents are sorted by their ids' bytes."""

    name: str
    place: Place
    documents: list[Fixture] = field(default_factory=list)
    designs: list[Fixture] = field(default_factory=list)
    indexes: dict[IndexKey, dict[str, Any]] = field(default_factory=dict)
    index_files: dict[IndexKey, str] = field(default_factory=dict)
    security: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def partitioned(self) -> bool:
        """Whether the database is created partitioned."""
        return bool(self.options.get("partitioned"))


@dataclass(frozen=True)
class Fixtures:
    """A folder of fixtures that has no fault. `names` gives each database's name at the server."""

    folder: Path
    databases: dict[str, FixtureDatabase]
    names: dict[str, str]

    def only(self, wanted: Sequence[str]) -> Fixtures:
        """These databases of the folder; all where none is named.

        Raises:
            ConfigError: one is not there.
        """
        if unknown := [name for name in wanted if name not in self.databases]:
            raise ConfigError(
                f"The fixtures have no database {unknown[0]!r}.", hint=f"They have: {', '.join(self.databases)}."
            )
        databases = {name: found for name, found in self.databases.items() if not wanted or name in wanted}
        return Fixtures(self.folder, databases, {name: self.names[name] for name in databases})

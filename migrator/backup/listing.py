"""The backups of a place as people and machines are told of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import NamedTuple

from migrator.backup.catalog import Catalog
from migrator.errors import ConfigError
from migrator.naming import shown


class Listed(NamedTuple):
    """One snapshot. `chain` counts the snapshots that a restore reads; 0 where one is missing or damaged."""

    database: str
    snapshot: str
    kind: str
    finished: str
    documents: int
    leaves: int
    size_bytes: int
    chain: int
    problem: str


def matching(catalog: Catalog, patterns: Sequence[str], *, unfinished: bool = False) -> list[str]:
    """The databases whose names fit one of the patterns, in which `*` and `?` stand for other characters.

    Args:
        catalog: where to look.
        patterns: none stands for all.
        unfinished: name those too that have no finished snapshot.

    Raises:
        ConfigError: a pattern fits none.
    """
    databases = catalog.databases(unfinished=unfinished)
    for pattern in patterns:
        if not fnmatch.filter(databases, pattern):
            there = ", ".join(map(shown, databases[:10])) or "none"
            raise ConfigError(f"There is no backup of a database {shown(pattern)}.", hint=f"There are: {there}.")
    return [
        name for name in databases if not patterns or any(fnmatch.fnmatchcase(name, each) for each in patterns)
    ]


def listing(catalog: Catalog, databases: Sequence[str]) -> list[Listed]:
    """All finished snapshots of some databases, oldest first; a damaged one is listed as such."""
    rows: list[Listed] = []
    for database in databases:
        chains: dict[str, int] = {}
        digests: dict[str, str] = {}
        survey = catalog.survey(database)
        found = [Listed(database, id, "damaged", "", 0, 0, 0, 0, what) for id, what in survey.damaged.items()]
        for manifest in survey.manifests:
            snapshot = manifest.snapshot
            broken = ""
            before = 0
            if manifest.parent is not None:
                before = chains.get(manifest.parent, 0)
                if not before:
                    broken = f"the snapshot {manifest.parent} that it adds to cannot be read"
                elif digests[manifest.parent] != manifest.parent_digest:
                    broken = f"it adds to another {manifest.parent} than the one that is there"
            chains[snapshot] = 0 if broken else before + 1
            digests[snapshot] = manifest.digest
            counts = manifest.counts
            found.append(
                Listed(
                    database,
                    snapshot,
                    manifest.kind,
                    manifest.finished,
                    counts.documents,
                    counts.leaves,
                    manifest.size_bytes,
                    chains[snapshot],
                    broken or survey.repaired.get(snapshot, ""),
                )
            )
        rows += sorted(found, key=lambda row: row.snapshot)
    return rows

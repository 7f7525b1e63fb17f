"""Compaction: databases and views give back what old revisions take, and stale index files are removed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from migrator.errors import ConfigError
from migrator.naming import printable
from migrator.report.summary import number, table
from migrator.server.admin.connection import Server, selected

INTERVAL_S = 0.1
# The server answers before it begins; so long nothing must run before that counts as done.
IDLE_LOOKS = 6
IDLE_LOOKS_AFTER_WORK = 2


@dataclass(frozen=True)
class Sizes:
    """Bytes on disk and of them in use, of a database and of its indexes; None where the server does not tell."""

    file: int | None = None
    active: int | None = None
    views_file: int | None = None
    views_active: int | None = None

    @property
    def total(self) -> int | None:
        """All bytes on disk."""
        return None if self.file is None else self.file + (self.views_file or 0)

    @property
    def used(self) -> int | None:
        """All bytes in use."""
        return None if self.active is None else self.active + (self.views_active or 0)


@dataclass
class Compacted:
    """What compaction did to one database; `after` is what was before in a dry run."""

    before: Sizes
    after: Sizes
    design_documents: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def freed(self) -> int:
        """Bytes that were given back."""
        return (self.before.total or 0) - (self.after.total or 0)


def compact(
    server: Server, database: str | None = None, patterns: Sequence[str] = (), *, dry_run: bool = False
) -> dict[str, Compacted]:
    """Compact databases with their views, remove stale index files, and wait until the server is done.

    Args:
        server: the server.
        database: only this one.
        patterns: only what they fit, such as `orders_*`; all databases without any.
        dry_run: look only.

    Raises:
        ConfigError: there is no such database.
        EndpointError: the server refuses; compaction is for admins.
    """
    if database is not None and patterns:
        raise ConfigError("The URL names a database, so --database has no place.", hint="Keep one of them.")
    names = [database] if database is not None else selected(server.databases(), patterns, server.url)
    done = {}
    for name in names:
        server.require(name)
        done[name] = _compact(server, name, dry_run=dry_run)
    return done


def _compact(server: Server, database: str, *, dry_run: bool) -> Compacted:
    started = time.monotonic()
    designs = _designs(server, database)
    before = sizes(server, database, designs)
    if dry_run:
        return Compacted(before, before, designs)
    what = f"Compacting {database}"
    server.ask(what, "POST", database, "_compact", ok=(200, 202), value={})
    for design in designs:
        # Without views, or deleted meanwhile, there is nothing to compact; the sandbox cannot (400).
        server.ask(what, "POST", database, "_compact", design, ok=(200, 202, 400, 404), value={})
    server.ask(what, "POST", database, "_view_cleanup", ok=(200, 202), value={})
    _wait(server, database, designs)
    return Compacted(before, sizes(server, database, designs), designs, round(time.monotonic() - started, 3))


def _designs(server: Server, database: str) -> list[str]:
    params = {"startkey": '"_design/"', "endkey": '"_design0"'}
    rows = server.value(f"Listing design documents of {database}", "GET", database, "_all_docs", params=params)
    return [str(row["id"]).partition("/")[2] for row in rows["rows"]]


def sizes(server: Server, database: str, designs: Sequence[str]) -> Sizes:
    """What a database and the indexes of its design documents take; an index that two share counts once."""
    own = (server.info(database) or {}).get("sizes") or {}
    views = {}
    for design in designs:
        index = server.index(database, design) or {}
        if "sizes" in index:
            views[str(index.get("signature", design))] = index["sizes"]
    if "file" not in own:
        return Sizes()
    return Sizes(
        own["file"],
        own.get("active"),
        sum(size.get("file") or 0 for size in views.values()),
        sum(size.get("active") or 0 for size in views.values()),
    )


def _wait(server: Server, database: str, designs: Sequence[str]) -> None:
    idle, worked = 0, False
    while idle < (IDLE_LOOKS_AFTER_WORK if worked else IDLE_LOOKS):
        running = bool((server.info(database) or {}).get("compact_running"))
        running = running or any((server.index(database, each) or {}).get("compact_running") for each in designs)
        worked, idle = worked or running, 0 if running else idle + 1
        if running:
            server.tell_progress({"database_compaction", "view_compaction"}, database)
        server.pause(INTERVAL_S)


def compacted_to_json(done: Mapping[str, Compacted], *, dry_run: bool = False) -> dict[str, Any]:
    """The result for machines."""
    return {
        "schema": 1,
        "ok": True,
        "dry_run": dry_run,
        "databases": {name: asdict(item) for name, item in done.items()},
        "freed_bytes": sum(item.freed for item in done.values()),
    }


def compacted_to_text(done: Mapping[str, Compacted], *, dry_run: bool = False) -> str:
    """The result for people: bytes on disk before and after, or what is not in use in a dry run."""
    rows: list[Sequence[str]] = [("database", "on disk", "in use" if dry_run else "after", "indexes", "views")]
    for name, item in done.items():
        second = item.before.used if dry_run else item.after.total
        numbers = (number(item.before.total), number(second), str(len(item.design_documents)))
        views = number(item.before.views_file if dry_run else item.after.views_file)
        rows.append((printable(name), *numbers, views))
    if dry_run:
        end = "Nothing was done. Do it by leaving --dry-run out."
    else:
        end = f"{len(done):,} databases compacted; {sum(item.freed for item in done.values()):,} bytes given back."
    return f"{table(rows)}\n{end}\n"

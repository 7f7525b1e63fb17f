"""Indexes and disk space: what design documents hold, whose indexes are built; and compaction.

Databases and views give back what old revisions take, and stale index files are removed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from migrator.couch.settings import left_to_index
from migrator.errors import ConfigError, EndpointError
from migrator.model.revisions import DESIGN
from migrator.naming import counted, printable, selected
from migrator.report.summary import number, table
from migrator.server.admin.connection import Server

# Of these the first is built into CouchDB; search engines beside it are not.
ENGINES = {"indexes": "search (Clouseau)", "st_indexes": "geo", "nouveau": "nouveau"}
KNOWN_LANGUAGES = frozenset({"javascript", "query"})
BUILDING_INTERVAL_S = 0.25
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
    designs = [design.name for design in designs_of(server, database)]
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
        freed = counted(sum(item.freed for item in done.values()), "byte")
        end = f"{counted(len(done), 'database')} compacted; {freed} given back."
    return f"{table(rows)}\n{end}\n"


@dataclass(frozen=True)
class Design:
    """One design document. `name` is its id without `_design/`; `views` are those that an index is built of."""

    name: str
    language: str
    views: tuple[str, ...]
    validates: bool
    engines: tuple[str, ...]

    @property
    def mango(self) -> bool:
        """True when it holds Mango indexes."""
        return self.language == "query"


def designs_of(server: Server, database: str) -> Iterator[Design]:
    """The design documents of a database."""
    params = {"startkey": '"_design/"', "endkey": '"_design0"', "include_docs": "true"}
    what = f"Reading design documents of {database}"
    for row in server.value(what, "GET", database, "_all_docs", params=params)["rows"]:
        if isinstance(row.get("doc"), Mapping):
            yield design_from(row["doc"])


def design_from(document: Mapping[str, Any]) -> Design:
    """What a design document holds; an index is built of views that have a map function."""
    views = document.get("views")
    views = views.items() if isinstance(views, dict) else ()
    return Design(
        str(document["_id"]).removeprefix(DESIGN),
        str(document.get("language", "javascript")),
        tuple(name for name, view in views if isinstance(view, dict) and "map" in view),
        "validate_doc_update" in document,
        tuple(name for key, name in ENGINES.items() if document.get(key)),
    )


def warm(server: Server, databases: Iterable[str], *, stuck_s: float) -> dict[str, int]:
    """Have all indexes built; by database, how many design documents have theirs ready.

    Raises:
        EndpointError: an index does not get on.
    """
    pending: dict[tuple[str, str], int | None] = {}
    ready: dict[str, int] = {}
    for database in databases:
        for design in designs_of(server, database):
            if design.views:
                _start(server, database, design)
                pending[database, design.name] = None
                ready[database] = ready.get(database, 0) + 1
    moved = time.monotonic()
    while pending:
        for (database, name), before in list(pending.items()):
            left = left_to_index(server.index(database, name))
            if left == 0:
                del pending[database, name]
            elif left != before:
                pending[database, name] = left
            else:
                continue
            moved = time.monotonic()
        if not pending:
            break
        server.tell_progress({"indexer"})
        if time.monotonic() - moved > stuck_s:
            database, name = next(iter(pending))
            raise EndpointError(
                f"The index of {database}/_design/{name} at {server.url} has not moved for {stuck_s:,.0f} s.",
                hint="Look at the server's log and _active_tasks; go on with --resume, or with --no-warm.",
            )
        server.pause(BUILDING_INTERVAL_S)
    return ready


def _start(server: Server, database: str, design: Design) -> None:
    """Ask for nothing without waiting, which has the index built behind our back."""
    params = {"limit": 0, "reduce": "false", "update": "lazy"}
    path = ("_design", design.name, "_view", design.views[0])
    what = f"Asking for the index of {database}/_design/{design.name}"
    # A view of a partition is asked by partition only; the server itself builds those as documents come (400). One
    # that it cannot build (500, 404) is the design document's fault at the source, too.
    server.ask(what, "GET", database, *path, ok=(200, 400, 404, 500), params=params)

"""Design documents by what they hold, and their indexes, which are built before anybody is let in."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from migrator.couch.settings import left_to_index
from migrator.errors import EndpointError
from migrator.model.revisions import DESIGN
from migrator.server.admin.connection import Server
from migrator.server.move.options import ApplyOptions

# Of these the first is built into CouchDB; search engines beside it are not.
ENGINES = {"indexes": "search (Clouseau)", "st_indexes": "geo", "nouveau": "nouveau"}
KNOWN_LANGUAGES = frozenset({"javascript", "query"})
INTERVAL_S = 0.25


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


def warm(server: Server, databases: Iterable[str], *, stuck_s: float = ApplyOptions.stuck_s) -> dict[str, int]:
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
        server.pause(INTERVAL_S)
    return ready


def _start(server: Server, database: str, design: Design) -> None:
    """Ask for nothing without waiting, which has the index built behind our back."""
    params = {"limit": 0, "reduce": "false", "update": "lazy"}
    path = ("_design", design.name, "_view", design.views[0])
    what = f"Asking for the index of {database}/_design/{design.name}"
    # A view of a partition is asked by partition only; the server itself builds those as documents come (400). One
    # that it cannot build (500, 404) is the design document's fault at the source, too.
    server.ask(what, "GET", database, *path, ok=(200, 400, 404, 500), params=params)

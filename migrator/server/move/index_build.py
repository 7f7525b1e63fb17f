"""Builds indexes before anybody is let in: asks for each, then waits until nothing is left to index."""

from __future__ import annotations

import time
from collections.abc import Iterable

from migrator.couch.settings import ANSWERED, index_of, left_to_index
from migrator.errors import EndpointError
from migrator.events import TaskProgressed
from migrator.server.admin.connection import Server
from migrator.server.move.designs import Design, designs_of
from migrator.server.move.options import ApplyOptions

INTERVAL_S = 0.25
# An index that does not move for so long is stuck.


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
            left = _left(server, database, name)
            if left == 0:
                del pending[database, name]
            elif left != before:
                pending[database, name] = left
            else:
                continue
            moved = time.monotonic()
        if not pending:
            break
        _tell(server)
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


def _left(server: Server, database: str, name: str) -> int:
    """How many changes the index has yet to see."""
    what = f"Looking at {database}/_design/{name}"
    answer = server.ask(what, "GET", database, "_design", name, "_info", ok=ANSWERED)
    return left_to_index(index_of(answer, what, server.url))


def _tell(server: Server) -> None:
    for task in server.tasks():
        if task.get("type") == "indexer":
            place = str(task.get("database")).removeprefix("shards/").partition("/")[2].rpartition(".")[0]
            share = min(100, int(task.get("progress") or 0)) / 100
            server.listener(TaskProgressed("indexer", f"{place}/{task.get('design_document')}", share))

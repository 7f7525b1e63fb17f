"""Builds indexes before anybody is let in: asks for each, then waits until nothing is left to index."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from migrator.care.server import Server
from migrator.errors import EndpointError
from migrator.events import TaskProgressed
from migrator.instance.designs import Design, designs_of

INTERVAL_S = 0.25
# An index that does not move for so long is stuck.
STUCK_S = 600.0


def warm(server: Server, databases: Iterable[str], *, stuck_s: float = STUCK_S) -> dict[str, int]:
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
    answer = server.ask(
        f"Looking at {database}/_design/{name}", "GET", database, "_design", name, "_info", ok=(200, 400, 404, 500)
    )
    if answer.status != 200:
        # The sandbox builds an index within the query.
        return 0
    index = answer.json("_info").get("view_index")
    # The sandbox has words in the place of numbers.
    pending = index.get("updates_pending") if isinstance(index, Mapping) else None
    left = int(pending.get("total") or 0) if isinstance(pending, Mapping) else 0
    return left or int(isinstance(index, Mapping) and index.get("updater_running") is True)


def _tell(server: Server) -> None:
    for task in server.tasks():
        if task.get("type") == "indexer":
            place = str(task.get("database")).removeprefix("shards/").partition("/")[2].rpartition(".")[0]
            share = min(100, int(task.get("progress") or 0)) / 100
            server.listener(TaskProgressed("indexer", f"{place}/{task.get('design_document')}", share))

"""Waits until the indexes of databases are built."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

from migrator.codec import decode
from migrator.couch.answers import Answer, refuse
from migrator.couch.client import CouchClient
from migrator.couch.index_info import index_of, left_to_index
from migrator.errors import EndpointError, TransientError
from migrator.seeding.model import FixtureDatabase, Fixtures

INTERVAL_S = 0.1


class _Question(NamedTuple):
    """A query for nothing, that builds the index of a design document."""

    design: str
    view: str
    find: dict[str, Any]


def wait_for_indexes(client: CouchClient, fixtures: Fixtures, timeout_s: float) -> None:
    """Ask each view and index for nothing, which builds it, until it answers and nothing is pending.

    Raises:
        EndpointError: one was not ready in time, or cannot be built.
    """
    deadline = time.monotonic() + timeout_s
    for name, database in fixtures.names.items():
        wanted = fixtures.databases[name]
        # Where a database is partitioned, each query builds the part that its partition is in.
        partitions: list[str] = [""]
        if wanted.partitioned and (client.database_info(database) or {}).get("props", {}).get("partitioned"):
            partitions = sorted({fixture.id.partition(":")[0] for fixture in wanted.documents})
        for question in _questions(wanted):
            if partitions:
                _wait_for(client, database, question, partitions, deadline, timeout_s)


def _questions(database: FixtureDatabase) -> Iterator[_Question]:
    """One view of each design document, as all of them are built together; an index by its query."""
    for fixture in database.designs:
        document = decode(fixture.body)
        views = document.get("views")
        if isinstance(views, dict) and document.get("language", "javascript") != "query":
            view = next((key for key, value in views.items() if isinstance(value, dict) and "map" in value), None)
            if view is not None:
                yield _Question(fixture.id, view, {})
    for key, definition in database.indexes.items():
        if definition["type"] == "json":
            fields = definition["index"]["fields"]
            paths = [field if isinstance(field, str) else next(iter(field)) for field in fields]
            selector = {path: {"$gt": None} for path in paths}
            yield _Question(key.design, "", {"selector": selector, "use_index": list(key), "limit": 1})


def _wait_for(
    client: CouchClient,
    database: str,
    question: _Question,
    partitions: Sequence[str],
    deadline: float,
    timeout_s: float,
) -> None:
    shown = f"{database}/{question.design}"
    head, name = question.design.split("/", 1)
    for number in count():
        partition = partitions[number % len(partitions)]
        reason = "it is being built"
        try:
            answer = _ask(client, database, question, partition)
            if answer.status == 200:
                info = client.call("GET", database, head, name, "_info")
                if not left_to_index(index_of(info, f"Looking at {shown}", client.url)):
                    return
            else:
                refuse(answer, f"Building {shown}", client.url)
        except TransientError as error:
            reason = error.message
        if time.monotonic() + INTERVAL_S > deadline:
            raise EndpointError(
                f"{shown} was not ready within {timeout_s:g} s: {reason}.",
                hint="Give it more time with --wait SECONDS.",
            )
        if number % len(partitions) == len(partitions) - 1:
            time.sleep(INTERVAL_S)


def _ask(client: CouchClient, database: str, question: _Question, partition: str) -> Answer:
    head, name = question.design.split("/", 1)
    place = [database, "_partition", partition] if partition else [database]
    if question.find:
        return client.call("POST", *place, "_find", body=json.dumps(question.find).encode())
    answer = client.call("GET", *place, head, name, "_view", question.view, params={"limit": 0, "reduce": "false"})
    if answer.status == 400 and partition:
        # A design document may be a global one in a partitioned database.
        return client.call("GET", database, head, name, "_view", question.view, params={"limit": 0})
    return answer

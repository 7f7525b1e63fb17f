"""Waiting for indexes: what is pending, what cannot be built, and what takes too long."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from migrator.couch.client import CouchClient
from migrator.couch.responses import Answer
from migrator.errors import EndpointError, TransientError
from migrator.fixtures import readiness
from migrator.fixtures.readiness import wait_for_indexes
from tests.unit.seeding.conftest import Read

FILES = {
    "d/_design/by/views/n/map.js": "function(doc) { emit(doc.n); }",
    "d/_design/none/filters/f.js": "function() {}",
    "d/_index/i.json": '{"index": {"fields": ["a", "b"]}}',
}
READY = {"view_index": {"updates_pending": {"total": 0}, "updater_running": False}}
PENDING = {"view_index": {"updates_pending": {"total": 5}, "updater_running": True}}


class Client:
    """Answers by a function of method and path, and notes what was asked."""

    url = "http://server"

    def __init__(self, answer: Callable[[str], tuple[int, Any]]) -> None:
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self._answer = answer

    def call(self, method: str, *path: str, params: Any = None, body: bytes | None = None) -> Answer:
        """One answer."""
        asked = "/".join(path)
        self.asked.append(asked)
        if body is not None:
            self.bodies.append(json.loads(body))
        status, value = self._answer(asked)
        return Answer(status, {}, json.dumps(value).encode())

    def database_info(self, database: str) -> dict[str, Any]:
        """A partitioned database."""
        return {"props": {"partitioned": True}}


def wait(read: Read, client: Client, files: dict[str, str] | None = None, timeout_s: float = 5.0) -> None:
    wait_for_indexes(cast(CouchClient, client), read(files or FILES), timeout_s)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals without their length."""
    monkeypatch.setattr(readiness, "INTERVAL_S", 0.0)


def test_views_and_indexes_are_asked_until_nothing_is_pending(read: Read) -> None:
    """A view by its name, an index by all its fields; design documents without views are passed over."""
    states = [PENDING, PENDING, READY, READY]
    client = Client(lambda path: (200, states.pop(0) if path.endswith("_info") else {}))
    wait(read, client)
    assert states == []
    assert client.asked == ["d/_design/by/_view/n", "d/_design/by/_info"] * 3 + ["d/_find", "d/_design/i/_info"]
    assert client.bodies == [
        {"selector": {"a": {"$gt": None}, "b": {"$gt": None}}, "use_index": ["_design/i", "i"], "limit": 1}
    ]


def test_a_server_that_does_not_tell_is_believed(read: Read) -> None:
    """The sandbox builds within the query."""
    client = Client(lambda path: (200, {"view_index": "Not implemented."} if path.endswith("_info") else {}))
    wait(read, client)
    assert len(client.asked) == 4


def test_what_cannot_be_built_is_told_at_once(read: Read) -> None:
    """A function that does not compile gets no better by waiting."""
    client = Client(lambda _path: (400, {"error": "compilation_error", "reason": "no function"}))
    with pytest.raises(EndpointError, match="compilation_error"):
        wait(read, client)
    assert len(client.asked) == 1


def test_what_is_late_is_told(read: Read) -> None:
    """After the time that was given, with the last reason."""

    def busy(_path: str) -> tuple[int, Any]:
        raise TransientError("the server is busy")

    with pytest.raises(EndpointError, match=r"d/_design/by was not ready within 0\.05 s: the server is busy"):
        wait(read, Client(busy), timeout_s=0.05)
    with pytest.raises(EndpointError, match="it is being built"):
        wait(read, Client(lambda path: (200, PENDING if path.endswith("_info") else {})), timeout_s=0.05)


def test_each_partition_is_asked(read: Read, tmp_path: Path) -> None:
    """A query of one partition builds but its own part; a global view is asked as such."""
    files = {
        "d/_database.json": '{"partitioned": true}',
        "d.ndjson": '{"_id":"a:1"}\n{"_id":"b:1"}\n{"_id":"b:2"}',
        "d/_design/by/views/n/map.js": "function() {}",
    }
    states = [PENDING, PENDING, READY]
    client = Client(lambda path: (200, states.pop(0) if path.endswith("_info") else {}))
    wait(read, client, files)
    assert [asked for asked in client.asked if "_view" in asked] == [
        "d/_partition/a/_design/by/_view/n",
        "d/_partition/b/_design/by/_view/n",
        "d/_partition/a/_design/by/_view/n",
    ]
    whole = Client(lambda path: (400, {}) if "_partition" in path else (200, READY))
    wait(read, whole, files)
    assert whole.asked[1] == "d/_design/by/_view/n"

"""What an answer to `_info` proves, and what it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from migrator.couch.responses import Answer
from migrator.couch.settings import index_of, left_to_index
from migrator.errors import EndpointError, TransientError


def index(status: int, value: Any) -> Any:
    """What is made of an answer."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return index_of(Answer(status, {}, body), "Looking", "http://h")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
@pytest.mark.parametrize(
    "value", [{"error": "unknown_error", "reason": "badarg"}, b"<html>", b"", {"view_index": {}}]
)
def test_trouble_says_nothing(status: int, value: Any) -> None:
    """Neither that there is no index, nor that it is built."""
    with pytest.raises(TransientError):
        index(status, value)


@pytest.mark.parametrize("body", [b"", b"{", b'{"view_index":{'])
def test_half_an_answer_says_nothing(body: bytes) -> None:
    """It is asked again."""
    with pytest.raises(TransientError):
        index(200, body)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_told(status: int) -> None:
    """It is not taken for an index that is built."""
    with pytest.raises(EndpointError):
        index(status, {"error": "forbidden", "reason": "no"})


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"view_index": {"updates_pending": {"total": 5}, "updater_running": False}}, 5),
        ({"view_index": {"updates_pending": {"total": 0}, "updater_running": True}}, 1),
        ({"view_index": {"updates_pending": {"total": 0}, "updater_running": False}}, 0),
        ({"view_index": {"updates_pending": {}, "updater_running": True}}, 1),
        ({"view_index": {"updater_running": True}}, 1),
        ({"view_index": "Not implemented."}, 0),
        ({"view_index": {"updates_pending": "Not implemented.", "updater_running": "Not implemented."}}, 0),
        ({}, 0),
    ],
)
def test_what_is_left_to_index(value: Any, left: int) -> None:
    """By CouchDB's numbers; the sandbox has words."""
    found = index(200, value)
    assert found is not None
    assert left_to_index(found) == left


@pytest.mark.parametrize("status", [400, 404])
def test_where_there_is_no_index(status: int) -> None:
    """The server says so."""
    assert index(status, {"error": "not_found", "reason": "missing"}) is None
    assert left_to_index(None) == 0

"""What is known to be refused before it is sent, so that no batch fails for it; what is not known goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from migrator.couch.validate import screen
from migrator.model import Fault

LIMIT = 1_000


def screened(document: dict[str, Any], *, partitioned: bool = False) -> Fault | None:
    """By its own text."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return screen(document["_id"], document, body, max_document_bytes=LIMIT, partitioned=partitioned)


@pytest.mark.parametrize(
    "document",
    [
        {"_id": "a"},
        {"_id": "_design/x", "views": {}},
        {"_id": "a", "nested": {"_id": "b", "__v": 1}},
        {"_id": "a", "_attachments": {"f": {"content_type": "text/plain", "data": "aGVsbG8="}}},
        {"_id": "a", "_attachments": {}},
        {"_id": "a", "_deleted": False},
        {"_id": "a", "n": 2**1024 - 2**970 - 1},
        {"_id": "a", "n": -(2**1024 - 2**970 - 1)},
        {"_id": "a", "digits": "9" * 400},
        {"_id": "a", "list": ["1" * 200, 10**200, -(10**200)]},
        {"_id": "a", "text": "x" * (LIMIT - 11)},
        {"_id": "a" * 2_000, "text": "x" * (LIMIT - 11)},
        {"_id": "a", "_rev": "1-a"},
    ],
    ids=lambda document: str(document)[:60],
)
def test_what_the_server_takes_passes(document: dict[str, Any]) -> None:
    """Nothing is refused that could be written; depth and names count only where the server counts."""
    assert screened(document) is None


@pytest.mark.parametrize(
    ("document", "error", "words"),
    [
        ({"_id": "_a"}, "illegal_docid", "_a"),
        ({"_id": "_design/"}, "illegal_docid", "id:template"),
        ({"_id": "_designx"}, "illegal_docid", "underscore"),
        ({"_id": "_local/x"}, "local_document", "_local"),
        ({"_id": "a", "__v": 1}, "doc_validation", "rename:__v=v"),
        ({"_id": "a", "_class": "x"}, "doc_validation", "drop:_class"),
        ({"_id": "a", "_": 1}, "doc_validation", "rename:_=field"),
        ({"_id": "a", "_deleted": True}, "deleted_document", "tombstone"),
        ({"_id": "a", "_deleted": 1}, "deleted_document", "_deleted"),
        ({"_id": "a", "_attachments": []}, "doc_validation", "not an object"),
        ({"_id": "a", "_attachments": {"f": {"stub": True}}}, "attachment_without_data", "'f'"),
        ({"_id": "a", "_attachments": {"f": None}}, "attachment_without_data", "drop:_attachments"),
        ({"_id": "a", "n": 2**1024 - 2**970}, "integer_too_large", "n is"),
        ({"_id": "a", "deep": {"list": [0, -(10**309)]}}, "integer_too_large", "deep.list[1]"),
        ({"_id": "a", "text": "x" * (LIMIT - 10)}, "document_too_large", f"{LIMIT + 1} bytes"),
        ({"_id": "a", "list": list(range(400))}, "document_too_large", "max_document_size"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_the_server_refuses_is_found(document: dict[str, Any], error: str, words: str) -> None:
    """Each has the server's word for it, the id, and a reason that says what to do."""
    fault = screened(document)
    assert fault is not None
    assert (fault.error, fault.id) == (error, document["_id"])
    assert words in fault.reason


@pytest.mark.parametrize(
    ("id", "passes"),
    [
        ("p:a", True),
        ("p:a:b", True),
        ("_design/x", True),
        ("p", False),
        ("p:", False),
        (":a", False),
    ],
)
def test_partitioned_databases_want_a_partition(id: str, passes: bool) -> None:
    """An id without one fails its whole batch there, and only there."""
    fault = screened({"_id": id}, partitioned=True)
    assert passes == (fault is None)
    assert fault is None or fault.error == "illegal_docid"
    assert screened({"_id": id}) is None

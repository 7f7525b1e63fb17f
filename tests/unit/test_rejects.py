"""The format of a reject file: everything comes back that a retry needs, whatever the document held."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import ConfigError
from migrator.model import Reject
from migrator.rejects import FIELDS, line_to_reject, reject_to_line

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
texts = st.text(max_size=30)


@given(texts, texts, texts, texts, texts, st.dictionaries(texts, values, max_size=4))
def test_comes_back(
    collection: str, id: str, stage: str, error: str, reason: str, document: dict[str, Any]
) -> None:
    """Names, words and the document, to the last digit, on one line."""
    line = reject_to_line(Reject(collection, id, stage, error, reason, 3, 403, document))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    expected = Reject(collection, id, stage, error, reason, document=document)
    found = line_to_reject(line, "r:1")
    assert expected == found
    assert json.dumps(document) == json.dumps(found.document)


def test_has_the_documented_fields() -> None:
    """In this order, with null where there is nothing."""
    line = reject_to_line(Reject("c", "a", "load", "forbidden", "not you", 2, 403, {"_id": "a", "_rev": "1-x"}))
    expected = {
        "collection": "c",
        "id": "a",
        "stage": "load",
        "status": 403,
        "error": "forbidden",
        "reason": "not you",
        "attempts": 2,
        "document": {"_id": "a", "_rev": "1-x"},
    }
    assert json.dumps(expected) == json.dumps(json.loads(line))
    assert tuple(expected) == FIELDS


@pytest.mark.parametrize(
    "document",
    [object(), {"a": object()}, {1: 2}, {"a": "\ud800"}, "\ud800", {"a": {"b": {1, object()}}}],
    ids=["object", "inside", "key", "surrogate", "text", "set"],
)
def test_what_json_cannot_hold_is_shown(document: Any) -> None:
    """A person sees it as Python shows it; nothing is raised while a reject is noted."""
    line = reject_to_line(Reject("c", "\ud800", "transform", "e", "r", document=document))
    found = line_to_reject(line, "r:1")
    assert repr(document) == found.document
    assert found.id == "\ud800"


def test_values_that_json_lacks_are_written_plainly() -> None:
    """A date in a document that was refused for something else stays readable."""
    line = reject_to_line(Reject("c", "a", "load", "e", "r", document={"at": datetime(2024, 1, 2)}))  # noqa: DTZ001
    assert json.loads(line)["document"] == {"at": "2024-01-02T00:00:00"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"_id": "a"}',
        b'{"collection": "c", "stage": "load"}',
        b'{"collection": "c", "document": {}}',
        b'{"collection": 5, "stage": "load", "document": {}}',
        b"\xff",
    ],
)
def test_other_lines_are_refused(line: bytes) -> None:
    """A file that is something else is named with the line."""
    with pytest.raises(ConfigError, match=r"^r:7") as caught:
        line_to_reject(line, "r:7")
    assert caught.value.hint


def test_a_line_mended_by_hand_may_lack_what_nobody_needs() -> None:
    """Collection, stage and document are enough."""
    line = b'{"collection": "c", "stage": "load", "document": {"_id": "a"}}'
    assert Reject("c", "", "load", "", "", document={"_id": "a"}) == line_to_reject(line, "r:1")

"""Sizes as CouchDB computes them; all numbers here were asked of CouchDB 3.5.0 by moving its limit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.couch.validate import document_size

SIZES: list[tuple[dict[str, Any], int]] = [
    ({}, 2),
    ({"a": 1}, 7),
    ({"a": -10}, 9),
    ({"a": 10**15 - 1}, 22),
    ({"a": 10**15}, 22),
    ({"a": 2**1024 - 2**970 - 1}, 315),
    ({"a": 0.0}, 9),
    ({"a": -1.0}, 10),
    ({"a": 0.5}, 9),
    ({"a": 0.01}, 10),
    ({"a": 1e-10}, 11),
    ({"a": 1e-100}, 12),
    ({"a": 1e-300}, 9),
    ({"a": 9.99e9}, 9),
    ({"a": 1e10}, 10),
    ({"a": 1e100}, 11),
    ({"a": -2.5e100}, 12),
    ({"a": True}, 10),
    ({"a": False}, 11),
    ({"a": None}, 10),
    ({"a": ""}, 8),
    ({"a": 'é"\n😀'}, 16),
    ({"é😀": ""}, 13),
    ({"a": []}, 8),
    ({"a": [1, 2]}, 11),
    ({"a": {}}, 8),
    ({"a": {"b": 1, "c": 2}}, 19),
    ({"a": {"b": {"c": [True, None, "x", 1.5]}}}, 37),
    ({"_id": "x", "_attachments": {"f": {"data": "aGVsbG8="}}, "a": 1}, 7),
    ({"a": [10**k for k in range(30)]}, 502),
]


@pytest.mark.parametrize(("document", "size"), SIZES, ids=str)
def test_sizes_are_the_servers(document: dict[str, Any], size: int) -> None:
    """The smallest limit that the server took the document under."""
    assert document_size(document) == size


def test_a_deep_document_is_measured() -> None:
    """Depth needs no recursion."""
    value: Any = 1
    for _ in range(50_000):
        value = [value]
    assert document_size({"a": value}) == 7 + 2 * 50_000


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**14), 10**14)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_the_text_is_never_shorter(document: dict[str, Any]) -> None:
    """Only a text over the limit can be a document over the limit."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    assert document_size(document) <= len(text.encode())

"""Comparing and digesting agree with each other, and with the plain definition of equality."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from migrator.codec import deep
from migrator.codec.equality import _CANONICAL, canonical_digest, differing_path

FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(min_value=-1e-300, max_value=1e-300)
# Few different values, so that equal ones and nearly equal ones meet often.
NEIGHBOURS = st.sampled_from(
    [0, 1, 1.0, 0.0, -0.0, True, False, None, "", "1", 5e-324, 3e-322, 2.96e-322, 10**400]
)
SCALARS = NEIGHBOURS | st.integers() | FLOATS | st.text(max_size=3) | st.sampled_from(["\ud800", "-0.0", "e-3"])
KEYS = st.sampled_from(["a", "b", "", "odd key", "\ud800"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=3)


def plainly_equal(one: Any, other: Any) -> bool:
    """The definition, by recursion."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(plainly_equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(plainly_equal, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def changed_somewhere(document: dict[str, Any], value: Any, choose: Any) -> dict[str, Any]:
    """A copy of a document with one value replaced."""
    result = copy.deepcopy(document)
    places: list[tuple[Any, Any]] = []
    pending: list[Any] = [result]
    while pending:
        container = pending.pop()
        for step, item in container.items() if isinstance(container, dict) else enumerate(container):
            places.append((container, step))
            if isinstance(item, dict | list):
                pending.append(item)
    if places:
        container, step = places[choose(len(places))]
        container[step] = value
    return result


@given(DOCUMENTS, SCALARS, st.data())
def test_digests_are_equal_when_no_path_differs(document: dict[str, Any], value: Any, data: st.DataObject) -> None:
    """Exactly then, in either order, strictly and as stored; strictly as the definition says."""
    other = changed_somewhere(document, value, lambda count: data.draw(st.integers(0, count - 1)))
    for stored in (False, True):
        equal = canonical_digest(document, stored=stored) == canonical_digest(other, stored=stored)
        assert equal is (differing_path(document, other, stored=stored) is None)
        assert equal is (differing_path(other, document, stored=stored) is None)
        if not stored:
            assert equal is plainly_equal(document, other)


@given(DOCUMENTS, DOCUMENTS)
def test_any_two_documents_agree_too(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The same of two that have nothing to do with each other."""
    assert plainly_equal(one, other) is (differing_path(one, other, stored=False) is None)
    assert plainly_equal(one, other) is (
        canonical_digest(one, stored=False) == canonical_digest(other, stored=False)
    )


@given(DOCUMENTS)
def test_what_is_forgiven_is_only_more(document: dict[str, Any]) -> None:
    """Every document is equal to itself, read again from its JSON, in any order of keys."""
    again = json.loads(json.dumps(document, sort_keys=True))
    for stored in (False, True):
        assert differing_path(document, again, stored=stored) is None
        assert canonical_digest(document, stored=stored) == canonical_digest(again, stored=stored)


@given(DOCUMENTS)
def test_both_writers_of_canonical_text_agree(document: dict[str, Any]) -> None:
    """A digest does not depend on how deep the stack was."""
    assert deep.write(document, _CANONICAL) == deep.dumps(document, _CANONICAL)

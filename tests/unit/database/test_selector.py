"""Memory finds what CouchDB finds: compared with answers that CouchDB 3.5.0 gave."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.database import DatabaseError, MemoryDBService
from migrator.database.collation import compare
from migrator.database.selector import matcher
from tests.support.mango_cases import CASES, DOCUMENTS

# CouchDB's documentation lists this order of ASCII, Unicode's own; letters of both cases are apart.
PRINTABLE = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789aAbBcCxXyYzZ"
IN_ORDER: list[Any] = [
    None,
    False,
    True,
    -1,
    0,
    0.5,
    1,
    2**70,
    "",
    "_a",
    "10",
    "9",
    "a",
    "A",
    "á",
    "Á",
    "aa",
    "aB",
    "b",
    "B",
    "ba",
    "bb",
    [],
    [None],
    ["a"],
    ["a", "a"],
    ["b"],
    [["a"]],
    {},
    {"a": 1},
    {"a": 2},
    {"a": 2, "b": 0},
    {"b": 1},
    {"b": 2, "a": 1},
]


@pytest.fixture(scope="module")
def service() -> MemoryDBService:
    """The documents in memory."""
    service = MemoryDBService()
    for id, document in DOCUMENTS.items():
        service.save("cases", id, document)
    return service


def test_each_case_has_its_answer() -> None:
    """A case that was added without its answer would be no test."""
    assert [case for case in CASES if (case["found"] is None) is not bool(case["error"])] == []
    assert len(CASES) > 200


@pytest.mark.parametrize("answer", CASES, ids=lambda answer: json.dumps(answer["selector"])[:80])
def test_finds_what_couchdb_found(service: MemoryDBService, answer: dict[str, Any]) -> None:
    """The same documents in the same order; and what CouchDB refuses is refused."""
    if answer["error"]:
        with pytest.raises(DatabaseError, match=r"selector|field") as caught:
            service.find("cases", answer["selector"])
        assert caught.value.hint
    else:
        assert [document["_id"] for document in service.find("cases", answer["selector"])] == answer["found"]


@pytest.mark.parametrize("selector", [None, [], "a", 5, [{"a": 1}]])
def test_what_is_no_object_is_no_selector(service: MemoryDBService, selector: Any) -> None:
    """The mistake is said, and not found as nothing."""
    with pytest.raises(DatabaseError, match="a selector is an object"):
        service.find("cases", selector)


def test_a_divisor_of_zero_is_refused(service: MemoryDBService) -> None:
    """CouchDB fails at it."""
    with pytest.raises(DatabaseError, match="divisor"):
        service.find("cases", {"v": {"$mod": [0, 0]}})


def test_values_that_json_lacks_match_as_they_would_be_stored() -> None:
    """A date is a text in CouchDB, so it is found as one."""
    matches = matcher({"day": {"$gte": "2026-01-01"}, "price": "1.50"})
    assert matches({"day": date(2026, 2, 1), "price": Decimal("1.50")})
    assert not matches({"day": date(2025, 2, 1), "price": Decimal("1.50")})
    assert not matcher({"a": object()})({"a": 1})
    assert matcher({"a": {"$in": [date(2026, 1, 1)]}})({"a": "2026-01-01"})


def test_order_of_types_and_texts() -> None:
    """As CouchDB's documentation has it under collation."""
    shuffled = IN_ORDER[::2] + IN_ORDER[1::2]
    assert sorted(shuffled, key=cmp_to_key(lambda one, other: compare(one, other) or 0)) == IN_ORDER
    assert sorted(
        PRINTABLE[1::2] + PRINTABLE[::2], key=cmp_to_key(lambda one, other: compare(one, other) or 0)
    ) == list(PRINTABLE)


@given(*[st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4), st.lists)] * 3)
def test_the_order_is_one(one: Any, two: Any, three: Any) -> None:
    """Whatever two values: one is before the other, and a third between them keeps that."""
    assert compare(one, one) == 0
    assert compare(one, two) == -(compare(two, one) or 0)
    low, middle, high = sorted([one, two, three], key=cmp_to_key(lambda a, b: compare(a, b) or 0))
    assert (compare(low, middle) or 0) <= 0
    assert (compare(middle, high) or 0) <= 0
    assert (compare(low, high) or 0) <= 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (None, {"_id": "x", "a": {"b": 1, "c": [5, {"d": 2}]}, "e": None, "f.g": 3}),
        ([], {"_id": "x", "a": {"b": 1, "c": [5, {"d": 2}]}, "e": None, "f.g": 3}),
        (["e"], {"_id": "x", "e": None}),
        (["_id"], {"_id": "x"}),
        (["none"], {"_id": "x"}),
        (["a.b"], {"_id": "x", "a": {"b": 1}}),
        (["a.b", "e"], {"_id": "x", "a": {"b": 1}, "e": None}),
        (["a.c"], {"_id": "x", "a": {"c": [5, {"d": 2}]}}),
        (["a.b.c"], {"_id": "x"}),
        (["f\\.g"], {"_id": "x", "f.g": 3}),
        (("e", "e"), {"_id": "x", "e": None}),
    ],
)
def test_gives_the_fields_that_were_asked_for(fields: Any, expected: dict[str, Any]) -> None:
    """And the id, always."""
    service = MemoryDBService()
    service.save("a", "x", {"a": {"b": 1, "c": [5, {"d": 2}]}, "e": None, "f.g": 3})
    assert service.find("a", {}, fields) == [expected]

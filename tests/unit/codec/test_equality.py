"""Equality of documents as a database holds them."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.codec import decode
from migrator.codec.equality import canonical_digest, content, differing_path, surely_differ
from tests.property.test_revision import DOCUMENTS
from tests.support.exactness import same

DOCUMENT = {
    "_id": "a",
    "name": "Zoë",
    "address": {"lines": ["one", "two", {"zip": 12345}], "": None},
    "odd key": {"x": 1, 'quo"te': [[], {}]},
    "flag": True,
    "big": 10**400,
    "share": 0.25,
}


def changed(path: list[str | int], value: Any) -> dict[str, Any]:
    """DOCUMENT with another value at a path."""
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


def nested(value: Any, levels: int) -> dict[str, Any]:
    for _ in range(levels):
        value = {"a": [value]}
    return {"_id": "deep", "value": value}


def differing_both_ways(one: Any, other: Any, *, stored: bool = False) -> set[str | None]:
    """What is named with the two in either order, and whether the digests agree with it."""
    paths = {differing_path(one, other, stored=stored), differing_path(other, one, stored=stored)}
    equal = canonical_digest(one, stored=stored) == canonical_digest(other, stored=stored)
    assert (paths == {None}) is equal
    return paths


@pytest.mark.parametrize("stored", [True, False])
def test_equal_documents_have_no_differing_path(stored: bool) -> None:
    """A copy is equal, whatever the order of its keys."""
    shuffled = dict(reversed(list(copy.deepcopy(DOCUMENT).items())))
    shuffled["address"] = {"": None, "lines": ["one", "two", {"zip": 12345}]}
    assert {None} == differing_both_ways(DOCUMENT, shuffled, stored=stored)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["name"], "Zoe", "name"),
        (["name"], "Zoe\u0308", "name"),
        (["address", "lines", 1], "two ", "address.lines[1]"),
        (["address", "lines", 2, "zip"], 12346, "address.lines[2].zip"),
        (["address", "lines", 2], "12345", "address.lines[2]"),
        (["address", ""], False, 'address[""]'),
        (["odd key", "x"], 2, '["odd key"].x'),
        (["odd key", 'quo"te', 0], {}, '["odd key"]["quo\\"te"][0]'),
        (["odd key", 'quo"te'], {"0": []}, '["odd key"]["quo\\"te"]'),
        (["flag"], 1, "flag"),
        (["flag"], "true", "flag"),
        (["big"], 10**400 + 1, "big"),
        (["share"], 0.25000000000000006, "share"),
        (["address"], None, "address"),
    ],
)
def test_the_first_difference_is_named(path: list[str | int], value: Any, expected: str) -> None:
    """The path leads to the smallest value that differs, in the form that people write."""
    assert {expected} == differing_both_ways(DOCUMENT, changed(path, value))


@pytest.mark.parametrize(
    ("path", "expected"),
    [(["more"], "more"), (["address", "zip code"], 'address["zip code"]'), (["odd key", "n"], '["odd key"].n')],
)
def test_a_key_that_only_one_has_is_named(path: list[str | int], expected: str) -> None:
    """Missing and additional keys are differences, null included."""
    assert {expected} == differing_both_ways(DOCUMENT, changed(path, None))


def test_the_first_item_that_only_one_list_has_is_named() -> None:
    """A list that goes on longer differs where the other ends."""
    longer = changed(["address", "lines"], [*DOCUMENT["address"]["lines"], None, None])  # type: ignore[index]
    assert {"address.lines[3]"} == differing_both_ways(DOCUMENT, longer)


def test_the_order_of_items_counts() -> None:
    """A list is not a set."""
    assert {"a[0]"} == differing_both_ways({"a": [1, 2]}, {"a": [2, 1]})


@pytest.mark.parametrize("pair", [(1, 1.0), (1, True), (0, False), (0.0, False), (1, "1"), ([], {}), (None, 0)])
@pytest.mark.parametrize("stored", [True, False])
def test_types_are_never_mixed_up(pair: tuple[Any, Any], stored: bool) -> None:
    """Python thinks that 1, 1.0 and True are equal; a database does not."""
    assert {"a.b[0]"} == differing_both_ways({"a": {"b": [pair[0]]}}, {"a": {"b": [pair[1]]}}, stored=stored)


def test_documents_of_different_kinds_differ_as_a_whole() -> None:
    """Where there is no path, the document is named."""
    assert differing_path([1], {"a": 1}, stored=False) == "the document"


@pytest.mark.parametrize(
    ("sent", "found"),
    [(-0.0, 0.0), (5e-324, 0.0), (-5e-324, 0.0), (3e-322, 2.96e-322), (9e-315, 8.999999986e-315)],
)
def test_what_couchdb_changes_on_storing_is_forgiven(sent: float, found: float) -> None:
    """These floats went into CouchDB 3.5.0 and came out as the others; exactness is still to be had."""
    sent_document, found_document = {"a": [{"b": sent}]}, {"a": [{"b": found}]}
    assert {None} == differing_both_ways(sent_document, found_document, stored=True)
    assert {None} == differing_both_ways(sent_document, sent_document, stored=True)
    assert {"a[0].b"} == differing_both_ways(sent_document, found_document)


@pytest.mark.parametrize(
    ("sent", "found"), [(4e-320, 0.0), (1.5e-323, 0.0), (1e-323, 5e-324), (2.3e-308, 0.0), (0.0, 0), (-0.0, 0)]
)
def test_nothing_else_is_forgiven(sent: float, found: float) -> None:
    """CouchDB keeps these floats, so another value in their place is a loss."""
    assert {"a"} == differing_both_ways({"a": sent}, {"a": found}, stored=True)


def test_forgiving_changes_no_argument() -> None:
    """The documents stay as they were, floats included."""
    document = {"a": [-0.0, {"b": 5e-324}], "c": {"d": [[-0.0]]}}
    before = copy.deepcopy(document)
    canonical_digest(document, stored=True)
    differing_path(document, document, stored=True)
    assert same(before, document)


def test_a_string_that_looks_like_a_forgiven_float_is_no_float() -> None:
    """Only numbers are forgiven."""
    assert {"a"} == differing_both_ways({"a": "-0.0"}, {"a": "0.0"}, stored=True)


def test_depth_has_no_limit() -> None:
    """Documents of 10,000 levels are compared, digested and forgiven like flat ones."""
    deep, other = nested(-0.0, 5_000), nested(1, 5_000)
    assert {None} == differing_both_ways(deep, nested(0.0, 5_000), stored=True)
    (path,) = differing_both_ways(deep, other, stored=True)
    assert path is not None
    assert path.startswith("value.a[0].a[0]")


def test_digests_are_the_same_everywhere() -> None:
    """A digest may be kept, so it must never change: sixteen bytes of BLAKE2b over sorted, compact JSON."""
    digest = canonical_digest({"b": [1, 1.0, "é\u2028"], "a": None}, stored=False)
    assert digest.hex() == "fd48dcddfc2c05bc7f28aa7dae7e39d0"


def test_depth_does_not_change_the_form_of_a_digest() -> None:
    """The reader without recursion writes what the fast one writes, whatever the stack leaves room for."""

    def digest_at(frames: int) -> bytes:
        return digest_at(frames - 1) if frames else canonical_digest(nested([1.5, {"é": "x"}], 150), stored=True)

    assert digest_at(0) == digest_at(750)


def test_half_surrogate_pairs_are_compared_too() -> None:
    """They are not Unicode text, but a source may hold them, and a difference must not be an exception."""
    assert {"a"} == differing_both_ways({"a": "\ud800"}, {"a": "\ud801"})


def test_bookkeeping_is_no_content() -> None:
    """What CouchDB adds to one copy of a document is left out at the top, and only there."""
    stored = {"_id": "a", "_rev": "1-b", "_revisions": 1, "_revs_info": 1, "_conflicts": 1, "_attachments": {}}
    stored |= {"_deleted_conflicts": 1, "_local_seq": 1, "inner": {"_rev": "1-c"}}
    assert content(stored) == {"_id": "a", "_attachments": {}, "inner": {"_rev": "1-c"}}
    assert "_rev" in stored


@given(DOCUMENTS, DOCUMENTS, st.booleans())
def test_what_surely_differs_has_a_place_where_it_differs(
    one: dict[str, Any], other: dict[str, Any], alike: bool
) -> None:
    """And the same content in another order, or with other bookkeeping, never does."""
    if alike:
        other = {**dict(reversed(one.items())), "_rev": "1-a"}
    texts = [json.dumps(each).encode() for each in (one, other)]
    differs = differing_path(content(decode(texts[0])), content(decode(texts[1])), stored=True)
    assert not surely_differ(texts[0], texts[1]) or differs is not None
    assert not (alike and surely_differ(texts[0], texts[1]))


@pytest.mark.parametrize("levels", [1_000, 1_020, 100_000])
def test_what_is_nested_too_deeply_to_be_compared_at_once_is_left_to_the_walk(levels: int) -> None:
    """Some Pythons compare fewer levels than the quick parser reads; that never ends a run."""
    one = b'{"v":%s1%s}' % (b"[" * levels, b"]" * levels)
    other = one.replace(b"1", b"2")
    assert not surely_differ(one, one)
    assert not surely_differ(one, other) or differing_path(decode(one), decode(other), stored=True)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (b'{"a":1}', b'{"a":2}', True),
        (b'{"a":[1,{"b":"x"}]}', b'{"a":[1,{"b":"y"}]}', True),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1,"_rev":"1-x"}', False),
        (b'{"a":5e-324}', b'{"a":6E-324}', False),
        (b'{"a":1}', b"[]", False),
        (b"{", b'{"a":1}', False),
    ],
)
def test_texts_that_surely_differ(one: bytes, other: bytes, expected: bool) -> None:
    """What it does not know for sure it leaves to the comparison by values."""
    assert surely_differ(one, other) is expected

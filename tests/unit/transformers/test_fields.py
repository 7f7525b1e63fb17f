"""Renaming, dropping, keeping and setting of fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import ConfigError, TransformError
from migrator.transformers import drop, keep, parse, rename, set_field
from migrator.transformers.paths import parse_path, split
from tests.support.exactness import same

DOCUMENT = {"_id": "x", "a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": [{"g": 4}], "a.b": 5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        (r"a\.b.c", ("a.b", "c")),
        (r"a\\.b", ("a\\", "b")),
        (r"a\,b\=c", ("a,b=c",)),
        ("été", ("été",)),
        (" a ", (" a ",)),
        ("a\\", ("a\\",)),
        ("two\nlines", ("two\nlines",)),
    ],
)
def test_paths_are_names_with_dots_between(text: str, expected: tuple[str, ...]) -> None:
    """A backslash takes the meaning from what comes after it."""
    assert parse_path(text, "drop") == expected


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b"])
def test_paths_have_no_empty_names(text: str) -> None:
    """A name that is forgotten is told."""
    with pytest.raises(ConfigError, match="not a field path"):
        parse_path(text, "drop")


@given(st.text(st.sampled_from("ab,.\\"), max_size=12))
def test_split_loses_no_character(text: str) -> None:
    """What was divided is whole again when it is joined."""
    assert ",".join(split(text, ",")) == text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"a": "z"}, {"_id": "x", "z": 1, "b": {"c": 2, "d": {"e": 3}}, "f": [{"g": 4}], "a.b": 5}),
        ({r"a\.b": "ab"}, {"_id": "x", "a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": [{"g": 4}], "ab": 5}),
        ({"b.c": "b.z"}, {"_id": "x", "a": 1, "b": {"z": 2, "d": {"e": 3}}, "f": [{"g": 4}], "a.b": 5}),
        ({"b.c": "c"}, {"_id": "x", "a": 1, "b": {"d": {"e": 3}}, "f": [{"g": 4}], "a.b": 5, "c": 2}),
        (
            {"a": "n.e.w"},
            {"_id": "x", "b": {"c": 2, "d": {"e": 3}}, "f": [{"g": 4}], "a.b": 5, "n": {"e": {"w": 1}}},
        ),
        ({"a": "b.a"}, {"_id": "x", "b": {"c": 2, "d": {"e": 3}, "a": 1}, "f": [{"g": 4}], "a.b": 5}),
        ({"a": "f", "f": "a"}, {"_id": "x", "f": 1, "b": {"c": 2, "d": {"e": 3}}, "a": [{"g": 4}], "a.b": 5}),
        ({"a": "f", "f": "h"}, {"_id": "x", "f": 1, "b": {"c": 2, "d": {"e": 3}}, "h": [{"g": 4}], "a.b": 5}),
        ({"b": "z", "b.c": "b.y"}, {"_id": "x", "a": 1, "z": {"y": 2, "d": {"e": 3}}, "f": [{"g": 4}], "a.b": 5}),
        (
            {"b": "z", "b.d.e": "e"},
            {"_id": "x", "a": 1, "z": {"c": 2, "d": {}}, "f": [{"g": 4}], "a.b": 5, "e": 3},
        ),
        ({"b.c": "a", "a": "b.c"}, {"_id": "x", "b": {"d": {"e": 3}, "c": 1}, "f": [{"g": 4}], "a.b": 5, "a": 2}),
        ({"a": "a"}, DOCUMENT),
        ({"missing": "z", "b.missing": "y", "a.deeper": "q", "f.g": "r"}, DOCUMENT),
    ],
)
def test_rename_gives_other_names(names: dict[str, str], expected: dict[str, Any]) -> None:
    """All at once, in place where the object is the same, at the end where it is another."""
    assert same(rename(names)(DOCUMENT), expected)


@pytest.mark.parametrize(
    "names", [{"a": "f"}, {"a": "b"}, {"b.c": "b.d"}, {"b.c": "a"}, {"a": "b.c"}, {"missing": "z", "f": "a"}]
)
def test_rename_never_loses_a_value(names: dict[str, str]) -> None:
    """A name that is taken is an error, with what to do about it."""
    with pytest.raises(TransformError) as caught:
        rename(names)(DOCUMENT)
    assert "which would be lost" in caught.value.message
    assert "drop:" in caught.value.hint


def test_rename_into_what_is_no_object_is_an_error() -> None:
    """A field cannot be put into a number."""
    with pytest.raises(TransformError, match="a is not an object, so it cannot hold c"):
        rename({"b.c": "a.c"})(DOCUMENT)


def test_rename_gives_no_name_twice() -> None:
    """Two fields of one name are told before a document is read."""
    with pytest.raises(ConfigError, match="same name"):
        rename({"a": "z", "b": "z"})


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(), max_size=6), st.permutations("abcdef"))
def test_rename_there_and_back_is_nothing(document: dict[str, int], names: list[str]) -> None:
    """Whatever names are exchanged, no value is lost, and the inverse restores the document."""
    there = dict(zip("abcdef", names, strict=True))
    renamed = rename(there)(document)
    assert renamed is not None
    assert sorted(renamed.values()) == sorted(document.values())
    back = rename({new: old for old, new in there.items()})(renamed)
    assert same(dict(back or {}), document)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["a"], {"_id": "x", "b": {"c": 2, "d": {"e": 3}}, "f": [{"g": 4}], "a.b": 5}),
        (["b.d.e", "f"], {"_id": "x", "a": 1, "b": {"c": 2, "d": {}}, "a.b": 5}),
        ([r"a\.b"], {"_id": "x", "a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": [{"g": 4}]}),
        (["_id", "a", "b", "f", r"a\.b"], {}),
        (["missing", "b.missing", "a.deeper", "f.g"], DOCUMENT),
    ],
)
def test_drop_leaves_out_what_is_named(fields: list[str], expected: dict[str, Any]) -> None:
    """Dotted paths reach into objects; what is missing is not an error."""
    assert same(drop(*fields)(DOCUMENT), expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["a"], {"_id": "x", "a": 1}),
        (["f", "a"], {"_id": "x", "a": 1, "f": [{"g": 4}]}),
        (["b.d"], {"_id": "x", "b": {"d": {"e": 3}}}),
        (["b.c", "b.d.e"], {"_id": "x", "b": {"c": 2, "d": {"e": 3}}}),
        (["b.c", "b"], {"_id": "x", "b": {"c": 2, "d": {"e": 3}}}),
        (["b", "b.c"], {"_id": "x", "b": {"c": 2, "d": {"e": 3}}}),
        (["_id", "_id.x"], {"_id": "x"}),
        (["missing", "b.missing", "a.deeper", "f.g"], {"_id": "x"}),
        ([r"a\.b"], {"_id": "x", "a.b": 5}),
    ],
)
def test_keep_keeps_what_is_named_and_the_id(fields: list[str], expected: dict[str, Any]) -> None:
    """In the document's own order; of an object only what is named in it."""
    assert same(keep(*fields)(DOCUMENT), expected)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("a", 9, {"a": 9, "b": {"c": 2}}),
        ("z", None, {"a": 1, "b": {"c": 2}, "z": None}),
        ("b.c", [1], {"a": 1, "b": {"c": [1]}}),
        ("b.n.m", "x", {"a": 1, "b": {"c": 2, "n": {"m": "x"}}}),
        ("n.m", 1, {"a": 1, "b": {"c": 2}, "n": {"m": 1}}),
    ],
)
def test_set_gives_a_field_a_value(field: str, value: Any, expected: dict[str, Any]) -> None:
    """Whether it was there or not, at its own place; objects on the way are made."""
    assert same(set_field(field, value)({"a": 1, "b": {"c": 2}}), expected)


@pytest.mark.parametrize("inner", [1, "x", None, [], True])
def test_set_changes_nothing_into_an_object(inner: Any) -> None:
    """What is not an object cannot hold a field, and is not replaced."""
    with pytest.raises(TransformError, match="a is not an object, so it cannot hold b"):
        set_field("a.b", 1)({"a": inner})


def test_set_refuses_a_value_that_cannot_be_copied() -> None:
    """Before any document is read."""
    with pytest.raises(ConfigError, match="set:a: the value is nested too deeply"):
        parse("set:a=" + "[" * 20_000 + "]" * 20_000)


def test_set_gives_each_document_a_value_of_its_own() -> None:
    """What someone does to one document reaches neither another nor the value that was given."""
    value = {"list": [1]}
    transform = set_field("v", value)
    first = transform({})
    assert first is not None
    first["v"]["list"].append(2)
    assert transform({}) == {"v": {"list": [1]}}
    assert value == {"list": [1]}

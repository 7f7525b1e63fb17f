"""Lines of values in JSON and YAML, found after a fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.fixtures.problems import Place
from migrator.fixtures.texts import JsonText, Malformed, Within, members, read_json
from migrator.fixtures.yaml_text import read_yaml

JSON = '{\n  "a": [\n    1,\n    {"b\\n": "x",\n     "c": null}\n  ],\n  "d": {}\n}\n'
YAML = "a:\n  - 1\n  - b: x\n    c:\nd: {}\n"


@pytest.mark.parametrize(
    ("path", "line"),
    [((), 1), (("a",), 2), (("a", 0), 3), (("a", 1), 4), (("a", 1, "b\n"), 4), (("a", 1, "c"), 5), (("d",), 7)],
)
def test_json_values_have_their_lines(path: tuple[str | int, ...], line: int) -> None:
    """Each value's line is that of its key, or its own in an array."""
    assert Place("f.json", line) == read_json("f.json", JSON.encode())[1].place(path)


def test_a_path_that_is_not_there_has_the_nearest_line() -> None:
    """A missing field is shown at the object that lacks it."""
    assert JsonText("f.json", JSON).place(["a", 1, "missing"]) == Place("f.json", 4)
    assert Within(JsonText("f.json", JSON), ("a", 1)).place(["c"]) == Place("f.json", 5)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in _paths(item, (*path, key)))]


@given(
    st.recursive(
        st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_every_value_of_a_json_text_is_found(value: Any) -> None:
    """The walk meets each path once, in the text's order."""
    for text in (json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False)):
        assert _paths(value) == [path for path, _ in members(text)]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('{"a": 1,\n "a": 2}', 2, "duplicate id or key 'a'"),
        ('{"x": [{"b": 1},\n\n {"b": 1, "b": 2}]}', 3, "duplicate id or key 'b'"),
        ('{\n "a": 1,\n}', 2, "invalid JSON"),
        ("", 1, "invalid JSON"),
        ('{\n"a": "\udcff"}', 2, "0xff is no UTF-8"),
        ('{"a": 1e999}', 1, "invalid JSON"),
    ],
)
def test_wrong_json_is_told_with_its_line(text: str, line: int, words: str) -> None:
    """Whatever is wrong has a line and a reason."""
    with pytest.raises(Malformed, match=words) as caught:
        read_json("f.json", text.encode("utf-8", "surrogateescape"))
    assert caught.value.place == Place("f.json", line)


def test_json_numbers_stay_exact() -> None:
    """Integers of any size, and a byte order mark at the start does no harm."""
    assert read_json("f.json", b'\xef\xbb\xbf{"n": 123456789012345678901234567890}')[0] == {
        "n": 123456789012345678901234567890
    }


@pytest.mark.parametrize(
    ("path", "line"), [((), 1), (("a",), 2), (("a", 1), 3), (("a", 1, "c"), 4), (("a", 1, "x"), 3), (("d",), 5)]
)
def test_yaml_values_have_their_lines(path: tuple[str | int, ...], line: int) -> None:
    """Each value's own line, or the nearest one around it."""
    assert Place("f.yaml", line) == read_yaml("f.yaml", YAML.encode())[1].place(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("true", True),
        ("~", None),
        ("", None),
        ("2024-05-01", "2024-05-01"),
        ("12:30", "12:30"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("${now-3d}", "${now-3d}"),
    ],
)
def test_yaml_is_read_by_the_core_schema(text: str, value: Any) -> None:
    """Norway is a text and no false, a date is a text, and 017 is seventeen."""
    found = read_yaml("f.yaml", f"a: {text}".encode())[0]["a"]
    assert value == found
    assert type(value) is type(found)


def test_yaml_keys_are_texts_and_merging_works() -> None:
    """A key is what is written; what is merged gives way to what is there."""
    text = "base: &base {a: 1, b: 2}\n1:\n  <<: *base\n  b: 3\nNO: [*base]\n"
    assert read_yaml("f.yaml", text.encode())[0] == {
        "base": {"a": 1, "b": 2},
        "1": {"a": 1, "b": 3},
        "NO": [{"a": 1, "b": 2}],
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1\nc: 2", 3, "invalid YAML"),
        ("a: 1\na: 2", 2, "duplicate id or key 'a'"),
        ("a: 1\nb: .inf", 2, "no number that JSON can hold"),
        ("a: 1\nb: !!binary aGk=", 2, "has no form in JSON"),
        ("a: 1\nb: !!python/object:os.system {}", 2, "has no form in JSON"),
        ("a: &a\n  - *a", 1, "an alias stands for something that holds it"),
        ("a: 1\n? [x]\n: 1", 2, "a key is no text"),
        ("a: 1\n---\nb: 1", 2, "invalid YAML"),
        ("a: 1\nb: \x07", 2, "invalid YAML"),
    ],
)
def test_wrong_yaml_is_told_with_its_line(text: str, line: int, words: str) -> None:
    """Whatever is wrong has a line and a reason, and nothing in YAML runs code."""
    with pytest.raises(Malformed, match=words) as caught:
        read_yaml("f.yaml", text.encode())
    assert caught.value.place == Place("f.yaml", line)


def test_aliases_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small text of aliases of aliases is refused when it stands for too much."""
    monkeypatch.setattr("migrator.fixtures.yaml_text.MAX_VALUES", 1000)
    text = (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
    )
    with pytest.raises(Malformed, match="stand for more than 1,000 values"):
        read_yaml("f.yaml", text.encode())

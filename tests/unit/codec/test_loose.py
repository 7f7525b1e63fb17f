"""What is almost JSON: its id for people, its values for a transformer; and nothing of it is written as it is."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.codec import Unencodable, encode
from migrator.codec.rejected import NotANumber, id_in, read_loosely, write_loosely

IDS = [
    (b'{"_id":"a","n":NaN}', "a"),
    (b'{"n":NaN,"_id":"a"}', "a"),
    (b'  { "n" : Infinity , "_id" : "a" }', "a"),
    (b'{"_id":"a","n":1,}', "a"),
    (b'{"_id":"a"', "a"),
    (b'{"_id":"a","t":"cut of', "a"),
    (b'{"_id":"a\\"b","n":nul}', 'a"b'),
    (b'{"_id":"zo\\u00eb","n":nul}', "zo\xeb"),
    ('{"_id":"zo\xeb","n":nul}'.encode(), "zo\xeb"),
    (b'{"_id":"a","s":"caf\xe9"}', "a"),
    (b'{"_id":"caf\xe9"}', "caf\ufffd"),
    (b'{"_id":"a","s":"tab\there"}', "a"),
    (b'{"_id":7,"n":NaN}', "7"),
    (b'{"_id":7', ""),
    (b'{"_id":7"8","n":NaN}', ""),
    (b'{"_id":{"$oid":"0123abCD"},"n":NaN}', "0123abCD"),
    (b'{"x":[{"_id":"no"}],"_id":"yes",', "yes"),
    (b'{"x":{"_id":"no"},"_id":"yes"', "yes"),
    (b'\xef\xbb\xbf{"_id":"a"}', "a"),
    (b'{"_id":"a"}{"_id":"b"}', "a"),
    (b'{"x":"not closed, "_id":"a"}', "a"),
    (b'{"x":{"_id":"no"},"n":NaN}', ""),
    (b'{"x":{"_id":"no"},"n":', ""),
    (b'{"x":"\\"_id\\":\\"no\\"", n:1}', ""),
    (b'["_id","no"', ""),
    (b'[{"_id":"no"}', ""),
    (b'{"_id":', ""),
    (b'{"_id":null,"n":NaN}', ""),
    (b'{"_id":["a"],"n":NaN}', ""),
    (b'{"id":"no","n":NaN}', ""),
    (b"plain words", ""),
    (b"", ""),
    (b"\x00\xff" * 100, ""),
]


@pytest.mark.parametrize(("text", "id"), IDS)
def test_the_id_is_found_where_the_text_shows_it(text: bytes, id: str) -> None:
    """At the top of the document, and never that of another one inside of it."""
    assert id == id_in(text)


@given(st.binary(max_size=200))
def test_any_bytes_have_an_id_or_none(text: bytes) -> None:
    """Nothing is raised while a reject is noted."""
    assert isinstance(id_in(text), str)
    assert read_loosely(text) is None or isinstance(read_loosely(text), dict)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b'{"n": NaN}', "{'n': NaN}"),
        (b'{"n": -Infinity}', "{'n': -Infinity}"),
        (b'{"n": 1e999}', "{'n': 1e999}"),
        (b'{"n": ' + b"9" * 5_000 + b"}", "{'n': " + "9" * 5_000 + "}"),
        (b'{"s": "caf\xe9"}', "{'s': 'caf\\udce9'}"),
        (b'{"s": "tab\there"}', "{'s': 'tab\\there'}"),
        (b'\xef\xbb\xbf{"s": 1}', "{'s': 1}"),
        (b'{"s": 1,}', "None"),
        (b"[1]", "None"),
        (b"", "None"),
        (b"[" * 100_000, "None"),
    ],
)
def test_values_that_json_lacks_are_read(text: bytes, shown: str) -> None:
    """For a transformer to look at and to fix."""
    assert shown == repr(read_loosely(text))


def test_what_is_not_fixed_is_not_written() -> None:
    """NaN of a text is not the NaN of a program, which has a declared form: it stays refused."""
    document = read_loosely(b'{"_id": "a", "n": NaN, "big": 1e999}')
    assert document is not None
    number = document["n"]
    assert isinstance(number, NotANumber)
    assert math.isnan(number)
    assert math.isinf(float(document["big"]))
    with pytest.raises(Unencodable, match="n is of type"):
        encode(document)
    with pytest.raises(Unencodable, match="half a surrogate pair"):
        encode(read_loosely(b'{"_id": "caf\xe9"}') or {})


@pytest.mark.parametrize(
    "document", [{1: 2}, {"a": {1: 2}}, {"a": object()}, {"a": {1, 2}}, [{None: 1}], {"n": NotANumber("1e999")}]
)
def test_what_would_become_something_else_has_no_text(document: Any) -> None:
    """The standard library would make texts of keys."""
    assert write_loosely(document) is None


def test_what_holds_itself_has_no_text() -> None:
    """It ends, too."""
    document: dict[str, Any] = {}
    document["self"] = document
    assert write_loosely(document) is None

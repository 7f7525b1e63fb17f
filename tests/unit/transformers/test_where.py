"""Conditions: which documents go on."""

from __future__ import annotations

import enum
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from migrator.codec import Unencodable
from migrator.errors import ConfigError
from migrator.transformers import where


class Colour(enum.Enum):
    """A value that JSON lacks."""

    RED = "red"


DOCUMENT: dict[str, Any] = {
    "n": 5,
    "big": 2**70,
    "half": 0.5,
    "text": "Berlin",
    "digits": "5",
    "yes": True,
    "no": False,
    "null": None,
    "zero": 0,
    "empty": "",
    "list": [1, {"a": 2}],
    "object": {"a": [1], "b": "x"},
    "nothing": {},
    "when": datetime(2024, 2, 29, tzinfo=UTC),
    "price": Decimal("1.50"),
    "colour": Colour.RED,
    "nan": math.nan,
    "a.b": 1,
    "a=b": 2,
    "deep": {"er": {"still": "x"}},
    "!odd": 1,
}

MET = [
    "n",
    "n=5",
    "n=5.0",
    "n!=6",
    'n!="5"',
    "n<6",
    "n<=5",
    "n>4.5",
    "n>=5",
    "n>-1e300",
    f"big={2**70}",
    f"big>{2**70 - 1}",
    "half>0.4",
    "text=Berlin",
    'text="Berlin"',
    "text!=berlin",
    "text!=",
    "text>Aachen",
    "text<Bern",
    "text~lin$",
    "text~^B",
    "text~",
    "text~=|e",
    'digits="5"',
    "digits!=5",
    "digits~^[0-9]+$",
    "yes",
    "yes=true",
    "yes!=1",
    "no=false",
    "no!=0",
    "!no",
    "null=null",
    "null!=false",
    "!null",
    "!zero",
    "zero=-0.0",
    "zero=0",
    "zero!=false",
    "!empty",
    "empty=",
    "empty<a",
    "list",
    'list=[1, {"a": 2.0}]',
    'list!=[1, {"a": true}]',
    "list!=[1]",
    'object={"b":"x","a":[1]}',
    'object!={"b":"x"}',
    'object!={"b":"x","a":[1],"c":null}',
    "!nothing",
    "nothing={}",
    "when>2024-02",
    "when=2024-02-29T00:00:00+00:00",
    "when~^2024",
    "when",
    'price="1.50"',
    "colour=red",
    "nan=null",
    "!nan",
    r"a\.b=1",
    r"a\=b=2",
    "deep.er.still=x",
    "!deep.er.other",
    "!missing",
    "!missing.too",
    "!n.deeper",
]
NOT_MET = [
    "!n",
    "n=6",
    'n="5"',
    "n=true",
    "n!=5",
    "n<5",
    "n>5",
    'n<"6"',
    "n~5",
    "text<5",
    "text=BERLIN",
    "text~^lin",
    "yes=1",
    "yes>0",
    "yes!=true",
    "no",
    "no=0",
    "no<1",
    "null",
    "null<1",
    "null~null",
    "null=",
    "zero",
    "zero=false",
    "list>0",
    "list~1",
    'list=[1, {"a": true}]',
    "list=[1]",
    'object={"b":"x"}',
    'object={"b":"x","c":[1]}',
    "when<2024",
    "when>2023",
    "price=1.50",
    "price>1",
    "nan",
    "nan<1",
    "a.b=1",
    "missing",
    "missing=1",
    "missing!=1",
    "missing=null",
    "missing<1",
    "missing~.",
    "n.deeper!=1",
    "list.0=1",
]


@pytest.mark.parametrize("condition", MET)
def test_documents_that_meet_the_condition_go_on_as_they_are(condition: str) -> None:
    """Values are compared as JSON: numbers with numbers, texts with texts, and all as they would be written."""
    assert where(condition)(DOCUMENT) is DOCUMENT


@pytest.mark.parametrize("condition", NOT_MET)
def test_documents_that_do_not_are_filtered_out(condition: str) -> None:
    """What is missing or cannot be compared meets no condition."""
    assert where(condition)(DOCUMENT) is None


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("", "not a field path"),
        ("!", "not a field path"),
        ("a..b=1", "not a field path"),
        ("=1", "no field before the operator"),
        ("!=1", "no field before the operator"),
        ("~x", "no field before the operator"),
        ("!a=1", "stands before a comparison"),
        ("a==1", "two '='"),
        ("a~(", "not a regular expression"),
        ("a<null", "null has no order"),
        ("a>=[1]", "[1] has no order"),
        ("a<true", "true has no order"),
        ("a=1e999", "beyond what a number can be"),
        ("a=" + "9" * 5000, "beyond what a number can be"),
    ],
)
def test_conditions_that_make_no_sense_are_told_at_once(condition: str, words: str) -> None:
    """A condition that no document could ever meet by its author's will is refused before one is read."""
    with pytest.raises(ConfigError) as caught:
        where(condition)
    assert words in caught.value.message
    assert caught.value.hint


def test_an_unknown_type_is_not_filtered_out_silently() -> None:
    """A value that cannot be written cannot be compared: the document is rejected with its path."""
    for condition in ("a.b", "!a.b", "a.b=1", "a.b~x"):
        with pytest.raises(Unencodable) as caught:
            where(condition)({"a": {"b": [object()]}})
        assert caught.value.path == "a.b[0]"

"""Where ids come from: fields, templates, hashes, UUIDs."""

from __future__ import annotations

import enum
import hashlib
import uuid
from datetime import date
from typing import Any

import pytest

from migrator.codec import Unencodable
from migrator.errors import ConfigError, TransformError
from migrator.transformers import id_from_field, id_from_hash, id_from_template, id_uuid7

SEED = b"the run's own"
STARTED_MS = 1_700_000_000_123


class Word(enum.StrEnum):
    """A text that is a member of an enum."""

    YES = "yes"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        ("  ", "  "),
        (7, "7"),
        (-1, "-1"),
        (2**70, str(2**70)),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Word.YES, "yes"),
    ],
)
def test_field_gives_the_id(value: Any, expected: str) -> None:
    """Text, integers and UUIDs become the id, which comes first; the field stays."""
    made = id_from_field("key.of")({"key": {"of": value}, "_id": "old", "b": 1})
    assert made == {"_id": expected, "key": {"of": value}, "b": 1}
    assert list(made) == ["_id", "key", "b"]
    assert type(made["_id"]) is str


@pytest.mark.parametrize("value", [True, 1.0, None, "", [], {}, date(2024, 1, 1), b"x", 10**5000])
def test_field_gives_no_id_by_guessing(value: Any) -> None:
    """Nothing else is turned into text, and no id is empty."""
    with pytest.raises(TransformError) as caught:
        id_from_field("key")({"key": value})
    assert "id:field=key: " in str(caught.value)


@pytest.mark.parametrize("make", [id_from_field("a.b"), id_from_template("x{a.b}"), id_from_hash("a.b")])
@pytest.mark.parametrize("document", [{}, {"a": 1}, {"a": {}}, {"a.b": 1}, {"a": [{"b": 1}]}])
def test_a_missing_field_is_an_error(make: Any, document: dict[str, Any]) -> None:
    """No id is made of a field that is not there."""
    with pytest.raises(TransformError, match=r"the document has no field a\.b"):
        make(document)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{country}-{code}", "DE-7"),
        ("{country}", "DE"),
        ("city:{deep.er}:{country}", "city:x:DE"),
        ("{{{country}}}", "{DE}"),
        ("a{{b}}{code}", "a{b}7"),
        (r"{a\.b}", "dotted"),
        (r"{odd\}name}", "braced"),
        ("{empty}{code}", "7"),
    ],
)
def test_template_puts_fields_together(template: str, expected: str) -> None:
    """Fields stand in braces, doubled braces for themselves, and a backslash takes a dot's meaning away."""
    document = {
        "country": "DE",
        "code": 7,
        "deep": {"er": "x"},
        "a.b": "dotted",
        "odd}name": "braced",
        "empty": "",
    }
    assert id_from_template(template)(document) == {"_id": expected, **document}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("constant", "names no field"),
        ("{{a}}", "names no field"),
        ("{a", "a single '{' at character 1"),
        ("{a}}", "a single '}' at character 4"),
        ("{a}{", "a single '{' at character 4"),
        ("{}", "not a field path"),
        ("{a..b}", "not a field path"),
    ],
)
def test_bad_templates_are_told_at_once(template: str, words: str) -> None:
    """A template that could give no good ids is refused before a document is read."""
    with pytest.raises(ConfigError) as caught:
        id_from_template(template)
    assert words in str(caught.value)


def test_a_template_of_empty_values_gives_no_id() -> None:
    """An id that would be empty is an error."""
    with pytest.raises(TransformError, match="would be empty"):
        id_from_template("{a}{b}")({"a": "", "b": ""})


def test_hash_is_the_sha256_of_the_canonical_content() -> None:
    """The ids of this version are those of every version: the text that is hashed is pinned here."""
    document = {"b": [1e16, "é", {"z": None, "y": True}], "a": date(2024, 1, 1), "_id": "q", "_rev": "1-a"}
    text = '{"a":"2024-01-01","b":[1e+16,"é",{"y":true,"z":null}]}'
    made = id_from_hash()(document)
    assert made is not None
    assert made["_id"] == hashlib.sha256(text.encode()).hexdigest()
    assert list(made) == ["_id", "b", "a", "_rev"]


def test_hash_looks_at_nothing_but_the_content() -> None:
    """Order of keys, id and bookkeeping do not count; everything else does."""
    make = id_from_hash()

    def made(document: dict[str, Any]) -> Any:
        return (make(document) or {})["_id"]

    assert made({"a": 1, "b": {"c": 2, "d": 3}}) == made(
        {"_rev": "9-x", "b": {"d": 3, "c": 2}, "a": 1, "_id": "x"}
    )
    others: list[dict[str, Any]] = [
        {"a": 1},
        {"a": 1.0},
        {"a": True},
        {"a": "1"},
        {"a": [1]},
        {"a": -0.0},
        {"a": 0.0},
        {"A": 1},
        {},
    ]
    assert len({made(other) for other in others}) == len(others)


def test_hash_of_fields_looks_at_these_alone() -> None:
    """Only the named fields count, in whatever order they are named; `_id` counts when it is named."""
    document = {"a": 1, "b": {"c": 2, "d": 3}, "_id": "x"}
    one = id_from_hash("a", "b.c")(document)
    assert one == id_from_hash("b.c", "a")({**document, "b": {"c": 2, "d": 9}}) | {"b": {"c": 2, "d": 3}}  # type: ignore[operator]
    assert one != id_from_hash("a", "b.d")(document)
    by_id = id_from_hash("_id")
    assert (by_id({"_id": "x"}) or {})["_id"] != (by_id({"_id": "y"}) or {})["_id"]


def test_hash_of_an_unknown_type_names_its_path() -> None:
    """A value that could not be written cannot be hashed either."""
    with pytest.raises(Unencodable) as caught:
        id_from_hash("b.c")({"a": 1, "b": {"c": [object()]}})
    assert caught.value.path == "b.c[0]"


def test_uuid7_has_the_layout_of_rfc_9562() -> None:
    """Time in the first 48 bits, version 7, the variant of the RFC, and the usual text."""
    made = id_uuid7(seed=SEED, started_ms=STARTED_MS)({"a": 1})
    assert made is not None
    text = made["_id"]
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == STARTED_MS


def test_uuid7_uses_all_of_its_random_bits() -> None:
    """Each of the 74 bits is now one and now zero; so ids of different documents do not meet."""
    make = id_uuid7(seed=SEED, started_ms=0)
    ids = [uuid.UUID((make({"n": n}) or {})["_id"]).int for n in range(200)]
    assert len(set(ids)) == 200
    random = (1 << 80) - 1 - (0xF << 76) - (0b11 << 62)
    either = 0
    all_ones = (1 << 128) - 1
    for value in ids:
        either |= value
        all_ones &= value
    assert either & random == random
    assert all_ones & random == 0


def test_uuid7_is_the_same_for_the_same_document_of_the_same_run() -> None:
    """A resumed run makes the ids again; another seed, time, content or id makes others."""
    document = {"a": 1, "b": 2.5, "_id": "x", "_rev": "1-a"}
    make = id_uuid7(seed=SEED, started_ms=STARTED_MS)
    (expected, *others) = [
        (other or {})["_id"]
        for other in (
            make(document),
            make({"b": 2.5, "a": 1, "_id": "y"}),
            make({"b": 2.5, "a": 2, "_id": "x"}),
            make({"b": 2.5, "a": 1}),
            id_uuid7(seed=b"another", started_ms=STARTED_MS)(document),
            id_uuid7(seed=SEED, started_ms=STARTED_MS + 1)(document),
        )
    ]
    again = id_uuid7(seed=SEED, started_ms=STARTED_MS)({"_id": "x", "_rev": "2-b", "b": 2.5, "a": 1})
    assert again == {"_id": expected, "_rev": "2-b", "b": 2.5, "a": 1}
    assert expected not in others
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("started_ms", [-1, 2**48])
def test_uuid7_has_room_for_48_bits_of_time(started_ms: int) -> None:
    """A time that does not fit is refused."""
    with pytest.raises(ConfigError, match="started_ms"):
        id_uuid7(seed=SEED, started_ms=started_ms)

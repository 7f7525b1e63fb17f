"""SPEC: what people write, and what they are told when it is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.config.kinds import KINDS, Kind
from migrator.errors import ConfigError
from migrator.model import Transformer
from migrator.model.capabilities import Effect, effect_of, with_effect
from migrator.transformers import compose, drop, parse, parse_all, set_field, user_function, where

DOCUMENT = {"_id": "old", "a": 1, "b": {"c": 2}, "n": "x", "a,b": 3, "a=b": 4}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("id:field=n", {"_id": "x", "a": 1}),
        ("id:template={n}-{b.c}", {"_id": "x-2", "a": 1}),
        ("rename:a=z,b.c=b.d", {"_id": "old", "z": 1, "b": {"d": 2}}),
        (r"rename:a\,b=z,a\=b=y", {"_id": "old", "z": 3, "y": 4}),
        ("drop:a,b.c", {"_id": "old", "b": {}}),
        (r"drop:a\,b", {"_id": "old", "a": 1}),
        ("keep:b.c", {"_id": "old", "b": {"c": 2}}),
        ("set:a=[1, 2]", {"_id": "old", "a": [1, 2]}),
        ("set:a=hello, a=1", {"_id": "old", "a": "hello, a=1"}),
        ("set:a=", {"_id": "old", "a": ""}),
        ("set:a=null", {"_id": "old", "a": None}),
        ('set:a="1"', {"_id": "old", "a": "1"}),
        ("set:a=123456789012345678901234567890", {"_id": "old", "a": 123456789012345678901234567890}),
        ("set:a=NaN", {"_id": "old", "a": "NaN"}),
        (r"set:a=\d", {"_id": "old", "a": r"\d"}),
        (r"set:a\=b=\x=1", {"_id": "old", "a=b": r"\x=1"}),
        ("set:b.x.y=true", {"_id": "old", "b": {"c": 2, "x": {"y": True}}}),
        ("where:a=1", {"_id": "old", "a": 1}),
    ],
)
def test_specs_make_transformers(spec: str, expected: dict[str, Any]) -> None:
    """Each form does what its help line says."""
    made = parse(spec)(DOCUMENT)
    assert made is not None
    assert {name: made.get(name) for name in expected} == expected


def test_specs_that_filter_give_none() -> None:
    """A document that meets no condition is filtered out."""
    assert parse("where:a>1")(DOCUMENT) is None


def test_hash_and_uuid7_come_from_their_specs() -> None:
    """The seed and the start of the run reach the UUID; the fields reach the hash."""
    hashed = parse("id:hash")(DOCUMENT) or {}
    assert hashed["_id"] != (parse("id:hash=a,b.c")(DOCUMENT) or {})["_id"]
    assert len(hashed["_id"]) == 64
    one = parse("id:uuid7", seed=b"1", started_ms=5)(DOCUMENT) or {}
    assert one["_id"].startswith("00000000-0005-7")
    assert one["_id"] != (parse("id:uuid7", seed=b"2", started_ms=5)(DOCUMENT) or {})["_id"]
    assert one == parse("id:uuid7", seed=b"1", started_ms=5)(DOCUMENT)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "There are: id:field=NAME"),
        ("foo", "There are: id:field=NAME"),
        ("drp:a", "Did you mean drop?"),
        ("Where:a=1", "Did you mean where?"),
        ("filter:a=1", "names no transformer"),
        ("not_there:at_all", "There is no module 'not_there'"),
        ("not_there.really:at_all", "There is no module 'not_there'"),
        ("renam.e:x", "Did you mean rename?"),
        ("drop", "Write drop:a or drop:a,b.c"),
        ("drop:", "Write drop:a"),
        ("drop:a,,b", "'' is not a field path"),
        ("keep:", "Write keep:a"),
        ("set:a", "Write set:field=VALUE"),
        ("set:=1", "Write set:field=VALUE"),
        ("set:a=1e999", "beyond what a number can be"),
        ("where:", "Write where:field=value"),
        ("rename:", "Write rename:old=new"),
        ("rename:a", "Write rename:old=new"),
        ("rename:a=b=c", "Write rename:old=new"),
        ("rename:a=", "'' is not a field path"),
        ("rename:a=x,a=y", "renamed twice"),
        ("rename:a=x,b=x", "same name"),
        ("id", "Write id:field=NAME"),
        ("id:", "Write id:field=NAME"),
        ("id:field", "Write id:field=NAME"),
        ("id:field=", "Write id:field=NAME"),
        ("id:template=", "Write id:field=NAME"),
        ("id:hash=", "Write id:field=NAME"),
        ("id:uuid7=x", "Write id:field=NAME"),
        ("id:uuid4", "Write id:field=NAME"),
    ],
)
def test_wrong_specs_are_told_with_the_remedy(spec: str, words: str) -> None:
    """Each wrong spec gives a sentence that names it and one that says what to write."""
    with pytest.raises(ConfigError) as caught:
        parse(spec)
    assert words in str(caught.value)
    assert spec in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.factory], ids=lambda kind: str(kind.word))
def test_every_row_keeps_its_promise(kind: Kind) -> None:
    """Each form has an example, and `parse` knows it."""
    assert len(kind.examples) == len(kind.forms)
    assert all(form.partition(":")[0] == kind.word for form in kind.forms)
    for spec in kind.examples:
        assert callable(parse(spec))


@pytest.mark.parametrize(
    ("specs", "effect"),
    [
        ((), Effect(keeps_id=True)),
        (("drop:a", "where:b=1", "set:c=1", "keep:d", "rename:e=f", "sample:5%"), Effect(keeps_id=True)),
        (("mask:drop:a", "where:_id>x", "keep:_id", "drop:a_id"), Effect(keeps_id=True)),
        (("rename:sku=_id",), Effect()),
        (("rename:_id=sku",), Effect()),
        (("set:_id=x",), Effect()),
        (("drop:_id",), Effect()),
        (("mask:drop:_id",), Effect()),
        (("copy:copy",), Effect()),
        (("id:field=a", "drop:a"), Effect(makes_id=True)),
        (("id:template={a}",), Effect(makes_id=True)),
        (("drop:a", "id:hash"), Effect(makes_id=True, stable_id=False)),
        (("id:hash=a",), Effect(makes_id=True, stable_id=False)),
        (("id:uuid7", "drop:a"), Effect(makes_id=True, stable_id=False, same_each_run=False)),
    ],
)
def test_says_what_becomes_of_ids(specs: tuple[str, ...], effect: Effect) -> None:
    """Each transformer declares it, and several together do what each of them does."""
    assert effect_of(parse_all(specs)) == effect


def test_a_function_of_the_users_own_can_declare_it_too() -> None:
    """The guard around it passes it on."""
    declared = with_effect(lambda document: document, Effect(keeps_id=True))
    assert effect_of(user_function(declared, name="own")).keeps_id


def test_compose_applies_in_order_and_stops_at_none() -> None:
    """The next one gets what the one before gave; after None nothing is called."""
    transform = compose([set_field("a", 5), where("a=5"), drop("a")])
    assert transform({"a": 1, "b": 2}) == {"b": 2}
    called: list[Any] = []
    remember: Transformer = called.append
    assert compose([where("a=1"), remember])({"a": 2}) is None
    assert called == []


def test_compose_of_none_and_of_one() -> None:
    """Nothing composed changes nothing, and one is itself."""
    one = drop("a")
    assert compose([one]) is one
    assert compose([])(DOCUMENT) is DOCUMENT
    assert compose(iter([one, one]))({"a": 1}) == {}

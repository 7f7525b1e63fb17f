"""Masks and samples: deterministic, keyed, and such that joins hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.errors import ConfigError, TransformError
from migrator.model import Document
from migrator.transformers import parse
from migrator.transformers.masking import mask, mask_key, sample, values_at

KEY = b"0123456789abcdef"
ADA = {"_id": "u1", "name": "Ada", "email": "ada@x.org", "age": 36, "pets": [{"name": "Rex"}, {"name": None}]}


def masked(text: str, document: Document, key: bytes = KEY) -> Any:
    return mask(text, key)(document)


def test_pseudonyms_keep_joins_across_fields_and_collections() -> None:
    """One value has one pseudonym wherever it stands, also as a part of an array, and another has another."""
    users = [masked("pseudonym:_id", {"_id": id}) for id in ("u1", "u2")]
    orders = masked("pseudonym:customer,watchers", {"_id": "o", "customer": "u2", "watchers": ["u1", "u3"]})
    assert orders["customer"] == users[1]["_id"]
    assert orders["watchers"][0] == users[0]["_id"]
    assert len({users[0]["_id"], users[1]["_id"], orders["watchers"][1]}) == 3


def test_pseudonyms_are_the_same_forever() -> None:
    """A fixed key and value give a fixed pseudonym, so that stagings of different days fit together."""
    assert masked("pseudonym:a", {"a": "x"}) == {"a": "pp54bstkpaqar2qpmh5rq6g2y"}


def test_pseudonyms_depend_on_the_key() -> None:
    """Who does not have the key cannot try values out."""
    assert masked("pseudonym:a", {"a": "x"}) != masked("pseudonym:a", {"a": "x"}, b"another key, 16+")
    assert masked("hash:a", {"a": "x"}) != masked("hash:a", {"a": "x"}, b"another key, 16+")
    assert masked("fake.name:a", {"a": "x"}) != masked("fake.name:a", {"a": "x"}, b"another key, 16+")


@given(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_pseudonyms_keep_the_kind_of_a_value(value: Any) -> None:
    """A text becomes a text, a number a number that every reader of JSON keeps exactly; none is the original."""
    made = masked("pseudonym:a", {"a": value})["a"]
    assert isinstance(made, str) is isinstance(value, str)
    assert made != value
    assert json.loads(json.dumps(made)) == made
    if not isinstance(value, str):
        assert 0 <= made < 2**53


def test_numbers_that_are_equal_stay_equal() -> None:
    """1 and 1.0 join."""
    assert masked("pseudonym:a", {"a": 1}) == masked("pseudonym:a", {"a": 1.0})


def test_paths_go_into_objects_and_arrays() -> None:
    """Each object of an array is masked; null stays; the document itself is not changed."""
    before = json.dumps(ADA)
    made = masked("pseudonym:pets.name", ADA)
    assert made["pets"][0]["name"].startswith("p")
    assert made["pets"][1] == {"name": None}
    assert json.dumps(ADA) == before
    assert masked("drop:pets.name,age", ADA)["pets"] == [{}, {}]
    assert "age" not in masked("drop:pets.name,age", ADA)
    whole = masked("pseudonym:pets", ADA)["pets"]
    assert [list(pet) for pet in whole] == [["name"], ["name"]]
    assert whole[0]["name"] == made["pets"][0]["name"]


def test_missing_fields_are_no_error() -> None:
    """Collections of different shape go through the same masks."""
    assert masked("pseudonym:x,name.first,pets.name.first", ADA) == ADA


def test_hashes_are_of_the_whole_value() -> None:
    """An object is one hash; null stays; true can be hashed."""
    made = masked("hash:pets,age", ADA)
    assert len(made["pets"]) == len(made["age"]) == 64
    assert masked("hash:a", {"a": None}) == {"a": None}
    assert len(masked("hash:a", {"a": True})["a"]) == 64


def test_fakes_are_real_looking_and_the_same_for_a_value() -> None:
    """A fake depends on the value alone, whatever was drawn before."""
    first = masked("fake.email:email", ADA)["email"]
    assert "@" in first
    assert first != ADA["email"]
    again = mask("fake.email:email,name", KEY)
    again({"name": "someone", "email": "x"})
    made = again(ADA)
    assert made is not None
    assert made["email"] == first
    assert masked("fake.name@de_DE:name", ADA) != masked("fake.name@ja_JP:name", ADA)


def test_a_fake_is_never_the_value_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw that gives the original is drawn again; where nothing else comes, the document is refused."""
    for number in range(10):
        transform = mask("fake.month_name:m", b"%016d" % number)
        for month in ("January", "March", "may", "June", "October", "December"):
            made = transform({"m": month})
            assert made is not None
            assert made["m"].casefold() != month.casefold()
    monkeypatch.setattr("migrator.transformers.masking.MAX_DRAWS", 0)
    with pytest.raises(TransformError, match="every fake is the value itself"):
        masked("fake.month_name:m", {"m": "June"})


def test_booleans_are_refused() -> None:
    """Of two values a pseudonym tells which; the message says what to do."""
    with pytest.raises(TransformError, match=r"mask:pseudonym:ok: ok: true and false cannot be masked"):
        masked("pseudonym:ok", {"ok": True})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mask:pseudonym", "incomplete"),
        ("mask:pseudonym:", "incomplete"),
        ("mask:scramble:a", "there is no mask 'scramble'"),
        ("mask:fake.emale:a", "Did you mean fake.email"),
        ("mask:fake.profile:a", "makes no text or number called 'profile'"),
        ("mask:fake.name@xx_XX:a", "knows no locale"),
        ("mask:drop:a..b", "not a field path"),
        ("sample:5", "not a share"),
        ("sample:0%", "not a share"),
        ("sample:101%", "not a share"),
        ("sample:5%,", "not a share"),
    ],
)
def test_wrong_masks_are_told(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each says what to write."""
    monkeypatch.setenv("MIGRATOR_MASK_KEY", KEY.decode())
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert words in str(caught.value)


def test_the_key_comes_from_file_or_environment(tmp_path: Path) -> None:
    """A file that is named wins; a short or missing key is refused."""
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\n")
    assert mask_key({"MIGRATOR_MASK_KEY": "x"}, str(file)) == KEY
    assert mask_key({"MIGRATOR_MASK_KEY_FILE": str(file)}) == KEY
    assert mask_key({"MIGRATOR_MASK_KEY": KEY.decode()}) == KEY
    for environ, words in (({}, "needs a key"), ({"MIGRATOR_MASK_KEY": "short"}, "5 bytes; 16 are the least")):
        with pytest.raises(ConfigError, match=words) as caught:
            mask_key(environ)
        assert "openssl rand" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot be read"):
        mask_key({}, str(tmp_path / "none"))


def test_dropping_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out cannot be guessed."""
    monkeypatch.delenv("MIGRATOR_MASK_KEY", raising=False)
    assert parse("mask:drop:a")({"_id": "x", "a": 1}) == {"_id": "x"}
    with pytest.raises(ConfigError, match="needs a key"):
        parse("mask:hash:a")


def test_samples_fit_together() -> None:
    """Just those orders are kept whose customer is kept, and a share of about the right size."""
    kept = sample("20%,customer")
    customers = [f"c{number}" for number in range(1000)]
    chosen = {id for id in customers if kept({"_id": id})}
    assert 150 < len(chosen) < 250
    for id in customers:
        assert (kept({"_id": f"o-{id}", "customer": id}) is not None) is (id in chosen)
    assert kept({"_id": "x", "customer": [*customers]}) is not None
    assert sample("100%")({"_id": "x"}) == {"_id": "x"}


def test_samples_are_the_same_and_grow() -> None:
    """A larger share holds the smaller one."""
    documents = [{"_id": str(number)} for number in range(500)]
    small, large = (
        {document["_id"] for document in documents if sample(share)(document)} for share in ("5%", "12.5%")
    )
    assert small < large


def test_values_are_found_at_and_below_a_path() -> None:
    """What the audit looks at is what a mask masks."""
    assert list(values_at(ADA, ("pets", "name"))) == ["Rex"]
    assert list(values_at(ADA, ("pets",))) == ["Rex"]
    assert list(values_at({"a": [[1, {"b": False}], None]}, ("a",))) == [1, False]
    assert list(values_at(ADA, ("none",))) == []

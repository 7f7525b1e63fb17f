"""What goes in comes out: documents through bytes and back, and texts through the readers."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections import namedtuple
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.codec import (
    BOOKKEEPING,
    PLAIN,
    STRICT,
    TAGGED,
    VALUE_CODECS,
    InvalidDocument,
    Unencodable,
    canonical,
    decode,
    decode_value,
    deep,
    encode,
    one_line,
    plain,
    tag,
    top_level,
    untag,
)
from migrator.codec.faults import json_fault
from tests.property.documents import documents, json_values, keys, scalars, texts
from tests.support.exactness import same

Named = namedtuple("Named", "a b")


PIECES = [
    *(b"", b"\x00", b"\xff", b"\xed\xa0\x80", b'"', b"{", b"]", b"\n", b"-"),
    *(b"1e999", b"NaN", b"\\ud800", b"9" * 30),
]


def as_written(document: dict[str, Any]) -> dict[str, Any]:
    """The document without bookkeeping, `_id` first."""
    kept = {key: value for key, value in document.items() if key not in BOOKKEEPING}
    return {"_id": kept["_id"], **kept} if "_id" in kept else kept


@given(documents)
def test_what_is_encoded_decodes_to_the_same(document: dict[str, Any]) -> None:
    """Type, value, sign and order of everything survive, on the fast path and on the exact one."""
    expected = as_written(document)
    for codec in (PLAIN, STRICT):
        body = encode(document, codec)
        assert b"\n" not in body
        assert b"\r" not in body
        assert same(expected, decode(body))
        assert list(expected) == list(top_level(body))


@given(documents)
def test_encoding_changes_nothing(document: dict[str, Any]) -> None:
    """The caller's document is the same afterwards, whatever the codec."""
    before = copy.deepcopy(document)
    for codec in VALUE_CODECS.values():
        encode(document, codec)
    assert same(before, document)


@given(documents, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_foreign_layouts_read_the_same(document: dict[str, Any], indent: Any, ascii_only: bool) -> None:
    """However a text is spaced and escaped, decode, top_level and one_line see the same document."""
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    assert same(document, decode(text))
    line = one_line(text)
    assert b"\n" not in line
    assert same(document, decode(line))
    assert list(document) == list(top_level(line))


@given(st.one_of(json_values, st.floats(), documents))
def test_deep_reads_and_writes_as_the_standard_library(value: Any) -> None:
    """The readers for any depth agree with the fast ones on what those can do too."""
    for sort_keys in (False, True):
        encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=sort_keys, separators=(",", ":"))
        text = encoder.encode(value)
        assert text == deep.dumps(value, encoder)
        assert same(json.loads(text), deep.loads(text, json.JSONDecoder()))
    spaced = json.dumps(value, indent=1)
    assert same(json.loads(spaced), deep.loads(f" {spaced}\n", json.JSONDecoder()))


@given(json_values, st.integers(0, 10**6), st.sampled_from(["", *',]}{[":1x']), st.integers(0, 1))
def test_deep_finds_the_faults_of_the_standard_library(value: Any, at: int, put: str, taken: int) -> None:
    """A damaged text is refused with the same words at the same place, and what is still one reads the same."""
    text = json.dumps(value)
    at %= len(text)
    text = f"{text[:at]}{put}{text[at + taken :]}"

    def outcome(read: Callable[[str], Any]) -> Any:
        try:
            return read(text)
        except json.JSONDecodeError as error:
            # Python 3.13 has words of its own for a comma before a bracket.
            return json_fault(error)

    assert same(outcome(json.loads), outcome(lambda text: deep.loads(text, json.JSONDecoder())))


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_every_spelling_of_a_number_reads_as_the_standard_library_reads_it(text: str) -> None:
    """No number is rounded twice or changes its type; what overflows is refused."""
    expected = json.loads(text)
    if expected in {float("inf"), float("-inf")}:
        with pytest.raises(InvalidDocument) as caught:
            decode_value(text)
        assert "number_out_of_range" in caught.value.error
    else:
        assert same([expected], decode_value(f"[{text}]"))


@given(documents, st.randoms(use_true_random=False), st.integers(1, 4))
def test_damaged_texts_raise_nothing_but_invalid_document(
    document: dict[str, Any], chance: random.Random, changes: int
) -> None:
    """Bytes changed, cut out and put in at random are read or refused; what top_level passes, decode reads."""
    text = bytearray(json.dumps(document, ensure_ascii=chance.random() < 0.5).encode())
    for _ in range(changes):
        at = chance.randrange(len(text) + 1)
        text[at : at + chance.randrange(3)] = chance.choice(PIECES)
    assert_reads_alike(bytes(text))


@given(st.binary(max_size=40))
def test_any_bytes_raise_nothing_but_invalid_document(text: bytes) -> None:
    """Nothing in a file from elsewhere ends the run."""
    assert_reads_alike(text)


def assert_reads_alike(text: bytes) -> None:
    """Both readers give the same fields or refuse; only half a surrogate pair is for one of them alone."""
    results: list[Any] = []
    reader: Callable[[bytes], dict[str, Any]]
    for reader in (decode, top_level):
        try:
            results.append(list(reader(text)))
        except InvalidDocument as invalid:
            results.append(invalid.error)
    assert results[0] == results[1] or results[1] == "lone_surrogate"


@given(json_values, st.randoms(use_true_random=False))
def test_canonical_does_not_depend_on_the_order_of_keys(value: Any, chance: random.Random) -> None:
    """Shuffled at every level, the content has the same text, and the text is the content."""

    def shuffled(item: Any) -> Any:
        if isinstance(item, dict):
            names = list(item)
            chance.shuffle(names)
            return {name: shuffled(item[name]) for name in names}
        return [shuffled(inner) for inner in item] if isinstance(item, list) else item

    text = canonical(value)
    assert text == canonical(shuffled(value))
    assert canonical(decode_value(text)) == text
    assert decode_value(text) == value


rich_scalars = st.one_of(
    scalars,
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.times(timezones=st.none() | st.timezones()),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.binary(),
    st.binary().map(bytearray),
    st.sampled_from([float("inf"), float("-inf")]),
)
hashables = st.recursive(
    rich_scalars.filter(lambda value: not isinstance(value, bytearray)),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=6,
)
rich_values = st.recursive(
    st.one_of(rich_scalars, hashables, st.sets(hashables, max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.tuples(inner, inner).map(Named._make),
    ),
    max_leaves=15,
)


@given(rich_values)
def test_tagged_values_come_back(value: Any) -> None:
    """Every value, at every depth and in every container, through bytes and back."""
    body = encode({"v": value}, TAGGED)
    back = untag(decode(body), [Named])["v"]
    assert same(value, back)
    # Tagging what came back tells apart what == does not, such as 1 and True in a set.
    assert canonical(tag(value)) == canonical(tag(back))


@given(rich_values)
def test_plain_is_one_form_on_both_paths(value: Any) -> None:
    """The fast path and the exact path write the same, so what a document holds otherwise is no matter."""
    expected = plain(value)
    assert same(expected, decode(encode({"v": value}))["v"])
    assert same(expected, decode(encode({"big": 2**70, "v": value}))["v"])


def ten_to_the(power: int) -> int:
    """An integer of more digits than Python writes."""
    return int(10**power)


too_long = st.integers(4300, 4400).map(ten_to_the)
odd_values = st.recursive(
    st.one_of(
        rich_scalars,
        st.floats(),
        st.text(),
        st.decimals(),
        st.builds(object),
        too_long,
        st.complex_numbers(),
        st.just(Decimal),
        st.just(timedelta),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(texts, st.text(), too_long, st.none()), inner, max_size=4),
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.one_of(keys, st.text(), st.integers()), odd_values, max_size=4))
def test_odd_documents_raise_nothing_but_unencodable(document: dict[Any, Any]) -> None:
    """What cannot be written is refused with a path, and what is written can be read and passed on."""
    for codec in VALUE_CODECS.values():
        with contextlib.suppress(Unencodable):
            body = encode(document, codec)
            assert list(top_level(body)) == list(decode(body))


@given(st.text())
def test_any_text_raises_nothing_but_invalid_document(text: str) -> None:
    """Texts that are not bytes are read or refused just the same."""
    with contextlib.suppress(InvalidDocument):
        decode(text)

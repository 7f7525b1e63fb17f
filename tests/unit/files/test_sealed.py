"""A sealed object comes back as it was, or not at all."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.files.own_json import Damaged, seal, unseal

VALUE = {"version": 1, "a": {"b": [1, 2.5, "zo\xeb", None, True, "\ud800"]}, "position": "123:4"}

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name != "checksum"), json_values, min_size=1))
def test_comes_back(value: dict[str, Any]) -> None:
    """Any object, as a text of JSON with line breaks that others can read."""
    text = seal(value)
    assert unseal(text) == (value, True)
    assert {**json.loads(text), "checksum": ""} == {**value, "checksum": ""}


def test_each_flipped_bit_is_found() -> None:
    """One that makes another key of `checksum` leaves a key that no older text has."""
    text = seal(VALUE)
    for place in range(len(text)):
        for bit in range(8):
            flipped = bytearray(text)
            flipped[place] ^= 1 << bit
            with contextlib.suppress(Damaged):
                value, sealed = unseal(bytes(flipped))
                assert not sealed
                assert not value.keys() <= VALUE.keys()


@given(st.data())
def test_any_other_bytes_are_found(data: st.DataObject) -> None:
    """A block of zeros, another text, a piece left out or put in: as disks and hands do it."""
    text = seal(VALUE)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    changed = text[:begin] + data.draw(st.binary(max_size=50)) + text[end:]
    if changed == text:
        return
    with contextlib.suppress(Damaged):
        value, sealed = unseal(changed)
        assert not sealed
        assert not value.keys() <= VALUE.keys()


@pytest.mark.parametrize("text", [b'{"version": 1}', b"{}", b'{\n "a": 1\n}\n'])
def test_a_text_without_a_checksum_is_told(text: bytes) -> None:
    """So that whoever reads it can see to the rest."""
    assert unseal(text) == (json.loads(text), False)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"[" * 100_000, b"\xff", b'{"checksum": "", "a": 1}'])
def test_what_is_none_is_damaged(text: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(Damaged):
        unseal(text)

"""Revisions depend on content alone, never on how its text is spelled."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from migrator.codec import decode, encode
from migrator.couch.revision import first_revision, revision_after

TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-300, max_value=300)
    | st.integers(min_value=-(10**308), max_value=10**308)
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False).filter(lambda x: abs(x) != 2**-1022)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=10
)
DOCUMENTS = st.dictionaries(TEXTS.filter(lambda key: not key.startswith("_")), VALUES, max_size=4)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 0, 3]))
def test_spelling_does_not_count(document: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    """Escapes, spaces and line breaks, as text or bytes: the fast reader and the exact one agree."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    expected = first_revision(encode(document))
    assert expected is not None
    assert expected == first_revision(text) == first_revision(text.encode())


@given(DOCUMENTS)
def test_a_revision_survives_decoding(document: dict[str, Any]) -> None:
    """What a document is read as and written as again has the same revision."""
    body = encode(document)
    assert first_revision(body) == first_revision(encode(decode(body)))


@given(DOCUMENTS, TEXTS.filter(lambda key: not key.startswith("_")), SCALARS)
def test_every_change_of_content_changes_the_revision(document: dict[str, Any], key: str, value: Any) -> None:
    """Another value or type under one key is another revision, first or later."""
    before, after = encode(document), encode({**document, key: value})
    same = before == after
    assert same is (first_revision(before) == first_revision(after))
    assert same is (revision_after(before, "1-a") == revision_after(after, "1-a"))
    assert revision_after(before, "1-a") != revision_after(before, "1-b")


@given(st.binary(max_size=40) | st.text(max_size=40) | DOCUMENTS.map(encode).map(lambda body: body[:-1]))
def test_no_text_is_too_odd(text: bytes | str) -> None:
    """Whatever comes, the answer is a first revision or None."""
    answer = first_revision(text)
    assert answer is None or answer.startswith("1-")

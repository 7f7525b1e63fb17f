"""Strategies for the ugliest documents: numbers at every edge, texts of every kind, keys nobody would choose."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

EDGES = [0, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**19, 10**20, int("9" * 400)]
FLOATS = [0.0, -0.0, 5e-324, 4e-320, 2.2250738585072014e-308, 1.7976931348623157e308, 1e16, 1e22, 1e-7, 0.1, 1e15]
TEXTS = [
    *("", "\x00", "\u2028", "\u2029", "\x85", "😀", "\ufffe", "\uffff", "\x7f"),
    *('"', "\\", "/", "\n", "\r", "e\u0301"),
]
KEYS = ["", "$type", "$$type", "a.b", "[0]", "_rev", "_id", "value", "class", "__proto__", "k" * 100]

integers = st.one_of(
    st.integers(),
    st.sampled_from([*EDGES, *(-edge for edge in EDGES)]),
    st.integers(-(10**40), 10**40),
)
floats = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(FLOATS))
# Without half surrogate pairs, which are not Unicode text.
characters = st.characters(codec="utf-8")
texts = st.one_of(st.text(characters), st.sampled_from(TEXTS), st.lists(st.sampled_from(TEXTS)).map("".join))
keys = st.one_of(texts, st.sampled_from(KEYS))
scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=20,
)
documents: st.SearchStrategy[dict[str, Any]] = st.dictionaries(keys, json_values, max_size=8)

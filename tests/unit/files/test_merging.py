"""The merge of two sorted sides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from migrator.files.sorting import side_by_side

SIDES = st.dictionaries(st.text(alphabet="aé線😀\ud800", max_size=3), st.integers())


@given(SIDES, SIDES)
def test_each_key_comes_once_in_order_with_both_values(ours: dict[str, int], theirs: dict[str, int]) -> None:
    def side(values: dict[str, int]) -> list[tuple[str, int]]:
        return sorted(values.items(), key=lambda item: item[0].encode(errors="surrogatepass"))

    keys = [key for key, _ in side({**ours, **theirs})]
    found = list(side_by_side(iter(side(ours)), iter(side(theirs))))
    assert found == [(key, ours.get(key), theirs.get(key)) for key in keys]


def test_what_stands_twice_on_one_side_meets_the_other_once() -> None:
    ours = iter([("a", 1), ("a", 2), ("b", 3)])
    theirs = iter([("a", 4), ("c", 5)])
    assert list(side_by_side(ours, theirs)) == [("a", 1, 4), ("a", 2, None), ("b", 3, None), ("c", None, 5)]


def test_neither_side_is_read_further_than_needed() -> None:
    ours = iter([("a", 1), ("b", 2), ("c", 3)])
    theirs = iter([("a", 1), ("b", 2), ("c", 3)])
    assert next(side_by_side(ours, theirs)) == ("a", 1, 1)
    assert list(ours) == [("b", 2), ("c", 3)]
    assert list(theirs) == [("b", 2), ("c", 3)]

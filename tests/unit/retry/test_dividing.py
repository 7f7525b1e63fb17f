"""Items in batches by count and bytes; how refused batches are divided is in test_bisecting."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from migrator.model import BatchLimits
from migrator.retry.window import in_batches


@given(st.lists(st.integers(0, 50)), st.integers(1, 6), st.integers(1, 60))
def test_batches_hold_everything_in_order_within_the_limits(sizes: list[int], docs: int, size_bytes: int) -> None:
    batches = list(in_batches(sizes, BatchLimits(docs, size_bytes), int))
    assert [size for batch in batches for size in batch] == sizes
    for batch, following in pairwise([*batches, []]):
        assert len(batch) <= docs
        assert sum(batch) <= size_bytes or len(batch) == 1
        # None is smaller than it need be.
        assert not following or len(batch) == docs or sum(batch) + following[0] > size_bytes


def test_what_travels_alone_divides_no_batch() -> None:
    sizes = {"a": 1, "large": None, "b": 1, "c": 1}
    batches = list(in_batches(sizes, BatchLimits(2, 100), sizes.__getitem__))
    assert batches == [["large"], ["a", "b"], ["c"]]


def test_a_batch_is_given_as_soon_as_it_is_full() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            read.append(number)
            yield number

    assert next(iter(in_batches(items(), BatchLimits(2, 100), int))) == [0, 1]
    assert read == [0, 1]

"""Walks two sorted sides together: the one merge of what is here with what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

L = TypeVar("L")
R = TypeVar("R")


def side_by_side(
    left: Iterator[tuple[str, L]], right: Iterator[tuple[str, R]]
) -> Iterator[tuple[str, L | None, R | None]]:
    """Both sides by key; None where one side has nothing of it.

    Of several equal keys on one side the first meets the other side's first, and so on.

    Args:
        left: in ascending order of the keys: of their characters, which is the order of their UTF-8 bytes too.
        right: in the same order.
    """
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], None
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield other[0], None, other[1]
            other = next(right, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(left, None), next(right, None)

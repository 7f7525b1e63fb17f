"""Choosing collections."""

from __future__ import annotations

import pytest

from migrator.errors import ConfigError
from migrator.extractors.base import select_collections


def test_all_or_the_chosen_ones() -> None:
    """All in the source's order, or those chosen in that order, each once."""
    assert select_collections(["b", "a"], None, source="s") == ("b", "a")
    assert select_collections(["b", "a"], ["a", "b", "a"], source="s") == ("a", "b")
    assert select_collections(["b", "a"], [], source="s") == ()


def test_what_is_not_there_is_named() -> None:
    """The message says what is missing and what there is, not all of thousands."""
    with pytest.raises(ConfigError, match=r"no collection 'c' in s\. It has: 'b', 'a'\."):
        select_collections(["b", "a"], ["c"], source="s")
    with pytest.raises(ConfigError, match=r"'11' and 988 more"):
        select_collections([str(number) for number in range(1000)], ["c"], source="s")
    with pytest.raises(ConfigError, match=r"It has: none\."):
        select_collections([], ["c"], source="s")

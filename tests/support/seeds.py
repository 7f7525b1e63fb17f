"""How often what differs by chance alone is tried: a few times, and many with `--hypothesis-profile thorough`."""

from __future__ import annotations

from hypothesis import settings

# What a usual run tries of a property; each example shows the same.
EXAMPLES = 25
THOROUGH = 2_000


def seeds(few: int, many: int) -> range:
    """Seeds of a test whose rows differ by chance alone.

    Args:
        few: how many a usual run takes.
        many: how many the thorough one takes.
    """
    return range(many if _thorough() else few)


def examples(few: int) -> int:
    """How many examples of a costly property are tried: so few, or many times as many by the thorough profile."""
    return few * 20 if _thorough() else few


def _thorough() -> bool:
    return settings().max_examples == THOROUGH

"""What to do about two documents of one id: the declared policies, and the order of those of one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from migrator.errors import ConfigError


class OnConflict(Enum):
    """Who wins when a document of the same id and other content is at the target."""

    FAIL = "fail"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    NEWER = "newer"


class Incomparable(Exception):
    """Two values have no order; the text says why."""


def parse_policy(name: str, newer_field: str | None) -> OnConflict:
    """Check a policy's name and what it needs."""
    policy = OnConflict(name)
    if policy is OnConflict.NEWER and not newer_field:
        raise ConfigError(
            "--on-conflict newer needs the field that tells which is newer.", hint="Add --newer-field updated_at"
        )
    return policy


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path.

    Raises:
        Incomparable: there is none.
    """
    value = document
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Incomparable(f"there is no field {path}")
        value = value[part]
    return value


def is_newer(source: Any, target: Any, path: str) -> bool:
    """True when the source's field is later than the target's: numbers by size, texts as times or else as texts.

    Raises:
        Incomparable: a field is missing, or the two are of different kinds.
    """
    ours, theirs = value_at(source, path), value_at(target, path)
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (ours, theirs)]
    if all(numbers):
        return bool(ours > theirs)
    if isinstance(ours, str) and isinstance(theirs, str):
        times = _time(ours), _time(theirs)
        if times[0] is not None and times[1] is not None:
            return times[0] > times[1]
        return ours > theirs
    raise Incomparable(f"{path} is {ours!r:.60} here and {theirs!r:.60} there, which have no order")


def _time(text: str) -> datetime | None:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    # A time without a zone is taken as UTC, so that two of one kind keep their order.
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def rounds(ids: Sequence[str]) -> list[list[int]]:
    """Places such that no id is twice in one round: the later of two must meet the earlier at the target.

    >>> rounds(["a", "b", "a"])
    [[0, 1], [2]]
    """
    if len(set(ids)) == len(ids):
        return [list(range(len(ids)))] if ids else []
    times: Counter[str] = Counter()
    found: list[list[int]] = []
    for place, id in enumerate(ids):
        if times[id] == len(found):
            found.append([])
        found[times[id]].append(place)
        times[id] += 1
    return found

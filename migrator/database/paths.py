"""Dotted paths into documents, as CouchDB's `_find` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from migrator.errors import DatabaseError

_DOT = re.compile(r"(?<!\\)\.")
_INDEX = re.compile(r"[+-]?[0-9]+", re.ASCII)

ABSENT = object()
"""There is no such field in an object that is there."""

NO_PATH = object()
"""The path goes through something that is neither an object nor an array of that length."""


def parse_path(field: str) -> tuple[str, ...]:
    r"""The steps of a path; a dot after a backslash belongs to the name.

    >>> parse_path("address.city"), parse_path(r"www\.example.hits")
    (('address', 'city'), ('www.example', 'hits'))

    Raises:
        DatabaseError: a step is empty.
    """
    steps = tuple(step.replace("\\", "") for step in _DOT.split(field))
    if "" in _DOT.split(field):
        raise DatabaseError(
            f"{field!r:.100} is not a field's path: a step of it is empty.",
            hint="Write field.field; a dot that belongs to a name is written \\.",
        )
    return steps


def value_at(value: Any, steps: Sequence[str]) -> Any:
    """What a path leads to, or ABSENT, or NO_PATH; in an array a step is a number from 0."""
    for step in steps:
        if isinstance(value, Mapping):
            if step not in value:
                return ABSENT
            value = value[step]
        elif isinstance(value, list | tuple) and _INDEX.fullmatch(step) and 0 <= int(step) < len(value):
            value = value[int(step)]
        else:
            return NO_PATH
    return value


def projected(document: Mapping[str, Any], paths: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Only these fields of a document; what it lacks is left out."""
    found: dict[str, Any] = {}
    for steps in paths:
        value = value_at(document, steps)
        if value is ABSENT or value is NO_PATH:
            continue
        place = found
        for step in steps[:-1]:
            inner = place.get(step)
            place[step] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[step]
        place[steps[-1]] = value
    return found

"""Copies a document so deeply that nothing done to the copy reaches the original."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

_IMMUTABLE = frozenset(
    {str, int, float, bool, type(None), bytes, datetime, date, time, timedelta, Decimal, UUID},
)


def detached(value: Any) -> Any:
    """A deep copy, of any depth; mappings become dicts.

    Several times as fast as `copy.deepcopy`, which still copies what is neither mapping, list nor immutable.
    """
    holder: list[Any] = []
    pending: list[tuple[Any, Any]] = [([value], holder)]
    # Keeps the sources alive beside the copies, so that no other object gets their identity.
    copied: dict[int, tuple[Any, Any]] = {}
    while pending:
        source, target = pending.pop()
        keyed = isinstance(source, Mapping)
        for step, child in source.items() if keyed else enumerate(source):
            kind = type(child)
            made: Any
            if kind in _IMMUTABLE or isinstance(child, Enum):
                made = child
            elif kind is list or isinstance(child, Mapping):
                known = copied.get(id(child))
                if known is None:
                    made = [] if kind is list else {}
                    copied[id(child)] = (child, made)
                    pending.append((child, made))
                else:
                    made = known[1]
            else:
                made = copy.deepcopy(child)
            if keyed:
                target[step] = made
            else:
                target.append(made)
    return holder[0]

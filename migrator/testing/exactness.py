"""Says whether two documents are exactly the same."""

from __future__ import annotations

from typing import Any


def same(one: Any, other: Any) -> bool:
    """Equal in value and type at every depth: 1 is not 1.0, 0.0 is not -0.0; the order of keys counts too."""
    pending = [(one, other)]
    while pending:
        left, right = pending.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, dict):
            if list(left) != list(right):
                return False
            pending.extend((left[key], right[key]) for key in left)
        elif isinstance(left, list | tuple):
            if len(left) != len(right):
                return False
            pending.extend(zip(left, right, strict=True))
        elif isinstance(left, float):
            if repr(left) != repr(right):
                return False
        elif left != right:
            return False
    return True

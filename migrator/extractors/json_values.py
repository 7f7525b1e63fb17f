"""What is read of JSON text: a value as it stands there, or why there is none."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from migrator.errors import ConfigError


class Problem(Enum):
    """Why a value was passed over, or cannot be looked into."""

    TOO_LARGE = "document_too_large"
    TOO_DEEP = "too_deep"
    BROKEN = "invalid_json"


class Value(NamedTuple):
    """A value's text as it stands in the file, and what it is; numbers in `parsed` are not exact.

    `why` says where and how one is broken.
    """

    parsed: Any
    text: bytes
    problem: Problem | None = None
    why: str = ""


class BrokenJson(ConfigError):
    """The text is no JSON; not that it cannot be read."""

"""The documents of the suites, and what is to become of them, as NDJSON that any language reads."""

from __future__ import annotations

import json
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any


def read_ndjson(file: Traversable) -> list[Any]:
    """Read a file of one JSON value a line.

    Args:
        file: a path, or a file of a package.

    Returns:
        The values, in their order.
    """
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def read_data(name: str) -> list[Any]:
    """Read one of the files beside this one.

    Args:
        name: its name without the suffix.

    Returns:
        The values, in their order.
    """
    return read_ndjson(resources.files(__name__).joinpath(f"{name}.ndjson"))

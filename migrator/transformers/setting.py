"""Gives a field a value that is the same in every document."""

from __future__ import annotations

from typing import Any

from migrator.model import Document, Transformer
from migrator.transformers.copying import detached
from migrator.transformers.paths import parse_path, with_value


def set_field(field: str, value: Any) -> Transformer:
    """Set a field, whether it is there or not. Objects on the way to it are made where they are missing.

    Args:
        field: dotted path.
        value: any JSON value; each document gets a copy.
    """
    spec = f"set:{field}"
    path = parse_path(field, spec)

    def transform(document: Document) -> Document:
        return with_value(document, path, detached(value), spec)

    return transform

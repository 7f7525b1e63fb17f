"""Gives a field a value in the documents that lack it."""

from __future__ import annotations

from typing import Any

from migrator.model import Document, Transformer
from migrator.model.capabilities import effect_of, with_effect
from migrator.transformers.paths import MISSING, get, parse_path
from migrator.transformers.setting import field_and_value, set_field


def default(field: str, value: Any) -> Transformer:
    """Set a field where it is missing; one that is null is there.

    Args:
        field: dotted path.
        value: any JSON value; each document gets a copy.
    """
    path = parse_path(field, f"default:{field}")
    fill = set_field(field, value)

    def transform(document: Document) -> Document | None:
        return fill(document) if get(document, path) is MISSING else document

    return with_effect(transform, effect_of(fill))


def read_default(argument: str) -> Transformer:
    """The transformer of `default:ARGUMENT`."""
    return default(*field_and_value("default", argument))

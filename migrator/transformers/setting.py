"""Gives a field a value that is the same in every document."""

from __future__ import annotations

from typing import Any

from migrator.model import Document, Transformer
from migrator.model.capabilities import with_effect
from migrator.transformers.copying import detached
from migrator.transformers.paths import effect_on, incomplete, parse_path, split, with_value
from migrator.transformers.where import read_value


def set_field(field: str, value: Any) -> Transformer:
    """Set a field, whether it is there or not. Objects on the way to it are made where they are missing.

    Args:
        field: dotted path.
        value: any JSON value; each document gets a copy.

    Returns:
        The transformer; it raises TransformError where something on the way is no object.

    Raises:
        ConfigError: the path is empty or damaged.
    """
    spec = f"set:{field}"
    path = parse_path(field, spec)

    def transform(document: Document) -> Document:
        return with_value(document, path, detached(value), spec)

    return with_effect(transform, effect_on([path]))


def read_set(argument: str) -> Transformer:
    """The transformer of `set:ARGUMENT`."""
    return set_field(*field_and_value("set", argument))


def field_and_value(word: str, argument: str) -> tuple[str, Any]:
    """The parts of `FIELD=VALUE`, which follow the colon of a SPEC that begins with `word`.

    Raises:
        ConfigError: one of them is missing.
    """
    spec = f"{word}:{argument}"
    field, *value = split(argument, "=")
    if not field or not value:
        raise incomplete(spec, f"{word}:field=VALUE")
    # A backslash belongs to the value, where it means nothing to us.
    return field, read_value(argument[len(field) + 1 :], spec)

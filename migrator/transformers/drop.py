"""Leaves out the fields that are named."""

from __future__ import annotations

from migrator.model import Document, Transformer
from migrator.model.capabilities import with_effect
from migrator.transformers.paths import effect_on, listed, parse_path, without


def drop(*fields: str) -> Transformer:
    """Leave out these fields. What is missing is no error.

    Args:
        fields: dotted paths.

    Returns:
        The transformer.

    Raises:
        ConfigError: a path is empty or damaged.
    """
    spec = f"drop:{','.join(fields)}"
    paths = [parse_path(field, spec) for field in fields]

    def transform(document: Document) -> Document:
        for path in paths:
            document = without(document, path)
        return document

    return with_effect(transform, effect_on(paths))


def read_drop(argument: str) -> Transformer:
    """The transformer of `drop:ARGUMENT`."""
    return drop(*listed(argument, f"drop:{argument}", "drop:a or drop:a,b.c"))

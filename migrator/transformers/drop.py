"""Leaves out the fields that are named."""

from __future__ import annotations

from migrator.model import Document, Transformer
from migrator.transformers.paths import parse_path, without


def drop(*fields: str) -> Transformer:
    """Leave out these fields. What is missing is no error.

    Args:
        fields: dotted paths.
    """
    spec = f"drop:{','.join(fields)}"
    paths = [parse_path(field, spec) for field in fields]

    def transform(document: Document) -> Document:
        for path in paths:
            document = without(document, path)
        return document

    return transform

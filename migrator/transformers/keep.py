"""Keeps the fields that are named, and drops all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrator.model import Document, Transformer
from migrator.model.capabilities import Effect, with_effect
from migrator.transformers.paths import listed, parse_path

# What is kept of an object: nothing more than named fields, or, where there are none, all of it.
_Tree = dict[str, "_Tree"]


def keep(*fields: str) -> Transformer:
    """Keep these fields and `_id`, in the document's own order. What is missing is no error.

    Args:
        fields: dotted paths; of an object on the way only what is named is kept.

    Returns:
        The transformer.

    Raises:
        ConfigError: a path is empty or damaged.
    """
    spec = f"keep:{','.join(fields)}"
    tree: _Tree = {"_id": {}}
    for names in sorted((parse_path(field, spec) for field in fields), key=len):
        branch = tree
        for name in names:
            if name in branch and not branch[name]:
                # All of it is kept already.
                break
            branch = branch.setdefault(name, {})

    def transform(document: Document) -> Document:
        return _kept(document, tree)

    return with_effect(transform, Effect(keeps_id=True))


def read_keep(argument: str) -> Transformer:
    """The transformer of `keep:ARGUMENT`."""
    return keep(*listed(argument, f"keep:{argument}", "keep:a or keep:a,b.c"))


def _kept(document: Mapping[str, Any], tree: _Tree) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in document.items():
        branch = tree.get(name)
        if branch is None:
            continue
        if not branch:
            kept[name] = value
        elif isinstance(value, Mapping):
            inner = _kept(value, branch)
            if inner:
                kept[name] = inner
    return kept

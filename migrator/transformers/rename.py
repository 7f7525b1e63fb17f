"""Gives fields other names, or moves them to another place in the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrator.errors import ConfigError, TransformError
from migrator.model import Document, Transformer
from migrator.model.capabilities import with_effect
from migrator.transformers.paths import (
    MISSING,
    Path,
    effect_on,
    get,
    incomplete,
    listed,
    parse_path,
    split,
    with_value,
    without,
)


def rename(names: Mapping[str, str]) -> Transformer:
    """Give fields other names, all at once: two may swap theirs.

    A field that only changes its name keeps its place in the order; one that moves to another object goes to its
    end. What is missing is no error. What would be overwritten is: the document is rejected.

    Args:
        names: the new dotted path by the old one.

    Returns:
        The transformer; it raises TransformError for a document that has the new field already.

    Raises:
        ConfigError: a path is empty or damaged, or two fields get one name.
    """
    spec = "rename:" + ",".join(f"{old}={new}" for old, new in names.items())
    pairs = [(parse_path(old, spec), parse_path(new, spec)) for old, new in names.items()]
    targets = [new for _, new in pairs]
    if len(set(targets)) < len(targets):
        raise ConfigError(
            f"--transform {spec}: two fields get the same name.", hint="Give each field a name of its own."
        )
    within: dict[Path, dict[str, str]] = {}
    moves: list[tuple[Path, Path]] = []
    for old, new in pairs:
        if old[:-1] == new[:-1]:
            within.setdefault(old[:-1], {})[old[-1]] = new[-1]
        else:
            moves.append((old, new))
    # Old paths are those of the document as it came: so what lies deeper comes first.
    objects = sorted(within, key=len, reverse=True)

    def transform(document: Document) -> Document:
        moved: list[tuple[Path, Any]] = []
        for old, new in moves:
            value = get(document, old)
            if value is not MISSING:
                moved.append((new, value))
                document = without(document, old)
        for path in objects:
            inner = get(document, path)
            if isinstance(inner, Mapping) and not within[path].keys().isdisjoint(inner):
                renamed = _renamed(inner, within[path], spec)
                document = with_value(document, path, renamed, spec) if path else renamed
        for new, value in moved:
            if get(document, new) is not MISSING:
                raise _taken(".".join(new), spec)
            document = with_value(document, new, value, spec)
        return document

    return with_effect(transform, effect_on(path for pair in pairs for path in pair))


def read_rename(argument: str) -> Transformer:
    """The transformer of `rename:ARGUMENT`."""
    spec, forms = f"rename:{argument}", "rename:old=new or rename:old=new,other=another"
    names: dict[str, str] = {}
    for pair in listed(argument, spec, forms):
        old, *new = split(pair, "=")
        if len(new) != 1:
            raise incomplete(spec, forms)
        if old in names:
            raise ConfigError(f"--transform {spec}: {old} is renamed twice.", hint="Name each field once.")
        names[old] = new[0]
    return rename(names)


def _renamed(inner: Document, names: Mapping[str, str], spec: str) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for name, value in inner.items():
        new = names.get(name, name)
        if new in renamed:
            raise _taken(new, spec)
        renamed[new] = value
    return renamed


def _taken(name: str, spec: str) -> TransformError:
    return TransformError(
        f"{spec}: the document has a field {name} already, which would be lost.",
        hint=f"Drop it first with --transform drop:{name}",
    )

"""Changes fields: drops them, keeps them alone, gives them other names or values; each by its dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrator.codec.deep import detached
from migrator.errors import ConfigError, TransformError
from migrator.model import Document, Transformer
from migrator.model.capabilities import Effect, effect_of, with_effect
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
from migrator.transformers.where import read_value

# What is kept of an object: nothing more than named fields, or, where there are none, all of it.
_Tree = dict[str, "_Tree"]


def drop(*fields: str) -> Transformer:
    """Leave out these fields. What is missing is not an error.

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


def keep(*fields: str) -> Transformer:
    """Keep these fields and `_id`, in the document's own order. What is missing is not an error.

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


def rename(names: Mapping[str, str]) -> Transformer:
    """Give fields other names, all at once: two may swap theirs.

    A field that only changes its name keeps its place in the order; one that moves to another object goes to its
    end. What is missing is not an error. What would be overwritten is: the document is rejected.

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


def set_field(field: str, value: Any) -> Transformer:
    """Set a field, whether it is there or not. Objects on the way to it are made where they are missing.

    Args:
        field: dotted path.
        value: any JSON value; each document gets a copy.

    Returns:
        The transformer; it raises TransformError where something on the way is not an object.

    Raises:
        ConfigError: the path is empty or damaged, or the value nested too deeply.
    """
    spec = f"set:{field}"
    path = parse_path(field, spec)
    try:
        detached(value)
    except RecursionError:
        raise ConfigError(f"--transform {spec}: the value is nested too deeply.", hint="Set less of it.") from None

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

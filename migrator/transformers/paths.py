r"""Fields by their dotted paths: `address.city`; a dot in a name is written `\.`.

A path goes through objects only, never into an array.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from migrator.errors import ConfigError, TransformError
from migrator.model import Document
from migrator.model.capabilities import Effect
from migrator.naming import shown

Path: TypeAlias = tuple[str, ...]

MISSING: Any = object()
"""Stands for the value of a field that is not there."""

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def split(text: str, separator: str) -> list[str]:
    r"""Divide a text at a separator of one character, but not where a backslash goes before it.

    >>> split(r"a,b\,c", ",")
    ['a', 'b\\,c']
    """
    parts = [""]
    for piece in re.findall(r"\\.|.", text, re.DOTALL):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def parse_path(text: str, spec: str) -> Path:
    r"""Read a dotted path; a backslash takes its special meaning from the character after it.

    >>> parse_path(r"a\.b.c", "drop")
    ('a.b', 'c')

    Raises:
        ConfigError: it is empty, or a name in it is; `spec` is what the user wrote.
    """
    names = tuple(_ESCAPED.sub(r"\1", part) for part in split(text, "."))
    if not all(names):
        raise ConfigError(
            f"--transform {spec}: {text!r} is not a field path.",
            hint=r"Write names with dots between them, a.b.c; a dot in a name is written \.",
        )
    return names


def get(document: Document, path: Path) -> Any:
    """The value at a path, or MISSING."""
    value: Any = document
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return MISSING
        value = value[name]
    return value


def with_value(document: Document, path: Path, value: Any, spec: str) -> dict[str, Any]:
    """A document in which a field has a value; the objects on the way to it are made where they are missing.

    Raises:
        TransformError: something on the way is not an object.
    """
    made = dict(document)
    name, *rest = path
    if rest:
        inner = made.get(name, {})
        if not isinstance(inner, Mapping):
            raise TransformError(f"{spec}: {name} is not an object, so it cannot hold {'.'.join(rest)}.")
        value = with_value(inner, tuple(rest), value, spec)
    made[name] = value
    return made


def without(document: Document, path: Path) -> Document:
    """A document in which a field is missing."""
    name, *rest = path
    if name not in document:
        return document
    if not rest:
        return {key: value for key, value in document.items() if key != name}
    inner = document[name]
    if not isinstance(inner, Mapping):
        return document
    return {**document, name: without(inner, tuple(rest))}


def nested(path: Path, value: Any) -> Any:
    """The smallest document that has a value at a path."""
    for name in reversed(path):
        value = {name: value}
    return value


def effect_on(paths: Iterable[Path]) -> Effect:
    """What a transformer that changes these fields, and no others, does to ids."""
    return Effect(keeps_id=all(path[0] != "_id" for path in paths))


def listed(argument: str, spec: str, forms: str) -> list[str]:
    """The parts of what follows a SPEC's colon, with commas between them.

    Raises:
        ConfigError: there are none.
    """
    if not argument:
        raise incomplete(spec, forms)
    return split(argument, ",")


def incomplete(spec: str, forms: str) -> ConfigError:
    """What to raise for a SPEC that lacks something."""
    return ConfigError(f"--transform {shown(spec)} is incomplete or wrong.", hint=f"Write {forms}.")

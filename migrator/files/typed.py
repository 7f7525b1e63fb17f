"""Makes dataclasses of what JSON files of our own hold, each value of the type that was written."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def from_json(kind: type[T], value: Any, *, defaults: bool = False) -> T:
    """The inverse of `dataclasses.asdict` after JSON; what only a later version knows is left out.

    Args:
        kind: a dataclass, whose fields are JSON's own types, dataclasses, tuples, mappings and unions of them.
        value: what was read.
        defaults: take the default of a field that is absent.

    Raises:
        TypeError: something is of another type, or absent.
    """
    if not isinstance(value, dict):
        raise TypeError(kind.__name__)
    hints = _hints(kind)  # type: ignore[arg-type]  # a class can be hashed
    if not defaults and (absent := hints.keys() - value.keys()):
        raise TypeError(f"{kind.__name__} without {sorted(absent)}")
    return kind(**{name: _made(hint, value[name], defaults) for name, hint in hints.items() if name in value})


def _made(hint: Any, value: Any, defaults: bool) -> Any:
    kind, parts = get_origin(hint), get_args(hint)
    if kind is UnionType:
        for part in parts:
            with contextlib.suppress(TypeError):
                return _made(part, value, defaults)
    elif kind is tuple and isinstance(value, list):
        return tuple(_made(parts[0], item, defaults) for item in value)
    elif kind in {dict, Mapping} and isinstance(value, dict):
        return {key: _made(parts[1], item, defaults) for key, item in value.items()}
    elif dataclasses.is_dataclass(hint):
        return from_json(hint, value, defaults=defaults)  # type: ignore[arg-type]
    elif hint is Any or (hint is float and type(value) is int) or type(value) is hint:
        return value
    raise TypeError(f"{value!r} for {hint}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}

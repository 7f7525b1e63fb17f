"""The value codec `tagged`: every value that JSON lacks is marked with its type, and comes back as it was.

`{"$type": "decimal", "value": "1.50"}` stands for Decimal("1.50"). A document's own keys of that form, `$type`,
`$$type` and so on, get one more `$`, so nothing that was JSON before is taken for a mark.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from migrator.codec.faults import InvalidDocument, Refusal, path_text, shown
from migrator.codec.values import (
    MARK,
    Tag,
    Unordered,
    ValueCodec,
    base64_text,
    base_value,
    fields_of,
    kind_of,
    unescaped_key,
)
from migrator.codec.writing import Frame, normalise

# Python computes the hash of a tuple in a tuple by recursion in C, which ends in a crash and no exception.
_MAX_TUPLE_DEPTH = 1_000
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def tag(value: Any) -> Any:
    """Plain JSON values for any value, with the types marked; `untag` is the inverse.

    Args:
        value: any value.

    Returns:
        Values as JSON holds them.

    Raises:
        Unencodable: a value is of no known type.
    """
    return normalise(value, TAGGED)


def untag(value: Any, classes: Iterable[type] = ()) -> Any:
    """Bring back what `tag` marked.

    No name in the data is ever imported: enums, dataclasses and namedtuples come back only as one of `classes`.

    Args:
        value: what `tag` gave, also after it was JSON.
        classes: the classes whose values may be made.

    Returns:
        The value as it was before `tag`.

    Raises:
        InvalidDocument: a mark is unknown or damaged, or its class was not given.
    """
    known = {_class_name(cls): cls for cls in classes}
    # Children first: what is in a frame is complete when the frame is left.
    frames = [Frame(None, [value])]
    while True:
        frame = frames[-1]
        for step, child in frame.items:
            frame.step = step
            if isinstance(child, dict | list):
                frames.append(Frame(child, child))
                break
            frame.put(child)
        else:
            frames.pop()
            if not frames:
                return frame.target[0]
            try:
                restored = _untagged(frame.target, known)
            except Refusal as refusal:
                path = path_text([above.step for above in frames[1:]])
                raise InvalidDocument(refusal.error, f"{path} is marked as {refusal.why}") from None
            frames[-1].put(restored)


def _untagged(target: Any, known: Mapping[str, type]) -> Any:
    if isinstance(target, list):
        return target
    if MARK not in target:
        return {unescaped_key(key): value for key, value in target.items()}
    kind = target[MARK]
    if not isinstance(kind, str) or kind not in _VALUES.keys() | _OBJECTS.keys():
        raise Refusal("unknown_tag", f"{shown(kind)}, which is not a known type")
    try:
        return _VALUES[kind][1](target["value"]) if kind in _VALUES else _OBJECTS[kind][1](target, known)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Refusal(
            "invalid_tag", f"{kind}, but cannot be one ({type(error).__name__}: {error!s:.200})"
        ) from None


# -- to marks -------------------------------------------------------------------------------------------------


def _tagged(value: Any) -> Any:
    kind = kind_of(value)
    if not kind:
        return base_value(value)
    if kind == "float" and math.isfinite(value):
        return float.__float__(value)
    beside = {"value": _VALUES[kind][0](value)} if kind in _VALUES else _OBJECTS[kind][0](value)
    return Tag({MARK: kind, **beside})


def _clock(value: datetime | time) -> dict[str, Any]:
    content: dict[str, Any] = {"value": value.isoformat()}
    if value.fold:
        content["fold"] = value.fold
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        content["zone"] = value.tzinfo.key
    return content


def _enum(value: Enum) -> dict[str, Any]:
    name = _class_name(type(value))
    # A combination of flags has no name of its own.
    return (
        {"class": name, "value": value.value} if isinstance(value, Flag) else {"class": name, "name": value.name}
    )


def _fields(value: Any) -> dict[str, Any]:
    return {"class": _class_name(type(value)), "fields": fields_of(value)}


def _class_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


# -- and back -------------------------------------------------------------------------------------------------


def _restore_clock(read: Callable[[str], Any], content: dict[str, Any]) -> Any:
    value = read(content["value"])
    if "zone" in content:
        # The offset in the text is what the zone had when it was written; the wall clock is what counts.
        value = value.replace(tzinfo=ZoneInfo(content["zone"]))
    return value.replace(fold=content.get("fold", 0))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _checked(elements: list[Any]) -> list[Any]:
    pending = [(element, 0) for element in elements]
    while pending:
        item, depth = pending.pop()
        if depth > _MAX_TUPLE_DEPTH:
            raise ValueError(f"tuples {_MAX_TUPLE_DEPTH} deep in a set")
        if isinstance(item, tuple):
            pending.extend((inner, depth + 1) for inner in item)
    return elements


def _given_class(content: dict[str, Any], known: Mapping[str, type]) -> Any:
    name = content["class"]
    if name not in known:
        raise Refusal("unknown_class", f"of the class {shown(name)}, which was not given to untag(classes=…)")
    return known[name]


def _restore_enum(content: dict[str, Any], known: Mapping[str, type]) -> Any:
    cls = _given_class(content, known)
    return cls[content["name"]] if "name" in content else cls(content["value"])


def _restore_dataclass(content: dict[str, Any], known: Mapping[str, type]) -> Any:
    cls = _given_class(content, known)
    fields = content["fields"]
    _same_names(fields, [field.name for field in dataclasses.fields(cls)])
    # What was an instance once needs no __init__, which may ask for other things than the fields.
    instance = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
    return instance


def _restore_namedtuple(content: dict[str, Any], known: Mapping[str, type]) -> Any:
    cls = _given_class(content, known)
    _same_names(content["fields"], cls._fields)
    return cls._make(content["fields"][name] for name in cls._fields)


def _same_names(fields: dict[str, Any], names: Iterable[str]) -> None:
    if set(fields) != set(names):
        raise ValueError(f"its fields are {sorted(fields)}, those of the class {sorted(names)}")


# To the value that stands beside the mark, and back.
_VALUES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "float": (lambda value: _NOT_FINITE[float.__repr__(value)], float),
    "date": (lambda value: value.isoformat(), date.fromisoformat),
    "timedelta": (lambda value: [value.days, value.seconds, value.microseconds], lambda parts: timedelta(*parts)),
    "uuid": (str, UUID),
    "decimal": (str, Decimal),
    "bytes": (base64_text, _bytes),
    "bytearray": (base64_text, lambda text: bytearray(_bytes(text))),
    "memoryview": (base64_text, lambda text: memoryview(_bytes(text))),
    "tuple": (list, tuple),
    "set": (Unordered, lambda elements: set(_checked(elements))),
    "frozenset": (Unordered, lambda elements: frozenset(_checked(elements))),
}
# To all that stands beside the mark, and back.
_OBJECTS: dict[str, tuple[Callable[[Any], dict[str, Any]], Callable[[Any, Mapping[str, type]], Any]]] = {
    "datetime": (_clock, lambda content, _: _restore_clock(datetime.fromisoformat, content)),
    "time": (_clock, lambda content, _: _restore_clock(time.fromisoformat, content)),
    "enum": (_enum, _restore_enum),
    "dataclass": (_fields, _restore_dataclass),
    "namedtuple": (_fields, _restore_namedtuple),
}

TAGGED = ValueCodec("tagged", _tagged, escape=True)
"""Nothing is lost: the type of each value that JSON lacks is written beside it."""

"""Equality of documents as a database holds them: by value and by type, whatever the order of keys."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from json import JSONEncoder
from typing import Any

import orjson

from migrator.codec import BOOKKEEPING, deep
from migrator.codec.faults import find_all, path_text
from migrator.codec.rejected import changed

DIGEST_BYTES = 16

# Equal texts mean equal values, as the spelling of a number tells its type.
_CANONICAL = JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=True)
ABSENT: Any = object()
"""Stands for a value that one side does not have."""


def content(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without CouchDB's bookkeeping of one copy of it, such as `_rev`."""
    return {key: value for key, value in document.items() if key not in BOOKKEEPING}


def differing_path(source: Any, target: Any, *, stored: bool) -> str | None:
    """Name the first place where two JSON values differ, or None when they are equal.

    1, 1.0 and true are three values, and so are 0.0 and -0.0; the order of keys does not count.

    >>> differing_path({"address": {"lines": ["a", "b"]}}, {"address": {"lines": ["a", "c"]}}, stored=False)
    'address.lines[1]'

    Args:
        source: a value as `codec.decode` gives it, of any depth.
        target: what it is compared with.
        stored: forgive what CouchDB itself changes of a number when it stores it: the sign of -0.0, and floats
            below 2.3e-308 that releases up to 3.5.1 round otherwise.
    """
    found = next(differences(source, target, stored=stored), None)
    return None if found is None else path_text(found[0])


def differences(source: Any, target: Any, *, stored: bool) -> Iterator[tuple[list[str | int], Any, Any]]:
    """All places where two JSON values differ, and both values, of which one is ABSENT where it is not there.

    The arguments are those of `differing_path`.
    """
    path: list[str | int] = []
    pending = [_children([source], [target])]
    while pending:
        for step, one, other in pending[-1]:
            kind = type(one)
            if kind is not type(other):
                yield [*path, step][1:], one, other
            elif kind is dict or kind is list:
                path.append(step)
                pending.append(_children(one, other))
                break
            elif not (_equal_floats(one, other, stored=stored) if kind is float else one == other):
                yield [*path, step][1:], one, other
        else:
            pending.pop()
            if path:
                path.pop()


def surely_differ(one: bytes, other: bytes) -> bool:
    """True when two documents' texts hold different content; False when only `differing_path` can tell.

    It takes a twentieth of the time, since it knows less of numbers than that.
    """
    # Such floats are stored otherwise than they were sent.
    if any(tiny in text for tiny in (b"e-3", b"E-3") for text in (one, other)):
        return False
    try:
        return content(orjson.loads(one)) != content(orjson.loads(other))
    except (ValueError, AttributeError, RecursionError):
        return False


def canonical_digest(document: Mapping[str, Any], *, stored: bool) -> bytes:
    """Sixteen bytes that are equal for two documents when `differing_path` finds nothing, and only then."""
    text = deep.write(document, _CANONICAL)
    # Only such floats change, and most documents have none.
    if stored and ("-0.0" in text or "e-3" in text):
        text = deep.write(_as_stored(document), _CANONICAL)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()


def _children(one: Any, other: Any) -> Iterator[tuple[str | int, Any, Any]]:
    if isinstance(one, dict):
        keys = chain(one, (key for key in other if key not in one))
        return ((key, one.get(key, ABSENT), other.get(key, ABSENT)) for key in keys)
    pairs = enumerate(zip_longest(one, other, fillvalue=ABSENT))
    return ((index, first, second) for index, (first, second) in pairs)


def _equal_floats(one: float, other: float, *, stored: bool) -> bool:
    if stored:
        one, other = _stored_float(one), _stored_float(other)
    # Unlike ==, the spelling tells 0.0 from -0.0, and finds NaN equal to itself.
    return repr(one) == repr(other)


def _stored_float(value: float) -> float:
    """What is left of a float in its shortest spelling, `3e-322`, after the codec of CouchDB up to 3.5.1.

    It multiplies a mantissa without a fraction by a power of ten that is itself rounded.
    """
    if abs(value) >= sys.float_info.min:
        return value
    mantissa, exponent_mark, exponent = repr(value).partition("e")
    if exponent_mark and "." not in mantissa:
        value = int(mantissa) * float("1e" + exponent)
    return value or 0.0


def _as_stored(document: Mapping[str, Any]) -> Any:
    floats = find_all(document, lambda value: isinstance(value, float))
    return changed(document, [(path, _stored_float(value)) for path, value in floats])
